"""Operations of a conversation, and the bytes that each sends.

It must not know which operations there should be, or what a server makes of them.

An operation is a list that JSON can hold: its kind, the name of a connection, then what is sent. Bytes are
latin-1 text; `["*", text, count]` is text that repeats, `["+", part, ...]` parts behind each other,
`["keys", count]` a map of MessagePack whose keys have one hash; `{sid:NAME}` becomes the session that the
connection NAME has opened.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

Operation = list[Any]
Fields = list[list[str]]
Conversation = list[Operation]


def latin(data: bytes) -> str:
    return data.decode("latin-1")


def utf8(text: str) -> str:
    """Text as the latin-1 letters of its bytes."""
    return latin(text.encode("utf-8", "surrogatepass"))


def expand(text: Any) -> str:
    """Of text, or of the shapes that stand for long text."""
    if isinstance(text, str):
        return text
    if isinstance(text, list) and text[:1] == ["*"]:
        return str(text[1]) * int(text[2])
    if isinstance(text, list) and text[:1] == ["+"]:
        return "".join(map(expand, text[1:]))
    if isinstance(text, list) and text[:1] == ["keys"]:
        return latin(b"\xdf" + struct.pack("!I", text[1]) + b"".join(map(colliding_key, range(text[1]))))
    raise ValueError(f"no text: {text!r}")


def colliding_key(number: int) -> bytes:
    """An array of 15 times -1 or -2, which have one hash in Python; and a value."""
    return b"\x9f" + bytes(0xFF - (number >> bit & 1) for bit in range(15)) + b"\x01"


def render_request(method: str, target: str, fields: Fields, body: Any, framing: str) -> bytes:
    """`framing`: "none", "length" or "chunked N" with N bytes in each chunk."""
    data = expand(body).encode("latin-1")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {expand(value)}" for name, value in fields)]
    if framing == "length":
        lines.append(f"Content-Length: {len(data)}")
    elif framing != "none":
        lines.append("Transfer-Encoding: chunked")
        size = max(1, int(framing.split()[1]))
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        data = b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nT: 1\r\n\r\n"
    head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
    return head + (b"" if framing == "none" else data)


def render_frame(opcode: int, payload: Any, flags: dict[str, int]) -> bytes:
    """A client's frame. flags: fin, masked (1 unless said), rsv (bits), form (bytes of the length)."""
    data = expand(payload).encode("latin-1")
    if flags.get("deflate"):
        squeeze = zlib.compressobj(wbits=-15)
        data = (squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]
    rsv = flags.get("rsv", 4 if flags.get("deflate") else 0)
    first = (flags.get("fin", 1) & 1) << 7 | (rsv & 7) << 4 | opcode & 15
    size = flags.get("size", len(data)) & 0xFFFFFFFFFFFFFFFF
    mask_bit = 0x80 if flags.get("masked", 1) else 0
    form = flags.get("form", 0 if size < 126 else 2 if size < 65_536 else 8)
    if form == 8:
        head = struct.pack("!BBQ", first, mask_bit | 127, size)
    elif form == 2:
        head = struct.pack("!BBH", first, mask_bit | 126, size & 0xFFFF)
    else:
        head = struct.pack("!BB", first, mask_bit | size & 0x7F)
    if not mask_bit:
        return head + data
    mask = b"\x11\x22\x33\x44"
    key = int.from_bytes(mask * (len(data) // 4 + 1), "big") >> 8 * (
        -len(data) % 4 + 4 * (len(data) % 4 == 0)
    )
    return head + mask + (int.from_bytes(data, "big") ^ key).to_bytes(len(data), "big")


def render(operation: Operation) -> bytes:
    """What an operation sends, with `{sid:...}` still in it. Raises ValueError for one that sends nothing."""
    kind, _, *rest = operation
    if kind == "http":
        return render_request(*rest)
    if kind == "frame":
        return render_frame(*rest)
    if kind == "bytes":
        return expand(rest[0]).encode("latin-1")
    raise ValueError(f"{kind} sends nothing")
