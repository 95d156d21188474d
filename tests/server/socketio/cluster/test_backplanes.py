"""One suite for every backplane: clients of several workers' hubs, joined (socketio/cluster/port.py).

It must not know how the workers are joined, nor count what is written: that stands with each backplane.
"""

import json
import random
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.recovery.log import RecoveryLog


class Seated:
    """Clients of a cluster by name: "a0" is worker 0's, and so on."""

    def __init__(self, cluster: Any, *names: str, namespace: str = "/") -> None:
        self.cluster = cluster
        self.peers: dict[str, Any] = {}
        self.sids: dict[str, str] = {}
        self.asked: set[str] = set()
        for name in names:
            self.add(name, namespace)

    def add(self, name: str, namespace: str = "/") -> None:
        peer = self.cluster.worlds[int(name[-1])].peer(None)
        self.peers[name] = peer
        self.sids[name] = peer.join(namespace)

    def heard(self) -> dict[str, list[Any]]:
        """Packets by name, of those who heard any."""
        self.cluster.settle()
        heard = {name: peer.heard() for name, peer in self.peers.items()}
        return {name: packets for name, packets in heard.items() if packets}

    def answer(self, *names: str) -> None:
        """Whoever was asked says its name; only the named, if any are."""
        for name, peer in self.peers.items():
            for packet in peer.heard():
                if isinstance(packet, str) and packet[1].isdigit():
                    self.asked.add(name)
                    if name in names or not names:
                        number = packet[packet.index("-") + 1 if packet[0] == "5" else 1 : packet.index("[")]
                        peer.say(f'3{number}["{name}"]')

    def ack(self, name: str, *values: Any) -> None:
        """Answer the one event that asked."""
        (packet,) = self.peers[name].heard()
        number = packet[1 : packet.index("[")]
        self.peers[name].say(f"3{number}{json.dumps(values)}")


@pytest.fixture
def seated(cluster: Any) -> Seated:
    return Seated(cluster, "a0", "b0", "a1", "b1", "a2")


def hub(seated: Seated, index: int = 0) -> Any:
    return seated.cluster.worlds[index].hub


# ---- emit


def test_everybody_everywhere_hears_once(seated: Seated) -> None:
    hub(seated, 1).emit("x", (1,))
    assert seated.heard() == {name: ['2["x",1]'] for name in seated.peers}


def test_a_room_reaches_over_all_workers(seated: Seated) -> None:
    for index, name in enumerate(("a0", "a1", "a2")):
        hub(seated, index).join("/", seated.sids[name], "red")
    hub(seated, 1).emit("x", (), to=BroadcastOptions(rooms=("red",)))
    assert set(seated.heard()) == {"a0", "a1", "a2"}


def test_several_rooms_reach_a_client_once(seated: Seated) -> None:
    for room in ("red", 7):
        hub(seated, 0).join("/", seated.sids["a1"], room)
        hub(seated, 0).join("/", seated.sids["b0"], room)
    hub(seated, 2).emit("x", (), to=BroadcastOptions(rooms=("red", 7)))
    assert seated.heard() == {"a1": ['2["x"]'], "b0": ['2["x"]']}


def test_a_number_and_its_digits_are_different_rooms(seated: Seated) -> None:
    hub(seated, 0).join("/", seated.sids["a1"], 7)
    hub(seated, 0).join("/", seated.sids["b1"], "7")
    hub(seated, 0).emit("x", (), to=BroadcastOptions(rooms=(7,)))
    hub(seated, 0).emit("y", (), to=BroadcastOptions(rooms=("7",)))
    assert seated.heard() == {"a1": ['2["x"]'], "b1": ['2["y"]']}


def test_one_client_elsewhere(seated: Seated) -> None:
    hub(seated, 0).emit("x", (), to=BroadcastOptions(rooms=(seated.sids["a2"],)))
    assert seated.heard() == {"a2": ['2["x"]']}


def test_exceptions_hold_everywhere(seated: Seated) -> None:
    hub(seated, 1).join("/", seated.sids["a1"], "red")
    hub(seated, 0).emit("x", (), to=BroadcastOptions(excepted=("red", seated.sids["a2"], seated.sids["a0"])))
    assert set(seated.heard()) == {"b0", "b1"}


def test_local_events_stay(seated: Seated) -> None:
    hub(seated, 1).emit("x", (), to=BroadcastOptions(local=True))
    assert set(seated.heard()) == {"a1", "b1"}


def test_volatile_events_are_dropped_where_the_client_is(seated: Seated) -> None:
    seated.peers["a1"].link.blocked = True
    hub(seated, 0).emit("x", (), to=BroadcastOptions(volatile=True))
    assert set(seated.heard()) == {"a0", "b0", "b1", "a2"}


def test_binary_values_and_odd_text_arrive_as_they_are(seated: Seated) -> None:
    text = "caf\u00e9 \u2028 \U0001f600 \ud800"
    hub(seated, 0).emit("x", ({"data": b"\x00\xff", "text": text}, b"second"))
    packets = seated.heard()
    assert len(packets) == 5
    for heard in packets.values():
        event, first, second = heard
        assert (first, second) == (b"\x00\xff", b"second")
        assert event.startswith("52-[")
        assert json.loads(event[3:])[1]["text"] == text
    assert packets["a0"] == packets["a2"]


def test_messagepack(make_cluster: Any) -> None:
    cluster = make_cluster(2, codec=MsgpackCodec)
    codec = MsgpackCodec()
    peers = []
    for world in cluster.worlds:
        peer = world.peer(None)
        peer.say(*codec.prepare(0, "/").packets)
        peer.heard()
        peers.append(peer)
    cluster.worlds[0].hub.emit("x", (b"\x01", {"a": [1.5]}))
    cluster.settle()
    assert peers[0].heard() == peers[1].heard() != []


def test_a_namespace_that_nobody_joined_here(seated: Seated) -> None:
    seated.add("d2", "/made/up")
    hub(seated, 0).emit("x", (1,), to=BroadcastOptions(namespace="/made/up"))
    hub(seated, 1).join("/made/up", seated.sids["d2"], "red")
    hub(seated, 1).emit("y", (), to=BroadcastOptions(namespace="/made/up", rooms=("red",)))
    assert seated.heard() == {"d2": ['2/made/up,["x",1]', '2/made/up,["y"]']}


def test_many_namespaces_come_and_go(seated: Seated) -> None:
    for number in range(40):
        namespace = f"/n{number}"
        index = number % 3
        peer = seated.cluster.worlds[index].peer(None)
        peer.join(namespace)
        hub(seated, (index + 1) % 3).emit("x", (number,), to=BroadcastOptions(namespace=namespace))
        seated.cluster.settle()
        assert peer.heard() == [f'2{namespace},["x",{number}]']
        peer.lose()
        assert namespace not in hub(seated, index)._running.rooms.adapters
    assert seated.heard() == {}


@pytest.mark.parametrize("room", [("a", 1), 1.5, None, True, 2**63, b"red"])
def test_rooms_that_cannot_travel_are_refused_in_the_callers_thread(seated: Seated, room: Any) -> None:
    sid = seated.sids["a0"]
    for ask in (
        lambda: hub(seated).emit("x", (), to=BroadcastOptions(rooms=(room,))),
        lambda: hub(seated).emit("x", (), to=BroadcastOptions(excepted=(room,))),
        lambda: hub(seated).join("/", sid, room),
        lambda: hub(seated).enter("/", sid, room),
        lambda: hub(seated).leave("/", sid, room),
        lambda: hub(seated).close_room("/", room),
    ):
        with pytest.raises(TypeError, match="cannot be named to other processes"):
            ask()
    with pytest.raises(ValueError, match="surrogates"):
        hub(seated).join("/", sid, "\ud800")


def test_a_local_event_may_name_any_room(seated: Seated) -> None:
    hub(seated).emit("x", (), to=BroadcastOptions(rooms=((1, 2),), local=True))
    assert seated.heard() == {}


# ---- order


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), steps=st.integers(5, 80))
def test_each_senders_words_and_moves_come_in_its_order_however_all_interleave(
    seed: int, steps: int, make_cluster: Any
) -> None:
    """Each client is moved into the room and out of it by one worker alone, among that worker's own words.

    It hears of that worker exactly what was said while it was inside, of all others no more than they said,
    in their order, and of everybody all that was said to everybody.
    """
    chance = random.Random(seed)
    cluster = make_cluster(3)
    seated = Seated(cluster, "a0", "b0", "a1", "b1", "a2")
    mover = {name: chance.randrange(3) for name in seated.peers}
    inside: set[str] = set()
    said: dict[int, list[bool]] = {worker: [] for worker in range(3)}  # was it to everybody?
    owed: dict[str, list[int]] = {name: [] for name in seated.peers}  # numbers of what its mover said
    got: dict[str, dict[int, list[int]]] = {name: defaultdict(list) for name in seated.peers}

    for _ in range(steps):
        worker = chance.randrange(3)
        what = chance.randrange(8)
        if what < 4:
            number, everybody = len(said[worker]), what == 0
            said[worker].append(everybody)
            hub(seated, worker).emit(
                "n", (worker, number), to=BroadcastOptions(rooms=None if everybody else ("red",))
            )
            for name in seated.peers:
                if mover[name] == worker and (everybody or name in inside):
                    owed[name].append(number)
        elif what < 6:
            movable = [name for name in seated.peers if mover[name] == worker]
            if movable:
                name = chance.choice(movable)
                change = hub(seated, worker).leave if name in inside else hub(seated, worker).join
                change("/", seated.sids[name], "red")
                inside ^= {name}
        elif what == 6:
            cluster.worlds[worker].run()
        else:
            cluster.joint.pump()
    cluster.settle()
    for name, peer in seated.peers.items():
        for packet in peer.heard():
            _, sender, number = json.loads(packet[1:])
            got[name][sender].append(number)
    for name in seated.peers:
        for sender, words in said.items():
            heard = got[name][sender]
            if sender == mover[name]:
                assert heard == owed[name]
            else:
                assert heard == sorted(set(heard) & set(range(len(words))))
                assert {number for number, everybody in enumerate(words) if everybody} <= set(heard)
    make_cluster.close()


def test_a_client_moved_from_elsewhere_hears_what_is_said_after(seated: Seated) -> None:
    hub(seated, 0).join("/", seated.sids["a2"], "red")
    hub(seated, 0).emit("in", (), to=BroadcastOptions(rooms=("red",)))
    hub(seated, 0).leave("/", seated.sids["a2"], "red")
    hub(seated, 0).emit("out", (), to=BroadcastOptions(rooms=("red",)))
    assert seated.heard() == {"a2": ['2["in"]']}


# ---- acks


def test_acks_of_clients_everywhere_reach_the_callback_each_once(seated: Seated) -> None:
    got: list[Any] = []
    hub(seated, 1).emit(
        "q", (1,), callback=lambda socket, values: got.append((socket and socket.sid, values))
    )
    seated.cluster.settle()
    for name in ("a1", "a2", "a0"):
        seated.ack(name, name, 2)
        seated.cluster.settle()
    assert got == [(seated.sids["a1"], ["a1", 2]), (None, ["a2", 2]), (None, ["a0", 2])]


def test_binary_values_survive_in_acks(seated: Seated) -> None:
    got: list[Any] = []
    sid = seated.sids["a2"]
    hub(seated, 0).emit(
        "q", (b"\x07",), to=BroadcastOptions(rooms=(sid,)), callback=lambda socket, values: got.append(values)
    )
    seated.cluster.settle()
    event, attachment = seated.peers["a2"].heard()
    assert attachment == b"\x07"
    number = event[3 : event.index("[")]
    seated.peers["a2"].say(f'61-{number}[{{"deep":{{"_placeholder":true,"num":0}}}},"x"]', b"\x00\xfe")
    seated.cluster.settle()
    assert got == [[{"deep": b"\x00\xfe"}, "x"]]


def test_an_ack_that_looks_like_a_placeholder_is_only_data(seated: Seated) -> None:
    got: list[Any] = []
    sid = seated.sids["a2"]
    hub(seated, 0).emit(
        "q", (), to=BroadcastOptions(rooms=(sid,)), callback=lambda socket, values: got.append(values)
    )
    seated.cluster.settle()
    forged = {"_placeholder": True, "num": 0}
    seated.ack("a2", forged)
    seated.cluster.settle()
    assert got == [[forged]]


def test_late_acks_and_leaving_clients_expire(seated: Seated) -> None:
    got: list[Any] = []
    hub(seated, 0).emit(
        "q",
        (),
        callback=lambda socket, values: got.append(values),
        timeout_seconds=60.0,
        expired=lambda socket: got.append("expired"),
    )
    seated.cluster.settle()
    seated.ack("a2", 1)
    seated.peers["a1"].lose()
    seated.cluster.settle()
    assert sorted(got, key=str) == [[1], "expired"]  # of two workers, whose words come in any order
    seated.cluster.advance(60.0)
    assert sorted(got, key=str) == [[1], *["expired"] * 4]
    seated.ack("b1", 2)
    seated.cluster.settle()
    assert len(got) == 5


def test_a_whole_room_answers_from_all_workers(seated: Seated) -> None:
    for name in ("a0", "a1", "a2"):
        hub(seated, 0).join("/", seated.sids[name], "red")
    seated.cluster.settle()
    answers = seated.cluster.ask(
        lambda: hub(seated, 1).call_room("q", (), to=BroadcastOptions(rooms=("red",)), timeout_seconds=60.0),
        seated.answer,
    )
    assert sorted(answers.values) == [["a0"], ["a1"], ["a2"]]
    assert answers.missing_count == 0


def test_a_room_of_which_some_leave_and_some_are_late(seated: Seated) -> None:
    def meanwhile() -> None:
        seated.answer("a0", "a1")
        if seated.asked >= {"a0", "a1", "a2", "b1"} and not seated.peers["b1"].link.closed:
            seated.peers["b1"].lose()
            seated.peers["b1"].link.closed = True
            seated.cluster.advance(60.0)

    answers = seated.cluster.ask(
        lambda: hub(seated, 2).call_room("q", (), to=BroadcastOptions(), timeout_seconds=60.0),
        meanwhile,
    )
    assert (sorted(answers.values), answers.missing_count) == ([["a0"], ["a1"]], 3)


def test_a_room_where_nobody_is_answers_at_once(seated: Seated) -> None:
    answers = seated.cluster.ask(
        lambda: hub(seated).call_room("q", (), to=BroadcastOptions(rooms=("empty",)), timeout_seconds=60.0)
    )
    assert (answers.values, answers.missing_count) == ([], 0)


def test_a_client_elsewhere_is_called(seated: Seated) -> None:
    sid = seated.sids["b1"]
    values = seated.cluster.ask(
        lambda: hub(seated).call("q", (1, b"x"), namespace="/", sid=sid, timeout_seconds=60.0), seated.answer
    )
    assert values == ["b1"]
    assert seated.asked == {"b1"}


def test_a_call_to_nobody_or_to_a_client_that_leaves(seated: Seated) -> None:
    with pytest.raises(TimeoutError, match="has left"):
        seated.cluster.ask(
            lambda: hub(seated).call("q", (), namespace="/", sid="nobody", timeout_seconds=60.0)
        )

    def leave() -> None:
        if seated.peers["a1"].heard():
            seated.peers["a1"].lose()

    with pytest.raises(TimeoutError, match="has left"):
        seated.cluster.ask(
            lambda: hub(seated).call("q", (), namespace="/", sid=seated.sids["a1"], timeout_seconds=60.0),
            leave,
        )


def test_a_client_elsewhere_owes_no_ack_to_a_call_whose_time_is_over(seated: Seated) -> None:
    sid = seated.sids["a1"]
    with pytest.raises(TimeoutError, match="no answer within"):
        seated.cluster.ask(
            lambda: hub(seated).call("q", (), namespace="/", sid=sid, timeout_seconds=0.001),
            lambda: seated.cluster.advance(0.001),
        )
    assert len(seated.peers["a1"].heard()) == 1
    assert seated.peers["a1"].socket.acks == {}


def test_a_call_to_a_client_elsewhere_whose_connect_handler_runs(seated: Seated) -> None:
    world = seated.cluster.worlds[1]
    world.on("connect")
    peer = world.peer(None)
    peer.say("0", run=False)
    sid = peer.socket.sid
    question = lambda: hub(seated).call("q", (), namespace="/", sid=sid, timeout_seconds=60.0)  # noqa: E731
    jobs, world.jobs.waiting = world.jobs.waiting, type(world.jobs.waiting)()
    with pytest.raises(RuntimeError, match="connect handler has not returned"):
        seated.cluster.ask(question)
    world.jobs.waiting.extend(jobs)


def test_who_asks_needs_no_clients_of_its_own(cluster: Any) -> None:
    seated = Seated(cluster, "a1")
    got: list[Any] = []
    hub(seated, 0).emit("q", (), callback=lambda socket, values: got.append(values))
    cluster.settle()
    seated.ack("a1", 1)
    cluster.settle()
    assert got == [[1]]


def test_processes_number_their_questions_apart(seated: Seated) -> None:
    """A client may come back to another process and answer there what was asked elsewhere."""
    numbers: set[int] = set()
    for index in range(3):
        sid = seated.sids[f"a{index}"]
        hub(seated, index).emit(
            "q", (), to=BroadcastOptions(rooms=(sid,)), callback=lambda socket, values: None
        )
        seated.cluster.settle()
        (packet,) = seated.peers[f"a{index}"].heard()
        numbers.add(int(packet[1 : packet.index("[")]))
    assert len(numbers) == 3
    assert max(numbers) < 2**31


# ---- clients and rooms of other workers


def test_a_client_elsewhere_is_sent_away_and_told_why(seated: Seated) -> None:
    told: list[Any] = []
    seated.cluster.worlds[2].on("disconnect", lambda socket, reason: told.append(reason))
    hub(seated).disconnect("/", seated.sids["a2"], "kicked")
    heard = seated.heard()
    assert heard == {"a2": ['2["closing",{"reason":"server namespace disconnect","detail":"kicked"}]', "1"]}
    assert told == ["server namespace disconnect"]
    hub(seated).disconnect("/", "nobody")
    assert seated.heard() == {}


def test_a_client_elsewhere_ends_at_its_moment(seated: Seated) -> None:
    told: list[Any] = []
    world = seated.cluster.worlds[2]
    world.on("disconnect", lambda socket, reason: told.append(reason))
    hub(seated).expire("/", seated.sids["a2"], world.services.wall() + 5)
    assert seated.heard() == {}
    seated.cluster.advance(6)
    (closing, goodbye) = seated.heard()["a2"]
    assert ("auth expired" in closing, goodbye, told) == (True, "1", ["auth expired"])


def test_entering_elsewhere_has_a_verdict(seated: Seated) -> None:
    ask = seated.cluster.ask
    ask(lambda: hub(seated).enter("/", seated.sids["a2"], "red"))
    assert ask(lambda: hub(seated, 2).rooms_of("/", seated.sids["a2"])) == [seated.sids["a2"], "red"]
    with pytest.raises(ValueError, match="not connected"):
        ask(lambda: hub(seated).enter("/", "nobody", "red"))
    with pytest.raises(ValueError, match="sid room"):
        ask(lambda: hub(seated).enter("/", seated.sids["a1"], seated.sids["b1"]))


def test_entering_from_the_loops_thread_waits_for_nobody(seated: Seated) -> None:
    hub(seated).enter("/", seated.sids["a2"], "red")
    seated.cluster.settle()
    assert hub(seated, 2)._running.rooms.adapters["/"].members_of("red") == [seated.sids["a2"]]


def test_a_room_is_closed_everywhere(seated: Seated) -> None:
    for name in ("a0", "b1", "a2"):
        hub(seated, 1).join("/", seated.sids[name], "red")
    seated.cluster.settle()
    seated.cluster.ask(lambda: hub(seated).close_room("/", "red"))
    hub(seated).emit("x", (), to=BroadcastOptions(rooms=("red",)))
    assert seated.heard() == {}


def test_a_room_that_is_a_clients_own_is_not_closed_from_anywhere(seated: Seated) -> None:
    for index in range(3):
        with pytest.raises(ValueError, match="sid room"):
            seated.cluster.ask(lambda index=index: hub(seated, index).close_room("/", seated.sids["a1"]))


@pytest.mark.parametrize("name", ["a0", "a1", "a2"])
@pytest.mark.parametrize("victim", ["b0", "b1"])
def test_nobody_enters_the_room_of_another_client(seated: Seated, name: str, victim: str) -> None:
    """What is said to one client alone is heard by nobody else, whichever worker says it."""
    with pytest.raises(ValueError, match="sid room"):
        seated.cluster.ask(lambda: hub(seated).enter("/", seated.sids[name], seated.sids[victim]))
    for index in range(3):
        hub(seated, index).emit("x", (), to=BroadcastOptions(rooms=(seated.sids[victim],)))
    assert seated.heard() == {victim: ['2["x"]'] * 3}


def test_rooms_and_members_are_known_everywhere(seated: Seated) -> None:
    ask = seated.cluster.ask
    for name, room in (("a0", "red"), ("a1", "red"), ("a1", 7)):
        hub(seated, 2).join("/", seated.sids[name], room)
    seated.cluster.settle()
    assert ask(lambda: hub(seated, 2).rooms_of("/", seated.sids["a1"])) == [seated.sids["a1"], "red", 7]
    assert ask(lambda: hub(seated, 2).rooms_of("/", "nobody")) == []
    for index in range(3):
        members = ask(lambda index=index: hub(seated, index).members_of("/", "red"))
        assert sorted(members) == sorted([seated.sids["a0"], seated.sids["a1"]])
        everybody = ask(lambda index=index: hub(seated, index).members_of("/", None))
        assert sorted(everybody) == sorted(seated.sids.values())
    assert ask(lambda: hub(seated).members_of("/made/up", None)) == []


def test_a_question_that_could_only_hang_raises_at_once(seated: Seated) -> None:
    for ask in (
        lambda: hub(seated).members_of("/", "red"),
        lambda: hub(seated).rooms_of("/", seated.sids["a1"]),
    ):
        with pytest.raises(RuntimeError, match="own thread"):
            ask()
    assert hub(seated).rooms_of("/", seated.sids["a0"]) == [seated.sids["a0"]]


def test_each_worker_tells_of_its_own_clients_moves(seated: Seated) -> None:
    moves: dict[int, list[Any]] = {0: [], 1: [], 2: []}
    for index, heard in moves.items():
        hub(seated, index).handlers.on_presence(lambda *move, heard=heard: heard.append(move))
    sid = seated.sids["a1"]
    hub(seated, 0).join("/", sid, "red")
    hub(seated, 2).leave("/", sid, "red")
    seated.cluster.settle()
    assert moves == {0: [], 1: [("join", "/", sid, "red"), ("leave", "/", sid, "red")], 2: []}


def test_what_is_known_of_members_elsewhere(seated: Seated) -> None:
    ask, sid, other = seated.cluster.ask, seated.sids["a1"], seated.sids["a2"]
    hub(seated, 0).join("/", sid, "red", {"name": "\u00c4nn"}, "ann")
    seated.cluster.settle()
    ask(lambda: hub(seated, 0).enter("/", other, "red", {"n": 1}))
    hub(seated, 2).join("/", seated.sids["a2"], "blue")
    seated.cluster.settle()
    found = ask(lambda: hub(seated, 0).details_of("/", "red"))
    assert sorted(found, key=str) == sorted(
        [
            {"sid": sid, "key": "ann", "meta": {"name": "\u00c4nn"}},
            {"sid": other, "key": None, "meta": {"n": 1}},
        ],
        key=str,
    )
    hub(seated, 0).update("/", sid, "red", {"name": "Eve"})
    hub(seated, 0).update("/", sid, "green", {"name": "is not there"})
    seated.cluster.settle()
    assert {"sid": sid, "key": "ann", "meta": {"name": "Eve"}} in ask(
        lambda: hub(seated, 2).details_of("/", "red")
    )
    assert ask(lambda: hub(seated, 0).details_of("/", "green")) == []
    (plain,) = ask(lambda: hub(seated, 1).details_of("/", "blue"))
    assert plain == {"sid": other, "key": None, "meta": None}


def test_several_clients_of_one_user_are_told_of_once(seated: Seated) -> None:
    moves: list[Any] = []
    for index in range(3):
        hub(seated, index).handlers.on_presence(lambda *move: moves.append(move))
    for index in range(3):
        hub(seated, index).join("/", seated.sids[f"a{index}"], "red", {"n": 1}, "ann")
    seated.cluster.settle()
    assert [(move[0], move[3:]) for move in moves] == [("join", ("red", {"n": 1}))]
    hub(seated, 0).update("/", seated.sids["a1"], "red", {"n": 2})
    seated.cluster.settle()
    assert moves[1:] == [("update", "/", seated.sids["a1"], "red", {"n": 2})]
    for index in range(3):
        hub(seated, 1).leave("/", seated.sids[f"a{index}"], "red")
        seated.cluster.settle()
    assert [move[0] for move in moves][-1] == "leave"
    assert [move[0] for move in moves].count("leave") == 1


# ---- recovery


def test_what_is_said_elsewhere_is_remembered_before_it_is_delivered(make_cluster: Any, request: Any) -> None:
    """Who was away while another worker spoke misses nothing; an event's name is the same on a whole machine,
    and another one on another."""
    cluster = make_cluster(2, recovery=RecoveryLog)
    seated = Seated(cluster, "a0", "a1")
    hub(seated, 1).emit("seen", (1,))
    heard = seated.heard()
    machines_count = 2 if request.node.callspec.id == "redis" else 1
    assert len({packet for packets in heard.values() for packet in packets}) == machines_count
    (packet,) = heard["a0"]
    *said, offset = json.loads(packet[1:])
    assert said == json.loads(heard["a1"][0][1:])[:-1] == ["seen", 1]
    away = seated.peers["a0"]
    pid = away.names["pid"]
    away.lose()
    hub(seated, 1).emit("missed", (b"\x01", 2))
    cluster.settle()
    back = cluster.worlds[0].peer(None)
    back.say("0" + json.dumps({"pid": pid, "offset": offset}))
    connect, event, attachment = back.heard()
    assert json.loads(connect[1:]) == {"sid": seated.sids["a0"], "pid": pid}
    assert event.startswith('51-["missed",')
    assert attachment == b"\x01"
    there, same = seated.heard()["a1"]
    assert (there == event, same) == (machines_count == 1, b"\x01")
    assert cluster.unexpected == []


# ---- faults


def test_a_worker_of_this_machine_that_dies_is_not_waited_for(piped: Any) -> None:
    """Of the death of one on another machine only the time that is given for an answer tells."""
    cluster = piped(3)
    seated = Seated(cluster, "a0", "a1", "a2")
    got: list[Any] = []
    hub(seated).emit(
        "q",
        (),
        callback=lambda socket, values: got.append(values),
        expired=lambda socket: got.append("expired"),
    )
    cluster.settle()
    cluster.joint.lose(2)
    cluster.settle()
    seated.ack("a0", 0)
    seated.ack("a1", 1)
    cluster.settle()
    assert got == [[0], [1], "expired"]
    assert sorted(cluster.ask(lambda: hub(seated).members_of("/", None))) == sorted(
        [seated.sids["a0"], seated.sids["a1"]]
    )
