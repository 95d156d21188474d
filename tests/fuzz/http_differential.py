"""Generated requests to our parser, to h11 and to llhttp (httptools): who takes what, and as what.

It must not excuse a difference that is not in the tables below with its reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import h11
import httptools
from conversations import Grammar
from findings import Fault, Record
from mutations import Mutator
from operations import latin, render

from python_server.http1.head import BadRequest
from python_server.http1.parser import END, Request, RequestParser
from python_server.settings import HTTPSettings

# Method, target, fields, body.
Message = tuple[str, str, list[tuple[str, str]], bytes]
# "refused", "waits" (for more) or "closes" (after a last message); and in whose words.
Outcome = tuple[list[Message], str, str]
INCOMPLETE_MAX_BYTES = 1 << 20

# What we refuse and a peer reads: part of our words -> why we do.
STRICTER: dict[str, str] = {
    "header fields": "docs/limits.md: 100 fields",
    "header line is longer": "docs/limits.md: a field line",
    "header is larger": "docs/limits.md: a head",
    "request line is longer": "docs/limits.md: the request line",
    "request body is larger": "docs/limits.md: a body",
    "empty lines before": "docs/limits.md: empty lines; RFC 9112 2.2 asks for one at least",
    "chunk-size line longer": "docs/limits.md: a chunk-size line",
    "trailer section longer": "docs/limits.md: trailers",
    "malformed request target": "RFC 9112 3.2: only OPTIONS has *, no authority form as there is no tunnel",
    "malformed request line": "RFC 9112 3: one space, capital letters in a method",
    "only HTTP/1.0 and HTTP/1.1": "RFC 9110 15.6.6",
    "does not know this method": "RFC 9110 15.6.2: llhttp's methods are known",
    "is repeated": "RFC 9112 3.2 and 6.3: what two servers would read in two ways",
    "no Host field": "RFC 9112 3.2",
    "malformed Host field": "RFC 9112 3.2",
    "bare CR": "RFC 9112 2.2: a line ends with CR LF",
    "control character": "RFC 9110 5.5",
    "obsolete line folding": "RFC 9112 5.2: a server may refuse it",
    "the only expectation known": "RFC 9110 10.1.1",
    "Content-Length together": "RFC 9112 6.1: a server may refuse both",
    "Transfer-Encoding can't be present": "RFC 9112 6.1: a server may refuse both",
    "malformed Content-Length": "RFC 9110 8.6",
    "only the transfer coding chunked": "RFC 9112 6.1: 501 for an unknown coding",
    "Transfer-Encoding in HTTP/1.0": "RFC 9112 6.1",
    "malformed chunk-size line": "RFC 9112 7.1, without bad whitespace",
    "chunk data is not followed": "RFC 9112 7.1",
    "trailer": "RFC 9110 6.5: a trailer has the form of a field line, and frames nothing",
    "malformed request head": "llhttp's own words: it judges a head's syntax",
}
# What a peer refuses and we read: (peer, its words, what the stream has then) -> why we do not.
LOOSER = {
    ("llhttp", "Invalid HTTP version", rb" HTTP/1\.[2-9]\r"): "RFC 9110 2.5: 1.2 and up are read as 1.1",
    ("h11", "no request line", rb"(?:\A|.)\r\n[A-Z]"): "RFC 9112 2.2: an empty line before it is overread",
}


def ours(stream: bytes) -> Outcome:
    parser = RequestParser(HTTPSettings())
    messages: list[Message] = []
    request, body = None, b""
    events = parser.receive(stream)
    while events:
        for event in events:
            if isinstance(event, BadRequest):
                return messages, "refused", f"{event.status} {event.message}"
            if isinstance(event, Request):
                request, body = event, b""
            elif event is END:
                assert request is not None
                messages.append((request.method, request.target, list(request.headers), body))
            else:
                body += event
        if events[-1] is not END:
            break
        if not request.keep_alive:
            return messages, "closes", ""
        events = parser.next_request()
    return messages, "waits", ""


def by_h11(stream: bytes) -> Outcome:
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=INCOMPLETE_MAX_BYTES)
    messages: list[Message] = []
    request, body = None, b""
    reader.receive_data(stream)
    try:
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                fields = [(name.decode(), latin(bytes(value))) for name, value in request.headers]
                messages.append((request.method.decode(), latin(bytes(request.target)), fields, body))
                reader.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
                reader.send(h11.EndOfMessage())
                if reader.our_state is not h11.DONE or reader.their_state is not h11.DONE:
                    return messages, "closes", ""
                reader.start_next_cycle()
            else:
                return messages, "waits", ""
    except h11.RemoteProtocolError as error:
        return messages, "refused", str(error)


class _Collector:
    """What llhttp calls."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.parser: Any = None
        self.closes = False

    def on_message_begin(self) -> None:
        self._target, self._body, self._fields = b"", b"", []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((latin(name).lower(), latin(value).strip(" \t")))

    def on_headers_complete(self) -> None:
        self._method = self.parser.get_method().decode()
        self._head = list(self._fields)  # trailers come as fields too

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if not self.closes:
            self.messages.append((self._method, latin(self._target), self._head, self._body))
        self.closes = self.closes or not self.parser.should_keep_alive()


def by_llhttp(stream: bytes) -> Outcome:
    collector = _Collector()
    collector.parser = httptools.HttpRequestParser(collector)
    try:
        collector.parser.feed_data(stream)
    except httptools.HttpParserUpgrade:
        return collector.messages, "upgrades", ""
    except httptools.HttpParserError as error:
        return collector.messages, "closes" if collector.closes else "refused", repr(error)
    return collector.messages, "closes" if collector.closes else "waits", ""


PEERS: dict[str, Callable[[bytes], Outcome]] = {"h11": by_h11, "llhttp": by_llhttp}


def plain(message: Message) -> Message:
    """The codings of a transfer in one case: h11 tells them so (RFC 9112 section 7)."""
    method, target, fields, body = message
    told = [(name, value.lower() if name == "transfer-encoding" else value) for name, value in fields]
    return method, target, told, body


def difference(stream: bytes, own: Outcome, other: Outcome, peer: str) -> str | None:
    """Why they differ, as the tables know it; None if they agree. Raises Fault."""
    (messages, verdict, words), (others, other_verdict, other_words) = own, other
    # llhttp takes what follows CONNECT, or a head that asks for an upgrade, as a tunnel.
    same = min(len(messages), len(others) - (other_verdict == "upgrades"))
    for mine, theirs in zip(messages[:same], others[:same], strict=True):
        if plain(mine) != plain(theirs):
            raise Fault("another message", f"ours {mine}\n{peer} {theirs}")
    if other_verdict == "upgrades" or (len(messages) == len(others) and verdict == other_verdict):
        return None
    if verdict == "refused" and len(others) >= len(messages):
        return next((f"stricter: {STRICTER[part]}" for part in STRICTER if part in words), None) or _unknown(
            f"we refuse what {peer} {other_verdict}", words, own, other
        )
    if (verdict, other_verdict) == ("waits", "refused"):
        whole, later, _ = ours(stream + b"\r\n\r\n")
        if later == "refused" and whole == messages:
            return "later: a head is refused when all of it is here"
    if other_verdict == "refused":
        for (name, part, shape), why in LOOSER.items():
            if name == peer and part in other_words and re.search(shape, stream, re.DOTALL):
                return f"looser: {why}"
        return _unknown(f"{peer} refuses what we take", other_words, own, other)
    return _unknown(f"we: {verdict}, {peer}: {other_verdict}", words or other_words, own, other)


def _unknown(kind: str, words: str, own: Outcome, other: Outcome) -> str:
    raise Fault(kind, f"{words}\n  ours {own}\n  other {other}"[:1500])


class HTTPPlayer:
    """The machine that `findings.campaign` runs."""

    NAME = "http"

    def close(self) -> None:
        """It has started nothing."""

    def make(self, seed: int) -> Record:
        grammar, record = Grammar(seed), []
        while not record:
            grammar.pick((grammar.requests, grammar.requests, grammar.many_fields, grammar.polling))(
                out := []
            )
            if seed % 4:
                out = Mutator(seed).mutate(out)
            record = [each for each in out if each[0] in ("http", "bytes")]
        return record

    def play(self, seed: int, record: Record) -> Counter[str]:
        stream = b"".join(map(render, record))
        own = ours(stream)
        counts = Counter({f"{own[1]} by us": 1, "messages": len(own[0])})
        for name, read in PEERS.items():
            reason = difference(stream, own, read(stream), name)
            counts["agreements" if reason is None else f"{name}, {reason}"] += 1
        return counts
