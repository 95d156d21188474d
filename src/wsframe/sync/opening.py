"""What is sent and read before a client's WebSocket is open: the URI, the request, the response's head.

It must not know sockets or clocks: bytes come in, bytes go out.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from ..handshake import Headers
from .exceptions import HandshakeHeaders, HandshakeResponse, InvalidMessage, InvalidURI

# Of the head of a response, with those of status 1xx before it: as much as Node.js takes.
HEAD_MAX_BYTES: Final = 16_384

_STATUS_LINE: Final = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_FIELD: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\x80-\xff]*)")


class Target(NamedTuple):
    """Where a URI leads.

    Attributes:
        resource: path and query. authority: of the Host field. authorization: of the Authorization field.
    """

    secure: bool
    host: str
    port: int
    resource: str
    authority: str
    authorization: str | None


def parse_uri(uri: str) -> Target:
    """Read ws://[user:password@]host[:port][/path][?query], or wss:// (RFC 6455 section 3).

    Raises InvalidURI.
    """
    if any(char <= " " or char == "\x7f" for char in uri):
        raise InvalidURI(uri, "it has a space or a control character")
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port
        host = host.encode("idna").decode()
        uri.encode()
    except ValueError as error:
        raise InvalidURI(uri, str(error)) from None
    if parts.scheme not in ("ws", "wss"):
        raise InvalidURI(uri, "scheme isn't ws or wss")
    if not host:
        raise InvalidURI(uri, "hostname isn't provided")
    if "#" in uri:
        raise InvalidURI(uri, "fragment identifier is meaningless (RFC 6455 section 3)")
    secure = parts.scheme == "wss"
    usual = 443 if secure else 80
    authority = f"[{host}]" if ":" in host else host
    if port not in (None, usual):
        authority += f":{port}"
    authorization = None
    if parts.username is not None:
        words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(words.encode()).decode()
    safe = "!#$%&'()*+,/:;=?@[]~"
    resource = quote(parts.path or "/", safe) + (f"?{quote(parts.query, safe)}" if parts.query else "")
    return Target(secure, host, usual if port is None else port, resource, authority, authorization)


def header_pairs(headers: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> Headers:
    """Additional headers as pairs, however they are given."""
    return list(headers.items() if isinstance(headers, Mapping) else headers or ())


def write_request(resource: str, headers: Headers) -> bytes:
    """The head of the request."""
    lines = [f"GET {resource} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


class ResponseHead:
    """Collects the head of a response from pieces, and no more of it than `HEAD_MAX_BYTES`."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._looked_bytes = 0
        self._skipped_bytes = 0

    def feed(self, piece: bytes) -> tuple[HandshakeResponse, bytes] | None:
        """The response and what came behind its head; None while that is not whole. b"" is the end.

        Raises InvalidMessage: it is not HTTP, too long, or at its end.
        """
        self._data += piece
        while True:
            end = self._data.find(b"\r\n\r\n", max(0, self._looked_bytes - 3))
            if self._skipped_bytes + (len(self._data) if end < 0 else end) > HEAD_MAX_BYTES:
                raise InvalidMessage(f"the head of the response has more than {HEAD_MAX_BYTES} bytes")
            if end < 0:
                self._looked_bytes = len(self._data)
                if not piece:
                    raise InvalidMessage("the server ended the connection within the head of its response")
                return None
            response = _parse_head(self._data[:end].decode("latin-1"))
            rest = bytes(self._data[end + 4 :])
            if response.status_code >= 200 or response.status_code == 101:
                return response, rest
            # RFC 9110 section 15.2: others of status 1xx may come before.
            self._skipped_bytes += end + 4
            self._data, self._looked_bytes = bytearray(rest), 0


def _parse_head(head: str) -> HandshakeResponse:
    first, *lines = head.split("\r\n")
    status = _STATUS_LINE.fullmatch(first)
    fields = [_FIELD.fullmatch(line) for line in lines]
    if status is None or not all(fields):
        raise InvalidMessage("did not receive a valid HTTP response (RFC 9112 section 4)")
    pairs = [(field[1], field[2].strip(" \t")) for field in fields if field is not None]
    return HandshakeResponse(int(status[1]), status[2] or "", HandshakeHeaders(pairs))
