"""Long polling in HTTP: answers with compression, JSONP, the cookie, refusals. Pure functions.

Must not know: sessions, exchanges, who may have an answer.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

from python_server.http1.response import Headers

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


def error_body(code: int, message: str) -> bytes:
    """The JSON of a refusal."""
    return json.dumps({"code": code, "message": message}, separators=(",", ":")).encode()


def cookie_header(cookie: str | Mapping[str, object], sid: str, *, secure: bool = False) -> Headers:
    """The Set-Cookie field of a handshake (RFC 6265 4.1.1).

    Args:
        cookie: a name (then Path=/), or a mapping with "name" and attributes; True stands for an attribute
            without a value, False and None for its absence, a function for its result. What is not said of
            SameSite and HttpOnly is the official server's, of Secure it is `secure`.
        secure: did the request come over TLS?
    """
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
