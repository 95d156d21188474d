"""What a handler gives back whose result is not there yet, and how its client's other events wait for it.

Must not know: what is waited for, packets, namespaces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from python_server.net.backlog import Backlog
from python_server.net.threads import Door, Job, ServerStopped
from python_server.socketio.client import Handler

# Gives a handler's result, or raises what it raised.
Outcome = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A result to come. It holds no thread meanwhile.

    Attributes:
        start: called once, by a worker, with a function that any thread may call once with the outcome;
            a worker then calls the outcome.
    """

    start: Callable[[Callable[[Outcome], None]], None]

    def put_off(
        self,
        backlog: Backlog,
        door: Door,
        ordered: bool,
        again: Callable[[Handler], Any],
    ) -> None:
        """A worker, from within the handler's job: its thread is free as soon as the job returns.

        Args:
            ordered: the client's next event waits for this one.
            again: called by a worker with a handler that gives the result at once.
        """

        def conclude(outcome: Outcome) -> None:
            again(Handler(lambda *told: outcome()))
            if not ordered:
                _post(door, backlog.end_beside)

        if ordered:
            backlog.strand.hold()
            go_on: Callable[[Job], None] = backlog.strand.go_on
        else:
            _post(door, backlog.begin_beside)
            go_on = door.submit
        self.start(lambda outcome: _post(door, go_on, lambda: conclude(outcome)))


def _post(door: Door, function: Callable[..., None], *args: Any) -> None:
    try:
        door.post(function, *args)
    except ServerStopped:
        pass  # nobody waits for the result any more
