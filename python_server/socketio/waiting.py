"""What a handler gives back whose result is not there yet, and how its client's other events wait for it.

Must not know: what is waited for, packets, namespaces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from python_server.net.threads import Door, Job, ServerStopped
from python_server.socketio.client import Client, Handler

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
        client: Client,
        door: Door,
        overtaken: Callable[[Client], None] | None,
        again: Callable[[Handler], Any],
    ) -> None:
        """A worker, from within the handler's job: its thread is free as soon as the job returns.

        Args:
            overtaken: called by the loop at the end of an event that others may overtake; None: the
                client's next event waits for this one.
            again: called by a worker with a handler that gives the result at once.
        """

        def conclude(outcome: Outcome) -> None:
            again(Handler(lambda *told: outcome()))
            if overtaken is not None:
                _post(door, overtaken, client)

        if overtaken is None:
            client.strand.hold()
            go_on: Callable[[Job], None] = client.strand.go_on
        else:
            _post(door, _count, client)
            go_on = door.submit
        self.start(lambda outcome: _post(door, go_on, lambda: conclude(outcome)))


def _count(client: Client) -> None:
    client.overtaking_count += 1


def _post(door: Door, function: Callable[..., None], *args: Any) -> None:
    try:
        door.post(function, *args)
    except ServerStopped:
        pass  # nobody waits for the result any more
