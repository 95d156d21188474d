"""The Admin UI of one worker: who comes in, what a page is told of clients and events, what it orders.

It must not know other processes: they are in ../socketio/cluster/test_admin_over_workers.py.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from admin_world import CREDENTIALS, AdminPage, AdminWorld
from python_server.engineio.session import DisconnectReason
from python_server.monitoring import admin as admin_module
from python_server.monitoring import admin_feed
from python_server.socketio.client import ConnectionRefused, Handler
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.server import Hub

ORDERS = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"]


def world_of(options: dict[str, Any] | None = None, **admin: Any) -> AdminWorld:
    class Chosen(AdminWorld):
        pass

    Chosen.admin = admin
    return Chosen(**(options or {}))


@pytest.fixture
def shown() -> AdminWorld:
    return AdminWorld()


def named(heard: list[Any], name: str) -> list[Any]:
    return [event[1:] for event in heard if event[0] == name]


def without_figures(heard: list[Any]) -> list[Any]:
    return [event for event in heard if event[0] != "server_stats"]


# Who comes in


def test_a_page_with_the_credentials_is_told_what_there_is(shown: AdminWorld) -> None:
    sid = shown.peer().names["sid"]
    page = AdminPage(shown)
    assert page.answer.startswith('0/admin,{"sid":')
    session, config, figures, everybody = page.heard()
    assert session[0] == "session"
    assert config == ["config", {"supportedFeatures": [*ORDERS, "AGGREGATED_EVENTS", "ALL_EVENTS"]}]
    assert (figures[0], figures[1]["serverId"], figures[1]["clientsCount"]) == ("server_stats", "here", 1)
    assert everybody[0] == "all_sockets"
    assert [socket["id"] for socket in everybody[1]] == [sid]
    ((itself, _),) = named(page.look(), "socket_connected")
    assert itself["nsp"] == "/admin"


@pytest.mark.parametrize("auth", [None, {}, {"username": "ann"}, {**CREDENTIALS, "password": "no"}])
def test_wrong_credentials_are_refused_and_told(shown: AdminWorld, auth: Any) -> None:
    page = AdminPage(shown, auth)
    assert page.refusal == "invalid credentials"
    assert shown.complaints == ["the Admin UI was refused: invalid credentials"]
    shown.peer()
    assert page.look(10) == []


def test_the_session_id_is_as_good(shown: AdminWorld) -> None:
    ((session_id,),) = named(AdminPage(shown).heard(), "session")
    assert named(AdminPage(shown, {"sessionId": session_id}).heard(), "config")
    assert AdminPage(shown, {"sessionId": session_id[:-1]}).refusal == "invalid credentials"


def test_a_function_decides_and_may_say_why() -> None:
    def check(given: Any) -> bool:
        if given is None:
            raise ConnectionRefused("come with a token")
        return bool(given["token"] == "t")

    world = world_of(auth=check)
    assert named(AdminPage(world, {"token": "t"}).heard(), "session") == []
    assert AdminPage(world, {"token": "u"}).refusal == "invalid credentials"
    assert AdminPage(world, None).refusal == "come with a token"
    assert AdminPage(world, {"other": 1}).refusal == "Connection rejected by server"
    assert [type(error) for _, error in world.reports] == [KeyError]


def test_without_credentials_the_log_says_so(caplog: Any) -> None:
    world = world_of(auth=False)
    assert caplog.messages == [
        "the Admin UI asks for no credentials: who reaches /admin sees and does all it can"
    ]
    assert named(AdminPage(world, None).heard(), "all_sockets") == [[[]]]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"mode": "test"}, ValueError),
        ({"interval_seconds": 0}, ValueError),
        ({"interval_seconds": -1}, ValueError),
        ({"interval_seconds": float("nan")}, ValueError),
        ({"namespace": "admin"}, ValueError),
        ({"namespace": "*"}, ValueError),
        ({"auth": None}, ValueError),
        ({"auth": 7}, TypeError),
    ],
)
def test_words_that_mean_nothing_are_refused(words: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        world_of(**words)


def test_it_is_said_before_a_worker_serves(shown: AdminWorld) -> None:
    with pytest.raises(RuntimeError, match="keeps its observers"):
        instrument(shown.hub, "/another")


def test_whoever_is_not_accepted_yet_can_do_nothing() -> None:
    """With always_connect a client is answered before its connect handler runs."""
    world = world_of({"always_connect": True})
    sid = world.peer().names["sid"]
    thief = world.peer(None)
    thief.say("0/admin,", '2/admin,["_disconnect","/",false]', run=False)
    world.run()
    assert all(not message.startswith("2") for message in thief.heard())
    assert world.hub.find("/", sid) is not None
    assert world.hub.members_of("/admin", None) == []


def test_pages_are_few(shown: AdminWorld, monkeypatch: Any) -> None:
    monkeypatch.setattr(admin_module, "PAGES_MAX_COUNT", 2)
    pages = [AdminPage(shown) for _ in range(2)]
    assert AdminPage(shown).refusal == "2 pages are open already"
    pages[0].peer.lose()
    shown.advance(0.5)
    assert named(AdminPage(shown).heard(), "config")


# What a page is told


def test_clients_come_and_go(shown: AdminWorld) -> None:
    page = AdminPage(shown)
    page.look()
    peer = shown.peer()
    sid = peer.names["sid"]
    shown.hub.join("/", sid, "blue")
    came, joined = page.look()
    assert joined == ["room_joined", "/", "blue", sid, "2023-11-14T22:30:00.500+00:00"]
    assert came[0] == "socket_connected"
    assert came[2] == "2023-11-14T22:30:00.500+00:00"
    assert came[1]["rooms"] == [sid]
    shown.hub.leave("/", sid, "blue")
    assert [event[:4] for event in page.look()] == [["room_left", "/", "blue", sid]]
    peer.lose(DisconnectReason.PING_TIMEOUT)
    assert [event[:4] for event in without_figures(page.look())] == [
        ["room_left", "/", sid, sid],
        ["socket_disconnected", "/", sid, "ping timeout"],
    ]


def test_a_clients_handshake_without_its_secrets(shown: AdminWorld) -> None:
    shown.peer()
    ((sockets,),) = named(AdminPage(shown).heard(), "all_sockets")
    (socket,) = sockets
    assert socket["handshake"] == {
        "address": "192.0.2.7",
        "headers": {
            "user-agent": "x" * 200 + "... (300 characters)",
            "cookie": "***",
            "authorization": "***",
            "origin": "http://a",
        },
        "query": {"EIO": "4", "token": "***", "room": "r"},
        "secure": False,
        "url": "/socket.io/",
        "xdomain": True,
        "issued": 1_700_001_000_000,
        "time": "2023-11-14T22:30:00.000+00:00",
    }
    assert (socket["transport"], socket["data"], socket["nsp"]) == ("websocket", {}, "/")
    assert "eio" not in json.dumps(socket)


def test_events_that_come_and_that_are_sent(shown: AdminWorld) -> None:
    shown.on("say", lambda socket, word: shown.hub.emit("said", [word]))
    page = AdminPage(shown)
    peer = shown.peer()
    page.look()
    peer.say('2["say","x"]')
    received, sent = page.look()
    assert received[:4] == ["event_received", "/", peer.names["sid"], ["say", "x"]]
    assert sent[:4] == ["event_sent", "/", "everybody", ["said", "x"]]


def test_production_tells_figures_alone() -> None:
    world = world_of(mode="production")
    page = AdminPage(world)
    peer = world.peer()
    peer.say('2["say","secret"]')
    heard = page.heard()
    assert named(heard, "config") == [[{"supportedFeatures": [*ORDERS, "AGGREGATED_EVENTS"]}]]
    heard += page.look(1) + page.look(1)
    assert {event[0] for event in heard} == {"session", "config", "server_stats"}
    assert "secret" not in json.dumps(heard)


def test_figures_come_at_their_interval(shown: AdminWorld) -> None:
    page = AdminPage(shown)
    page.heard()
    peers = [shown.peer() for _ in range(3)]
    peers[0].say('2["say","x"]')
    assert [len(named(page.look(), "server_stats")) for _ in range(9)] == [0, 0, 0, 1, 0, 0, 0, 1, 0]
    shown.advance(0.5)
    peers[2].lose()
    (figures,) = named(page.look(0.5) + page.look(0.5), "server_stats")
    assert figures[0] | {"pid": 1, "hostname": "h"} == {
        "serverId": "here",
        "hostname": "h",
        "pid": 1,
        "uptime": 6.0,
        "clientsCount": 3,
        "pollingClientsCount": 0,
        "aggregatedEvents": [
            {
                "timestamp": 1_700_001_005_000,
                "type": "rawDisconnection",
                "count": 1,
                "subType": "transport close",
            }
        ],
        "namespaces": [{"name": "/", "socketsCount": 2}, {"name": "/admin", "socketsCount": 1}],
    }


def test_a_page_that_does_not_read_is_not_told_and_then_told_all(shown: AdminWorld) -> None:
    page = AdminPage(shown)
    page.look()
    page.peer.link.blocked = True
    peers = [shown.peer() for _ in range(1_200)]
    for peer in peers[:700]:
        peer.lose()
    assert page.look(1) == []
    page.peer.link.blocked = False
    told = page.look(0.1) + page.look(2)
    for _ in range(500 // admin_feed.SOCKETS_PER_TURN):
        assert named(told, "all_sockets") == []
        told += page.look(0)
    ((sockets,),) = named(told, "all_sockets")
    assert len([socket for socket in sockets if socket["nsp"] == "/"]) == 500
    assert named(told, "socket_connected") == []
    shown.peer()
    assert len(named(page.look(), "socket_connected")) == 1


def test_a_page_that_has_gone_is_not_looked_for(shown: AdminWorld) -> None:
    page = AdminPage(shown)
    page.peer.lose()
    shown.advance(0.5)
    assert [
        timer for timer in shown.timers if timer.function is not None and timer.when < shown.now + 5
    ] == []


def test_a_page_may_go_while_its_connect_handler_runs(shown: AdminWorld) -> None:
    peer = shown.peer(None)
    peer.say("0/admin," + json.dumps(CREDENTIALS), run=False)
    peer.lose()
    assert shown.instrumented._pages == set()


# What a page orders


def test_orders_move_disconnect_and_emit(shown: AdminWorld) -> None:
    page, ann, bob = AdminPage(shown), shown.peer(), shown.peer()
    first, second = ann.names["sid"], bob.names["sid"]
    page.order("join", "/", "blue", first)
    assert shown.hub.members_of("/", "blue") == [first]
    page.order("join", "/", "red", "blue")
    page.order("join", "/", "all")
    assert sorted(shown.hub.rooms_of("/", first)[1:]) == ["all", "blue", "red"]
    assert shown.hub.rooms_of("/", second)[1:] == ["all"]
    page.order("emit", "/", "red", "news", 1, {"a": None})
    assert (ann.heard(), bob.heard()) == (['2["news",1,{"a":null}]'], [])
    page.order("emit", "/", None, "news")
    assert (ann.heard(), bob.heard()) == (['2["news"]'], ['2["news"]'])
    page.order("leave", "/", "all", first)
    assert shown.hub.members_of("/", "all") == [second]
    page.order("leave", "/", "all")
    assert shown.hub.members_of("/", "all") == []
    page.order("_disconnect", "/", True, first)
    assert (ann.heard(), bob.heard()) == (["1"], [])
    page.order("_disconnect", "/", False)
    assert bob.heard() == ["1"]
    assert shown.complaints == []


@pytest.mark.parametrize("read_only", [True, False])
def test_orders_that_are_refused(read_only: bool) -> None:
    world = world_of(read_only=read_only)
    caught: list[str] = []
    for event in ("*", "disconnect"):
        world.on_all(event, lambda socket, name, arguments: caught.append(name))
    page, peer = AdminPage(world), world.peer()
    sid = peer.names["sid"]
    bad: list[list[Any]] = [
        ["join"],
        ["join", "/", None, sid],
        ["join", "/", {"room": 1}, sid],
        ["join", "/", True, sid],
        ["join", "/", "blue", ["x"]],
        ["join", 7, "blue", sid],
        ["join", "/", "blue", sid, "more"],
        ["leave", "/", "blue", {}],
        ["_disconnect"],
        ["_disconnect", None, False, sid],
        ["emit", "/", None, "connect"],
        ["emit", "/", None, 7],
        ["emit", "/"],
        ["emit", ["/"], None, "x"],
        ["__class__", "/", "blue"],
        ["uninstrument"],
    ]
    if read_only:
        bad += [["join", "/", "blue", sid], ["emit", "/", None, "x"], ["_disconnect", "/", False, sid]]
        assert named(page.heard(), "config") == [[{"supportedFeatures": ["AGGREGATED_EVENTS", "ALL_EVENTS"]}]]
    for order in bad:
        page.order(*order)
    assert len(world.complaints) == len(bad)
    assert (peer.heard(), world.hub.rooms_of("/", sid), world.reports) == ([], [sid], [])
    page.peer.lose()
    assert caught == []  # not even by who takes all events of all namespaces


def test_orders_for_nobody_do_nothing(shown: AdminWorld) -> None:
    page, peer = AdminPage(shown), shown.peer()
    for order in ("join", "leave"):
        page.order(order, "/", "blue", "nobody")
        page.order(order, "/nowhere", "blue")
    page.order("_disconnect", "/", False, "nobody")
    page.order("emit", "/nowhere", None, "x")
    page.order("emit", "/", "nobody", "x")
    assert (peer.heard(), shown.complaints, shown.reports) == ([], [], [])


def test_what_is_told_is_not_in_the_recovery_log() -> None:
    recovery = RecoveryLog()
    world = world_of({"recovery": recovery})
    page = AdminPage(world)
    peer = world.peer()
    before = recovery.events.position
    world.hub.emit("news", ["x"])
    assert recovery.events.position == before + 1
    told = [event for event in page.look() if event[0] == "event_sent"]
    assert told[0][3] == ["news", "x"]  # without its name there
    assert recovery.events.position == before + 1
    assert peer.heard()


def test_a_namespace_of_the_application_is_not_taken() -> None:
    """Its own handlers of `join` and `connect` would be a mixture with ours."""
    handler = Handler(lambda *arguments: None)
    uses: list[Callable[[Hub], None]] = [
        lambda hub: hub.handlers.on("/admin", "join", handler),
        lambda hub: hub.handlers.on_namespace("/admin", handler),
        lambda hub: instrument(hub),
    ]
    for use in uses:
        hub = Hub()
        use(hub)
        with pytest.raises(ValueError, match=r"^namespace='/admin': it has handlers already: choose another"):
            instrument(hub)
        assert hub.handlers.handles("/admin")
    instrument(hub, "/another")
    hub = Hub()
    hub.handlers.allow(["/admin"])
    instrument(hub)


def instrument(hub: Hub, namespace: str = "/admin") -> None:
    admin_module.Admin(hub, CREDENTIALS, "development", False, None, namespace, 2.0)
