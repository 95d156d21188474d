"""Where control sockets are: a server makes its own there, and the commands of its user find it.

Must not know: what is said on a control socket.

Beside `8000.sock` stand `8000.json`, which says whose it is, and a socket of each worker, `8000.sock.4711`.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from glob import escape, glob
from typing import Final
from zlib import crc32

import msgspec

from python_server.net.portability import UNIX, user_id
from python_server.net.sockets import BindError, Listening, connect_unix, shown_urls

PROBE_SECONDS: Final = 1.0
FOLDER_PERMISSIONS: Final = 0o700
UNIX_PREFIX: Final = "unix:"
SHARED: Final = "/tmp"  # nosec B108  # a folder there is used if it is of this user and of mode 700
# What a service with folders of its own for temporary files (systemd's PrivateTmp) has as its root.
OTHER_ROOTS: Final = "/proc/[0-9]*/root"


class Server(msgspec.Struct):
    """One that runs.

    Attributes:
        process: which takes its signals. control: the path of its control socket.
        system: whose process ids these are: a container has its own, and may share a folder with others.
    """

    process: int
    addresses: list[str]
    control: str
    system: int = 0

    @property
    def ports(self) -> list[str]:
        return [each.rpartition(":")[2] for each in self.addresses if not each.startswith(UNIX_PREFIX)]

    def choice(self) -> str:
        """The option that names it, and what it is."""
        where = self.addresses[0] if self.addresses else ""
        option = f"--port {self.ports[0]}" if self.ports else f"--bind {where}"
        return f"{option} (process {self.process}, {', '.join(self.addresses)})"


def default_path(name: object) -> str:
    """Where the server of that port, or other name, has its control socket when nothing else is asked for.

    A folder of the user's own in XDG_RUNTIME_DIR, else in the folder for temporary files.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        return os.path.join(runtime, "wsframe", f"{name}.sock")
    return os.path.join(_below(_temporary()), f"{name}.sock")


def control_path(asked: str | None, listening: Listening) -> str | None:
    """Where a server's control socket belongs; None: it listens on nothing that would name it."""
    if asked is not None:
        return asked
    name = _name(addresses_of(listening))
    return None if name is None else default_path(name)


def addresses_of(listening: Listening) -> list[str]:
    """As --bind has them, with real ports and whole paths."""
    urls = [url.removeprefix("http://") for url in shown_urls(listening.sockets, "http")]
    return [whole_address(url) for url in urls]


def whole_address(text: str) -> str:
    path = text.removeprefix(UNIX_PREFIX)
    return text if path == text else f"{UNIX_PREFIX}{os.path.abspath(path)}"


def make_folder(folder: str) -> None:
    """Raises BindError: it cannot be made, or others may write to it or look into it."""
    try:
        with suppress(FileExistsError):
            os.mkdir(folder, FOLDER_PERMISSIONS)
        found = os.lstat(folder)
    except OSError as error:
        raise BindError(f"cannot make the folder {folder}: {error.strerror} [control-socket]") from None
    if not _is_own(found):
        raise BindError(
            f"{folder} is not a folder of this user alone (mode 700): remove it, or choose another place "
            "with --control-socket [control-socket]"
        )


def check_free(listening: Listening, control: str) -> None:
    """Before a process registers whose server's control socket is not bound yet.

    Raises:
        BindError: a server of the same port, at another address, has that place.
    """
    addresses, path = addresses_of(listening), _record(listening, control)
    there = _written(path)
    if there is not None and there.addresses != addresses and _is_served(there):
        raise BindError(f"{path} is of another server ({there.choice()}): give one of them --control-socket")


def register(listening: Listening, control: str, process: int) -> str:
    """Write down whose control socket that is; the path of what is written, to be removed with the socket.

    Raises:
        OSError: there is no safe place for it.
    """
    path = _record(listening, control)
    make_folder(os.path.dirname(path))
    server = Server(process, addresses_of(listening), os.path.abspath(control), _system())
    new = f"{path}.{os.getpid()}"
    with open(new, "wb") as file:
        file.write(msgspec.json.encode(server))
    os.replace(new, path)
    return path


def is_registered(path: str) -> bool:
    """Does what `register` has written name a process that lives?"""
    there = _written(path)
    return there is not None and lives(there.process)


def servers() -> list[Server]:
    """Those of this user that answer on this machine, wherever they were started from."""
    found: dict[tuple[int, str], Server] = {}
    for folder, root in _folders():
        for path in sorted(glob(os.path.join(escape(folder), "*.json"))):
            if (server := _written(path)) is not None:
                key = server.process, server.control
                server.control = root + server.control
                if root and not _has_root(server.process, root):
                    continue
                if key not in found and _is_served(server):
                    found[key] = server
    return list(found.values())


def _record(listening: Listening, control: str) -> str:
    name = _name(addresses_of(listening)) or os.getpid()
    if os.path.abspath(control) != default_path(name):  # the default may be another server's of that port
        name = f"{name}-{crc32(os.fsencode(os.path.abspath(control))):08x}"
    return default_path(name).removesuffix("sock") + "json"


def _root_of(process: int) -> str:
    return f"/proc/{process}/root"


def _has_root(process: int, root: str) -> bool:
    """Does it run where that was written? A container might name any process, which `stop` then ends."""
    with suppress(OSError):
        return os.path.samefile(_root_of(process), root)
    return False


def _written(path: str) -> Server | None:
    with suppress(OSError, msgspec.MsgspecError), open(path, "rb") as file:
        return msgspec.json.decode(file.read(), type=Server)
    return None


def _is_served(server: Server) -> bool:
    """Does its process live, and somebody of it answer?"""
    if server.system != _system() or not lives(server.process):
        return False
    return any(map(_answers, (server.control, *workers(server.control).values())))


def workers(control: str) -> dict[int, str]:
    """By process id, the control sockets of a server's workers that live; those of others are removed."""
    paths = {path.rpartition(".")[2]: path for path in glob(f"{escape(control)}.*")}
    living = {}
    for process, path in sorted(paths.items()):
        if process.isdecimal() and lives(int(process)):
            living[int(process)] = path
        elif process.isdecimal():
            with suppress(OSError):
                os.unlink(path)
    return living


def lives(process: int) -> bool:
    """Has it not ended? One that nobody has waited for is as good as gone."""
    if not UNIX:
        return True
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or nobody tells
        return True


def _system() -> int:
    with suppress(OSError):
        return os.stat("/proc/self/ns/pid").st_ino
    return 0


def _answers(path: str) -> bool:
    """Does anybody listen there, however long its queue is?"""
    try:
        connect_unix(path, PROBE_SECONDS).close()
    except (BlockingIOError, TimeoutError):
        return True
    except OSError:
        return False
    return True


def _name(addresses: Iterable[str]) -> str | None:
    """The first port, else what the first path comes to: the same after a restart, and no other server's."""
    for port in Server(0, list(addresses), "").ports:
        return port
    return next((f"unix-{crc32(os.fsencode(address)):08x}" for address in addresses), None)


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # none can be written to: a server goes without
        return SHARED


def _below(temporary: str) -> str:
    return os.path.join(temporary, f"wsframe-{user_id()}")


def _folders() -> Iterator[tuple[str, str]]:
    """Each with the root that its paths are below: services and login shells do not agree about the place."""
    runtimes = (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{user_id()}")
    candidates = [(os.path.join(each, "wsframe"), "") for each in runtimes if each]
    candidates += [(_below(_temporary()), ""), (_below(SHARED), "")]
    candidates += [(_below(f"{root}{SHARED}"), root) for root in glob(OTHER_ROOTS)]
    seen = set()
    for folder, root in candidates:
        with suppress(OSError):
            found = os.lstat(folder)
            if _is_own(found) and (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                yield folder, root


def _is_own(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user_id() and not found.st_mode & 0o077
