"""Pieces of regular files that leave by a connection without passing through this process.

Must not know: connections, queues, what the bytes mean.
"""

from __future__ import annotations

import os


class FileSource:
    """A regular file's descriptor of our own, closed with the last `FileSlice` that names it.

    Made by any thread; `descriptor` is duplicated, so the caller may close its file at once.
    """

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int = os.dup(descriptor)

    def __del__(self) -> None:
        os.close(self.descriptor)


class FileSlice:
    """Bytes that go from a file to the socket without passing through this process (sendfile)."""

    __slots__ = ("_count", "_offset", "_source")

    def __init__(self, source: FileSource, offset: int, count: int) -> None:
        self._source = source
        self._offset = offset
        self._count = count

    def __len__(self) -> int:
        return self._count

    def send(self, descriptor: int) -> int:
        """What the kernel took; 0 when the file ends before the slice does."""
        return os.sendfile(descriptor, self._source.descriptor, self._offset, self._count)

    def rest(self, sent: int) -> FileSlice:
        return FileSlice(self._source, self._offset + sent, self._count - sent)

    def read(self, max_bytes: int) -> bytes:
        """The first bytes themselves, for a connection whose bytes must be encrypted here."""
        return os.pread(self._source.descriptor, min(self._count, max_bytes), self._offset)
