"""The option `json`: who writes and reads an event's values instead of our own codec.

It must not know the network: events go through the test client, encoded and decoded as on the wire.
"""

import datetime
import decimal
import json
import types
from typing import Any

import flask
import pytest
from flask.json.provider import DefaultJSONProvider

from python_server import Server, SocketIO, emit
from python_server.socketio.jsoncodec import JSONError, words_of
from python_server.socketio.packet import PacketType, TextCodec

WHEN = datetime.datetime(2026, 11, 21, 6, 30, tzinfo=datetime.UTC)


def echo_through(app: flask.Flask, socketio: SocketIO, make: Any) -> list[Any]:
    """What a client gets of the value that `make` makes, by an event and by an ack."""

    @socketio.on("ask")
    def ask() -> Any:
        emit("told", make())
        return make()

    client = socketio.test_client(app)
    acked = client.emit("ask", callback=True)
    ((told,),) = [item["args"] for item in client.get_received()]
    return [told, acked]


def test_without_the_option_a_date_is_refused() -> None:
    app = flask.Flask(__name__)
    with pytest.raises(TypeError, match="datetime"):
        echo_through(app, SocketIO(app), lambda: WHEN)


def test_flasks_json_is_the_applications() -> None:
    class Provider(DefaultJSONProvider):
        @staticmethod
        def default(value: Any) -> Any:
            return (
                f"{value} EUR" if isinstance(value, decimal.Decimal) else DefaultJSONProvider.default(value)
            )

    app = flask.Flask(__name__)
    app.json = Provider(app)
    socketio = SocketIO(json=flask.json)
    socketio.init_app(app)
    assert echo_through(app, socketio, lambda: WHEN) == ["Sat, 21 Nov 2026 06:30:00 GMT"] * 2
    assert echo_through(app, socketio, lambda: decimal.Decimal("1.50")) == ["1.50 EUR"] * 2


def module(**functions: Any) -> Any:
    found = types.ModuleType("a_json_module")
    found.__dict__.update(functions)
    return found


def test_a_json_module_of_ones_own() -> None:
    # As quick modules have it: bytes, and no keyword `separators`.
    quick = module(
        dumps=lambda value: json.dumps(value, default=str, separators=(",", ":")).encode(),
        loads=lambda text: json.loads(text, parse_float=decimal.Decimal),
    )
    app = flask.Flask(__name__)
    socketio = SocketIO(app, json=quick)
    got: list[Any] = []
    socketio.on("take")(got.append)
    client = socketio.test_client(app)
    client.emit("take", 1.5)
    assert got == [decimal.Decimal("1.5")]
    assert echo_through(app, socketio, lambda: WHEN) == [str(WHEN)] * 2


@pytest.mark.parametrize("dumps", [json.dumps, lambda value, **options: json.dumps(value, **options)])
def test_compact_text_is_asked_for(dumps: Any) -> None:
    codec = TextCodec(words_of(module(dumps=dumps, loads=json.loads)))
    assert codec.prepare(PacketType.EVENT, "/", ("a", {"b": [1, 2]})).packets == ['42["a",{"b":[1,2]}]']


def test_bytes_stay_attachments() -> None:
    codec = TextCodec(words_of(json))
    text, attachment = codec.prepare(PacketType.EVENT, "/", ("a", b"\x00")).packets
    assert (text, attachment) == ('451-["a",{"_placeholder":true,"num":0}]', b"\x00")
    decoder = codec.decoder()
    assert decoder.receive('51-["a",{"_placeholder":true,"num":0}]') is None
    packet = decoder.receive(b"\x00")
    assert packet is not None
    assert packet.data == ["a", b"\x00"]


@pytest.mark.parametrize("text", ["{", '{"a":' * 300 + "1" + "}" * 300, "boom"])
def test_text_a_module_cannot_take_is_one_kind_of_error(text: str) -> None:
    def loads(text: str) -> Any:
        if text == "boom":
            raise RuntimeError("the module's own fault")
        return json.loads(text)

    with pytest.raises(JSONError):
        words_of(module(dumps=json.dumps, loads=loads)).loads(text)


def test_the_other_face_takes_it_too() -> None:
    server = Server(json=module(dumps=lambda value: "[]", loads=json.loads))
    assert server.mount("/socket.io/").hub.codec.prepare(PacketType.EVENT, "/", ("a",)).packets == ["42[]"]
