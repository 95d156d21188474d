"""Long polling in HTTP: what polls, POSTs and refusals are answered; compression, JSONP, the cookie.

Must not know: sessions, which request gets which answer.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from python_server.connection.exchange import Exchange
from python_server.engineio.cors import OriginRules
from python_server.engineio.options import EngineError, EngineOptions
from python_server.http1.response import Headers

PLAIN: Final = ("Content-Type", "text/plain; charset=utf-8")
# A binary payload of version 3.
OCTET_STREAM: Final = "application/octet-stream"
NO_STORE: Final = ("Cache-Control", "no-store")
# The loop's thread compresses: the fastest level costs a quarter of the default one on JSON.
COMPRESSION_LEVEL: Final = 1
# zlib's word for a gzip wrapper around the largest window (RFC 1952), and for its own (RFC 1950).
GZIP_WINDOW_BITS: Final = 31
ZLIB_WINDOW_BITS: Final = 15
NON_DIGITS: Final = re.compile(r"[^0-9]")
ESCAPED_NEWLINE: Final = re.compile(r"(\\)?\\n")
# Browsers say four codings, with one parameter each; what stands further behind is not looked at.
CODINGS_MAX_COUNT: Final = 32
PARAMETERS_MAX_COUNT: Final = 4
# "b64" and "t" mean nothing in version 4; `d` is the body of a JSONP POST, nothing else is read.
JSONP_FIELDS_MAX_COUNT: Final = 16


@dataclass(slots=True, eq=False)
class PollingAnswers:
    """The answers of one engine, each with its CORS fields. Every method belongs to the loop's thread.

    Args:
        complain: called with (kind, sentence) for what an operator should see.
    """

    _options: EngineOptions
    _origins: OriginRules
    _complain: Callable[[str, str], None]

    def poll(
        self, exchange: Exchange, payload: str | bytes, jsonp: str | None, cookie: Headers | None = None
    ) -> None:
        """The packets that a poll has waited for."""
        options, content_type = self._options, "text/plain; charset=UTF-8"
        if isinstance(payload, bytes):
            body, content_type = payload, OCTET_STREAM
        else:
            if jsonp is not None:
                payload = jsonp_wrap(jsonp, payload)
                content_type = "text/javascript; charset=UTF-8"
            body = payload.encode("utf-8", "replace")
        headers = [("Content-Type", content_type), NO_STORE, *(cookie or ())]
        if options.http_compression and len(body) >= options.compression_threshold_bytes:
            encoding = accepted_encoding(exchange.request.get("accept-encoding"))
            if encoding is not None:
                body = compress(body, encoding)
                headers.append(("Content-Encoding", encoding))
        self._respond(exchange, 200, headers, body)

    def post(self, exchange: Exchange) -> None:
        """The packets of a POST have been taken."""
        # Some browsers offer to save text/plain of a form's POST.
        self._respond(exchange, 200, [("Content-Type", "text/html"), NO_STORE], b"ok")

    def refuse(self, exchange: Exchange, error: EngineError, message: str | None = None) -> None:
        """One of the protocol's refusals."""
        code, text, status = error.value
        message = message or text
        if exchange.request.upgrade == "websocket":  # a plain answer, and the end of the connection
            exchange.refuse_keep_alive()
            self._respond(exchange, status, [PLAIN], message.encode())
        else:
            body = json.dumps({"code": code, "message": message}, separators=(",", ":")).encode()
            self._respond(exchange, status, [("Content-Type", "application/json")], body)

    def too_large(self, exchange: Exchange) -> None:
        """A POST's body, above the bound."""
        exchange.refuse_keep_alive()
        text = self.too_large_text("a polling request")
        self._complain("payload too large", text)
        self._respond(exchange, 413, [PLAIN], f"{text}\n".encode())

    def come_again(self, exchange: Exchange) -> None:
        """Nothing can begin here now: 503, with the moment to try again (RFC 9110 15.6.4)."""
        exchange.refuse_keep_alive()
        self._respond(exchange, 503, [("Retry-After", "1")])

    def _respond(self, exchange: Exchange, status: int, headers: Headers, body: bytes = b"") -> None:
        headers += self._origins.headers(exchange.request)
        exchange.respond(status, headers, body)

    def too_large_text(self, what: str) -> str:
        limit_bytes = self._options.max_payload_bytes
        return f"message too large: {what} exceeds max_http_buffer_size ({limit_bytes} bytes)"


def accepted_encoding(accept_encoding: str) -> str | None:
    """ "gzip" or "deflate", whichever the client prefers (RFC 9110 12.5.3); None for neither."""
    best, best_weight = None, 0.0
    weights: dict[str, float] = {}
    for item in accept_encoding.lower().split(",", CODINGS_MAX_COUNT)[:CODINGS_MAX_COUNT]:
        name, _, parameters = item.partition(";")
        weights[name.strip()] = _weight(parameters)
    for name in ("gzip", "deflate"):
        weight = weights.get(name, weights.get("*", 0.0))
        if weight > best_weight:
            best, best_weight = name, weight
    return best


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";", PARAMETERS_MAX_COUNT):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value.strip())
            except ValueError:
                return 0.0
    return 1.0


def compress(body: bytes, encoding: str) -> bytes:
    """The body in the content coding `encoding` (RFC 9110 8.4.1; deflate is zlib's format there)."""
    window_bits = GZIP_WINDOW_BITS if encoding == "gzip" else ZLIB_WINDOW_BITS
    compressor = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, window_bits)
    return compressor.compress(body) + compressor.flush()


def jsonp_wrap(index: str, payload: str) -> str:
    """The script that hands a payload to the page; only digits of the client's index are used."""
    # json.dumps escapes U+2028 and U+2029, which end a line in older JavaScript.
    return f"___eio[{NON_DIGITS.sub('', index)}]({json.dumps(payload)});"


def jsonp_unwrap(body: bytes) -> bytes | None:
    """The payload of a JSONP POST (`d=...`, a form); None when there is none.

    A form turns line ends into spaces, so the client writes them as backslash and n, and what was that
    already with two backslashes.
    """
    try:
        form = parse_qs(
            body.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=JSONP_FIELDS_MAX_COUNT,
        )
    except ValueError:
        return None
    data = form.get("d")
    if data is None:
        return None
    text = ESCAPED_NEWLINE.sub(lambda match: match[0] if match[1] else "\n", data[0])
    return text.replace("\\\\n", "\\n").encode("utf-8")


def cookie_header(cookie: str | Mapping[str, object] | None, sid: str, *, secure: bool = False) -> Headers:
    """The Set-Cookie field of a handshake (RFC 6265 4.1.1).

    Args:
        cookie: a name (then Path=/), or a mapping with "name" and attributes; True stands for an attribute
            without a value, False and None for its absence, a function for its result. What is not said of
            SameSite and HttpOnly is the official server's, of Secure it is `secure`. None: no field.
        secure: did the request come over TLS?
    """
    if cookie is None:
        return []
    given = {"name": cookie, "path": "/"} if isinstance(cookie, str) else cookie
    said = {name.lower() for name in given}
    usual = {"SameSite": "Lax", "HttpOnly": True, "Secure": secure}
    attributes = {**given, **{name: value for name, value in usual.items() if name.lower() not in said}}
    parts = [f"{_value(attributes.pop('name', 'io'))}={sid}"]
    for name, value in attributes.items():
        value = _value(value)
        if value is True:
            parts.append(name)
        elif value is not False and value is not None:
            parts.append(f"{name}={value}")
    return [("Set-Cookie", "; ".join(parts))]


def _value(value: object) -> object:
    return value() if callable(value) else value
