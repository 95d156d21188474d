"""Coverage-guided (libFuzzer, by atheris): the parsers of what clients, brokers and workers send.

It must not know what a parser makes of a message: whatever it is, it is taken or refused in a typed way.
Run: python tests/fuzz/atheris_parsers.py -runs=1000000
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import atheris

with atheris.instrument_imports(include=["python_server"]):
    from python_server.connection.proxy_headers import Origin, ProxyRules
    from python_server.engineio.packet import EnginePacketError, decode_payload
    from python_server.engineio.polling import jsonp_unwrap
    from python_server.engineio.protocol3 import PROTOCOL3
    from python_server.engineio.query import QueryError, read_query
    from python_server.http1.head import BadRequest, parse_head
    from python_server.http1.parser import RequestParser
    from python_server.settings import HTTPSettings
    from python_server.socketio.cluster.broker.foreign_messages import WireError, arguments_of, read
    from python_server.socketio.cluster.pipe_messages import decode_message
    from python_server.socketio.cluster.port import Malformed
    from python_server.socketio.msgpack_packet import decode as decode_msgpack
    from python_server.socketio.packet import PacketError, TextCodec, TextDecoder

REFUSALS = (EnginePacketError, QueryError, BadRequest, WireError, Malformed, PacketError)
LIMITS = HTTPSettings()
PROXIES = ProxyRules("192.0.2.9", None)
ORIGIN = Origin(("192.0.2.9", 1), "http", "here")


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def two_ways(data: bytes) -> None:
    """A stream of requests is read whole as it is read byte by byte."""
    whole, single = RequestParser(LIMITS), RequestParser(LIMITS)
    events = whole.receive(data)
    later: list[Any] = []
    for at in range(len(data)):
        later += single.receive(data[at : at + 1])
    kinds = [[type(event) for event in each if type(event) is not bytes] for each in (events, later)]
    bodies = [b"".join(event for event in each if type(event) is bytes) for each in (events, later)]
    assert bodies[0] == bodies[1] or BadRequest in kinds[0], (data, events, later)
    assert kinds[0] == kinds[1], (data, events, later)


def event_again(data: bytes) -> None:
    """What has come as an event can be sent as one, and is the same then."""
    packet = TextDecoder(1 << 20).receive(text_of(data))
    if packet is not None and packet.kind == 2:
        written = TextCodec().prepare(packet.kind, packet.namespace, packet.data, packet.id)
        again = TextDecoder(1 << 20).receive(str(written.packets[0])[1:])
        assert again is not None
        assert again.data == packet.data, (packet, again)


PARSERS: tuple[Callable[[bytes], object], ...] = (
    lambda data: parse_head(data, LIMITS),
    two_ways,
    lambda data: list(decode_payload(data)),
    lambda data: list(PROTOCOL3.decode_payload(data)),
    lambda data: list(PROTOCOL3.decode_octets(data)),
    lambda data: read_query(text_of(data)),
    jsonp_unwrap,
    event_again,
    decode_msgpack,
    lambda data: arguments_of(read(data)),
    lambda data: decode_message(data, 0),
    lambda data: PROXIES.resolve({"forwarded": text_of(data)}, ORIGIN),
    lambda data: PROXIES.resolve({"x-forwarded-for": text_of(data)}, ORIGIN),
)


def one(data: bytes) -> None:
    """The first byte says which parser gets the rest."""
    if data:
        try:
            PARSERS[data[0] % len(PARSERS)](data[1:])
        except REFUSALS:
            pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
