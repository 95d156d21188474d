"""python-socketio's messages, as its own managers write them to a real broker, become envelopes, and back.

It must not know how a message travels: the broker here only shows what others wrote.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import flask_socketio
import msgspec
import pytest
import redis
import socketio

from python_server.socketio.cluster.broker.foreign_messages import (
    MESSAGE_MAX_BYTES,
    WireError,
    arguments_of,
    envelope_of,
    packed_event_of,
    packed_values_of,
    read,
    write_callback,
    write_command,
    write_emit,
    write_question,
)
from python_server.socketio.cluster.broker.messages import ChannelReader, Channels
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.cluster.requests import unpack
from python_server.socketio.jsoncodec import dumps
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.packet import EVENT, PacketType, TextCodec

TEXT = TextCodec()
Said = Callable[[Callable[[Any], None]], list[bytes]]


@pytest.fixture(scope="module")
def ears(redis_server: Any) -> Iterator[Any]:
    client = redis.Redis.from_url(redis_server.url)
    ears = client.pubsub(ignore_subscribe_messages=True)
    ears.subscribe("socketio", "flask-socketio")
    ears.get_message(timeout=60)
    yield ears
    ears.close()
    client.close()


@pytest.fixture
def said(redis_server: Any, ears: Any) -> Said:
    """said(function): what `function(manager)` of a write-only RedisManager publishes."""

    def listen(function: Callable[[Any], None]) -> list[bytes]:
        manager = socketio.RedisManager(redis_server.url, write_only=True)
        function(manager)
        manager.redis.publish("socketio", "end")
        manager.redis.close()
        heard = []
        while True:
            message = ears.get_message(timeout=60)
            if message is not None and message["data"] == b"end":
                return heard
            if message is not None:
                heard.append(message["data"])

    return listen


def delivered(data: bytes, codec: Any = TEXT, **options: Any) -> Envelope:
    envelope = envelope_of(read(data), codec, **options)
    assert envelope is not None
    return envelope


# what is emitted, the packet that reaches a client, and its rooms and exceptions
EMITS: list[tuple[tuple[Any, ...], dict[str, Any], list[Any], Any, tuple[Any, ...]]] = [
    (("e", {"a": 1}), {}, ['42["e",{"a": 1}]'], None, ()),
    (("e", None), {}, ['42["e"]'], None, ()),
    (("e", ()), {}, ['42["e"]'], None, ()),
    (("e", ("a", 2)), {"namespace": "/n"}, ['42/n,["e","a", 2]'], None, ()),
    (("e", [1, 2]), {"room": "r"}, ['42["e",[1, 2]]'], ("r",), ()),
    (("e", "é"), {"room": ["r", 5], "skip_sid": "x"}, ['42["e","\\u00e9"]'], ("r", 5), ("x",)),
    (("e", 1), {"to": 5, "skip_sid": ["x", "y"]}, ['42["e",1]'], (5,), ("x", "y")),
    (('"]\n', "\ud800"), {}, ['42["\\"]\\n","\\ud800"]'], None, ()),
]


@pytest.mark.parametrize(("arguments", "options", "packets", "rooms", "excepted"), EMITS)
def test_an_emit_of_a_redis_manager(
    said: Said,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    packets: list[Any],
    rooms: Any,
    excepted: tuple[Any, ...],
) -> None:
    """G1"""
    (data,) = said(lambda manager: manager.emit(*arguments, **options))
    envelope = delivered(data)
    assert list(envelope.prepared.packets) == packets
    assert (envelope.rooms, envelope.excepted) == (rooms, excepted)
    assert envelope.namespace == options.get("namespace", "/")


def test_a_binary_emit_of_a_redis_manager(said: Said) -> None:
    """G1"""
    given = (b"\0\1", {"k": [bytearray(b"q")]}, 3)
    (data,) = said(lambda manager: manager.emit("e", given, namespace="/n", room="r"))
    assert arguments_of(read(data)) == (b"\0\1", {"k": [b"q"]}, 3)
    text, *attachments = delivered(data).prepared.packets
    assert isinstance(text, str)
    assert text.startswith("452-/n,")
    assert attachments == [b"\0\1", b"q"]
    assert unpack(packed_event_of(read(data))) == ["e", b"\0\1", {"k": [b"q"]}, 3]


def test_msgpack_clients_receive_it_too(said: Said) -> None:
    (data,) = said(lambda manager: manager.emit("e", (b"\0", {"a": [1, None]}), namespace="/n"))
    (packet,) = delivered(data, MsgpackCodec()).prepared.packets
    assert msgspec.msgpack.decode(packet) == {"type": 2, "nsp": "/n", "data": ["e", b"\0", {"a": [1, None]}]}


def test_commands_of_a_redis_manager(said: Said) -> None:
    """G1"""
    heard = said(
        lambda manager: (
            manager.enter_room("s", "/", "r"),
            manager.leave_room("s", "/n", 7),
            manager.close_room("r"),
        )
    )
    enter, leave, close = map(read, heard)
    assert (enter.method, enter.sid, enter.room, enter.namespace) == ("enter_room", "s", "r", "/")
    assert (leave.method, leave.sid, leave.room, leave.namespace) == ("leave_room", "s", 7, "/n")
    assert (close.method, close.room, close.namespace) == ("close_room", "r", "/")


def test_flask_socketio_without_an_application(redis_server: Any, ears: Any) -> None:
    """G1"""
    outside = flask_socketio.SocketIO(message_queue=redis_server.url)
    outside.emit("e", {"a": 1}, to="r", skip_sid="z", namespace="/q")
    outside.send("hi")
    outside.close_room("R")
    heard: list[bytes] = []
    while len(heard) < 3:
        message = ears.get_message(timeout=60)
        if message is not None:
            assert message["channel"] == b"flask-socketio"
            heard.append(message["data"])
    outside.server.manager.redis.close()
    first = delivered(heard[0])
    assert (first.rooms, first.excepted, first.namespace) == (("r",), ("z",), "/q")
    assert delivered(heard[1]).prepared.packets == ['42["message","hi"]']
    assert read(heard[2]).method == "close_room"


class TestWriting:
    """What we write, read by the code with which python-socketio reads."""

    class Manager(socketio.PubSubManager):
        """A receiving manager whose emits are kept instead of sent."""

        def __init__(self) -> None:
            super().__init__()
            self.emitted: list[tuple[Any, ...]] = []

        def hear(self, data: bytes) -> tuple[Any, ...]:
            message = json.loads(data)
            assert message["method"] == "emit"
            taken: dict[str, Any] = {}

            def emit(manager: Any, event: str, data: Any, **options: Any) -> None:
                taken.update(options, event=event, data=data)

            original = socketio.Manager.emit
            socketio.Manager.emit = emit
            try:
                self._handle_emit(message)
            finally:
                socketio.Manager.emit = original
            self.callback = taken["callback"]
            return taken["event"], taken["data"], taken["namespace"], taken["room"], taken["skip_sid"]

    @pytest.mark.parametrize("codec", [TEXT, MsgpackCodec()], ids=["text", "msgpack"])
    @pytest.mark.parametrize("offset", [None, "ab1"])
    @pytest.mark.parametrize("namespace", ["/", "/a[b", "/n-1/2"])
    @pytest.mark.parametrize(
        ("arguments", "data"),
        [
            ((), ()),
            (("a",), "a"),
            (({"é": [1, 2.5, None, True]}, "b"), ({"é": [1, 2.5, None, True]}, "b")),
            ((b"\0\xff", {"deep": [b"q"]}), (b"\0\xff", {"deep": [b"q"]})),
            ((b"only",), b"only"),
        ],
    )
    def test_an_emit(
        self, codec: Any, offset: str | None, namespace: str, arguments: tuple[Any, ...], data: Any
    ) -> None:
        event = 'e"],\\'
        tail = () if offset is None else (offset,)
        prepared = codec.prepare(PacketType.EVENT, namespace, (event, *arguments, *tail))
        written = write_emit(Envelope(namespace, ("r",), ("x", 3), prepared, offset), "us.0", codec)
        manager = self.Manager()
        if data == ():
            assert json.loads(written)["data"] == []
        assert manager.hear(written) == (event, data, namespace, "r", ["x", 3])
        assert manager.callback is None
        again = envelope_of(read(written), codec, lambda _: "unused")
        assert again is not None
        if offset is not None:
            assert again.offset == offset
            assert codec.data_text(again.prepared, namespace) == codec.data_text(prepared, namespace)
        assert (again.rooms, again.excepted, again.namespace) == (("r",), ("x", 3), namespace)

    @pytest.mark.parametrize(
        ("rooms", "shown"), [(None, None), (("r",), "r"), ((1, "r"), [1, "r"])], ids=["all", "one", "two"]
    )
    def test_rooms(self, rooms: Any, shown: Any) -> None:
        prepared = TEXT.prepare(PacketType.EVENT, "/", ("e",))
        message = json.loads(write_emit(Envelope("/", rooms, (), prepared), "us.0", TEXT))
        assert message["room"] == shown
        assert message["skip_sid"] is None
        assert message["host_id"] == "us.0"

    def test_what_is_ours_alone_survives(self) -> None:
        prepared = TEXT.prepare(PacketType.EVENT, "/", ("e", None))
        envelope = Envelope("/", None, (), prepared, None, volatile=True)
        again = delivered(write_emit(envelope, "us.0", TEXT, path="/p/"), next_offset=lambda _: "never")
        assert again.volatile
        assert again.offset is None

    def test_an_event_whose_ack_is_awaited(self) -> None:
        data = write_question(
            ['["e",1,{"_placeholder":true,"num":0}]', "AAE="], ("/n", ["s"], []), "us.0", ("s", "/n", 7)
        )
        manager = self.Manager()
        assert manager.hear(data) == ("e", (1, b"\0\1"), "/n", "s", None)
        assert manager.callback.args == ("us.0", "s", "/n", 7)
        assert read(data).asked

    def test_an_ack_for_a_python_socketio_server(self) -> None:
        asked = read(
            b'{"method":"emit","event":"e","data":[1],"room":"s","callback":["s","/n",3],"host_id":"them"}'
        )
        written = write_callback(asked, '["a",2]')
        manager = self.Manager()
        manager.host_id = "them"
        values: list[Any] = []
        manager.callbacks = {"s": {3: lambda *args: values.append(args)}}
        manager._handle_callback(json.loads(written))
        assert values == [("a", 2)]
        again = read(written)
        assert unpack(packed_values_of(again)) == ["a", 2]
        assert (again.host_id, again.sid, again.id) == ("them", "s", 3)

    def test_a_command(self) -> None:
        written = write_command("disconnect", "us.0", "/n", sid="s", detail="because")
        message = read(written)
        assert (message.method, message.sid, message.namespace, message.detail) == (
            "disconnect",
            "s",
            "/n",
            "because",
        )


def emit_with(**names: Any) -> bytes:
    return json.dumps({"method": "emit", "event": "e", "data": [], "host_id": "x", **names}).encode()


REFUSED = [
    (b"", "malformed"),
    (b"\x80\x04pickle", "malformed"),
    (b"null", "foreign"),
    (b"[]", "foreign"),
    (b'"text"', "foreign"),
    (b"{", "malformed"),
    (b"{}", "foreign"),
    (b'{"method":5}', "foreign"),
    (b'{"method":"eval","code":"1"}', "foreign"),
    (b'{"method":"emit","data":[]}', "foreign"),
    (b'{"method":"emit","event":["x"],"data":[]}', "foreign"),
    (emit_with(event="e" * 2000), "foreign"),
    (emit_with(namespace="x"), "foreign"),
    (emit_with(namespace='/a,["e"]'), "foreign"),
    (emit_with(namespace="/" + "a" * 2000), "foreign"),
    (emit_with(room={"a": 1}), "foreign"),
    (emit_with(room=[["a"]]), "foreign"),
    (emit_with(room=True), "foreign"),
    (emit_with(skip_sid={}), "foreign"),
    (emit_with(callback=5), "foreign"),
    (emit_with(offset="\ud800"), "foreign"),
    (emit_with(offset="o" * 100), "foreign"),
    (b'{"method":"emit","event":"e","data":[NaN]}', "malformed"),
    (b'{"method":"emit","event":"e","data":["\xff"]}', "malformed"),
    (b'{"method":"e\xc3mit","event":"e","data":[]}', "malformed"),
    (b'{"method":"emit","event":"e","data":' + b"[" * 300 + b"]" * 300 + b"}", "deeply nested"),
    (b'{"method":"emit","event":"e","data":' + b"[" * 90_000 + b"]" * 90_000 + b"}", "deeply nested"),
    (b'{"method":"emit","event":"e","x":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}", "deeply nested"),
    (b" " * (MESSAGE_MAX_BYTES + 1), "oversized"),
    (b'{"method":"disconnect"}', "foreign"),
    (b'{"method":"disconnect","sid":5}', "foreign"),
    (b'{"method":"enter_room","sid":"s"}', "foreign"),
    (b'{"method":"leave_room","sid":"s","room":["a"]}', "foreign"),
    (b'{"method":"close_room"}', "foreign"),
    (b'{"method":"callback","sid":"s"}', "foreign"),
    (emit_with(binary=True), "foreign"),
    (emit_with(binary=True, data=[[]]), "foreign"),
    (emit_with(binary=True, data=[5, "AAE="]), "foreign"),
    (b'["\\ud800"]', "foreign"),
    (b'"\\ud800"', "foreign"),
    (b"\xef\xbb\xbf[]", "malformed"),
    (b"NaN", "malformed"),
    (emit_with(binary=True, data=[[], "AAE="]), "foreign"),
    (emit_with(binary=True, data=[[{"_placeholder": True, "num": 0}], "!!"]), "foreign"),
    (emit_with(binary=True, data=[[{"_placeholder": True, "num": 0}], 5]), "foreign"),
    (emit_with(binary=True, data=[[{"_placeholder": True, "num": 9}], "AAE="]), "foreign"),
    (emit_with(binary=True, data=[[{"_placeholder": True, "num": 0}] * 2, "AAE=", "AAE="]), "foreign"),
]


@pytest.mark.parametrize(("data", "kind"), REFUSED, ids=lambda value: repr(value)[:40])
def test_what_is_refused(data: bytes, kind: str) -> None:
    with pytest.raises(WireError) as caught:
        delivered(data)
    assert caught.value.kind.startswith(kind), caught.value


def test_what_older_writers_leave_out() -> None:
    envelope = delivered(b'{"method":"emit","event":"e","data":{"a":1}}')
    assert list(envelope.prepared.packets) == ['42["e",{"a":1}]']
    assert (envelope.namespace, envelope.rooms) == ("/", None)


def test_an_emit_to_no_room_is_for_nobody() -> None:
    assert envelope_of(read(emit_with(room=[])), TEXT) is None


def test_a_recovery_log_names_what_came_without_a_name() -> None:
    envelope = delivered(emit_with(data=[1]), next_offset=lambda _: "zz9")
    assert envelope.offset == "zz9"
    assert list(envelope.prepared.packets) == ['42["e",1,"zz9"]']


def test_whatever_is_accepted_is_a_packet_that_clients_can_read() -> None:
    """10,000 mutations of real messages: refused, or a text that JSON readers take."""
    chance = random.Random(7)
    seeds = [
        b'{"method": "emit", "event": "e", "data": [{"a": 1, "\\u00e9": "\\ud800"}, [1.5e3, null]], '
        b'"binary": false, "namespace": "/n", "room": ["a", 5], '
        b'"skip_sid": ["x", null], "callback": null, "host_id": "f"}',
        b'{"method": "emit", "event": "e", "binary": true, '
        b'"data": [[{"_placeholder": true, "num": 0}], "AAE="]}',
    ]
    accepted = 0
    for _ in range(10_000):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(data))
            what = chance.randrange(3)
            if what == 0:
                data[place] = chance.choice(b'[]{}",:0123456789\\/aenrtu\xff\x00 ')
            elif what == 1:
                del data[place : place + chance.randint(1, 4)]
            else:
                data[place:place] = chance.choice([b"[", b'"', b"\\", b"null", b"\xc3", b",", b"{}"])
        try:
            message = read(bytes(data))
            envelope = envelope_of(message, TEXT) if message.method == "emit" else None
        except WireError:
            continue
        if envelope is None:
            continue
        accepted += 1
        text, _ = TEXT.data_text(envelope.prepared, envelope.namespace)
        assert json.loads(text)[0] == message.event
        dumps(json.loads(text))
    assert accepted > 500


@pytest.mark.parametrize("callback", [[], ["r"], ["r", "/", 1, 2]])
def test_a_callback_that_is_none_is_left_out(callback: list[Any]) -> None:
    """As python-socketio does."""
    assert read(emit_with(callback=callback)).callback is None


@pytest.mark.parametrize(
    ("data", "arguments"), [({"a": 1}, ({"a": 1},)), (5, (5,)), ([1, 2], (1, 2)), ([None], ())]
)
def test_arguments_for_a_codec_that_needs_values(data: Any, arguments: tuple[Any, ...]) -> None:
    assert arguments_of(read(emit_with(data=data))) == arguments


@pytest.mark.parametrize("args", ['{"a":1}', "5", '"[]"', "null"])
def test_the_args_of_a_callback_are_an_array(args: str) -> None:
    message = read(
        b'{"method":"callback","sid":"s","id":7,"namespace":"/","args":%s,"host_id":"x"}' % args.encode()
    )
    with pytest.raises(WireError, match=r"the args of a callback are no array$"):
        packed_values_of(message)


def test_an_emit_says_which_way_it_went_as_well() -> None:
    envelope = delivered(emit_with(data=[1]))
    said, plain = (json.loads(write_emit(envelope, "x", TEXT, path)) for path in ("#/#r", None))
    assert said == {**plain, "path": "#/#r"}


def test_an_emit_says_what_it_is_part_of() -> None:
    """W3C Trace Context."""
    plain, trace = delivered(emit_with(data=[1])), "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    said = write_emit(plain._replace(traceparent=trace), "x", TEXT)
    assert json.loads(said) == {**json.loads(write_emit(plain, "x", TEXT)), "traceparent": trace}
    assert delivered(said).traceparent == trace


def test_an_event_that_is_passed_on_is_named_by_who_passes_it_on() -> None:
    """Its siblings hear it in the order of that one's link, whatever its sender's number was; a room's own
    channel is heard by each of them directly."""
    envelope = Envelope("/", None, (), TEXT.prepare(EVENT, "/", ("e", "far1")), "far1")
    written = write_emit(envelope, "far.1", TEXT)
    channels = Channels("flask-socketio", "us.1", True)
    reader = ChannelReader(channels, "us.", lambda: TEXT, lambda: lambda _: "near7", lambda: None)
    for channel, name in ((channels.shared, "near7"), (channels.of_room("/", "r"), "far1")):
        (came,) = reader.read([(channel, written)], 0)
        heard: Any = getattr(came, "envelope", came)
        assert heard.offset == name
        assert heard.prepared.packets == [f'42["e","{name}"]']
