"""The file with the process id of a server: one server has it, and takes it away at its end.

Must not know: what is served, or who reads the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from python_server.net.portability import fcntl
from python_server.net.sockets import BindError


@contextmanager
def pid_file(path: str | None, stays: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """The file with our process id: whoever reads it may send signals.

    What a server that died has left is taken over. `stays` is asked at the end: is the file left there?

    Raises:
        BindError: it cannot be written, or another server that lives has it.
    """
    if path is None:
        yield
        return
    descriptor = _open(path)
    try:
        if not _lock(descriptor):
            process_id = os.read(descriptor, 20).decode("ascii", "replace").strip()
            raise BindError(
                f"--pid {path} is another server's, process {process_id}: "
                "stop that one, or name another file [pid-file]"
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        try:
            yield
        finally:
            with suppress(OSError):  # somebody has moved it away, or the folder is not ours to change
                if not stays() and os.path.samestat(os.stat(path), os.fstat(descriptor)):
                    os.unlink(path)
    finally:
        os.close(descriptor)


def check_pid_file(path: str) -> None:
    """Can it be opened, as `pid_file` would? None is left behind.

    Raises:
        BindError: no.
    """
    existed = os.path.exists(path)
    os.close(_open(path))
    if not existed:
        os.unlink(path)


def _lock(descriptor: int) -> bool:
    """Take the file, until this process ends or closes it; no child inherits that. False: another has it."""
    if fcntl is None:
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        pass
    return True


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise BindError(
            f"cannot write the process id to {path} (--pid): {error.strerror} [pid-file]"
        ) from None
