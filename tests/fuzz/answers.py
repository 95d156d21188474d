"""What a server answered on one connection, read by others' parsers: h11, and wsproto behind an upgrade.

It must not know what was asked, nor who asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import h11
import wsproto.connection
import wsproto.events
import wsproto.extensions
import wsproto.utilities
from findings import Fault

# Where a page documents it. 500 is not among them: the application here never fails.
STATUSES = {
    100: "RFC 9110 15.2.1: Expect",
    101: "RFC 6455 4.2.2",
    200: "the application",
    204: "the application; OPTIONS of Engine.IO (protocol pages)",
    400: "docs/limits.md: Requests; Engine.IO's refusals",
    403: "the application; Engine.IO's refusals (origin)",
    404: "the application",
    405: "RFC 6455 4.2.1: the method of a handshake",
    408: "docs/limits.md: Times",
    413: "docs/limits.md: Requests; max_http_buffer_size",
    414: "docs/limits.md: Requests",
    417: "RFC 9110 10.1.1",
    426: "RFC 6455 4.4: another version",
    429: "docs/limits.md: Clients that take more than their share",
    431: "docs/limits.md: Requests",
    501: "RFC 9110 15.6.2; RFC 9112 6.1",
    503: "docs/limits.md: Messages, queues and connections",
    505: "RFC 9110 15.6.6",
}
# A close frame that begins with the server; it may send back any code that a client has sent.
CLOSE_CODES = frozenset({1000, 1001, 1002, 1007, 1008, 1009, 1011})
WEBSOCKET = [("Host", "x"), ("Connection", "Upgrade"), ("Upgrade", "websocket")]


@dataclass
class Answers:
    """Of one connection. messages: of its WebSocket. close_code: of the server's close frame."""

    statuses: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    messages: list[str | bytes] = field(default_factory=list)
    close_code: int | None = None
    complete: bool = True  # nothing is cut off at the end


def read_answers(data: bytes, *, ended: bool) -> Answers:
    """All that came. Raises Fault for what is no HTTP or no WebSocket, or a refusal that no page knows.

    Args:
        ended: the server has closed the connection.
    """
    answers = Answers()
    rest: bytes | None = data
    while rest and answers.complete:
        # An answer to HEAD tells a length and brings nothing: another answer, or the end, stands there.
        head = rest.find(b"\r\n\r\n", rest.startswith(b"HTTP/1.1 100 ") and rest.find(b"\r\n\r\n") + 4) + 4
        to_head = rest.startswith(b"HTTP/1.1 ", head) or (ended and head == len(rest))
        try:
            rest = _read_one(rest, b"HEAD" if to_head else b"GET", answers, ended)
        except h11.RemoteProtocolError as error:
            raise Fault("not HTTP", f"{error}: {rest[:300]!r}") from None
    return answers


def _read_one(data: bytes, method: bytes, answers: Answers, ended: bool) -> bytes | None:
    """What follows the first answer; None if nothing may."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    reader.send(h11.Request(method=method, target="/", headers=WEBSOCKET))
    reader.send(h11.EndOfMessage())
    reader.receive_data(data)
    if ended:
        reader.receive_data(b"")
    status, body, extensions = 0, b"", ""
    while True:
        event = reader.next_event()
        if isinstance(event, (h11.InformationalResponse, h11.Response)):
            status = event.status_code
            if status not in STATUSES:
                raise Fault("undocumented status", f"{status}: {data[:300]!r}")
            extensions = dict(event.headers).get(b"sec-websocket-extensions", b"").decode()
            if status != 100 or isinstance(event, h11.Response):
                answers.statuses.append(status)
            if status == 101:
                _read_frames(reader.trailing_data[0], extensions, answers)
                return None
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            answers.bodies.append(body)
            return reader.trailing_data[0] or None
        elif event is h11.NEED_DATA or event is h11.PAUSED:
            answers.complete = False
            return None
        else:  # the connection has ended before an answer, or within one
            return None


def _read_frames(data: bytes, extensions: str, answers: Answers) -> None:
    agreed = []
    if extensions:
        deflate = wsproto.extensions.PerMessageDeflate()
        deflate.finalize(extensions)
        agreed.append(deflate)
    reader = wsproto.connection.Connection(wsproto.connection.ConnectionType.CLIENT, agreed)
    parts: list[str | bytes] = []
    try:
        reader.receive_data(data)
        for event in reader.events():
            if isinstance(event, wsproto.events.Message):
                parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
                if event.message_finished:
                    answers.messages.append(parts[0][:0].join(parts))  # type: ignore[arg-type]
                    parts = []
            elif isinstance(event, wsproto.events.CloseConnection):
                if reader.state is wsproto.connection.ConnectionState.OPEN:
                    raise Fault("not WebSocket", f"{event.reason}: {data[:300]!r}")
                answers.close_code = int(event.code)
                break
    except wsproto.utilities.RemoteProtocolError as error:
        raise Fault("not WebSocket", f"{error}: {data[:300]!r}") from None
