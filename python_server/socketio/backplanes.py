"""Which backplane a hub is given: none, pipes to the workers of this machine.

Must not know: settings, or how a backplane reaches anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from python_server.siblings import Siblings
from python_server.socketio.backplane import Backplane, NoBackplane
from python_server.socketio.pipe_backplane import PipeBackplane


def make_backplane(
    path: str,
    siblings: Siblings | None,
    call_later: Callable[[float, Callable[[], Any]], Any],
    complain: Callable[[str, str], None],
) -> Backplane:
    """The backplane of the hub mounted under `path`.

    Args:
        siblings: the other workers; None for a process without.
    """
    if siblings is None:
        return NoBackplane()
    return PipeBackplane(siblings, path, call_later, complain)
