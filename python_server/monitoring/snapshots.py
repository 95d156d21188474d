"""The snapshots of all workers of a server, a file each, in a folder of one user.

Must not know: what is counted, or who reads.

A worker holds a lock on `figures-7.alive` as long as its process lives, whatever ends it; no child of it has
the lock. The time of that file, by the monotonic clock, is that of the loop's last turn: it takes no room.
`figures-7` is replaced as a whole each second. Who reads adds the last figures of a worker that has
ended to `ended`, which also says whose they are: so they count once, wherever a reader is killed.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import glob
from typing import Final, TypeVar

import msgspec

from python_server.monitoring.figures import Collected, Figures, Snapshot, encode
from python_server.net.portability import fcntl
from python_server.net.sockets import BindError
from python_server.net.threads import Lock

PREFIX: Final = "figures-"
ALIVE: Final = ".alive"
ENDED: Final = "ended"
READER: Final = "reader"
# Memory: a worker's loop must not wait for a disk.
FOLDERS: Final = "/dev/shm"  # nosec B108  # mkdtemp makes the folder there
FOLDER_PREFIX: Final = "wsframe-metrics-"
# A folder that nobody has written into for so long, and nobody reads, was left behind.
LEFT_SECONDS: Final = 60
PERMISSIONS: Final = 0o600
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
Value = TypeVar("Value", bound=msgspec.Struct)


class Ended(msgspec.Struct):
    """The file `ended`. `workers`: whose figures are in it and whose files may be there still."""

    figures: Figures = msgspec.field(default_factory=Figures)
    workers: list[int] = []
    last_worker: int = 0


class Snapshots:
    """The folder, as its readers and writers see it.

    Args:
        own: the worker that this process is; None: it is none.
    """

    def __init__(self, path: str, own: int | None = None) -> None:
        self.path: str = path
        self._own = own
        self._lock = Lock()
        self._held: list[int] = []

    # A worker

    def write(self, snapshot: Snapshot) -> None:
        """Whole or not at all; from the first one on the worker counts as living. Raises OSError."""
        if not self._held:
            self._join(snapshot.moment)
        try:
            self._write(f"{PREFIX}{self._own}", snapshot)
        finally:
            os.utime(self._name(f"{PREFIX}{self._own}{ALIVE}"), (snapshot.moment, snapshot.moment))

    def close(self) -> None:
        """It has ended; or another one may read."""
        while self._held:
            os.close(self._held.pop())

    def _join(self, moment: float) -> None:
        name = f"{PREFIX}{self._own}{ALIVE}"
        new = self._name(f"{name}.new")
        if not self._take(new):
            raise OSError(f"{new} is locked by another process")
        os.utime(new, (moment, moment))
        os.replace(new, self._name(name))  # locked before anybody sees it

    # The one that reads

    def become_reader(self) -> bool:
        """Is this process the only one that reads, from here on?"""
        return self._take(self._name(READER))

    def read(self) -> Collected:
        """All workers; the files of those that have ended are summed and removed. Any thread."""
        with self._lock:
            ended = self._load(ENDED, Ended) or Ended()
            living: list[Snapshot] = []
            gone = []
            for worker in self._workers():
                if worker == self._own or self._lives(worker):
                    living += self._living(worker)
                else:
                    gone.append(worker)
            if gone:
                self._fold(ended, gone)
            started = [ended.last_worker, *(snapshot.worker for snapshot in living)]
            return Collected(living, ended.figures, max(started))

    def _fold(self, ended: Ended, gone: list[int]) -> None:
        for worker in set(gone).difference(ended.workers):
            last = self._load(f"{PREFIX}{worker}", Snapshot)
            if last is not None:
                ended.figures.add_totals(last.figures)
        ended.last_worker = max(ended.last_worker, *gone)
        ended.workers = gone
        try:
            self._write(ENDED, ended)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            return  # their files stay, and are summed at the next look as well
        for worker in gone:
            # Found by the last one.
            for name in (f"{PREFIX}{worker}.new", f"{PREFIX}{worker}", f"{PREFIX}{worker}{ALIVE}"):
                with suppress(FileNotFoundError):
                    os.unlink(self._name(name))

    def _living(self, worker: int) -> list[Snapshot]:
        """It, without figures if there has never been room for any; none if they are of another version."""
        name = f"{PREFIX}{worker}"
        snapshot = self._load(name, Snapshot)
        if snapshot is None:
            if os.path.exists(self._name(name)):
                return []
            snapshot = Snapshot(worker, 0, 0.0, "", Figures())
        snapshot.beat = os.stat(self._name(f"{name}{ALIVE}")).st_mtime
        return [snapshot]

    def _workers(self) -> list[int]:
        names = [name for name in os.listdir(self.path) if name.startswith(PREFIX) and name.endswith(ALIVE)]
        return sorted(int(name.removeprefix(PREFIX).removesuffix(ALIVE)) for name in names)

    def _lives(self, worker: int) -> bool:
        descriptor = os.open(self._name(f"{PREFIX}{worker}{ALIVE}"), os.O_RDWR)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    # Files

    def _take(self, path: str) -> bool:
        """Lock a file until this process ends; a lock of POSIX is no child's, and no other descriptor's."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, PERMISSIONS)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._held.append(descriptor)
        return True

    def _load(self, name: str, kind: type[Value]) -> Value | None:
        """None: it is not there yet, or of another version."""
        try:
            with open(self._name(name), "rb") as file:
                return msgspec.msgpack.decode(file.read(), type=kind)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def _write(self, name: str, value: msgspec.Struct) -> None:
        new = self._name(f"{name}.new")
        with open(new, "wb") as file:
            file.write(encode(value))
        os.replace(new, self._name(name))

    def _name(self, name: str) -> str:
        return os.path.join(self.path, name)


@contextmanager
def snapshot_folder(wanted: bool) -> Iterator[Snapshots | None]:
    """A new folder of this user alone (mode 700), for as long as it is needed; None if it is not `wanted`.

    Raises:
        BindError: it cannot be made.
    """
    if not wanted:
        yield None
        return
    try:
        parent = FOLDERS if os.access(FOLDERS, os.W_OK | os.X_OK) else tempfile.gettempdir()
        snapshots = Snapshots(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=parent))
        snapshots.become_reader()
    except OSError as error:
        raise BindError(f"--metrics: no place for the figures of the workers: {error}") from None
    try:
        _remove_left(snapshots.path)
        yield snapshots
    finally:
        snapshots.close()
        shutil.rmtree(snapshots.path, ignore_errors=True)


def _remove_left(new: str) -> None:
    """Folders of servers that were killed: nobody has read there for a while. `new`: that of this moment."""
    for path in glob(os.path.join(os.path.dirname(new), f"{FOLDER_PREFIX}*")):
        with suppress(OSError):  # gone meanwhile
            left, found, own = Snapshots(path), os.lstat(path), os.lstat(new)
            # In what another user has put there, a link might name a file of ours, or a device.
            ours = (found.st_uid, found.st_mode) == (own.st_uid, own.st_mode)
            if ours and own.st_mtime - found.st_mtime > LEFT_SECONDS and left.become_reader():
                shutil.rmtree(path, ignore_errors=True)
            left.close()
