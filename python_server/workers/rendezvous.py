"""Where workers meet that no supervisor of ours has started: a folder with a socket of each.

Must not know: who has started them, or what they say to each other.

Whoever comes takes an index and connects to all that are there, under a lock on the folder: so of two workers
the later one has connected to the earlier one, and each pair is joined once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from python_server.net.portability import fcntl, user_id
from python_server.net.sockets import Socket, bind_unix, connect_unix
from python_server.workers.link_messages import Succession
from python_server.workers.peers import remember_succession

FOLDER_PERMISSIONS: Final = 0o700
SOCKET_PERMISSIONS: Final = 0o600
BACKLOG_COUNT: Final = 1024  # as many workers as there may be
MEMORY: Final = "memory"
NOBODY: Final = 0  # the index of who looks, and does not join


class RendezvousError(OSError):
    """The folder cannot be made, or is not this user's alone; the message names it."""


class Memory(msgspec.Struct):
    """What stays when workers go: the last index given, and who holds what which worker held."""

    last_index: int = 0
    successors: dict[int, int] = {}


@dataclass(slots=True)
class Meeting:
    """What a worker has that has come: see WorkerSlot. `listening`: where those that come later connect."""

    index: int
    listening: Socket
    siblings: dict[int, Socket]
    successors: dict[int, int]


class Rendezvous:
    """A folder of one user, made by the first worker that comes.

    Args:
        path: of the folder, new for each server. What else stands there goes with it.
    """

    def __init__(self, path: str) -> None:
        self.path: str = path

    def join(self, last_index: int = 0) -> Meeting:
        """Take an index that nobody had, and connect to every worker that lives.

        Args:
            last_index: known to have been given, perhaps before the folder was made anew.

        Raises:
            RendezvousError: the folder cannot be made or written to, or others may.
        """
        try:
            with self._locked() as memory:
                names = self._names()
                memory.last_index = index = max(memory.last_index, last_index, *names) + 1
                # First: an index is not given again, whatever happens below. A disk that is full, or a file
                # that a cleaner of old files took away, ends no server: names and callers know it as well.
                with suppress(OSError):
                    self._write(memory)
                siblings = {
                    other: sock for other in names if (sock := self._connect(index, other)) is not None
                }
                listening = bind_unix(self._name(index), BACKLOG_COUNT, SOCKET_PERMISSIONS)
        except RendezvousError:
            raise
        except OSError as error:
            raise RendezvousError(f"workers cannot meet in {self.path}: {error}") from None
        return Meeting(index, listening, siblings, memory.successors)

    def remember(self, said: Succession) -> None:
        """Those that come later are to know who holds what a worker held."""
        with suppress(OSError), self._locked() as memory:
            remember_succession(memory.successors, said)
            self._write(memory)

    def leave(self, index: int) -> None:
        """That worker ends: nobody is to connect to it. The folder goes with the last one."""
        with suppress(OSError), self._locked():
            self._forget(index)
            if not any(self._lives(other) for other in self._names()):
                for name in os.listdir(self.path):
                    self._forget(name)
                os.rmdir(self.path)

    @contextmanager
    def _locked(self) -> Iterator[Memory]:
        descriptor = self._lock()
        try:
            yield self._read()
        finally:
            os.close(descriptor)  # and the lock with it, as however else the process ends

    def _lock(self) -> int:
        """The folder, made where it is not there, and locked."""
        while True:
            with suppress(FileExistsError):
                os.mkdir(self.path, FOLDER_PERMISSIONS)
            try:
                descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:  # the last one has left just now
                continue
            try:
                self._check(os.fstat(descriptor))
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), os.stat(self.path)):
                        return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # removed while we waited for the lock

    def _check(self, found: os.stat_result) -> None:
        if found.st_uid != user_id() or stat.S_IMODE(found.st_mode) & 0o077:
            raise RendezvousError(
                f"workers do not meet in {self.path}: it is not a folder of this user alone (mode 700)"
            )

    def _read(self) -> Memory:
        try:
            with open(self._name(MEMORY), "rb") as file:
                return msgspec.msgpack.decode(file.read(), type=Memory)
        except FileNotFoundError:
            return Memory()
        except msgspec.MsgspecError as error:
            raise RendezvousError(f"workers cannot meet in {self.path}: {MEMORY}: {error}") from None

    def _write(self, memory: Memory) -> None:
        """Whole or not at all: a worker may be killed at any moment."""
        new = self._name(f"{MEMORY}.new")
        with open(new, "wb") as file:
            file.write(msgspec.msgpack.encode(memory))
        os.replace(new, self._name(MEMORY))

    def _names(self) -> list[int]:
        return sorted(int(name) for name in os.listdir(self.path) if name.isdecimal())

    def _name(self, name: object) -> str:
        return os.path.join(self.path, str(name))

    def _forget(self, name: object) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._name(name))

    def _lives(self, other: int) -> bool:
        sock = self._connect(NOBODY, other)
        if sock is not None:
            sock.close()
        return sock is not None

    def _connect(self, index: int, other: int) -> Socket | None:
        """None: that worker has died, or takes no connections any more."""
        own = f"{index}-{other}"
        try:
            return connect_unix(self._name(other), 0, self._name(own))
        except ConnectionRefusedError:
            self._forget(other)
        except BlockingIOError:  # it has stood still for a thousand starts
            pass
        finally:
            self._forget(own)
        return None


def index_of(peer: object) -> int | None:
    """Who has connected, by the name its end has; None for somebody else."""
    index = os.path.basename(peer).partition("-")[0] if isinstance(peer, str) else ""
    return (int(index) or None) if index.isdecimal() else None
