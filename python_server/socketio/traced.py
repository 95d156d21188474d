"""The broadcaster of a worker that traces: a span around each emit, call and callback.

Must not know: what a span is made of, or who collects it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from python_server.socketio.acks import Answers
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.broadcaster import AckCallback, Broadcaster
from python_server.socketio.client import Socket
from python_server.socketio.tracer import Tracer, Within
from python_server.socketio.values import JSONValue


@dataclass(frozen=True, slots=True)
class TracedBroadcaster:
    """What programs send; the loop's half is the broadcaster's own. Any thread."""

    _broadcaster: Broadcaster
    _tracer: Tracer

    def emit(
        self,
        event: str,
        args: Iterable[object],
        to: BroadcastOptions,
        callback: AckCallback | None = None,
        timeout_seconds: float | None = None,
        expired: Callable[[Socket | None], None] | None = None,
    ) -> None:
        """See `Hub.emit`."""
        with self._tracer.sending(event, to):
            if callback is not None:
                callback = partial(_called, self._tracer.answering(event, to.namespace), callback)
            self._broadcaster.emit(event, args, to, callback, timeout_seconds, expired)

    def call_room(
        self, event: str, args: Iterable[object], to: BroadcastOptions, timeout_seconds: float
    ) -> Answers:
        """See `Hub.call_room`."""
        with self._tracer.sending(event, to):
            return self._broadcaster.call_room(event, args, to, timeout_seconds)

    def call(
        self, event: str, args: Iterable[object], namespace: str, sid: str, timeout_seconds: float | None
    ) -> list[JSONValue]:
        """See `Hub.call`."""
        with self._tracer.sending(event, BroadcastOptions(namespace, (sid,))):
            return self._broadcaster.call(event, args, namespace, sid, timeout_seconds)


def _called(within: Within, callback: AckCallback, socket: Socket | None, values: list[JSONValue]) -> object:
    return within(partial(callback, socket, values))
