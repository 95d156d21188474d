"""What we accept, h11 and httptools accept as well, with the same method, target, headers and body.

Generated requests and mutations of them, from a fixed seed; no socket. Their number may be raised by
WSFRAME_DIFFERENTIAL_COUNT.
"""

import os
import random
from typing import Any

import h11
import httptools
import pytest

from python_server.http1.parser import END, BadRequest, ParserState, Request, RequestParser
from python_server.settings import HTTPSettings

COUNT = int(os.environ.get("WSFRAME_DIFFERENTIAL_COUNT", "4000"))
Message = tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]

METHODS = [b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH"]
TARGETS = [b"/", b"/a?b=c", b"/%41/x", b"http://a.test/x?y", b"/" + b"a" * 60]
FIELDS = [
    *(b"X: y", b"Accept: */*", b"Cookie: a=b", b"Cookie: c", b"X-Y:  z ", b"Empty:", b"Q: \xe9"),
    *(b"Connection: close", b"Connection: keep-alive, x", b"Content-Type: a/b", b"Expect: 100-continue"),
]
SPICE = [
    *(b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b"\x00", b"0", b"+", b"-", b"_", b",", b"\xff", b'"'),
    *(
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"0\r\n\r\n",
        b"1\r\nx\r\n",
        b"Host: b\r\n",
    ),
]


LOWERED = {"transfer-encoding"}  # h11 gives its value in lower case


def body_of(source: random.Random) -> tuple[bytes, bytes]:
    """(field line, wire form) of a random body."""
    body = source.randbytes(source.randrange(0, 30))
    kind = source.randrange(3)
    if kind == 0:
        return b"", b""
    if kind == 1:
        return b"Content-Length: %d\r\n" % len(body), body
    wire = b""
    while body:
        size = source.randrange(1, len(body) + 1)
        extension = source.choice([b"", b"", b";a", b";a=b", b';a="b c"'])
        wire += b"%x%b\r\n%b\r\n" % (size, extension, body[:size])
        body = body[size:]
    return b"Transfer-Encoding: chunked\r\n", wire + b"0\r\n" + source.choice([b"", b"T: v\r\n"]) + b"\r\n"


def request_of(source: random.Random) -> bytes:
    field, body = body_of(source)
    fields = b"".join(source.choice(FIELDS) + b"\r\n" for _ in range(source.randrange(4)))
    return (
        source.choice(METHODS)
        + b" "
        + source.choice(TARGETS)
        + b" HTTP/1.1\r\nHost: a.test\r\n"
        + fields
        + field
        + b"\r\n"
        + body
    )


def mutate(source: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(source.randrange(1, 4)):
        at = source.randrange(len(changed))
        kind = source.randrange(4)
        if kind == 0:
            changed[at] = source.randrange(256)
        elif kind == 1:
            changed[at:at] = source.choice(SPICE)
        elif kind == 2:
            del changed[at : at + source.randrange(1, 4)]
        else:
            other = source.randrange(len(changed))
            changed[at:at] = changed[other : other + 8]
    return bytes(changed)


def ours(data: bytes) -> Message | None:
    """The first message of the stream; None when it is refused or unfinished."""
    parser = RequestParser(HTTPSettings())
    request: Request | None = None
    body = b""
    for event in parser.receive(data):
        if isinstance(event, BadRequest):
            return None
        if isinstance(event, Request):
            request = event
        elif event is END:
            assert parser.state is ParserState.COMPLETE
            assert request is not None
            if request.version > (1, 1):
                return None  # served as 1.1 (RFC 9110 2.5); neither of the others knows such a version
            headers = [
                (name.encode("latin-1"), (value.lower() if name in LOWERED else value).encode("latin-1"))
                for name, value in request.headers
            ]
            return request.method.encode(), request.target.encode("latin-1"), headers, body
        elif isinstance(event, bytes):
            body += event
    return None


def by_h11(data: bytes) -> Message:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request: Any = None
    body = b""
    while True:
        event = connection.next_event()
        if type(event) is h11.Request:
            request = event
        elif type(event) is h11.Data:
            body += bytes(event.data)
        elif type(event) is h11.EndOfMessage:
            headers = [(bytes(name), bytes(value)) for name, value in request.headers]
            return bytes(request.method), bytes(request.target), headers, body
        else:
            raise h11.RemoteProtocolError(f"h11 wants more: {event}")


class _Collector:
    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.in_head = True
        self.complete = False

    def on_url(self, url: bytes) -> None:
        if not self.complete:
            self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:  # trailers come through the same callback
            value = value.strip(b" \t")
            name = name.lower()
            self.headers.append((name, value.lower() if name.decode("latin-1") in LOWERED else value))

    def on_headers_complete(self) -> None:
        self.in_head = False

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def by_httptools(data: bytes) -> Message:
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    method = b""
    # Bytewise, so that what stands behind the first message does not disturb what was read of it.
    for index in range(len(data)):
        parser.feed_data(data[index : index + 1])
        if not collector.in_head and not method:
            method = parser.get_method()
        if collector.complete:
            return method, collector.target, collector.headers, collector.body
    raise httptools.HttpParserError("httptools wants more")


@pytest.mark.parametrize("seed", range(4))
def test_what_we_accept_they_accept_alike(seed: int) -> None:
    source = random.Random(seed)
    accepted = 0
    for index in range(COUNT // 4):
        data = request_of(source)
        if index % 4:
            data = mutate(source, data)
        message = ours(data)
        if message is None:
            assert index % 4, data  # an unspoilt request is never refused
            continue
        accepted += 1
        stripped = data.lstrip(b"\r\n")
        assert by_httptools(stripped) == message, data
        assert by_h11(stripped) == message, data
    assert accepted > COUNT // 16
