"""Server-sent events (WHATWG HTML 9.2), sans-I/O: blocks of text/event-stream, as bytes.

Must not know: connections, rooms, what an event says; its data is text that somebody else has written.
"""

from __future__ import annotations

import re
from typing import Final

from python_server.http1.response import Headers

# A store would keep a stream for ever; nginx would hold it back until its buffer is full.
HEADERS: Final[Headers] = [
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),
]
# Proxies end what is silent for a minute (nginx's proxy_read_timeout).
HEARTBEAT_SECONDS: Final = 15.0
# Whichever of them stands in a field begins another one (9.2.5).
_LINE_ENDS: Final = re.compile(r"\r\n|\r|\n")


def block(data: str | None = None, event: str = "", id: str = "", retry_milliseconds: int = 0) -> bytes:
    """An event; without data: what a client notes, and dispatches nothing; of nothing: a comment.

    Args:
        id: from which it wants to go on, "" for none. retry_milliseconds: how long it waits before that.
    """
    text = f"retry: {retry_milliseconds}\n" if retry_milliseconds else ""
    if event:
        text += f"event: {_LINE_ENDS.sub(' ', event)}\n"
    if data is not None:
        text += "".join([f"data: {line}\n" for line in _LINE_ENDS.split(data)])
    # A lone surrogate, which UTF-8 has no bytes for, becomes a question mark.
    return with_id((text or ("" if id else ":\n")).encode("utf-8", "replace") + b"\n", id)


def with_id(block: bytes, id: str) -> bytes:
    """The block, with an id or "" for none."""
    return b"%bid: %b\n\n" % (block[:-1], id.encode()) if id else block
