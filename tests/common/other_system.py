"""Another system on this one: what it lacks is taken away before anything else is imported.

It must not know what is run on it. `python other_system.py windows -m package ...` runs a program; as a
plugin of pytest (`-p other_system`, OTHER_SYSTEM=poll) it is there before the tests' modules are.
"""

import asyncio  # noqa: F401  # as this system has it: its own modules name what is taken away
import contextlib
import errno
import importlib
import importlib.abc
import os
import runpy
import select
import selectors
import signal
import socket
import stat
import subprocess  # noqa: F401
import sys
import time
from collections.abc import Callable
from typing import Any

WINDOWS_SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM"}
WINDOWS_SOCKETS_MAX_COUNT = 512  # FD_SETSIZE of Python's build there
LINUX_ALONE = {
    os: "memfd_create pipe2 sched_getaffinity eventfd pidfd_open",
    select: "epoll kqueue EPOLLEXCLUSIVE",
    socket: "SOCK_CLOEXEC SOCK_NONBLOCK MSG_CMSG_CLOEXEC SO_PEERCRED TCP_CORK TCP_QUICKACK TCP_DEFER_ACCEPT",
    time: "pthread_getcpuclockid",
}
UNIX_ALONE = {
    os: "fork forkpty register_at_fork sendfile pread preadv set_blocking getuid geteuid getgid getegid "
    "killpg setsid getpgid getloadavg uname mkfifo openpty posix_spawn WNOHANG O_NOFOLLOW O_CLOEXEC "
    "O_DIRECTORY O_NONBLOCK",
    select: "poll",
    signal: "alarm pause pthread_kill pthread_sigmask setitimer siginterrupt sigwait",
    socket: "AF_UNIX send_fds recv_fds CMSG_SPACE CMSG_LEN SCM_RIGHTS SO_REUSEPORT SO_RCVLOWAT MSG_DONTWAIT "
    "MSG_NOSIGNAL",
    time: "pthread_getcpuclockid",
}
UNIX_MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty", "syslog"}


class Missing:
    """Stands in a class for a method that its base has."""

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError("this system has no such method")


class NoSuchModules(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name in UNIX_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def take_away(system: str, keep: frozenset[str] = frozenset()) -> None:
    """`poll`: a UNIX system without epoll and kqueue. `select`: one without poll, too. `windows`."""
    selector = selectors.PollSelector if system == "poll" else selectors.SelectSelector
    vars(selectors)["DefaultSelector"] = selector
    remove(LINUX_ALONE, keep)
    if system == "select":
        remove({select: "poll"}, keep)
    if system == "windows":
        become_windows(keep)


def remove(names: dict[Any, str], keep: frozenset[str] = frozenset()) -> None:
    for module, words in names.items():
        for name in words.split():
            if hasattr(module, name) and name not in keep:
                delattr(module, name)


def become_windows(keep: frozenset[str]) -> None:
    signals = [name for name in dir(signal) if name.startswith("SIG") and name[3].isalpha()]
    remove({**UNIX_ALONE, signal: " ".join({*signals} - WINDOWS_SIGNALS) + " " + UNIX_ALONE[signal]}, keep)
    for name in ("sendmsg", "recvmsg", "recvmsg_into"):
        setattr(socket.socket, name, Missing())
    for name in UNIX_MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, NoSuchModules())
    vars(socket)["socketpair"] = pair_over_loopback
    # Its select and its wake-up of signals take sockets alone, its files' functions none.
    vars(os).update(read=no_socket(os.read), write=no_socket(os.write), close=no_socket(os.close))
    selectors.SelectSelector._select = staticmethod(select_sockets)  # type: ignore[attr-defined]
    wakes = signal.set_wakeup_fd

    def set_wakeup_fd(descriptor: int, **options: bool) -> int:
        assert descriptor == -1 or is_socket(descriptor)
        return wakes(descriptor, **options)

    vars(signal)["set_wakeup_fd"] = set_wakeup_fd


def is_socket(descriptor: int) -> bool:
    return stat.S_ISSOCK(os.fstat(descriptor).st_mode)


def no_socket(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(descriptor: int, *rest: Any) -> Any:
        if is_socket(descriptor):
            raise OSError(errno.EBADF, "a socket is no file")
        return function(descriptor, *rest)

    return call


def select_sockets(readers: Any, writers: Any, errors: Any, timeout: float | None = None) -> Any:
    if not (readers or writers):
        raise OSError(errno.EINVAL, "select waits for nothing")
    if max(len(readers), len(writers)) > WINDOWS_SOCKETS_MAX_COUNT:
        raise ValueError("too many file descriptors in select()")
    if not all(map(is_socket, {*readers, *writers})):
        raise OSError(errno.ENOTSOCK, "select waits for sockets alone")
    return select.select(readers, writers, errors, timeout)


def pair_over_loopback(*kind: int) -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        left = socket.create_connection(server.getsockname())
        return left, server.accept()[0]


if __name__ == "__main__":
    take_away(sys.argv[1])
    option, name, *sys.argv = sys.argv[2:]
    assert option == "-m"
    sys.argv.insert(0, name)
    sys.path[0] = os.getcwd()  # as -m has it
    runpy.run_module(name, run_name="__main__", alter_sys=True)
elif os.environ.get("OTHER_SYSTEM"):
    # What plugins of pytest import when it is there, as this system has it.
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("trio")
    take_away(os.environ["OTHER_SYSTEM"], keep=frozenset({"getuid"}))  # pytest asks for it
