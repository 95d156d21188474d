"""The Socket.IO client for browsers, answered below the path of a mount as the official server does.

Must not know: sessions, or what stands in the files; who asks for one opens nothing, and is let in by nobody.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib.resources import files
from typing import Final

from python_server.connection.exchange import AnsweredAtOnce, Exchange
from python_server.engineio.cors import OriginRules
from python_server.engineio.polling import accepted_encoding
from python_server.http1.response import Headers
from python_server.serve.client_release import CDN_TAG, NAMES, VERSION
from python_server.serve.mounts import Mount

# They stand in it compressed, as nearly every browser wants them.
FOLDER: Final = files("python_server").joinpath("client", VERSION)
ETAG: Final = f'"{VERSION}"'
KEPT: Final = [("Cache-Control", "public, max-age=0"), ("ETag", ETAG), ("Vary", "Accept-Encoding, Origin")]
MISSING: Final = (
    "this build has no Socket.IO client: `make client` fetches it for the next one, "
    f"until then a page can load {CDN_TAG}"
)


@cache
def packed(name: str) -> bytes:
    """A file as gzip, read once; empty: this build has none."""
    try:
        return FOLDER.joinpath(f"{name}.gz").read_bytes()
    except OSError:
        return b""


@cache
def unpacked(name: str) -> bytes:
    """The same for whoever takes no gzip, from the first of them on."""
    return gzip.decompress(packed(name))


def client_files(mounts: Iterable[Mount], complain: Callable[[str, str], None]) -> dict[str, AnsweredAtOnce]:
    """What answers a GET or HEAD, by path; `complain` is called with (kind, sentence).

    The files are read here: a server that is short of descriptors later has them.
    """
    return {
        mount.path + name: AnsweredAtOnce(partial(_answer, name, packed(name), origins, complain))
        for mount in mounts
        if mount.serve_client
        for origins in [OriginRules(mount.options.cors_allowed_origins, mount.options.cors_credentials)]
        for name in NAMES
    }


def _answer(
    name: str, body: bytes, origins: OriginRules, complain: Callable[[str, str], None], exchange: Exchange
) -> None:
    """On the loop's thread: nothing is read or compressed here."""
    request = exchange.request
    headers: Headers = [*KEPT, *origins.headers(request)]
    if not body:
        complain("no client", MISSING)
        plain = ("Content-Type", "text/plain; charset=utf-8")
        exchange.respond(404, [plain, *origins.headers(request)], f"{MISSING}\n".encode())
    elif _is_known(request.get("if-none-match")):
        exchange.respond(304, headers)
    else:
        kind = "json" if name.endswith(".map") else "javascript"
        headers.append(("Content-Type", f"application/{kind}; charset=utf-8"))
        if accepted_encoding(request.get("accept-encoding")) == "gzip":
            headers.append(("Content-Encoding", "gzip"))
        else:
            body = unpacked(name)
        exchange.respond(200, headers, body)


def _is_known(if_none_match: str) -> bool:
    """Has the client this release? A weak comparison (RFC 9110 13.1.2)."""
    tags = (tag.strip() for tag in if_none_match.split(","))
    return any(tag == "*" or tag.removeprefix("W/") == ETAG for tag in tags)
