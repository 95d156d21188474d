"""Where every peer's bytes come from, and where its messages and frames go: the same for all.

It must not know who takes and gives them. What takes them is written in C: no peer pays for a handler.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import repeat
from typing import Any

Handler = Callable[[Any], object]

# A C function that takes a thing and drops it.
drop: Handler = deque[object](maxlen=0).append


@dataclass(frozen=True, slots=True)
class Reads:
    """What is received, one `view` per read; each peer pays for a copy of it, as it pays for a socket's.

    `made_before`: the bytes of a read are there already, and only who has a buffer of its own pays.
    """

    views: tuple[memoryview, ...]
    fragmented: bool
    made_before: bool = False

    def copies(self) -> Iterable[bytes]:
        """Each read as bytes of its own, as `sock.recv` makes them."""
        return [view.obj for view in self.views] if self.made_before else map(bytes, self.views)


@dataclass(frozen=True, slots=True)
class Deflate:
    """Settings of permessage-deflate that every peer gets alike; a window of 15 bits.

    `context` says whether a message may refer to the one before it. Without a `level` each has its own
    defaults for everything.
    """

    context: bool = True
    level: int | None = 6
    memory_level: int = 8


class Sink:
    """A transport's side for writing, of which a case uses what its peer calls."""

    def __init__(self, write: Handler = drop, writelines: Handler = drop) -> None:
        self.write = write
        self.writelines = writelines


class KeepingSink(Sink):
    """Keeps what is written, to look whether a peer sends what it should."""

    def __init__(self) -> None:
        self.data = bytearray()
        super().__init__(self._keep, self._keep_all)

    def _keep(self, data: Any) -> None:
        self.data += data

    def _keep_all(self, pieces: Iterable[Any]) -> None:
        for piece in pieces:
            self.data += piece


def always(value: object) -> Callable[[], Any]:
    """A C function without arguments that returns `value`."""
    return repeat(value).__next__
