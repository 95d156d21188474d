"""What a forked child gives back: it is a program of the application's, no second server.

Must not know: who forks, or why.

A handler may fork (`pty.fork`, `multiprocessing`). The child must not keep the port, hold a client's
connection open, or answer signals as the server does.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

from python_server.net.portability import in_children

# Called in a child, in no order; none of them may wait for a lock, which another thread may have held. Held
# weakly: a server that failed before it served is dropped without a word.
_in_child: Final[set[weakref.ref[Callable[[], None]]]] = set()


def call_in_children(function: Callable[[], None]) -> None:
    """Any thread: have `function` called in each child that is forked from now on, as long as it lives (a
    method: as its object does)."""
    _in_child.add(_reference(function, _in_child.discard))


def leave_children_alone(function: Callable[[], None]) -> None:
    """Any thread: take `call_in_children` back."""
    _in_child.discard(_reference(function))


def let_go(descriptors: Iterable[int]) -> None:
    """In a child: these are ours no more, as far as they are open. Their numbers stay taken, for objects that
    will close them."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        if descriptor >= 0:
            os.dup2(nowhere, descriptor, inheritable=False)
    os.close(nowhere)


def free(lock: Any) -> None:
    """In a child: nobody holds this `threading.Lock`; the thread that did is not there."""
    lock._at_fork_reinit()  # as the standard library does with its own


def _reference(
    function: Callable[[], None], dead: Callable[[weakref.ref[Callable[[], None]]], None] | None = None
) -> weakref.ref[Callable[[], None]]:
    kind = weakref.WeakMethod if hasattr(function, "__self__") else weakref.ref
    return kind(function, dead)


def _forked() -> None:
    references = [*_in_child]  # at once: what is collected meanwhile leaves the set
    functions = [function for reference in references if (function := reference()) is not None]
    _in_child.clear()
    for function in functions:
        function()


in_children(_forked)
