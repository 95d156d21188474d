"""What a WSGI application is given (PEP 3333): environ, `wsgi.input`, `wsgi.file_wrapper`.

Must not know: how an application is run, exchanges, threads' scheduling, sessions.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import IO, Any, Final

from python_server.http1.parser import Request
from python_server.net.bounded_queue import BoundedQueue
from python_server.net.portability import SENDFILE
from python_server.net.sendfile import FileSlice, FileSource

Environ = dict[str, Any]
# The third argument of `start_response`, as `sys.exc_info` has it.
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
Write = Callable[[bytes], object]
# (status, headers, exc_info=None), which gives the imperative `write` (PEP 3333).
StartResponse = Callable[..., Write]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

# Files and large bodies are handed to the connection in pieces of this size, as the client takes them.
PIECE_BYTES: Final = 262_144
# What wraps a plain file of the system; others (gzip's) have a `fileno` whose bytes are not theirs.
PLAIN_FILES: Final = (io.BufferedReader, io.BufferedRandom, io.FileIO)
# Distinct header names kept as environ keys; an endless variety of names must not grow the table.
NAMES_MAX_COUNT: Final = 1024
_NAMES: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What an environ says of the server.

    Attributes:
        further: what a program wants in each, whatever the request says. constants: what stands in each.
    """

    server_name: str | None = None
    software: str = "python_server"
    multiprocess: bool = False
    script_name: str = ""
    further: Mapping[str, object] = field(default_factory=dict, compare=False)
    constants: MappingProxyType[str, object] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        constants = {
            "SCRIPT_NAME": self.script_name,
            "SERVER_SOFTWARE": self.software,
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": self.multiprocess,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
        }
        object.__setattr__(self, "constants", MappingProxyType(constants))


def environ_key(name: str) -> str:
    """ "HTTP_X_A" for "x-a"; "" for a name with an underscore, which would collide with it."""
    key = _NAMES.get(name)
    if key is None:
        key = "" if "_" in name else "HTTP_" + name.upper().replace("-", "_")
        if key in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
            key = key[5:]
        if len(_NAMES) < NAMES_MAX_COUNT:
            _NAMES[name] = key
    return key


def build_environ(request: Request, facts: ServerFacts, body: IO[bytes]) -> Environ:
    """The environ of PEP 3333 for one request; `body` is the file-like `wsgi.input`."""
    peer, local, version = request.peer, request.local, request.version
    host, port = ("localhost", "443" if request.scheme == "https" else "80")
    if isinstance(local, tuple):
        host, port = str(local[0]), str(local[1])
    environ = facts.constants.copy()
    environ["REQUEST_METHOD"] = request.method
    environ["PATH_INFO"] = request.path
    environ["QUERY_STRING"] = request.query
    environ["REQUEST_URI"] = environ["RAW_URI"] = request.target
    environ["SERVER_NAME"] = facts.server_name or host
    environ["SERVER_PORT"] = port
    environ["SERVER_PROTOCOL"] = "HTTP/1.1" if version == (1, 1) else f"HTTP/1.{version[1]}"
    if isinstance(peer, tuple):
        environ["REMOTE_ADDR"] = str(peer[0])
        environ["REMOTE_PORT"] = str(peer[1] or "")
    else:
        environ["REMOTE_ADDR"] = environ["REMOTE_PORT"] = ""
    environ["wsgi.url_scheme"] = request.scheme
    environ["wsgi.input"] = body
    environ["wsgi.errors"] = sys.stderr
    for name, value in request.fields.items():
        key = _NAMES.get(name)
        if key or (key is None and (key := environ_key(name))):
            environ[key] = value
    if request.authority:
        environ["HTTP_HOST"] = request.authority
    if request.body_length is None:  # already unchunked: the length is not known, the end is
        environ.pop("HTTP_TRANSFER_ENCODING", None)
    if facts.further:
        environ.update(facts.further)
    return environ


class BodyReader(io.RawIOBase):
    """A worker's end of a request body; `io.BufferedReader` around it is `wsgi.input`."""

    def __init__(
        self,
        queue: BoundedQueue[bytes],
        before_read: Callable[[], None] | None,
        after_read: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._before_read = before_read
        self._after_read = after_read
        self._chunk = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._chunk:
            if self._before_read is not None:
                before_read, self._before_read = self._before_read, None
                before_read()
            self._chunk = memoryview(self._queue.get() or b"")
            self._after_read()
        size = min(len(buffer), len(self._chunk))
        buffer[:size] = self._chunk[:size]
        self._chunk = self._chunk[size:]
        return size


class FileWrapper:
    """`wsgi.file_wrapper` (PEP 3333): blocks of a file; a plain file goes out by sendfile instead."""

    def __init__(self, file: IO[bytes], block_bytes: int = 65_536) -> None:
        self._file = file
        self._block_bytes = block_bytes
        if hasattr(file, "close"):
            self.close: Callable[[], None] = file.close

    def __iter__(self) -> Iterator[bytes]:
        while block := self._file.read(self._block_bytes):
            yield block

    def extent(self) -> tuple[FileSource, int, int] | None:
        """(file, offset, bytes from there to its end) of a regular file, else None."""
        raw = getattr(self._file, "raw", self._file)
        if type(self._file) not in PLAIN_FILES or type(raw) is not io.FileIO or not SENDFILE:
            return None
        status = os.fstat(raw.fileno())
        if not stat.S_ISREG(status.st_mode):
            return None
        offset = self._file.tell()
        try:
            source = FileSource(raw.fileno())
        except OSError:  # no further descriptor: it is read and sent, as any other file
            return None
        return source, offset, max(0, status.st_size - offset)


def file_pieces(source: FileSource, offset: int, count: int) -> Iterator[FileSlice]:
    """A part of a file, in slices."""
    end = offset + count
    for start in range(offset, end, PIECE_BYTES):
        yield FileSlice(source, start, min(PIECE_BYTES, end - start))


def body_pieces(body: bytes) -> Iterator[memoryview]:
    """A body in pieces, without a copy."""
    view = memoryview(body)
    return (view[start : start + PIECE_BYTES] for start in range(0, len(view), PIECE_BYTES))
