"""Runs handlers: a fault is logged once, an ack leaves, a result that comes late is waited for.

Must not know: which handler serves an event, packets that come in, rooms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from python_server.net.threads import Job, ServerStopped, Strand
from python_server.observe import log
from python_server.observe.masking import short
from python_server.socketio.client import Handler, InvalidArguments, Socket
from python_server.socketio.handlers import Handlers, Presence
from python_server.socketio.jsoncodec import loads
from python_server.socketio.observer import SocketObserver
from python_server.socketio.packet import ACK, Codec
from python_server.socketio.services import HubServices
from python_server.socketio.tracer import HandlerSpan
from python_server.socketio.values import JSONValue, RoomName

# Moves that wait for the application to hear of them, some 40 MB. Those of a client that comes or goes cannot
# be held up by reading less from it: above the bound they are dropped, as Linux drops inotify's above 16,384.
PRESENCE_MAX_COUNT: Final = 100_000

# Of a name that a client may have chosen, in a field of a line.
NAME_MAX_CHARACTERS: Final = 255

# Gives a handler's result, or raises what it raised.
Outcome = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A result to come. It holds no thread meanwhile.

    Attributes:
        start: called once, by a worker, with a function that any thread may call once with the outcome;
            a worker then calls the outcome.
    """

    start: Callable[[Callable[[Outcome], None]], None]


def named(what: str, socket: Socket, event: str) -> log.Named:
    """What has failed, for the log: of which event, namespace and client."""
    fields = {"event": event, "namespace": socket.namespace, "sid": short(socket.sid)}
    return log.Named.of(what, **{name: str(value)[:NAME_MAX_CHARACTERS] for name, value in fields.items()})


def _described(presence: Presence, move: tuple[str, str, str, RoomName], text: str) -> None:
    """Worker."""
    presence(*move, loads(text))


class HandlerRunner:
    """Runs handlers, and does what belongs around each: faults, acks, late results."""

    def __init__(
        self, services: HubServices, codec: Codec, handlers: Handlers, observer: SocketObserver | None
    ) -> None:
        self._services = services
        self._observer = observer
        self._tracer = services.tracer
        self._door = services.door
        self._at_once = services.door.at_once
        self._prepare = codec.prepare
        self._handlers = handlers
        self._presence_strand: Strand | None = None

    def run(
        self,
        socket: Socket,
        name: str,
        arguments: tuple[JSONValue, ...],
        ack_id: int | None,
        handler: Handler,
        began: float | None = None,
        span: HandlerSpan | None = None,
    ) -> None:
        """Worker (or loop, for an inline handler): one event, one fault logged once, one ack.

        `began`, `span`: of a handler that has been put off: when it began, and its span.
        """
        observer, traffic, fault = self._observer, socket.traffic, None
        if began is None:
            if traffic is not None:
                now = traffic.now  # CPython 3.11 calls what a slot holds faster by a name
                began = now()
            elif observer is not None:
                began = observer.now()
        try:
            try:
                if self._tracer is None:
                    result = handler.function(socket, name, arguments)
                else:
                    span = span or self._tracer.handling(socket, name)
                    result = span.call(handler.function, socket, name, arguments)
            except InvalidArguments as error:
                result = self.refused(socket, name, error)
            if type(result) is Waiting:
                again = partial(self.run, socket, name, arguments, ack_id, began=began, span=span)
                self.put_off(socket, handler, result, again)
                return
            if ack_id is not None:
                values = () if result is None else result if isinstance(result, tuple) else (result,)
                prepared = self._prepare(ACK, socket.namespace, values, ack_id)
                if observer is not None:
                    observer.answered(socket, ack_id, prepared)
                if span is not None:
                    span.answered()
                if self._at_once():
                    socket.send(prepared)
                else:
                    self._door.post(socket.send, prepared, nbytes=len(prepared.frames))
        except ServerStopped:
            pass
        except BaseException as error:  # SystemExit too: it ends the handler, not the server
            fault = error
            self._services.report(named(f"handler of event {name!r}", socket, name), error)
        if traffic is not None and began is not None:
            now = traffic.now
            traffic.took[name](now() - began)
            if fault is not None:
                traffic.failed.append(name)
        if observer is not None:
            assert began is not None
            observer.handled(socket, name, began, fault)
        if span is not None:
            span.end(fault)

    def refused(self, socket: Socket, name: str, error: InvalidArguments) -> object:
        """Any thread: count and log arguments that a check has refused, without what they were; the ack."""
        if socket.traffic is not None:
            socket.traffic.invalid.append(name)
        self._services.post_quietly(
            self._services.complain,
            "invalid arguments",
            f"event {name[:NAME_MAX_CHARACTERS]!r} of {short(socket.sid)} in {socket.namespace!r} was "
            f"refused: at {error.path} it is not what its handler is annotated with",
        )
        return error.answer

    def put_off(
        self, socket: Socket, handler: Handler, waiting: Waiting, again: Callable[[Handler], None]
    ) -> None:
        """Worker: the handler's result is not there yet, and the thread is free as soon as the job returns.
        A worker then calls `again` with a handler that gives the result at once."""
        backlog, post, ordered = socket.client.backlog, self._services.post_quietly, handler.ordered
        if ordered:
            backlog.strand.hold()
            go_on: Callable[[Job], None] = backlog.strand.go_on
        else:
            post(backlog.begin_beside)
            go_on = self._door.submit

        def conclude(outcome: Outcome) -> None:
            again(Handler(lambda *told: outcome()))
            if not ordered:
                post(backlog.end_beside)

        waiting.start(lambda outcome: post(go_on, partial(conclude, outcome)))

    def has_presence(self) -> bool:
        """Is there a handler of rooms?"""
        return self._handlers.presence is not None

    def room_changed(
        self, namespace: str, kind: str, sid: str, room: RoomName, is_described: bool = False
    ) -> None:
        """Loop's thread. is_described: the handler of rooms is told with its metadata."""
        if self._observer is not None:
            self._observer.moved(namespace, kind, sid, room)
        if not is_described:
            self.tell_presence(kind, namespace, sid, room)

    def tell_presence(
        self, kind: str, namespace: str, sid: str, room: RoomName, text: str | None = None
    ) -> None:
        """Loop's thread: the handler of rooms is told on one strand of its own; `text`: metadata, as JSON."""
        presence = self._handlers.presence
        if presence is None:
            return
        if self._presence_strand is None:
            self._presence_strand = self._door.strand()
        if self._presence_strand.waiting_count < PRESENCE_MAX_COUNT:
            run = self._services.run_reported
            move = (kind, namespace, sid, room)
            told = (presence, *move) if text is None else (_described, presence, move, text)
            self._presence_strand.submit(partial(run, "presence handler", *told))
        else:
            self._services.complain(
                "presence",
                f"{PRESENCE_MAX_COUNT} moves wait for on_room_join, on_room_leave: further ones are lost",
            )
