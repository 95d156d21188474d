"""What a forked child gives back: it is a program of the application's, no second server.

Must not know: who forks, or why.

A handler may fork (`pty.fork`, `multiprocessing`). The child must not keep the port, hold a client's
connection open, or answer signals as the server does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final

# Called in a child, in no order; none of them may wait for a lock, which another thread may have held.
_in_child: Final[set[Callable[[], None]]] = set()


def call_in_children(function: Callable[[], None]) -> None:
    """Any thread: have `function` called in each child that is forked from now on."""
    _in_child.add(function)


def leave_children_alone(function: Callable[[], None]) -> None:
    """Any thread: take `call_in_children` back."""
    _in_child.discard(function)


def let_go(descriptors: Iterable[int]) -> None:
    """In a child: these are ours no more. Their numbers stay taken, for objects that will close them."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor, inheritable=False)
    os.close(nowhere)


def _forked() -> None:
    functions = [*_in_child]
    _in_child.clear()
    for function in functions:
        function()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
