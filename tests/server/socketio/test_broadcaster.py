"""What goes out: to whom an event goes, what is encoded once, calls that are refused or late.

It must not know sockets.
"""

import itertools
import threading
from typing import Any

import pytest

from python_server.observe.masking import short
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.cluster.port import Envelope, NoBackplane, PeerRequest, QuestionKind
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.packet import EVENT, TextCodec
from python_server.socketio.recovery.event_names import sender_and_number
from python_server.socketio.recovery.log import RecoveryLog


def closed(peer: Any) -> bool:
    return bool(peer.link.closed)


def test_emit_reaches_rooms_and_leaves_out(world: Any) -> None:
    peers = [world.peer(None) for _ in range(3)]
    sids = [peer.join() for peer in peers]
    world.hub.join("/", sids[0], "red")
    world.hub.join("/", sids[1], "red")
    world.hub.emit("to red", ("x",), to=BroadcastOptions(rooms=("red",), excepted=(sids[1],)))
    world.hub.emit("to all", ())
    world.run()
    assert [peer.heard() for peer in peers] == [['2["to red","x"]', '2["to all"]']] + [['2["to all"]']] * 2


def test_a_broadcast_is_encoded_once(world: Any) -> None:
    encoded = []
    prepare = world.hub.codec.prepare
    world.hub.codec.prepare = lambda *args: encoded.append(1) or prepare(*args)
    peers = [world.peer() for _ in range(5)]
    encoded.clear()
    world.hub.emit("x", ())
    world.run()
    assert len(encoded) == 1
    assert all(peer.heard() == ['2["x"]'] for peer in peers)


def test_volatile_events_are_dropped_for_who_cannot_take_them(world: Any) -> None:
    slow, quick = world.peer(), world.peer()
    slow.link.blocked = True
    world.hub.emit("now", (), to=BroadcastOptions(volatile=True))
    world.hub.emit("always", ())
    world.run()
    assert (slow.heard(), quick.heard()) == (['2["always"]'], ['2["now"]', '2["always"]'])


def test_local_events_are_not_published(make_world: Any) -> None:
    class Elsewhere(NoBackplane):
        alone = False
        published: list[Any] = []

        def publish(self, envelope: Any) -> None:
            self.published.append(envelope.prepared.packets)

    world = make_world(make_backplane=lambda world: Elsewhere())
    peer = world.peer()
    world.hub.emit("here", (), to=BroadcastOptions(local=True))
    world.hub.emit("everywhere", (1,))
    world.run()
    assert len(peer.heard()) == 2
    assert Elsewhere.published == [['42["everywhere",1]']]


def test_acks_reach_the_callback_once(world: Any) -> None:
    got: list[Any] = []
    peer = world.peer(None)
    sid = peer.join()
    world.hub.emit(
        "q",
        (1,),
        to=BroadcastOptions(rooms=(sid,)),
        callback=lambda socket, values: got.append((socket.sid, values)),
    )
    world.run()
    (packet,) = peer.heard()
    ack_id = packet[1 : packet.index("[")]
    peer.say(f'3{ack_id}["yes",2]', f'3{ack_id}["again"]', "399999[]")
    assert got == [(sid, ["yes", 2])]
    assert not closed(peer)


def test_a_call_that_could_only_hang_raises_at_once(world: Any) -> None:
    sid = world.peer(None).join()
    for ask in (
        lambda: world.hub.call("q", (), namespace="/", sid=sid, timeout_seconds=1.0),
        lambda: world.hub.call_room(
            "q",
            (),
            to=BroadcastOptions(),
            timeout_seconds=1.0,
        ),
    ):
        with pytest.raises(RuntimeError, match="own thread"):
            ask()


def test_a_client_owes_no_ack_to_a_call_whose_time_is_over(world: Any) -> None:
    peer = world.peer(None)
    sid = peer.join()
    raised: list[BaseException] = []

    def call() -> None:
        try:
            world.hub.call("q", (), namespace="/", sid=sid, timeout_seconds=0.001)
        except TimeoutError as error:
            raised.append(error)

    worker = threading.Thread(target=call)
    worker.start()
    while worker.is_alive():
        world.run()
        world.advance(0.001)
    assert len(raised) == len(peer.heard()) == 1
    assert peer.socket.acks == {}


def called(world: Any, sid: str) -> Any:
    """What a call to the client ends with: it is made on a thread of its own, while the world turns."""
    ends: list[Any] = []

    def call() -> None:
        try:
            ends.append(world.hub.call("q", (), namespace="/", sid=sid, timeout_seconds=None))
        except Exception as error:
            ends.append((type(error).__name__, str(error)))

    thread = threading.Thread(target=call)
    thread.start()
    while thread.is_alive():
        world.run()
        yield
    yield ends[0]


def test_a_call_ends_with_the_answer_or_with_the_client(world: Any) -> None:
    peer, gone = world.peer(None), world.peer(None)
    for end in (turn for turn in called(world, peer.join())):
        for packet in peer.heard() if end is None else ():
            peer.say(f"3{packet[1 : packet.index('[')]}[1,2]")
    assert end == [1, 2]
    for end in called(world, gone.join()):
        if end is None and gone.heard():
            gone.lose()
    assert end == ("TimeoutError", "the client has left: no answer will come")


def test_a_client_whose_connect_handler_runs_cannot_be_asked(world: Any) -> None:
    ends: list[Any] = []
    world.on("connect", lambda socket, auth: ends.append([*called(world, socket.sid)][-1]))
    world.peer(None).say("0")
    assert [kind for kind, _ in ends] == ["RuntimeError"]
    assert "its connect handler has not returned" in ends[0][1]


def test_a_callback_that_fails_is_reported_and_stops_no_other(world: Any) -> None:
    heard: list[Any] = []

    def callback(socket: Any, values: list[Any]) -> None:
        heard.append(values)
        raise LookupError("broken")

    peers = [world.peer() for _ in range(2)]
    world.hub.emit("q", (), callback=callback)
    world.run()
    for number, peer in enumerate(peers):
        (packet,) = peer.heard()
        peer.say(f"3{packet[1 : packet.index('[')]}[{number}]")
    assert heard == [[0], [1]]
    assert [(what, str(error)) for what, error in world.reports] == [
        ("acknowledgement callback", "broken")
    ] * 2
    assert [what.fields for what, _ in world.reports] == [
        {"event": "q", "namespace": "/", "sid": short(peer.socket.sid)} for peer in peers
    ]


def test_an_event_that_others_are_to_hear_is_published_once(make_world: Any) -> None:
    published: list[Any] = []

    class Others(NoBackplane):
        alone = False

        def publish(self, item: Any) -> None:
            published.append(item)

        def request(self, request: PeerRequest) -> None:
            published.append((request.question.kind, request.timeout_seconds))
            request.ended(0)

    world = make_world(lambda world: Others())
    peer = world.peer()
    world.hub.emit("said", (1,))
    world.hub.emit("asked", (), callback=lambda socket, values: None, timeout_seconds=5.0)
    world.run()
    assert [packet[packet.index("[") :] for packet in peer.heard()] == ['["said",1]', '["asked"]']
    assert (published[0].namespace, published[0].rooms) == ("/", None)
    assert [kind for kind, _ in published[1:]] == [QuestionKind.ACKS]
    assert published[1][1] > 5.0


def test_a_call_to_a_room_brings_each_answer_and_counts_who_left(world: Any) -> None:
    peers = [world.peer() for _ in range(2)]
    ends: list[Any] = []
    to = BroadcastOptions()
    ask = world.hub.call_room
    thread = threading.Thread(target=lambda: ends.append(ask("q", (), to, timeout_seconds=5.0)))
    thread.start()
    while not (packets := peers[0].heard()):
        world.run()
    peers[0].say(f"3{packets[0][1 : packets[0].index('[')]}[7]")
    peers[1].lose()
    while thread.is_alive():
        world.run()
    assert (ends[0].values, ends[0].missing_count) == ([[7]], 1)


@pytest.mark.parametrize("ask", ["call", "call_room"])
def test_a_call_that_fails_on_the_loops_side_ends_with_an_error(make_world: Any, ask: str) -> None:
    """Without memory, say: the loop reports it, and whoever waits must not wait for ever."""

    class Broken(NoBackplane):
        alone = False

        def request(self, *asked: Any) -> None:
            raise MemoryError

    world = make_world(lambda world: Broken())
    world.peer()
    ends: list[Any] = []

    def call() -> None:
        try:
            if ask == "call":
                world.hub.call("q", (), "/", "of another process", timeout_seconds=None)
            else:
                world.hub.call_room("q", (), BroadcastOptions(), timeout_seconds=5.0)
        except RuntimeError as error:
            ends.append(str(error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    with pytest.raises(MemoryError):
        [world.run() for _ in itertools.count()]
    thread.join(30)  # seconds that only a thread that hangs needs
    assert ends == ["not everybody could be asked: the log says why"]


class Packing:
    """A codec whose callers are held between the naming of an event and its sending."""

    def __init__(self, prepare: Any) -> None:
        self.prepare, self.held, self.free = prepare, threading.Event(), threading.Event()

    def __call__(self, kind: Any, namespace: str, said: Any, *more: Any) -> Any:
        prepared = self.prepare(kind, namespace, said, *more)
        if said[0] == "slow" and not self.held.is_set():
            self.held.set()
            assert self.free.wait(60)
        return prepared


@pytest.mark.parametrize("codec", [TextCodec, MsgpackCodec])
def test_names_rise_in_the_order_in_which_events_are_said(make_world: Any, codec: Any) -> None:
    """A thread may be late between naming its event and saying it; others count by the names."""
    world = make_world(recovery=RecoveryLog(), codec=codec())
    said: list[Envelope] = []
    world.hub.recovery.append = lambda envelope, now: said.append(envelope)
    packing = world.hub.codec.prepare = Packing(world.hub.codec.prepare)
    late = threading.Thread(target=world.hub.emit, args=("slow", (b"\\0\\1", {"n": 1.5})))
    late.start()
    assert packing.held.wait(60)
    world.hub.emit("quick", ())
    world.run()
    packing.free.set()
    late.join()
    world.run()
    numbers = [sender_and_number(str(envelope.offset))[1] for envelope in said]
    assert len(numbers) == 2
    assert numbers == sorted(numbers)
    expected = packing.prepare(EVENT, "/", ("slow", b"\\0\\1", {"n": 1.5}, said[1].offset))
    assert said[1].prepared.packets == expected.packets
