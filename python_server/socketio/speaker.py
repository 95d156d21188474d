"""What any thread may ask of a hub: emit, call, rooms; and the loop's half of each question.

Must not know: how a packet comes in, what a handler is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from python_server.engineio.packet import Prepared
from python_server.net.tasks import wait
from python_server.net.threads import Door, Strand, Waiter
from python_server.socketio.adapter import Adapter, Backplane, Envelope
from python_server.socketio.backplane import NoBackplane
from python_server.socketio.client import Socket, SocketState
from python_server.socketio.packet import PacketType, encode

# Called on a client's strand with the client and the values of its ack.
AckCallback = Callable[[Socket, list[Any]], None]


@dataclass(frozen=True, slots=True)
class HubServices:
    """What a hub needs of the worker that runs it."""

    door: Door
    call_later: Callable[[float, Callable[[], Any]], Any]
    report: Callable[[str, BaseException], None]
    complain: Callable[[str, str], None]
    now: Callable[[], float]
    stop: Callable[[], None]


def prepare(kind: PacketType, namespace: str, data: Any = None, id: int | None = None) -> Prepared:
    """Any thread: a packet encoded for all its recipients.

    Raises:
        TypeError, ValueError: `data` cannot be written as JSON.
    """
    text, *attachments = encode(kind, namespace, data, id)
    return Prepared(["4" + text, *attachments])  # type: ignore[operator]


class Speaker:
    """The rooms of one Socket.IO server, and what is said to them.

    Before `attach` what is sent is kept, and done once a worker serves.
    """

    def __init__(self, backplane: Backplane | None = None) -> None:
        self._backplane = backplane or NoBackplane()
        # Hears on one strand of its own ("join" or "leave", namespace, sid, room).
        self.presence: Callable[[str, str, str, Any], None] | None = None
        self._presence_strand: Strand | None = None
        self._adapters: dict[str, Adapter] = {}
        self._services: HubServices | None = None
        self._early: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._ack_ids = itertools.count(1)

    def attach(self, services: HubServices) -> None:
        """Loop's thread: a worker serves from here on."""
        self._services = services
        early, self._early = self._early, []
        for function, args in early:
            services.door.post(function, *args)

    # Any thread

    def emit(
        self,
        event: str,
        args: Iterable[Any],
        *,
        namespace: str = "/",
        rooms: tuple[Any, ...] | None = None,
        excepted: tuple[Any, ...] = (),
        callback: AckCallback | None = None,
    ) -> None:
        """Send an event to rooms (None: everybody), encoded once, in the caller's thread.

        Args:
            callback: called with each client and the values of its ack, on that client's strand.

        Raises:
            TypeError, ValueError: the arguments cannot be written as JSON.
            ServerStopped: the server has stopped.
        """
        arguments = (event, *args)
        if callback is None:
            prepared = prepare(PacketType.EVENT, namespace, arguments)
            self._post(self._broadcast, Envelope(namespace, rooms, excepted, prepared, arguments), prepared)
        else:
            ack_id = next(self._ack_ids)
            prepared = prepare(PacketType.EVENT, namespace, arguments, ack_id)
            envelope = Envelope(namespace, rooms, excepted, prepared, arguments)
            self._post(self._ask_clients, envelope, prepared, ack_id, partial(self._call_back, callback))

    def call(
        self,
        event: str,
        args: Iterable[Any],
        *,
        namespace: str = "/",
        sid: str,
        timeout_seconds: float | None,
    ) -> list[Any]:
        """Send an event to one client and wait for the values of its ack; a worker lends its slot.

        Raises:
            RuntimeError: it could only hang: no server runs, on the loop's thread, in the client's own
                connect handler. TimeoutError: no ack came in time, or the client left.
        """
        services = self._services
        if services is None:
            raise RuntimeError("call() waits for a client's answer, and no server runs yet: use emit()")
        if services.door.on_loop():
            raise RuntimeError(
                "call() would wait on the server's own thread: register the handler without inline=True"
            )
        waiter = Waiter()
        ack_id = next(self._ack_ids)
        prepared = prepare(PacketType.EVENT, namespace, (event, *args), ack_id)
        envelope = Envelope(namespace, (sid,), (), prepared)
        self._post(self._call_client, envelope, prepared, ack_id, waiter)
        values = wait(waiter, timeout_seconds)
        if isinstance(values, Exception):
            raise values
        return list(values)

    def join(self, namespace: str, sid: str, room: Any) -> None:
        """Put a client into a room; takes effect before anything emitted after it."""
        self._post(self._change_rooms, Adapter.join, namespace, sid, room)

    def enter(self, namespace: str, sid: str, room: Any) -> None:
        """`join` that waits for its verdict.

        Raises:
            ValueError: no such client, or the room is another client's own.
        """
        self._ask(lambda: self._enter(namespace, sid, room))

    def leave(self, namespace: str, sid: str, room: Any) -> None:
        self._post(self._change_rooms, Adapter.leave, namespace, sid, room)

    def close_room(self, namespace: str, room: Any) -> None:
        """Everyone leaves.

        Raises:
            ValueError: the room is a client's own.
        """
        self._ask(lambda: self._close_room(namespace, room))

    def rooms_of(self, namespace: str, sid: str) -> list[Any]:
        """The rooms a client is in, its own included."""
        found: list[Any] = self._ask(lambda: self._adapter(namespace).rooms_of(sid))
        return found

    def members_of(self, namespace: str, room: Any) -> list[str]:
        """The sids in a room."""
        found: list[str] = self._ask(lambda: self._adapter(namespace).members_of(room))
        return found

    def find(self, namespace: str, sid: str) -> Socket | None:
        """The client of that name in the namespace."""
        found: Socket | None = self._ask(lambda: self._adapter(namespace).get(sid))
        return found

    def _post(self, function: Callable[..., None], *args: Any) -> None:
        services = self._services
        if services is None:
            self._early.append((function, args))
            return
        nbytes = 0
        for argument in args:
            if type(argument) is Prepared:
                nbytes = len(argument.frames)
                break
        services.door.post(function, *args, nbytes=nbytes)

    def _adapter(self, namespace: str) -> Adapter:
        """An unknown namespace has nobody in it; its broadcasts still go to other processes."""
        return self._adapters.get(namespace) or Adapter(self._backplane)

    def _ask(self, question: Callable[[], Any]) -> Any:
        if self._services is None:
            return question()
        return self._services.door.ask(question)

    # Posted calls

    def _broadcast(self, envelope: Envelope, prepared: Prepared) -> None:
        self._adapter(envelope.namespace).broadcast(envelope)

    def _ask_clients(
        self, envelope: Envelope, prepared: Prepared, ack_id: int, answer: Callable[..., None]
    ) -> None:
        """Send, and remember who is to be called with (socket, values), values None when it has left."""
        asked = self._addressees(envelope)
        if not asked:
            answer(None, None)
        for socket in asked:
            socket.acks[ack_id] = partial(answer, socket)
            socket.send(prepared)

    def _call_client(self, envelope: Envelope, prepared: Prepared, ack_id: int, waiter: Waiter) -> None:
        """One client is asked; the worker that waits hears its answer, or why there will be none."""

        def answer(socket: Socket | None, values: list[Any] | None) -> None:
            waiter.set(TimeoutError("the client has left: no answer will come") if values is None else values)

        if any(socket.state is SocketState.PENDING for socket in self._addressees(envelope)):
            waiter.set(
                RuntimeError(
                    "the client's connect handler has not returned, so it cannot answer: call() it from a later event"
                )
            )
        else:
            self._ask_clients(envelope, prepared, ack_id, answer)

    def _addressees(self, envelope: Envelope) -> list[Any]:
        return list(self._adapter(envelope.namespace).recipients(envelope))

    def _call_back(self, callback: AckCallback, socket: Socket | None, values: list[Any] | None) -> None:
        if socket is not None and values is not None:
            socket.client.strand.submit(partial(self._run_callback, callback, socket, values))

    def _run_callback(self, callback: AckCallback, socket: Socket, values: list[Any]) -> None:
        try:
            callback(socket, values)
        except Exception as error:
            self._running().report("acknowledgement callback", error)

    def _change_rooms(self, change: Callable[..., None], namespace: str, *args: Any) -> None:
        change(self._adapter(namespace), *args)

    def _enter(self, namespace: str, sid: str, room: Any) -> None:
        adapter = self._adapter(namespace)
        if adapter.get(sid) is None:
            raise ValueError("sid is not connected to requested namespace")
        if room != sid and isinstance(room, str) and adapter.get(room) is not None:
            raise ValueError("cannot enter a sid room")
        adapter.join(sid, room)

    def _close_room(self, namespace: str, room: Any) -> None:
        if isinstance(room, str) and self._adapter(namespace).get(room) is not None:
            raise ValueError("cannot close a sid room")
        self._adapter(namespace).close_room(room)

    def _moved(self, namespace: str, kind: str, sid: str, room: Any) -> None:
        """Loop's thread: somebody came into a room or left it."""
        if self.presence is not None:
            if self._presence_strand is None:
                self._presence_strand = self._running().door.strand()
            self._presence_strand.submit(partial(self._run_presence, kind, namespace, sid, room))

    def _run_presence(self, *arguments: Any) -> None:
        assert self.presence is not None
        try:
            self.presence(*arguments)
        except Exception as error:
            self._running().report("presence handler", error)

    def _running(self) -> HubServices:
        assert self._services is not None
        return self._services
