"""Port: who makes spans of handlers, emits and acks; nobody, unless an operator asks.

Must not know: what a span is made of, or who collects it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.client import Socket
from python_server.socketio.cluster.port import Envelope

# Runs a function within the context in which it was made. Any thread, as often as there is something to run.
Within = Callable[[Callable[[], object]], object]


class HandlerSpan(Protocol):
    """One event whose handler runs: on a worker, or on the loop's thread for an inline handler."""

    def call(self, function: Callable[..., object], *args: object) -> object:
        """What the function returns or raises; the span is current meanwhile."""

    def answered(self) -> None:
        """What the handler has returned leaves as the ack of its event."""

    def end(self, error: BaseException | None) -> None:
        """The handler has returned, or raised."""


class Tracer(Protocol):
    """Any thread, where no other is named. It holds up nothing."""

    def handling(self, socket: Socket, name: str) -> HandlerSpan:
        """An event's handler begins."""

    def sending(self, event: str, to: BroadcastOptions) -> AbstractContextManager[object]:
        """Around an emit, or a call with the wait for its ack."""

    def answering(self, event: str, namespace: str) -> Within:
        """The callback for the acks of what is being sent runs within what is returned."""

    def traceparent(self) -> str | None:
        """What is current, in the words of W3C Trace Context: it travels with an envelope."""

    def delivering(self, envelope: Envelope) -> AbstractContextManager[object]:
        """Loop's thread: around the delivery of an envelope of another process that has a `traceparent`."""
