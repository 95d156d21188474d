"""What the words on a worker's links carry, all in MessagePack, and which version of it this is. Sans-I/O.

Must not know: links, who says what when, what other rooms send in the same encoding.
"""

from __future__ import annotations

from typing import Final

import msgspec

# Raise it with any change of what a link carries. Two versions do not serve together: a worker ends at birth
# when its supervisor has another one, so that a rolling restart over such an update is given up, the old
# workers go on, and the log says to restart the whole server. A worker that does not look, being older than
# this rule, is killed when it says READY; a sibling's link is closed at its HELLO.
VERSION: Final = 3

_encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.decode


class Greeting(msgspec.Struct, array_like=True):
    """HELLO of a sibling: it serves. `living`: whom it knows; `settles`: is SETTLED to follow?"""

    version: int
    living: tuple[int, ...]
    settles: bool


class Ready(msgspec.Struct, array_like=True):
    """READY, to the supervisor."""

    version: int


class NewWorker(msgspec.Struct, array_like=True):
    """HELLO of the supervisor, with the link to that worker; KNOWN of a sibling, who has met it."""

    index: int


class Succession(msgspec.Struct, array_like=True):
    """SUCCESSOR: who holds what the worker `index` held."""

    index: int
    successor: int


class Drain(msgspec.Struct, array_like=True):
    """DRAIN: to whom, None when everybody stops."""

    successor: int | None


def encode(word: object) -> bytes:
    """None: the kind alone says it."""
    return b"" if word is None else _encode(word)


def version_of(payload: bytes) -> int:
    """Of a Greeting or a Ready, of whatever version: it stands first. 0 from before there were versions."""
    try:
        return decode(payload, type=Ready).version
    except msgspec.MsgspecError:
        return 0


def other_version(version: int) -> str:
    """Behind the name of who has it, for the log."""
    return f"speaks version {version} of the workers' words, not {VERSION}: restart the whole server"
