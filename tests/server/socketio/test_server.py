"""Namespaces, events, acks, refusals, races and bounds of a hub whose jobs the test runs.

It must not know sockets; the same rules over real ones stand in tests/e2e/wire/test_socketio.py.
"""

import gc
import json
import threading
import weakref
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from python_server.engineio.session import DisconnectReason
from python_server.net.backlog import HARD_COUNT, SOFT_BYTES, SOFT_COUNT
from python_server.socketio import handler_runner
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.client import (
    HELD_MAX_BYTES,
    ConnectionRefused,
)
from python_server.socketio.cluster.port import NoBackplane
from python_server.socketio.connections import NAMESPACES_MAX_COUNT
from python_server.socketio.jsoncodec import OWN_WORDS
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.packet import TextCodec
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.server import Hub
from python_server.socketio.services import ClientTimeouts

PLACE = '{"_placeholder":true,"num":0}'


def closed(peer: Any) -> bool:
    return bool(peer.link.closed)


# ---- connect


def test_connect_is_answered_with_a_public_sid_of_each_namespace(world: Any) -> None:
    world.on("x", namespace="/shop")
    peer = world.peer(None)
    assert len({peer.join(), peer.join("/shop"), peer.session.sid}) == 3


def test_the_handler_gets_auth(world: Any) -> None:
    world.on("connect")
    world.peer(None).join(auth={"key": "s3"})
    world.peer()
    assert world.called == [("connect", ({"key": "s3"},)), ("connect", (None,))]


def test_the_reply_comes_before_what_the_connect_handler_emitted(world: Any) -> None:
    world.on(
        "connect", lambda socket, auth: world.hub.emit("hi", (1,), to=BroadcastOptions(rooms=(socket.sid,)))
    )
    peer = world.peer(None)
    peer.say("0")
    reply, event = peer.heard()
    assert reply.startswith('0{"sid":')
    assert event == '2["hi",1]'


def test_an_unknown_namespace(world: Any) -> None:
    peer = world.peer(None)
    peer.say("0/x,")
    assert peer.heard() == ['4/x,{"message":"Invalid namespace"}']
    assert not closed(peer)


@pytest.mark.parametrize(
    ("refuse", "error"),
    [
        (lambda: False, {"message": "Connection rejected by server"}),
        (ConnectionRefused("no entry"), {"message": "no entry"}),
        (ConnectionRefused("no entry", {"code": 7}), {"message": "no entry", "data": {"code": 7}}),
        (RuntimeError("a bug"), {"message": "Connection rejected by server"}),
    ],
)
def test_a_refusal_has_message_and_data(world: Any, refuse: Any, error: Any) -> None:
    def connect(socket: Any, auth: Any) -> Any:
        if isinstance(refuse, Exception):
            raise refuse
        return refuse()

    world.on("connect", connect)
    peer = world.peer(None)
    peer.say("0")
    (packet,) = peer.heard()
    assert packet[0] == "4"
    assert json.loads(packet[1:]) == error
    assert len(world.reports) == isinstance(refuse, RuntimeError)
    assert world.hub.members_of("/", None) == []
    peer.say('2["a"]')
    assert closed(peer)


def test_a_second_connect_closes(world: Any) -> None:
    peer = world.peer()
    peer.say("0")
    assert closed(peer)


@pytest.mark.parametrize("packet", ['2["a"]', "30[]", "1", f'51-["a",{PLACE}]', "1/shop,", '2/shop,["a"]'])
def test_anything_but_connect_before_it_closes(world: Any, packet: str) -> None:
    peer = world.peer(None)
    peer.say(packet, *([b"x"] if packet[0] == "5" else []))
    assert closed(peer)


def test_who_joins_nothing_is_sent_away(world: Any) -> None:
    silent, joined, refused = world.peer(None), world.peer(), world.peer(None)
    refused.say("0/x,")
    world.advance(ClientTimeouts().connect_timeout_seconds)
    assert [closed(peer) for peer in (silent, joined, refused)] == [True, False, True]


def test_a_slow_connect_handler_is_not_the_clients_fault(world: Any) -> None:
    world.on("connect")
    peer = world.peer(None)
    peer.say("0", run=False)
    world.now += ClientTimeouts().connect_timeout_seconds
    for timer in list(world.timers):
        if timer.function and timer.when <= world.now:
            timer.function()
    assert not closed(peer)
    world.run()
    assert len(peer.heard()) == 1


def test_a_client_that_leaves_while_its_connect_handler_runs(world: Any) -> None:
    """Its disconnect handler runs behind it, with the reason, and nothing is left."""
    world.on("connect")
    world.on("disconnect")
    peer = world.peer(None)
    peer.say("0", run=False)
    peer.session.end(DisconnectReason.PING_TIMEOUT)
    assert world.called == []
    world.run()
    assert world.called == [("connect", (None,)), ("disconnect", ("ping timeout",))]
    assert world.hub.members_of("/", None) == []


def test_a_refused_client_that_left_already(world: Any) -> None:
    world.on("connect", lambda socket, auth: False)
    world.on("disconnect")
    peer = world.peer(None)
    peer.say("0", run=False)
    peer.session.end(DisconnectReason.TRANSPORT_CLOSE)
    world.run()
    assert world.called == [("connect", (None,))]


def test_what_is_held_behind_the_reply_is_bounded(world: Any) -> None:
    world.on("connect")
    peer = world.peer(None)
    peer.say("0", run=False)
    text = "x" * (1024 * 1024)
    for _ in range(HELD_MAX_BYTES // len(text) + 1):
        world.hub.emit("big", (text,))
        world.drain()
    assert closed(peer)


def test_a_client_cannot_join_namespaces_without_end(world: Any) -> None:
    world.hub.handlers.allow("*")
    peer = world.peer(None)
    for number in range(NAMESPACES_MAX_COUNT):
        peer.say(f"0/n{number},")
    assert not closed(peer)
    peer.say("0/one-more,")
    assert closed(peer)
    assert world.sessions._connections._rooms.adapters == {}


# ---- events and acks


def test_events_reach_their_handler_in_order_with_their_arguments(world: Any) -> None:
    world.on("a")
    world.on("b", namespace="/shop")
    peer = world.peer()
    peer.join("/shop")
    peer.say('2["a",1,[2]]', '2/shop,["b",{"c":null}]', '2["a"]')
    assert world.called == [("a", (1, [2])), ("b", ({"c": None},)), ("a", ())]


@pytest.mark.parametrize(
    ("result", "ack"),
    [(None, "37[]"), (1, "37[1]"), ((1, 2), "37[1,2]"), ([1, 2], "37[[1,2]]"), ((), "37[]")],
)
def test_the_result_is_the_ack(world: Any, result: Any, ack: str) -> None:
    world.on("a", lambda socket: result)
    peer = world.peer()
    peer.say('27["a"]', '2["a"]')
    assert peer.heard() == [ack]


def test_a_binary_ack(world: Any) -> None:
    world.on("a", lambda socket, data: data)
    peer = world.peer()
    peer.say(f'51-7["a",{PLACE}]', b"\x01")
    assert peer.heard() == [f"61-7[{PLACE}]", b"\x01"]


def test_no_ack_without_a_handler_and_none_from_one_that_failed(world: Any) -> None:
    def fail(socket: Any) -> None:
        raise RuntimeError("a bug")

    world.on("b", fail)
    peer = world.peer()
    peer.say('27["a"]', '28["b"]')
    assert peer.heard() == []
    assert [what for what, _ in world.reports] == ["handler of event 'b'"]
    assert not closed(peer)


@pytest.mark.parametrize("name", ["connect", "disconnect", "connect_error", "disconnecting", "newListener"])
def test_reserved_names_never_reach_a_handler(world: Any, name: str) -> None:
    world.on(name)
    world.on("*")
    peer = world.peer()
    world.called.clear()
    peer.say(f'2["{name}",{{"who":"ROOT"}}]')
    assert closed(peer)
    assert [call for call in world.called if call[1] != ("parse error",)] == []


@pytest.mark.parametrize("packet", ["2[", "9", "4{}", "2{}", '50-["a"]', '2["a"]x'])
def test_a_malformed_packet_closes_and_only_this_client(world: Any, packet: str) -> None:
    world.on("disconnect")
    other, peer = world.peer(), world.peer()
    peer.say(packet)
    assert (closed(peer), closed(other)) == (True, False)
    assert world.called == [("disconnect", ("parse error",))]
    assert world.reports == []


def test_a_stray_binary_message_closes(world: Any) -> None:
    peer = world.peer()
    peer.say(b"x")
    assert closed(peer)


def test_text_between_attachments_closes(world: Any) -> None:
    world.on("a")
    peer = world.peer()
    peer.say(f'51-["a",{PLACE}]', '2["a"]')
    assert closed(peer)
    assert world.called == []


def test_attachments_that_do_not_come_in_time_close(world: Any) -> None:
    slow, quick = world.peer(), world.peer()
    slow.say(f'51-["a",{PLACE}]')
    world.advance(20.0)
    quick.say(f'51-["a",{PLACE}]')
    world.advance(15.0)
    assert (closed(slow), closed(quick)) == (True, False)
    quick.say(b"x")
    world.advance(60.0)
    assert not closed(quick)


def test_a_half_received_packet_is_dropped_with_its_client(world: Any) -> None:
    peer = world.peer()
    peer.say(f'51-["a",{PLACE}]')
    peer.lose()
    assert world.sessions._unfinished == {}


def test_an_inline_handler_runs_at_once_but_in_its_turn(world: Any) -> None:
    world.on("slow")
    world.on("quick", inline=True)
    peer = world.peer()
    peer.say('2["quick"]', run=False)
    assert world.called == [("quick", ())]
    peer.say('2["slow"]', '2["quick",2]', run=False)
    assert world.called == [("quick", ())]
    world.run()
    assert world.called == [("quick", ()), ("slow", ()), ("quick", (2,))]


# ---- leaving


def test_a_client_leaves_a_namespace_and_its_transport_stays(world: Any) -> None:
    world.on("disconnect")
    peer = world.peer()
    peer.say("1")
    assert (peer.heard(), closed(peer)) == ([], False)
    assert world.called == [("disconnect", ("client namespace disconnect",))]
    peer.join()


def test_the_server_sends_a_client_out(world: Any) -> None:
    world.on("disconnect")
    peer = world.peer(None)
    sid = peer.join()
    world.hub.disconnect("/", sid)
    world.hub.disconnect("/", "nobody")
    world.run()
    assert (peer.heard(), closed(peer)) == (["1"], False)
    assert world.called == [("disconnect", ("server namespace disconnect",))]


def test_a_lost_client_leaves_every_namespace(world: Any) -> None:
    for namespace in ("/", "/shop"):
        world.on("disconnect", namespace=namespace)
    peer = world.peer()
    peer.join("/shop")
    peer.lose(DisconnectReason.TRANSPORT_ERROR)
    assert world.called == [("disconnect", ("transport error",))] * 2


# ---- sending


def test_emit_reaches_rooms_and_leaves_out(world: Any) -> None:
    peers = [world.peer(None) for _ in range(3)]
    sids = [peer.join() for peer in peers]
    world.hub.join("/", sids[0], "red")
    world.hub.join("/", sids[1], "red")
    world.hub.emit("to red", ("x",), to=BroadcastOptions(rooms=("red",), excepted=(sids[1],)))
    world.hub.emit("to all", ())
    world.run()
    assert [peer.heard() for peer in peers] == [['2["to red","x"]', '2["to all"]']] + [['2["to all"]']] * 2


def test_an_event_is_decoded_once(make_world: Any) -> None:
    decoded: list[str] = []

    def loads(text: str) -> Any:
        decoded.append(text)
        return OWN_WORDS.loads(text)

    world = make_world(codec=TextCodec(replace(OWN_WORDS, loads=loads)))
    world.on("a", lambda socket, *arguments: arguments)
    peer = world.peer()
    peer.say('27["a",{"b":[1]}]', f'51-["a",{PLACE}]', b"x")
    assert decoded == ['["a",{"b":[1]}]', f'["a",{PLACE}]']
    assert peer.heard() == ['37[{"b":[1]}]']


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


def test_what_is_emitted_before_serving_is_done_once_a_worker_serves(world: Any) -> None:
    hub = Hub()
    hub.emit("early", (1,))
    world.serve(hub)
    peer = world.peer(None)
    peer.say("0", run=False)
    world.run()
    assert peer.heard()[1:] == ['2["early",1]']


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


def test_an_ack_that_is_late_or_lost_expires(world: Any) -> None:
    got: list[Any] = []
    peer = world.peer()
    for _ in range(2):
        world.hub.emit(
            "q",
            (),
            callback=lambda socket, values: got.append(values),
            timeout_seconds=5.0,
            expired=lambda socket: got.append("expired"),
        )
        world.run()
    first, second = (packet[1 : packet.index("[")] for packet in peer.heard())
    peer.say(f"3{second}[]")
    world.advance(5.0)
    peer.say(f"3{first}[]")
    assert got == [[], "expired"]


class RoomCall:
    """`call_room` on a thread of its own; the room has been asked."""

    def __init__(self, world: Any, peers: list[Any]) -> None:
        self._world = world
        self._answers: list[Any] = []
        self._thread = threading.Thread(target=self._call)
        self._thread.start()
        self.ack_id = 0
        if peers:
            while not peers[-1].link.messages:
                world.run()
            (packet,) = peers[-1].heard()
            self.ack_id = int(packet[1 : packet.index("[")])

    def _call(self) -> None:
        self._answers.append(
            self._world.hub.call_room(
                "q",
                (),
                BroadcastOptions(namespace="/"),
                timeout_seconds=5.0,
            )
        )

    @property
    def waits(self) -> bool:
        return not self._answers

    def answers(self) -> tuple[list[Any], int]:
        while self._thread.is_alive():
            self._world.run()
        return self._answers[0].values, self._answers[0].missing_count


def test_a_whole_room_answers(world: Any) -> None:
    peers = [world.peer() for _ in range(3)]
    call = RoomCall(world, peers)
    for number, peer in enumerate(peers):
        assert call.waits
        peer.say(f"3{call.ack_id}[{number}]")
    assert call.answers() == ([[0], [1], [2]], 0)


def test_a_room_of_which_some_left_and_some_are_late(world: Any) -> None:
    peers = [world.peer() for _ in range(3)]
    call = RoomCall(world, peers)
    peers[0].say(f'3{call.ack_id}["a"]')
    peers[1].lose()
    assert call.waits
    world.advance(5.0)
    assert call.answers() == ([["a"]], 2)


def test_an_empty_room_answers_at_once(world: Any) -> None:
    assert RoomCall(world, []).answers() == ([], 0)


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


def test_a_client_that_answers_nothing_is_not_asked_without_end(world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("python_server.socketio.acks.ACKS_MAX_COUNT", 10)
    expired: list[Any] = []
    peer = world.peer()
    for _ in range(15):
        world.hub.emit("q", (), callback=lambda socket, values: None, expired=expired.append)
        world.run()
    assert len(peer.socket.acks) == 10
    assert len(expired) == 5


# ---- pressure


def test_reading_pauses_at_the_soft_bound_and_goes_on_below_it(world: Any) -> None:
    world.on("a")
    peer = world.peer()
    peer.say(*['2["a"]'] * (SOFT_COUNT + 10), run=False)
    assert peer.link.paused
    world.run()
    assert not peer.link.paused
    assert len(world.called) == SOFT_COUNT + 10


def test_events_that_still_come_while_a_client_is_paused(world: Any) -> None:
    """A POST is read to its end: its later events must not swallow the word that the earlier are done."""
    world.on("a")
    peer = world.peer()
    peer.say(*['2["a"]'] * (SOFT_COUNT + 10), run=False)
    while world.jobs.waiting:  # the worker is done before the loop hears of it
        world.jobs.waiting.popleft()()
    peer.say(*['2["a"]'] * 100, run=False)
    world.drain()
    assert peer.link.paused
    world.run()
    assert not peer.link.paused


@pytest.mark.parametrize("ordered", [True, False])
def test_large_events_count_by_their_size(world: Any, ordered: bool) -> None:
    world.on("a", ordered=ordered)
    peer = world.peer()
    text = json.dumps(["a", "x" * (SOFT_BYTES // 8)])
    peer.say(*["2" + text] * 8, run=False)
    assert peer.link.paused
    world.run()
    assert not peer.link.paused
    assert peer.session.context.backlog.held_bytes == 0


def test_a_client_that_owes_an_ack_is_not_paused(world: Any) -> None:
    world.on("a")
    peer = world.peer()
    world.hub.emit("q", (), callback=lambda socket, values: None)
    world.run()
    peer.say(*['2["a"]'] * (SOFT_COUNT + 10), run=False)
    assert not peer.link.paused


def test_a_paused_client_is_read_again_when_it_is_asked(world: Any) -> None:
    world.on("a")
    peer = world.peer()
    peer.say(*['2["a"]'] * (SOFT_COUNT + 10), run=False)
    assert peer.link.paused
    world.hub.emit("q", (), callback=lambda socket, values: None)
    world.drain()
    assert not peer.link.paused


def test_the_hard_bound_ends_the_session(world: Any) -> None:
    world.on("a")
    peer = world.peer()
    world.hub.emit("q", (), callback=lambda socket, values: None)  # so that it is never paused
    world.run()
    peer.say(*['2["a"]'] * (HARD_COUNT + 2), run=False)
    assert closed(peer)
    assert "faster than they were handled" in world.complaints[0]


# ---- other ways


def test_msgpack(make_world: Any) -> None:
    codec = MsgpackCodec()
    world = make_world(codec=codec)
    world.on("a", lambda socket, data: data)
    peer = world.peer(None)
    for kind, data, id in [(0, None, None), (2, ["a", b"\x01"], 7)]:
        peer.say(*codec.prepare(kind, "/", data, id).packets)
    connect, ack = (codec_decode(item) for item in peer.heard())
    assert set(connect["data"]) == {"sid"}
    assert ack == {"type": 3, "nsp": "/", "data": [b"\x01"], "id": 7}
    peer.say('2["a"]')
    assert closed(peer)


def codec_decode(message: bytes) -> Any:
    return msgspec.msgpack.decode(message)


@pytest.fixture
def lasting(make_world: Any) -> Any:
    """A world whose clients come back."""
    return make_world(recovery=RecoveryLog())


def come_back(world: Any, names: Any, offset: str | None = None, auth: Any = None) -> tuple[Any, list[Any]]:
    peer = world.peer(None)
    peer.say("0" + json.dumps({"pid": names["pid"], "offset": offset} | (auth or {})))
    reply, *events = peer.heard()
    peer.names = json.loads(reply[1:])
    return peer, [json.loads(event[1:])[:-1] for event in events]


def test_recovery_gives_back_name_rooms_data_and_what_was_missed(lasting: Any) -> None:
    peer = lasting.peer(None)
    sid = peer.join()
    peer.socket.data = {"user": "ada"}
    lasting.hub.join("/", sid, "red")
    lasting.hub.emit("seen", (1,))
    lasting.run()
    (event,) = peer.heard()
    offset = json.loads(event[1:])[-1]
    assert isinstance(offset, str)
    peer.lose()
    lasting.hub.emit("missed", (2,), to=BroadcastOptions(rooms=("red",)))
    lasting.hub.emit("not for it", (3,), to=BroadcastOptions(rooms=("blue",)))
    lasting.hub.emit("gone", (4,), to=BroadcastOptions(volatile=True))
    lasting.run()
    again, events = come_back(lasting, peer.names, offset)
    assert again.names == peer.names
    assert events == [["missed", 2]]
    assert (again.socket.recovered, again.socket.data) == (True, {"user": "ada"})
    assert set(lasting.hub.rooms_of("/", sid)) == {sid, "red"}


def test_recovery_of_a_client_that_received_nothing(lasting: Any) -> None:
    peer = lasting.peer()
    peer.lose()
    lasting.hub.emit("missed", (1,))
    lasting.run()
    again, events = come_back(lasting, peer.names)
    assert (again.names, events) == (peer.names, [["missed", 1]])


def test_recovery_when_the_loss_was_not_noticed_yet(lasting: Any) -> None:
    lasting.on("connect")
    lasting.on("disconnect")
    peer = lasting.peer()
    again, _ = come_back(lasting, peer.names)
    assert again.names == peer.names
    assert closed(peer)
    assert [name for name, _ in lasting.called] == ["connect", "disconnect", "connect"]
    assert len(lasting.hub.members_of("/", None)) == 1


def test_recovery_is_not_for_who_said_goodbye(lasting: Any) -> None:
    peer = lasting.peer()
    peer.say("1")
    again, _ = come_back(lasting, peer.names)
    assert again.names["sid"] != peer.names["sid"]
    assert not again.socket.recovered


def test_recovery_keeps_its_secrets_from_the_application(lasting: Any) -> None:
    lasting.on("connect")
    peer = lasting.peer()
    peer.lose()
    come_back(lasting, peer.names, None, {"key": "s3"})
    assert lasting.called[-1] == ("connect", ({"key": "s3"},))


def test_recovery_too_late(lasting: Any) -> None:
    peer = lasting.peer()
    peer.lose()
    lasting.now += 121.0
    again, _ = come_back(lasting, peer.names)
    assert again.names["sid"] != peer.names["sid"]


def test_nothing_is_left_of_10000_clients(world: Any) -> None:
    """Weak references to every client, its sockets and its session are dead, whatever way it left."""
    world.on("connect")
    world.on("disconnect")
    world.on("a", lambda socket: 1)
    left: list[Any] = []
    for number in range(10_000):
        peer = world.peer()
        client = peer.session.context
        left += [weakref.ref(peer.session), weakref.ref(client), weakref.ref(peer.socket)]
        world.hub.join("/", peer.socket.sid, f"room {number % 10}")
        world.hub.emit(
            "q", (), to=BroadcastOptions(rooms=(peer.socket.sid,)), callback=lambda socket, values: None
        )
        peer.say('21["a"]')
        way = number % 5
        if way == 0:
            peer.say("1")
        elif way == 1:
            peer.say("broken")
        elif way == 2:
            peer.say(f'51-["a",{PLACE}]')
        elif way == 3:
            peer.say('2["a"]', run=False)
        peer.lose()
        if not number % 500:
            world.called.clear()
            world.timers = [timer for timer in world.timers if timer.function]
    world.run()
    del peer, client
    gc.collect()
    assert [reference() for reference in left if reference() is not None] == []
    assert world.hub.members_of("/", None) == []
    assert [timer for timer in world.timers if timer.function and timer.when < world.now + 1] == []


def test_moves_that_nobody_hears_fast_enough_are_bounded(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_runner, "PRESENCE_MAX_COUNT", 3)
    told: list[Any] = []
    world.on("x")
    peer = world.peer()
    world.hub.handlers.on_presence(lambda kind, namespace, sid, room: told.append((kind, room)))
    sid = peer.names["sid"]
    for room in range(10):
        world.hub.join("/", sid, room)
    assert all("on_room_join" in sentence for sentence in world.complaints)
    assert len(world.complaints) == 7
    world.run()
    assert told == [("join", room) for room in range(3)]
    world.hub.leave("/", sid, 0)
    world.run()
    assert told[3:] == [("leave", 0)]
