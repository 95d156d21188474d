"""What a byte from outside may cost: the worst inputs known of every reader, in executed lines of Python.

It must not know the time of day: lines are the same on every machine, and C's work is not among them.
"""

from collections.abc import Callable
from types import MappingProxyType

import pytest

from counted_lines import lines_run
from python_server.connection.proxy_headers import Origin, ProxyRules
from python_server.engineio import protocol3
from python_server.engineio.packet import EnginePacketError, decode_payload
from python_server.engineio.polling import accepted_encoding, jsonp_unwrap
from python_server.engineio.query import QueryError, read_query
from python_server.http1.parser import BadRequest, RequestParser
from python_server.settings import HTTPSettings
from python_server.socketio.packet import PacketError, TextDecoder
from python_server.socketio.protocol4 import QueryDecoder
from wsframe import handshake

REFUSALS = (BadRequest, EnginePacketError, PacketError, QueryError, handshake.HandshakeError)


def whole(data: bytes) -> None:
    RequestParser(HTTPSettings()).receive(data)


def byte_by_byte(data: bytes) -> None:
    parser = RequestParser(HTTPSettings())
    for position in range(len(data)):
        parser.receive(data[position : position + 1])


def payload(data: bytes) -> None:
    for _ in decode_payload(data):
        pass


def payload3(data: bytes) -> None:
    for _ in protocol3.decode_payload(data):
        pass


def octets3(data: bytes) -> None:
    for _ in protocol3.decode_octets(data):
        pass


def namespace_query(data: bytes) -> None:
    QueryDecoder(TextDecoder(1000)).receive(data.decode())


def query(data: bytes) -> None:
    read_query(data.decode())


def text_packets(data: bytes) -> None:
    """A packet with a binary attachment, which goes through the data for placeholders."""
    decoder = TextDecoder(1000)
    if decoder.receive(data.decode()) is None:
        decoder.receive(b"x")


def forwarded(*names: str) -> Callable[[bytes], None]:
    def resolve(data: bytes) -> None:
        fields = MappingProxyType(dict.fromkeys(names, data.decode()))
        ProxyRules("10.0.0.0/8").resolve(fields, Origin(("10.0.0.1", 1), "http", "h"))

    return resolve


def encodings(data: bytes) -> None:
    accepted_encoding(data.decode())


def opening(data: bytes) -> None:
    plain = {"host": "h", "upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}
    own = {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-extensions": data.decode()}
    handshake.accept("GET", (1, 1), [*plain.items(), *own.items()])


LINE = b"POST / HTTP/1.1\r\nHost: h\r\n"
CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"
PLACE = b'51-["e",{"_placeholder":true,"num":0},'
FOR = forwarded("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port")
# (before, what is repeated, after)
Input = tuple[bytes, bytes, bytes]
# name: (reader, lines a byte at most, its worst inputs)
READERS: dict[str, tuple[Callable[[bytes], None], float, list[Input]]] = {
    "head": (
        whole,
        3,
        [(LINE, b"a:\r\n", b"\r\n"), (LINE, b"a", b""), (b"", b"\r\n", b""), (LINE, b"\r\n", b"")],
    ),
    "head, dripped": (
        byte_by_byte,
        40,
        [(LINE, b"a:\r\n", b"\r\n"), (LINE + b"X: ", b"a", b"\r\n\r\n")],
    ),
    "chunks": (
        whole,
        3,
        [(CHUNKED, b"1\r\na\r\n", b""), (CHUNKED, b"1;a\r\na\r\n", b"0\r\n\r\n"), (CHUNKED, b"0", b"")],
    ),
    "chunks, dripped": (byte_by_byte, 45, [(CHUNKED, b"1\r\na\r\n", b""), (CHUNKED, b"0", b"")]),
    "trailers": (whole, 6, [(CHUNKED + b"0\r\n", b"a:b\r\n", b"\r\n")]),
    "engine packets": (
        payload,
        10,
        [
            (b"", b"6\x1e", b"6"),
            (b"", b"b\x1e", b""),
            (b"", b"\x1e", b""),
            (b"", b"4", b""),
            (b"", b"bAAAA\x1e", b""),
        ],
    ),
    "engine packets of version 3": (
        payload3,
        10,
        [
            (b"", b"1:6", b""),
            (b"", b"0:", b""),
            (b"", b"9", b":"),
            (b"", b"2:4", b""),
            (b"", b"2:b4", b""),
            (b"", b"6:b4AA==", b""),
            (b"", "3:4😀".encode(), b""),
        ],
    ),
    "the same as octets": (
        octets3,
        10,
        [
            (b"", b"\0\1\xff6", b""),
            (b"", b"\1\1\xff\4", b""),
            (b"", b"\0", b"\xff"),
            (b"\0", b"\x09", b"\xff"),
            (b"", b"\0\0\xff", b""),
        ],
    ),
    "query of a namespace": (
        namespace_query,
        2,
        [(b"0/a?", b"a&", b","), (b"0/a?", b"%41", b","), (b"0/", b"?", b""), (b"0/a?b=", b",", b"")],
    ),
    "query": (
        query,
        1,
        [(b"", b"&", b""), (b"", b"a&", b""), (b"", b"a=&", b"%"), (b"%25", b"a", b""), (b"", b"=", b"&%")],
    ),
    "escaped query": (
        query,
        2,
        [(b"", b"%41", b""), (b"", b"%41a", b""), (b"", b"%&", b""), (b"", b"+", b"")],
    ),
    "placeholders": (
        text_packets,
        5,
        [(PLACE, b"[],", b"1]"), (PLACE, b"1,", b"1]"), (PLACE, b"{},", b"1]"), (PLACE, b"[1],", b"1]")],
    ),
    "text packets": (
        text_packets,
        4,
        [
            (b"2[", b"[],", b"1]"),
            (b"2", b"[", b""),
            (b"0/", b"a", b""),
            (b"2", b"1", b"[]"),
            (b"2[", b"[[]],", b"1]"),
        ],
    ),
    "forwarded for": (
        FOR,
        1,
        [(b"", b",", b""), (b"", b"10.0.0.1,", b""), (b"", b"a,", b""), (b"", b" ", b"")],
    ),
    "forwarded": (
        forwarded("forwarded"),
        4,
        [(b"", b"a=b,", b""), (b"", b",", b""), (b"", b"for=10.0.0.1,", b"a=b"), (b'a="', b"\\a", b"")],
    ),
    "encodings": (
        encodings,
        1,
        [(b"", b",", b""), (b"", b"a;q=1,", b""), (b"gzip", b";", b""), (b"gzip;q=", b"1", b"")],
    ),
    "JSONP": (
        jsonp_unwrap,
        2,
        [(b"d=", b"%41", b""), (b"d=", b"%41a", b""), (b"d=", b"\\n", b""), (b"", b"&", b"")],
    ),
    "opening handshake": (
        opening,
        15,
        [(b"", b",", b""), (b"", b"a,", b""), (b"", b"a;b;", b"c"), (b'a;b="', b"\\a", b"")],
    ),
}
CASES = [(name, position) for name, (_, _, inputs) in READERS.items() for position in range(len(inputs))]
# Of one request or packet, whatever its length.
FIXED_LINES = 800


def sized(parts: Input, size_bytes: int) -> bytes:
    before, repeated, after = parts
    return before + repeated * (size_bytes // len(repeated)) + after


@pytest.mark.parametrize(("name", "position"), CASES)
def test_a_byte_costs_a_bounded_number_of_lines_and_twice_the_bytes_twice_as_many(
    name: str, position: int
) -> None:
    reader, lines_per_byte, inputs = READERS[name]
    half, full = (sized(inputs[position], size_bytes) for size_bytes in (2000, 4000))
    lines_run(reader, half, refusals=REFUSALS)  # tables of the standard library are made once
    half_lines, lines = lines_run(reader, half, refusals=REFUSALS), lines_run(reader, full, refusals=REFUSALS)
    assert lines <= lines_per_byte * len(full) + FIXED_LINES, f"{lines / len(full):.1f} lines a byte"
    assert lines <= 2.2 * half_lines + FIXED_LINES
