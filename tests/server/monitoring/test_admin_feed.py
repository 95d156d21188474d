"""What one worker keeps for the Admin UI: rows with bounds, counts by the second, clients without secrets.

It must not know pages.
"""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from admin_world import REQUEST, WALL, AdminWorld
from python_server.engineio.session import DisconnectReason
from python_server.http1.head import Request
from python_server.monitoring import admin_feed
from python_server.monitoring.admin_feed import AdminFeed, Look, cut, named
from python_server.net.system import REAL, System
from python_server.socketio.cluster.port import Malformed, Question, QuestionKind
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.server import Hub
from socketio_world import World


class FedWorld(World):
    """A hub that an AdminFeed watches, and who asks it."""

    peer: Callable[..., Any] = AdminWorld.peer
    details = True

    def serve(self, hub: Hub) -> None:
        clock = System(lambda: self.now, lambda: WALL + self.now, REAL.cpu, REAL.poller, REAL.entropy)
        self.feed = AdminFeed(hub, clock, "/admin", self.details, None)
        hub.observe(self.feed)
        super().serve(hub)
        self.marks: dict[str, tuple[int, int]] = {}

    def ask(self, figures: bool = False) -> list[Any]:
        """The parts of the answer; what they tell is known the next time."""
        parts: list[Any] = []
        ends: list[bool] = []

        def reply(part: Any, last: bool = True) -> None:
            parts.append(part)
            ends.append(last)

        self.feed.show(Look(self.marks, figures), reply)
        while not ends[-1]:
            self.advance(0)
        assert ends == [False] * (len(ends) - 1) + [True]
        assert json.dumps(parts)
        self.marks = {part["feed"]: tuple(part["mark"]) for part in parts}
        return parts

    def rows(self) -> list[Any]:
        (part,) = self.ask()
        assert part["sockets"] is None
        return list(part["rows"])


@pytest.fixture
def fed() -> FedWorld:
    return FedWorld()


def test_the_first_answer_is_everybody_and_the_next_what_is_new(fed: FedWorld) -> None:
    first = fed.peer().names["sid"]
    (part,) = fed.ask()
    assert [socket["id"] for socket in part["sockets"]] == [first]
    assert (part["rows"], part["figures"]) == ([], None)
    second = fed.peer().names["sid"]
    assert [(row[0], row[1]["id"]) for row in fed.rows()] == [("socket_connected", second)]
    assert fed.rows() == []


def test_nothing_is_kept_while_nobody_asks(fed: FedWorld) -> None:
    peer = fed.peer()
    peer.say('2["x"]')
    fed.hub.emit("y", [])
    assert (list(fed.feed._rows), list(fed.feed._counts)) == ([], [])
    fed.ask()
    fed.advance(4.9)
    peer.say('2["x"]')
    assert len(fed.rows()) == 1
    fed.advance(5)
    fed.peer()
    peer.say('2["x"]')
    (part,) = fed.ask(figures=True)
    assert (part["rows"], part["sockets"]) == ([], [])  # it has not looked for a while, and begins anew
    assert part["figures"]["aggregatedEvents"] == []


def test_beyond_so_many_rows_everybody_is_told_anew(fed: FedWorld) -> None:
    fed.ask()
    peer = fed.peer()
    for number in range(admin_feed.ROWS_MAX_COUNT - 1):
        fed.hub.join("/", peer.names["sid"], f"room {number}")
    assert len(fed.rows()) == admin_feed.ROWS_MAX_COUNT
    for number in range(admin_feed.ROWS_MAX_COUNT + 1):
        fed.hub.leave("/", peer.names["sid"], f"room {number}")
        fed.hub.join("/", peer.names["sid"], f"room {number}")
    assert len(fed.feed._rows) == admin_feed.ROWS_MAX_COUNT
    (part,) = fed.ask()
    assert (part["rows"], part["sockets"]) == ([], [])
    fed.marks = {"another": (0, 0)}
    (part,) = fed.ask()
    assert (part["rows"], part["sockets"]) == ([], [])
    fed.marks = {}
    (part,) = fed.ask()
    assert len(part["sockets"][0]["rooms"]) == admin_feed.ROOMS_MAX_COUNT


def test_many_clients_come_in_parts_and_only_so_many(fed: FedWorld, monkeypatch: Any) -> None:
    for _ in range(250):
        fed.peer()
    assert [len(part["sockets"]) for part in fed.ask()] == [100, 100, 50]
    fed.marks = {}
    monkeypatch.setattr(admin_feed, "SOCKETS_MAX_COUNT", 120)
    assert [len(part["sockets"]) for part in fed.ask()] == [100, 20]
    assert fed.complaints == ["of 250 clients the Admin UI is told of 120"]
    (part,) = fed.ask(figures=True)
    assert part["figures"]["clientsCount"] == 250


def test_who_leaves_while_many_are_told(fed: FedWorld) -> None:
    peers = [fed.peer() for _ in range(150)]
    parts: list[Any] = []
    fed.feed.show(Look({}, True), lambda part, last=True: parts.append(part))
    peers[120].lose()
    late = fed.peer().names["sid"]
    fed.advance(0)
    assert [len(part["sockets"]) for part in parts] == [100, 49]
    fed.marks = {part["feed"]: tuple(part["mark"]) for part in parts}
    rows = fed.rows()
    assert [row[0] for row in rows] == ["room_left", "socket_disconnected", "socket_connected"]
    assert rows[2][1]["id"] == late


def test_of_the_events_of_a_second_so_many(fed: FedWorld) -> None:
    fed.ask()
    peer = fed.peer()
    for _ in range(300):
        peer.say('2["x"]')
        fed.hub.emit("y", [])
    assert len(fed.rows()) == 1 + admin_feed.EVENTS_PER_SECOND_MAX_COUNT
    assert fed.complaints == ["of the events of a second the Admin UI is told of 100"]
    fed.advance(1)
    peer.say('2["x"]')
    assert len(fed.rows()) == 1


def test_counts_are_told_once_when_their_second_is_over(fed: FedWorld) -> None:
    fed.ask()
    peer = fed.peer()
    fed.hub.emit("y", ["1234"])
    peer.say('2["x"]')
    assert fed.ask(figures=True)[0]["figures"]["aggregatedEvents"] == []
    fed.advance(1)
    peer.lose(DisconnectReason.PING_TIMEOUT)
    counted = fed.ask(figures=True)[0]["figures"]["aggregatedEvents"]
    assert {(each["timestamp"] - WALL * 1000, each["type"]): each["count"] for each in counted} == {
        (1_000_000, "rawConnection"): 1,
        (1_000_000, "packetsOut"): 1,
        (1_000_000, "bytesOut"): len('42["y","1234"]'),
        (1_000_000, "packetsIn"): 1,
        (1_000_000, "bytesIn"): len('2["x"]'),
    }
    fed.advance(1)
    (left,) = fed.ask(figures=True)[0]["figures"]["aggregatedEvents"]
    assert (left["type"], left["subType"], left["count"]) == ("rawDisconnection", "ping timeout", 1)
    fed.advance(1)
    assert fed.ask(figures=True)[0]["figures"]["aggregatedEvents"] == []


def test_counts_are_kept_for_a_minute(fed: FedWorld) -> None:
    peer = fed.peer()
    for _ in range(100):
        fed.ask()
        peer.say('2["x"]')
        fed.advance(1)
    assert len(fed.feed._counts) == admin_feed.COUNTED_SECONDS


def test_a_session_is_counted_once_whatever_it_joins(fed: FedWorld) -> None:
    fed.hub.handlers.allow("*")
    fed.ask()
    peer = fed.peer()
    peer.join("/a")
    peer.say("1/a,")
    fed.advance(1)
    peer.lose()
    fed.advance(1)
    (part,) = fed.ask(figures=True)
    assert [(each["type"], each["count"]) for each in part["figures"]["aggregatedEvents"]] == [
        ("rawConnection", 1),
        ("rawDisconnection", 1),
    ]


def test_a_namespace_is_told_on_and_only_so_many(fed: FedWorld, monkeypatch: Any) -> None:
    monkeypatch.setattr(admin_feed, "NAMESPACES_MAX_COUNT", 3)
    fed.hub.handlers.allow("*")
    for name in ("/a", "/b", "/c", "/d"):
        peer = fed.peer(name)
        fed.ask(figures=True)
        peer.lose()
    (part,) = fed.ask(figures=True)
    assert [each["name"] for each in part["figures"]["namespaces"]] == ["/", "/a", "/b"]
    assert {each["socketsCount"] for each in part["figures"]["namespaces"]} == {0}


def test_an_upgrade_is_told(fed: FedWorld) -> None:
    peer = fed.peer(None)
    state, peer.session.state = peer.session.state, type(peer.session.state).POLLING
    fed.ask()
    fed.services.door.post(lambda: None)
    peer.session._answer = None
    fed.sessions.on_message(peer.session, "0")
    fed.run()
    ((name, socket, _),) = fed.rows()
    assert (name, socket["transport"]) == ("socket_connected", "polling")
    assert fed.ask(figures=True)[0]["figures"]["pollingClientsCount"] == 1
    peer.session.state = state
    change = {"id": socket["id"], "nsp": "/", "transport": "websocket"}
    assert fed.rows() == [["socket_updated", change]]
    assert fed.rows() == []


@pytest.mark.parametrize("codec", [None, MsgpackCodec])
def test_events_as_they_can_be_read(codec: Any) -> None:
    fed = FedWorld(**({} if codec is None else {"codec": codec()}))
    if codec is None:
        fed.peer()
    else:
        fed.hub.handlers.allow("*")
        packed = msgspec.msgpack.encode({"type": 0, "nsp": "/"})
        fed.peer(None).say(packed)
    fed.ask()
    hub = fed.hub
    hub.emit("bytes", [b"12345"])
    hub.emit("large", ["x" * 10_000])
    hub.emit("mid", ["y" * 3_000])
    hub.emit("nan", [float("nan")])
    rows = fed.rows()
    assert {(row[0], row[1], row[2]) for row in rows} == {("event_sent", "/", "everybody")}
    events = [row[3] for row in rows]
    assert events[0][0] == "bytes"
    assert events[1][0] == "..."
    assert events[1][1].endswith(" bytes)")
    assert events[2] == ["mid", "y" * 200 + "... (3000 characters)"]
    assert len(json.dumps(events)) < 1_000


def test_a_large_event_of_a_client_is_told_by_its_name_and_size(fed: FedWorld) -> None:
    peer = fed.peer()
    fed.ask()
    wide = json.dumps(["x" * 100] * 20)
    for _ in range(2):
        wide = f"[{','.join([wide] * 20)}]"
    peer.say(f'2["large",{wide}]')
    peer.say('2["small",1]')
    assert [row[3] for row in fed.rows()] == [["large", f"({len(wide) + 11} bytes)"], ["small", 1]]


def test_to_whom_an_event_was_sent(fed: FedWorld) -> None:
    fed.ask()
    sid = fed.peer().names["sid"]
    fed.rows()
    for rooms in ((sid,), ("blue", 7), (), tuple(f"r{number}" for number in range(100))):
        fed.feed.delivered("/", rooms, fed.hub.codec.prepare(admin_feed.EVENT, "/", ["x"]), 1)
    told = [row[2] for row in fed.rows()]
    assert told[:3] == [sid, "blue, 7", "nobody"]
    assert len(told[3]) < 100


def test_events_of_the_pages_own_are_not_told(fed: FedWorld) -> None:
    fed.hub.handlers.allow("*")
    peer = fed.peer("/admin")
    fed.ask()
    peer.say('2/admin,["x"]')
    fed.feed.delivered("/admin", None, fed.hub.codec.prepare(admin_feed.EVENT, "/admin", ["x"]), 1)
    assert fed.rows() == []


def test_a_client_without_an_address(fed: FedWorld) -> None:
    peer = fed.peer(None)
    peer.session.request = Request("GET", "/", "/", "", (1, 1), (), peer="", scheme="https")
    peer.join()
    shake = fed.ask()[0]["sockets"][0]["handshake"]
    assert (shake["address"], shake["secure"], shake["headers"], shake["xdomain"]) == ("", True, {}, False)
    fields = {f"h{number}": "x" * 5_000 for number in range(100)}
    peer.session.request = Request("GET", "/", "/", "a=b&" * 3_000, (1, 1), (), peer=None, fields=fields)
    fed.marks = {}
    assert len(json.dumps(fed.ask())) < 10_000


def test_a_client_cannot_be_told_by_its_sessions_secret(fed: FedWorld) -> None:
    peer = fed.peer(None)
    object.__setattr__(peer.session, "sid", "1.secretsecretsecret00")
    peer.join()
    (part,) = fed.ask()
    assert "secret" not in json.dumps(part)
    assert len(part["sockets"][0]["clientId"]) == 20


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x", "x"),
        ("x" * 201, "x" * 200 + "... (201 characters)"),
        ("\ud800", "?"),
        (1, 1),
        (-(2**60), "a large number"),
        (True, True),
        (None, None),
        (1.5, 1.5),
        (float("inf"), "float"),
        (b"123", "(3 bytes)"),
        (bytearray(2), "(2 bytes)"),
        ([1, [2, [3, [4, [5]]]]], [1, [2, [3, [4, "..."]]]]),
        ({"a": {"b": (1,)}}, {"a": {"b": [1]}}),
        (list(range(30)), [*range(20), "... (30 items)"]),
        ({1: 2}, {"1": 2}),
        (object(), "object"),
    ],
)
def test_values_are_cut(value: Any, shown: Any) -> None:
    assert cut(value) == shown


def test_a_cut_value_is_small_whatever_it_was() -> None:
    wide: Any = "x" * 1_000
    for _ in range(50):
        wide = {f"{number}" * 100: wide for number in range(100)}
    assert len(cut({f"k{number}": number for number in range(10_000)})) == 21  # type: ignore[arg-type]
    assert len(json.dumps(cut([["x" * 10**6] * 10**4] * 10**4))) < 200_000
    assert cut({"a": wide})


@pytest.mark.parametrize(("room", "shown"), [("a", "a"), (7, 7), (("a", 1), "('a', 1)"), (None, "None")])
def test_rooms_have_a_name(room: Any, shown: Any) -> None:
    assert named(room) == shown


@pytest.mark.parametrize(
    "data", [None, 7, {}, {"marks": {"x": 1}, "figures": True}, {"marks": {}, "more": 1}]
)
def test_a_malformed_question_is_refused(fed: FedWorld, data: Any) -> None:
    with pytest.raises(Malformed):
        fed.feed.answer(Question(QuestionKind.WATCH, "/admin", data), lambda part, last=True: None)


def test_without_details_there_are_figures_alone(monkeypatch: Any) -> None:
    monkeypatch.setattr(FedWorld, "details", False)
    fed = FedWorld()
    fed.ask()
    peer = fed.peer()
    peer.say('2["x"]')
    peer.lose()
    fed.advance(1)
    (part,) = fed.ask(figures=True)
    assert (part["rows"], part["sockets"]) == ([], None)
    assert part["figures"]["aggregatedEvents"]
    assert part["figures"]["serverId"] == part["figures"]["hostname"]


def test_the_handshake_of_the_tests_has_secrets() -> None:
    assert "cookie" in REQUEST.fields
