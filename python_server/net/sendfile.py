"""Pieces of regular files that leave by a connection without passing through this process.

Must not know: connections, queues, what the bytes mean.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


class FileSource:
    """A regular file's descriptor of our own, closed with the last `FileSlice` that names it.

    Made by any thread; `descriptor` is duplicated, so the caller may close its file at once.

    Raises:
        OSError: there is no further descriptor.
    """

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int = -1
        self.descriptor = os.dup(descriptor)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


@dataclass(slots=True)
class FileSlice:
    """So many bytes of a file from an offset on (sendfile)."""

    source: FileSource
    offset: int
    count: int

    def __len__(self) -> int:
        return self.count

    def send(self, descriptor: int) -> int:
        """What the kernel took; 0 when the file ends before the slice does."""
        return os.sendfile(descriptor, self.source.descriptor, self.offset, self.count)

    def rest(self, sent: int) -> FileSlice:
        return FileSlice(self.source, self.offset + sent, self.count - sent)

    def read(self, max_bytes: int) -> bytes:
        """The first bytes themselves, for a connection whose bytes must be encrypted here."""
        return os.pread(self.source.descriptor, min(self.count, max_bytes), self.offset)
