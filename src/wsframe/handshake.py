"""The opening handshake (RFC 6455 section 4) over header lists, for both roles: checks, choices, headers.

It must not know how HTTP heads are read or written, nor what the resource means.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from . import deflate as permessage
from .deflate import Agreement, Options, Params

Headers = list[tuple[str, str]]
# Every value of a field, by its name in lower case.
Fields = dict[str, list[str]]

# Section 1.3.
GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Section 4.1: the only version there is.
VERSION: Final = "13"
# Of all Sec-WebSocket-Extensions fields: what a browser says has 50, and each byte may be a word to be read.
EXTENSIONS_MAX_BYTES: Final = 2048

# RFC 9110 section 5.6.2 (token) and 5.6.4 (quoted-string), as section 9.1 uses them. Each alternative of
# each pattern begins with another character, so that matching takes linear time.
_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TOKEN_ONLY: Final = re.compile(_TOKEN)
_PIECE: Final = re.compile(
    rf'[ \t]*(?:({_TOKEN})|"((?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t -~])*)"|([,;=]))[ \t]*'
)
_FIELD_VALUE: Final = re.compile(r"[^\r\n\0]*")


class HandshakeError(Exception):
    """The peer's opening handshake is invalid; `message` says why. A server answers with `status` and
    `headers`; a client closes the connection.
    """

    def __init__(self, status: int, message: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(status, message, tuple(headers))
        self.status = status
        self.message = message
        self.headers: Headers = list(headers)

    def __str__(self) -> str:
        return self.message


class Accepted(NamedTuple):
    """The result of a handshake. `headers` are those of the 101 response, `subprotocol` is the chosen one or
    None; pass `deflate` to `Connection(deflate=...)`.
    """

    headers: Headers
    subprotocol: str | None
    deflate: Agreement | None


class Request(NamedTuple):
    """A client's opening handshake: send GET `resource` with `headers`, then `check` the response.

    Attributes:
        key, subprotocols, deflate: what the client asked for; `check` compares the response with it.
    """

    resource: str
    headers: Headers
    key: str
    subprotocols: tuple[str, ...]
    deflate: Options | None


def accept_key(key: str) -> str:
    """Compute the answer to a Sec-WebSocket-Key (section 4.2.2).

        assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    Returns: the Sec-WebSocket-Accept for `key`.
    """
    return base64.b64encode(hashlib.sha1(f"{key}{GUID}".encode(), usedforsecurity=False).digest()).decode()


def is_upgrade(headers: Iterable[tuple[str, str]]) -> bool:
    """Tell whether a request asks for a WebSocket.

        if is_upgrade(headers):
            accepted = accept("GET", (1, 1), headers)

    Returns: whether the Upgrade and Connection headers in `headers` have the tokens of section 4.2.1.
    """
    fields = _collect(headers)
    return _has_token(fields, "upgrade", "websocket") and _has_token(fields, "connection", "upgrade")


# --- the server's side (section 4.2) --------------------------------------------------------------


def accept(
    method: str,
    http_version: tuple[int, int],
    headers: Iterable[tuple[str, str]],
    *,
    subprotocols: Sequence[str] = (),
    deflate: Options | None = None,
) -> Accepted:
    """Check a client's request (`method`, `http_version`, `headers`) and make the response.

        accepted = accept("GET", (1, 1), headers, subprotocols=["chat.v2", "chat.v1"])

    The first subprotocol in the client's list that is in `subprotocols` is chosen. `deflate` has our options
    of permessage-deflate; None refuses it.
    Returns: the agreement and the headers. Raises HandshakeError: it has the status to answer with.
    """
    _no_single_text(subprotocols)
    fields = _collect(headers)
    if method != "GET":
        raise HandshakeError(405, "the method is not GET (RFC 6455 section 4.2.1)", [("Allow", "GET")])
    if tuple(http_version) < (1, 1):
        raise HandshakeError(400, "the HTTP version is below 1.1 (RFC 6455 section 4.2.1)")
    if tuple(http_version) >= (2, 0):
        # RFC 9113 section 8.6: HTTP/2 has no 101; RFC 9110 section 15.6.6: the major version is refused.
        raise HandshakeError(505, "the HTTP version is not 1.x (RFC 6455 section 4.2.1)")
    if len(_values(fields, "host")) != 1:
        raise HandshakeError(400, "there is not one Host field (RFC 6455 section 4.2.1)")
    if not _has_token(fields, "upgrade", "websocket"):
        raise HandshakeError(400, "the Upgrade field lacks websocket (RFC 6455 section 4.2.1)")
    if not _has_token(fields, "connection", "upgrade"):
        raise HandshakeError(400, "the Connection field lacks Upgrade (RFC 6455 section 4.2.1)")
    versions = _values(fields, "sec-websocket-version")
    if versions != [VERSION]:
        raise HandshakeError(
            426,
            "the Sec-WebSocket-Version is not 13 (RFC 6455 section 4.2.2)",
            [("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)],
        )
    keys = _values(fields, "sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise HandshakeError(
            400, "the Sec-WebSocket-Key is not one of 16 bytes in base64 (RFC 6455 section 4.2.1)"
        )
    subprotocol = next((name for name in _offered_subprotocols(fields) if name in subprotocols), None)
    answer: Headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(keys[0])),
    ]
    if subprotocol is not None:
        answer.append(("Sec-WebSocket-Protocol", subprotocol))
    agreed = None
    offers = [params for name, params in _extensions(fields) if name.lower() == permessage.NAME]
    if deflate is not None and offers:
        chosen = permessage.answer(offers, deflate)
        if chosen is not None:
            value, agreed = chosen
            answer.append(("Sec-WebSocket-Extensions", value))
    return Accepted(answer, subprotocol, agreed)


def _is_key(value: str) -> bool:
    try:
        return len(value) == 24 and len(base64.b64decode(value, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _offered_subprotocols(fields: Fields) -> list[str]:
    values = _values(fields, "sec-websocket-protocol")
    if not values:
        return []
    names = [name.strip(" \t") for value in values for name in value.split(",")]
    if len(set(names)) != len(names) or not all(map(_TOKEN_ONLY.fullmatch, names)):
        raise HandshakeError(
            400, "the Sec-WebSocket-Protocol field is not a list of different tokens (RFC 6455 section 4.1)"
        )
    return names


# --- the client's side (section 4.1) --------------------------------------------------------------


def request(
    resource: str,
    host: str,
    *,
    origin: str | None = None,
    subprotocols: Sequence[str] = (),
    deflate: Options | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> Request:
    """Make a client's request with a new random key.

        sent = request("/chat", "example.org:8000", subprotocols=["chat.v2"])

    Args:
        resource: path and query. host: the host, with the port if it is not the default port.
        origin: the origin of a page; None for a program. subprotocols: the preferred one first.
        deflate: our options of permessage-deflate; None to do without.
        headers: additional headers; those that the handshake itself writes are refused.

    Returns: the Request, an argument of `check`. Raises ValueError: an argument cannot be sent.
    """
    _no_single_text(subprotocols)
    if not resource.startswith("/") or any(not "!" <= char <= "~" for char in resource):
        raise ValueError("resource must begin with / and be of printable ASCII (RFC 6455 section 4.1)")
    if "#" in resource:
        raise ValueError("resource must not have a fragment (RFC 6455 section 3)")
    if not host or any(not "!" <= char <= "~" for char in host):
        raise ValueError("host must be of printable ASCII without spaces")
    if len(set(subprotocols)) != len(subprotocols) or not all(map(_TOKEN_ONLY.fullmatch, subprotocols)):
        raise ValueError("subprotocols must be different tokens (RFC 6455 section 4.1)")
    key = base64.b64encode(os.urandom(16)).decode()
    fields: Headers = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", VERSION),
    ]
    if origin is not None:
        fields.append(("Origin", origin))
    if subprotocols:
        fields.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
    if deflate is not None:
        fields.append(("Sec-WebSocket-Extensions", permessage.offer(deflate)))
    ours = {name.lower() for name, _ in fields}
    for name, _ in headers:
        if name.lower() in ours or name.lower().startswith("sec-websocket-"):
            raise ValueError(
                f"headers must not have {name}, which the handshake writes (RFC 6455 section 4.1)"
            )
    fields.extend(headers)
    for name, value in fields:
        if not _TOKEN_ONLY.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
            raise ValueError(f"headers must have a token for a name and one line for a value: {name!r}")
    return Request(resource, fields, key, tuple(subprotocols), deflate)


def check(sent: Request, status: int, headers: Iterable[tuple[str, str]]) -> Accepted:
    """Check the server's response to `sent`, by its `status` and `headers`.

        accepted = check(sent, 101, headers)

    Returns: the agreement. Raises HandshakeError: the client must close the connection.
    """
    pairs = list(headers)
    fields = _collect(pairs)
    if status != 101:
        raise HandshakeError(status, f"the server answered {status}, not 101 (RFC 6455 section 4.1)")
    if [value.lower() for value in _values(fields, "upgrade")] != ["websocket"]:
        raise HandshakeError(status, "the Upgrade field is not websocket (RFC 6455 section 4.1)")
    if not _has_token(fields, "connection", "upgrade"):
        raise HandshakeError(status, "the Connection field lacks Upgrade (RFC 6455 section 4.1)")
    if _values(fields, "sec-websocket-accept") != [accept_key(sent.key)]:
        raise HandshakeError(status, "the Sec-WebSocket-Accept does not fit the key (RFC 6455 section 4.1)")
    chosen = _values(fields, "sec-websocket-protocol")
    if len(chosen) > 1 or not set(chosen) <= set(sent.subprotocols):
        raise HandshakeError(status, "the subprotocol was not offered (RFC 6455 section 4.1)")
    agreed = None
    try:
        extensions = _extensions(fields)
    except HandshakeError as error:
        raise HandshakeError(status, error.message) from None
    for name, params in extensions:
        if name.lower() != permessage.NAME or sent.deflate is None or agreed is not None:
            raise HandshakeError(status, f"the extension {name} was not offered (RFC 6455 section 4.1)")
        try:
            agreed = permessage.agree(params, sent.deflate)
        except permessage.ParameterError as error:
            raise HandshakeError(status, str(error)) from error
    return Accepted(pairs, chosen[0] if chosen else None, agreed)


def _no_single_text(subprotocols: Sequence[str]) -> None:
    """A str is a sequence of str as well, and `in` finds parts of it."""
    if isinstance(subprotocols, str):
        raise TypeError("subprotocols must be a sequence of str, not one str")


# --- header fields --------------------------------------------------------------------------------


def _collect(headers: Iterable[tuple[str, str]]) -> Fields:
    fields: Fields = {}
    for name, value in headers:
        fields.setdefault(name.lower(), []).append(value.strip(" \t"))
    return fields


def _values(fields: Fields, name: str) -> list[str]:
    return fields.get(name, [])


def _has_token(fields: Fields, name: str, token: str) -> bool:
    parts = (part for value in _values(fields, name) for part in value.split(","))
    return any(part.strip(" \t").lower() == token for part in parts)


def _extensions(fields: Fields) -> list[tuple[str, Params]]:
    """Section 9.1: extension-list, with empty elements allowed as RFC 9110 section 5.6.1.2 asks of a
    recipient.
    """
    found: list[tuple[str, Params]] = []
    values = _values(fields, "sec-websocket-extensions")
    if sum(map(len, values)) > EXTENSIONS_MAX_BYTES:
        raise HandshakeError(400, f"Sec-WebSocket-Extensions has more than {EXTENSIONS_MAX_BYTES} bytes")
    for value in values:
        pieces = _pieces(value)
        end = False
        while not end:
            kind, word = next(pieces)
            if kind == "token":
                params, end = _params(pieces)
                found.append((word, params))
            elif word != ",":
                if kind != "end":
                    raise _bad_extensions()
                end = True
    return found


def _params(pieces: Iterator[tuple[str, str]]) -> tuple[Params, bool]:
    """*( ";" token [ "=" ( token | quoted-string ) ] ), and whether the field ended after them."""
    params: list[tuple[str, str | None]] = []
    kind, word = next(pieces)
    while word == ";" and kind == "mark":
        kind, name = next(pieces)
        if kind != "token":
            raise _bad_extensions()
        value = None
        kind, word = next(pieces)
        if (kind, word) == ("mark", "="):
            kind, value = next(pieces)
            # Section 9.1: what a quoted string holds must be a token too.
            if kind not in ("token", "quoted") or not _TOKEN_ONLY.fullmatch(value):
                raise _bad_extensions()
            kind, word = next(pieces)
        params.append((name.lower(), value))
    if (kind, word) != ("mark", ",") and kind != "end":
        raise _bad_extensions()
    return params, kind == "end"


def _pieces(value: str) -> Iterator[tuple[str, str]]:
    """Tokens, quoted strings and marks, then ("end", "")."""
    at = 0
    while at < len(value):
        match = _PIECE.match(value, at)
        if match is None:
            raise _bad_extensions()
        at = match.end()
        token, quoted, mark = match.groups()
        if token is not None:
            yield "token", token
        elif mark is not None:
            yield "mark", mark
        else:
            yield "quoted", re.sub(r"\\(.)", r"\1", quoted)
    yield "end", ""


def _bad_extensions() -> HandshakeError:
    return HandshakeError(400, "the Sec-WebSocket-Extensions field is malformed (RFC 6455 section 9.1)")
