"""eventlet's and gevent's words beside greenlets: patching that patches nothing, sockets, plain calls.

Must not know: how anything is served.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from importlib import import_module

from python_server.drop_in.greenlets import execute
from python_server.drop_in.importing import warn_once
from python_server.drop_in.turns import need_turns
from python_server.drop_in.waiting import Fault, Seconds, Timeout, current
from python_server.net.poller import READABLE, WRITABLE, wait_for
from python_server.net.sockets import Socket
from python_server.net.threads import ReentrantLock, ThreadLocal

EVENTLET, GEVENT = "0.41.0", "26.9.0"
getcurrent = current
local = ThreadLocal
RLock = ReentrantLock  # of threading: its waits keep the turn


class GreenSocket(Socket):
    """A socket. It is not the library's class: by that packages see that nobody has patched the process."""


def monkey_patch(*args: object, **modules: object) -> None:
    need_turns()
    warn_once("monkey patching does nothing here, the program runs in ordinary threads")


patch_all = monkey_patch


def never(*args: object) -> bool:
    """Is it patched?"""
    return False


def ignore(*args: object, **kwargs: object) -> None:
    """What chooses or observes a hub: there is none."""


def original(module_name: str, *additional: object, **modules: object) -> object:
    return import_module(module_name)


def get_original(module_name: str, name: str | list[str]) -> object:
    if isinstance(name, str):
        value = getattr(import_module(module_name), name)
        return getattr(value, "__wrapped__", value)
    return [get_original(module_name, each) for each in name]


def trampoline(
    fd: int,
    read: object = None,
    write: object = None,
    timeout: Seconds = None,
    timeout_exc: Fault = Timeout,
) -> None:
    """Wait until a descriptor can be read or written; so drivers of databases let others run."""
    if not execute(wait_for, fd, (READABLE if read else 0) | (WRITABLE if write else 0), timeout):
        raise timeout_exc


def wait_read(fileno: int, timeout: Seconds = None, timeout_exc: Fault = TimeoutError) -> None:
    trampoline(fileno, read=True, timeout=timeout, timeout_exc=timeout_exc)


def wait_write(fileno: int, timeout: Seconds = None, timeout_exc: Fault = TimeoutError) -> None:
    trampoline(fileno, write=True, timeout=timeout, timeout_exc=timeout_exc)


def proxied(thing: object, *args: object, **kwargs: object) -> object:
    """`tpool.Proxy`: the object itself."""
    return thing


def signal_handler(number: int, handler: Callable[..., object], *args: object, **kwargs: object) -> None:
    signal.signal(number, lambda *_: handler(*args, **kwargs))
