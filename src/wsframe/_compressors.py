"""The libraries that compress and decompress: which of them are installed, and which one serves a level.

It must not know messages or their parameters: a stream is raw deflate (RFC 1951), a level is zlib's.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Final, NamedTuple, Protocol

LEVELS: Final = range(-1, 10)
# zlib's own default, which -1 means.
DEFAULT_LEVEL: Final = 6
# Its words are the only sign of Z_MEM_ERROR, in both libraries that decompress: no fault of the stream's.
NO_MEMORY: Final = "Error -4 "
# ISA-L has levels 1 to 3; each stands for those of zlib whose output has about its size: at most some 15 %
# less. Nothing of it is as small as zlib at 7 and more, and its level 0 compresses, where zlib's does not.
ISAL_LEVELS: Final = {1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 3}
# Level 1 of zlib-ng makes a quarter more than zlib's, its level 2 makes less.
ZLIB_NG_LEVELS: Final = {level: max(level, 2) if level else 0 for level in range(10)}
ZLIB_LEVELS: Final = {level: level for level in range(10)}
# Above 3 a stream of ISA-L's holds up to 450 KiB more, but compresses neither better nor faster.
ISAL_MAX_MEMORY_LEVEL: Final = 3
ZLIB_MAX_MEMORY_LEVEL: Final = 9


class Compressor(Protocol):
    """What zlib's objects of `compressobj` are here."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self, mode: int, /) -> bytes: ...


class Decompressor(Protocol):
    """What zlib's objects of `decompressobj` are here."""

    eof: bool
    unconsumed_tail: bytes
    unused_data: bytes

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes: ...


class Library(NamedTuple):
    """One library: its module with zlib's names, and its level for each of zlib's that it serves."""

    name: str
    module: ModuleType
    levels: Mapping[int, int]
    max_memory_level: int
    # ISA-L accepts streams that zlib refuses, holds twice the memory for each, and takes 1.2 to 1.5 times as
    # long for messages below 300 bytes, which browsers compress as well.
    decompresses: bool


def installed() -> list[Library]:
    """Those that are installed, the fastest first.

    Raises ImportError: one of them is installed, but cannot be imported.
    """
    found = []
    try:
        from isal import isal_zlib
    except ModuleNotFoundError as error:
        if error.name != "isal":
            raise
    else:
        found.append(Library("isal", isal_zlib, ISAL_LEVELS, ISAL_MAX_MEMORY_LEVEL, decompresses=False))
    try:
        from zlib_ng import zlib_ng
    except ModuleNotFoundError as error:
        if error.name != "zlib_ng":
            raise
    else:
        found.append(Library("zlib_ng", zlib_ng, ZLIB_NG_LEVELS, ZLIB_MAX_MEMORY_LEVEL, decompresses=True))
    return [*found, Library("zlib", zlib, ZLIB_LEVELS, ZLIB_MAX_MEMORY_LEVEL, decompresses=True)]


class Libraries:
    """Which library of several compresses at which level, and which one decompresses.

    Args:
        found: the preferred one first; the last one has all levels and decompresses.
    """

    __slots__ = ("_compressobj", "_decompressobj", "compressing", "decompressing", "error")

    def __init__(self, found: Sequence[Library]) -> None:
        self._compressobj: dict[int, tuple[Callable[[int, int, int, int], Compressor], int, int]] = {}
        for level in LEVELS:
            meant = DEFAULT_LEVEL if level < 0 else level
            library = next(library for library in found if meant in library.levels)
            own = library.levels[meant], library.max_memory_level
            self._compressobj[level] = (library.module.compressobj, *own)
            if meant == DEFAULT_LEVEL:
                self.compressing = library.name
        inflating = next(library for library in found if library.decompresses)
        self.decompressing = inflating.name
        self._decompressobj: Callable[[int], Decompressor] = inflating.module.decompressobj
        self.error: type[Exception] = inflating.module.error

    def compressor(self, level: int, window_bits: int, memory_level: int) -> Compressor:
        """A new stream; `level` and `memory_level` are zlib's."""
        compressobj, own_level, max_memory_level = self._compressobj[level]
        return compressobj(own_level, zlib.DEFLATED, -window_bits, min(memory_level, max_memory_level))

    def decompressor(self, window_bits: int) -> Decompressor:
        """A new stream that reads what was compressed with a window of this size or a smaller one."""
        return self._decompressobj(-window_bits)
