"""eventlet's and gevent's words beside greenlets: patching that patches nothing, sockets, plain calls.

Must not know: how greenlets run, how anything is served.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from importlib import import_module
from typing import Final

from python_server.drop_in.turns import let_others_run_in_sleep, need_turns, warn_once
from python_server.drop_in.waiting import current
from python_server.net.sockets import Socket
from python_server.net.threads import ReentrantLock, ThreadLocal, blocking

EVENTLET, GEVENT = "0.41.0", "26.9.0"
getcurrent = current
local = ThreadLocal
RLock = ReentrantLock  # of threading: its waits keep the turn


def monkey_patch(*args: object, **modules: object) -> None:
    need_turns()
    taken = let_others_run_in_sleep()
    but = "; time.sleep lets other handlers run" if taken else ""
    warn_once(f"monkey patching does nothing here, the program runs in ordinary threads{but}")


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


def execute(function: Callable[..., object], *args: object, **kwargs: object) -> object:
    """`tpool.execute`: others have their turn while the function runs."""
    with blocking(lends=True):
        return function(*args, **kwargs)


def proxied(thing: object, *args: object, **kwargs: object) -> object:
    """`tpool.Proxy`: the object itself."""
    return thing


def signal_handler(number: int, handler: Callable[..., object], *args: object, **kwargs: object) -> None:
    signal.signal(number, lambda *_: handler(*args, **kwargs))


class GreenSocket(Socket):
    """A socket; others have their turn while one of its calls waits."""

    def accept(self) -> tuple[Socket, object]:
        with blocking(lends=True):
            connection, address = super().accept()
        return GreenSocket(fileno=connection.detach()), address


def _letting_others_run(method: Callable[..., object]) -> Callable[..., object]:
    return lambda *args, **kwargs: execute(method, *args, **kwargs)


WAITING: Final = "connect recv recv_into recvfrom recvfrom_into send sendall sendto"
for _name in WAITING.split():
    setattr(GreenSocket, _name, _letting_others_run(getattr(Socket, _name)))
