"""The Socket.IO server as programs hold it: before a worker serves, and while it does.

Must not know: frames, HTTP, Flask; handlers are functions it was given, run through the door.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import cast

from python_server.net.threads import Lock
from python_server.socketio.acks import Answers
from python_server.socketio.adapter import Adapter
from python_server.socketio.broadcast import EVERYBODY, BroadcastOptions
from python_server.socketio.broadcaster import AckCallback, Broadcaster
from python_server.socketio.client import Socket
from python_server.socketio.cluster.port import (
    Envelope,
    Question,
    Reply,
    Room,
    StreamBegun,
    StreamMarks,
    check_expiry,
)
from python_server.socketio.cluster.receiver import ClusterReceiver
from python_server.socketio.connections import Connections
from python_server.socketio.dispatcher import Dispatcher
from python_server.socketio.handler_runner import HandlerRunner
from python_server.socketio.handlers import Handlers
from python_server.socketio.observer import SocketObserver, together
from python_server.socketio.packet import EVENT, Codec
from python_server.socketio.presence import Place, Presence
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.restore import Restorer
from python_server.socketio.recovery.resumption import Resumption
from python_server.socketio.recovery.stream_log import StreamLog
from python_server.socketio.recovery.stream_restore import StreamRestorer
from python_server.socketio.room_streams import RoomStream, RoomStreams
from python_server.socketio.rooms import RoomDirectory
from python_server.socketio.services import Configuration, HubServices
from python_server.socketio.traced import TracedBroadcaster
from python_server.socketio.traffic import TrafficOf
from python_server.socketio.values import JSONValue, RoomName


class RunningServer:
    """The parts of a server that a worker serves, made on the loop's thread from the bottom up."""

    def __init__(
        self,
        configuration: Configuration,
        handlers: Handlers,
        services: HubServices,
        observer: SocketObserver | None,
        watched: Mapping[str, Callable[[Question, Reply], None]],
    ) -> None:
        configuration = self.configuration = _serving(configuration, services)
        recovery = configuration.recovery
        self.runner: HandlerRunner = HandlerRunner(services, configuration.codec, handlers, observer)
        self.services = services
        self.presence: Presence = Presence(services, self.runner.tell_presence, self.runner.has_presence)
        self.restorer: Restorer | StreamRestorer | None = None
        moved = self.runner.room_changed
        if isinstance(recovery, RecoveryLog):
            self.restorer = Restorer(recovery, services)
        elif recovery is not None:
            assert services.records is not None
            streams = StreamRestorer(recovery, services.records, services, self._positions_of)
            recovery.is_private, recovery.said_alone = self._is_private, partial(self._said_alone, streams)
            self.restorer, moved = streams, partial(self._moved, streams)
        self.rooms: RoomDirectory = RoomDirectory(
            services,
            moved,
            self._described,
            lambda: 0 if recovery is None else recovery.entered(services.now()),
        )
        self.rooms.count_in(services.traffic_of)
        self.resumption: Resumption = Resumption(services, recovery, self.restorer)
        self.streams: RoomStreams = RoomStreams(services, configuration.codec, self.rooms, self.resumption)
        self.broadcaster: Broadcaster = Broadcaster(services, configuration, self.rooms, observer)
        tracer = services.tracer
        self.sender: Broadcaster | TracedBroadcaster = (
            self.broadcaster if tracer is None else TracedBroadcaster(self.broadcaster, tracer)
        )
        self.connections: Connections = Connections(
            services,
            configuration,
            handlers,
            self.rooms,
            self.runner,
            self.restorer,
            observer,
            self.presence.leave,
        )
        self.dispatcher: Dispatcher = Dispatcher(
            services, configuration, handlers, self.connections, self.runner, observer
        )
        services.backplane.start(self._receiver(watched))

    def _receiver(self, watched: Mapping[str, Callable[[Question, Reply], None]]) -> ClusterReceiver:
        return ClusterReceiver(
            self.rooms.adapters,
            self.broadcaster.hear,
            self._reached,
            self.connections.disconnect,
            self.connections.expire,
            self.broadcaster.ask_here,
            self.rooms.enter_here,
            self.rooms.update_here,
            self.presence,
            None if self.restorer is None else partial(self._answer_fetch, self.restorer),
            watched,
            self.services.tracer,
        )

    def _positions_of(self, socket: Socket) -> dict[Room, int]:
        return self.rooms.adapter(socket.namespace).positions_of(socket.sid)

    def _described(self, socket: Socket, place: Place, text: str | None) -> None:
        if isinstance(self.restorer, StreamRestorer):
            self.restorer.changed(socket)
        if self.runner.has_presence():
            self.presence.changed(place, socket.sid, text)

    def _moved(
        self,
        restorer: StreamRestorer,
        namespace: str,
        kind: str,
        sid: str,
        room: RoomName,
        is_described: bool,
    ) -> None:
        socket = self.rooms.adapter(namespace).get(sid)
        if socket is not None:
            restorer.moved(kind, socket, cast("Room", room))
        self.runner.room_changed(namespace, kind, sid, room, is_described)

    def _is_private(self, envelope: Envelope) -> bool:
        adapter = self.rooms.adapters.get(envelope.namespace)
        return adapter is not None and adapter.owns(envelope.rooms)

    def _said_alone(self, restorer: StreamRestorer, envelope: Envelope) -> None:
        for sid in envelope.rooms or ():
            restorer.changed(self.rooms.adapters[envelope.namespace].get(sid))

    def _reached(self, told: StreamMarks | StreamBegun) -> None:
        recovery = self.configuration.recovery
        if isinstance(recovery, StreamLog):
            holes_count = recovery.holes_count
            recovery.reached(told, self.services.now())
            if recovery.holes_count != holes_count:
                self.streams.end_all()

    def _answer_fetch(self, restorer: Restorer | StreamRestorer, question: Question, reply: Reply) -> None:
        if not self.resumption.answer(question, reply):
            restorer.answer(question, reply)


def _serving(configuration: Configuration, services: HubServices) -> Configuration:
    """With a log that knows the stream, where machines share one."""
    kept = configuration.recovery
    if kept is None or services.records is None:
        return configuration
    log = StreamLog(kept.events.max_seconds, kept.events.total_max_bytes)
    return replace(configuration, recovery=log)


class Hub:
    """One Socket.IO server. Any thread may call it; what is said before a worker serves waits for one."""

    def __init__(self, configuration: Configuration | None = None, handlers: Handlers | None = None) -> None:
        self.handlers: Handlers = handlers or Handlers()
        self._configuration = configuration or Configuration()
        self._running: RunningServer | None = None
        self._lock = Lock()
        self._early: list[Callable[[RunningServer], None]] = []
        self._observers: list[SocketObserver] = []
        self._watched: dict[str, Callable[[Question, Reply], None]] = {}

    def configure(self, configuration: Configuration) -> None:
        """Take another configuration, before a worker serves. Raises RuntimeError: one does."""
        if self._running is not None:
            raise RuntimeError("a server that runs keeps its configuration")
        self._configuration = configuration

    def observe(self, observer: SocketObserver) -> None:
        """Have the clients of this server watched, before a worker serves. Raises RuntimeError: one does."""
        if self._running is not None:
            raise RuntimeError("a server that runs keeps its observers")
        self._observers.append(observer)

    def on_watch(self, namespace: str, answer: Callable[[Question, Reply], None]) -> None:
        """Have WATCH questions of other processes answered, on the loop's thread, by namespace."""
        self._watched[namespace] = answer

    def attach(self, services: HubServices) -> Dispatcher:
        """Loop's thread: a worker serves from here on; its sessions are answered by what is returned."""
        observer = together([*self._observers, *filter(None, [services.observer])])
        running = RunningServer(self._configuration, self.handlers, services, observer, self._watched)
        with self._lock:
            for call in self._early:
                services.door.post(call, running)
            self._early.clear()
            self._running = running
        return running.dispatcher

    def begin(self) -> None:
        """Loop's thread: the worker knows the others, and takes clients from here on."""
        if self._running is not None:
            self._running.presence.start()

    @property
    def streams(self) -> RoomStreams | None:
        """Of its rooms, once a worker serves it."""
        return None if self._running is None else self._running.streams

    def stream(self, namespace: str, room: RoomName, event: str | None, last_id: str | None) -> RoomStream:
        """Any thread, while a worker serves: a stream that has not begun.

        Raises:
            TypeError: it can be no room. ValueError: it is a client's own, of which others hear nothing.
        """
        running = self._serving()
        running.rooms.check(None if room is None else (room,))
        if running.services.names.reserves(room):
            raise ValueError("cannot stream a sid room")
        sid = running.services.names.make()
        return RoomStream(namespace, room, sid, last_id, running.streams, event)

    def count_meanwhile(self, traffic_of: TrafficOf | None) -> None:
        """Loop's thread: traffic is counted there, for a while; None: no more, which costs nothing."""
        if self._running is not None:
            self._running.rooms.count_in(traffic_of)

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """For who serves for a while: afterwards the server is as if that worker had never been."""
        before = self._running
        try:
            yield
        finally:
            self._running = before

    @property
    def codec(self) -> Codec:
        return self._configuration.codec

    @property
    def recovery(self) -> RecoveryLog | StreamLog | None:
        return (self._configuration if self._running is None else self._running.configuration).recovery

    @property
    def restorer(self) -> Restorer | StreamRestorer | None:
        """Of a server with recovery, once a worker serves it."""
        return None if self._running is None else self._running.restorer

    @property
    def services(self) -> HubServices | None:
        """What the worker that serves has given; None before."""
        return None if self._running is None else self._running.services

    # Events

    def emit(
        self,
        event: str,
        args: Iterable[object],
        to: BroadcastOptions = EVERYBODY,
        callback: AckCallback | None = None,
        timeout_seconds: float | None = None,
        expired: Callable[[Socket | None], None] | None = None,
    ) -> None:
        """Send an event, encoded once, in the caller's thread.

        Args:
            callback: see AckCallback. timeout_seconds: after it an ack comes too late. expired: called as
                `callback` is, for each client whose ack did not come in time, or that left.

        Raises:
            TypeError, ValueError: the arguments cannot be written as JSON; a room cannot be named to other
                processes. ServerStopped: the server has stopped.
        """
        running = self._running
        if running is None:
            args = tuple(args)
            self.codec.prepare(EVENT, to.namespace, (event, *args))  # what cannot be written is refused now
            self._later(
                lambda server: server.sender.emit(event, args, to, callback, timeout_seconds, expired)
            )
        else:
            running.sender.emit(event, args, to, callback, timeout_seconds, expired)

    def call_room(
        self, event: str, args: Iterable[object], to: BroadcastOptions, timeout_seconds: float
    ) -> Answers:
        """Send an event to rooms and wait for every ack, as long as the time allows.

        Raises:
            RuntimeError: it could only hang, as in `call`; or not everybody could be asked.
        """
        return self._serving().sender.call_room(event, args, to, timeout_seconds)

    def call(
        self, event: str, args: Iterable[object], namespace: str, sid: str, timeout_seconds: float | None
    ) -> list[JSONValue]:
        """Send an event to one client and wait for the values of its ack; a worker lends its slot.

        Raises:
            RuntimeError: it could only hang: no server runs, on the loop's thread, in the client's own
                connect handler; or the asking failed. TimeoutError: no ack came in time, or the client left.
        """
        return self._serving().sender.call(event, args, namespace, sid, timeout_seconds)

    # Clients and rooms: RoomDirectory says more

    def join(self, namespace: str, sid: str, room: RoomName, meta: object = None, key: object = None) -> None:
        """Put a client into a room; takes effect before anything emitted after it. Raises as `member_of`."""
        self._later(lambda server: server.rooms.join(namespace, sid, room, meta, key))

    def update(self, namespace: str, sid: str, room: RoomName, meta: object) -> None:
        """Replace what is known of a client in a room. Raises as `member_of`."""
        self._later(lambda server: server.rooms.update(namespace, sid, room, meta))

    def leave(self, namespace: str, sid: str, room: RoomName) -> None:
        """Take a client out of a room; takes effect before anything emitted after it."""
        self._later(lambda server: server.rooms.leave(namespace, sid, room))

    def disconnect(self, namespace: str, sid: str, reason: str | None = None) -> None:
        """Send a client out of a namespace; a reason reaches it as the event `closing` just before."""
        self._later(
            lambda server: server.services.door.post(
                server.connections.disconnect_anywhere, namespace, sid, reason
            )
        )

    def expire(self, namespace: str, sid: str, at: float | None) -> None:
        """Have a client sent out of a namespace at that moment, in seconds since 1970; None: never.

        Raises TypeError, ValueError: see `check_expiry`; TypeError also for a sid that is no text.
        """
        if not isinstance(sid, str):
            raise TypeError(f"expire: `sid` is a text, not a {type(sid).__name__}")
        running = self._running
        if running is not None:  # else there is no client
            moment = check_expiry(at, running.services.wall())
            running.services.door.post(running.connections.expire, namespace, sid, moment)

    def enter(
        self, namespace: str, sid: str, room: RoomName, meta: object = None, key: object = None
    ) -> None:
        """`join` that waits for its verdict. Raises ValueError, and as `member_of`."""
        if self._running is None:
            raise ValueError("sid is not connected to requested namespace")
        self._running.rooms.enter(namespace, sid, room, meta, key)

    def close_room(self, namespace: str, room: RoomName) -> None:
        """Everyone leaves. Raises ValueError."""
        if self._running is not None:
            self._running.rooms.close_room(namespace, room)

    def rooms_of(self, namespace: str, sid: str) -> list[RoomName]:
        """The rooms a client is in, its own included."""
        return [] if self._running is None else self._running.rooms.rooms_of(namespace, sid)

    def members_of(self, namespace: str, room: RoomName) -> list[str]:
        """The sids in a room, in all processes; of everybody for None."""
        return [] if self._running is None else self._running.rooms.members_of(namespace, room)

    def details_of(self, namespace: str, room: RoomName) -> list[dict[str, JSONValue]]:
        """As `members_of`, each as {"sid": ..., "key": ..., "meta": ...}."""
        return [] if self._running is None else self._running.rooms.details_of(namespace, room)

    def find(self, namespace: str, sid: str) -> Socket | None:
        """The client of that name in the namespace, if it is connected to this process."""
        return None if self._running is None else self._running.rooms.find(namespace, sid)

    def sockets(self) -> list[Socket]:
        """Every client of this process in every namespace."""
        return [] if self._running is None else self._running.rooms.sockets()

    def adapters(self) -> Mapping[str, Adapter]:
        """Loop's thread: the clients of this process, by namespace."""
        return {} if self._running is None else self._running.rooms.adapters

    def _later(self, call: Callable[[RunningServer], None]) -> None:
        """Do it now, or once a worker serves, in the order of the calls."""
        running = self._running
        if running is None:
            with self._lock:
                running = self._running
                if running is None:
                    self._early.append(call)
                    return
        call(running)

    def _serving(self) -> RunningServer:
        if self._running is None:
            raise RuntimeError(
                "call() waits for a client's answer, and no server runs yet: use emit() [no-server]"
            )
        return self._running
