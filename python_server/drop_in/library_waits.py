"""Waits of the standard library, which give the turn back, as where a program of greenlets is patched.

Must not know: who asks for turns, what stands in for what.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial, wraps
from pkgutil import resolve_name
from typing import Any, Final

from python_server.drop_in import waiting
from python_server.net.threads import WORKER, Thread, blocking

# Of a class or a module, what waits and holds no lock when it returns.
WAITS: Final = {
    "concurrent.futures:Future": "exception result",
    "queue:Queue": "get join put",
    "select": "select",
    "socket": "getaddrinfo",
    "socket:socket": "accept connect recv recv_into recvfrom recvfrom_into send sendall sendto",
    "ssl:SSLSocket": "do_handshake read send",
    "subprocess:Popen": "communicate wait",
    "threading:Event": "wait",
    "threading:Thread": "join",
}


def let_others_run() -> None:
    """From here on, in every thread that has a turn. `time.sleep` is the stand-ins' `sleep` there."""
    for place, names in WAITS.items():
        owner = resolve_name(place)
        for name in names.split():
            setattr(owner, name, _giving_way(getattr(owner, name)))
    vars(time)["sleep"] = _in_turns(waiting.sleep, time.sleep)
    Thread.start = _in_turns(partial(_keep_turn, Thread.start), Thread.start)  # type: ignore[method-assign]


def _giving_way(wait: Callable[..., Any]) -> Callable[..., Any]:
    def wait_beside_others(*args: Any, **kwargs: Any) -> Any:
        waiting.current().raise_due()
        with blocking(lends=True):
            return wait(*args, **kwargs)

    return _in_turns(wait_beside_others, wait)


def _keep_turn(start: Callable[[Thread], None], thread: Thread) -> None:
    """Whoever is started waits for its turn: a program may write down first what it has begun."""
    turn, WORKER.turn = WORKER.turn, None
    try:
        start(thread)
    finally:
        WORKER.turn = turn


def _in_turns(other: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """`other` where the calling thread has a turn; `plain` where not, and inside of `other`."""

    @wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (plain if WORKER.turn is None else other)(*args, **kwargs)

    return call
