"""What any thread may ask of a hub: emit, call, rooms; and the loop's half of each question.

Must not know: how a packet comes in, what a handler is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from python_server.engineio.packet import Prepared
from python_server.net.tasks import wait
from python_server.net.threads import Door, Strand, Waiter
from python_server.socketio.adapter import Adapter, Backplane, Envelope
from python_server.socketio.backplane import NoBackplane
from python_server.socketio.client import Client, Socket, SocketState
from python_server.socketio.packet import Codec, PacketType, TextCodec
from python_server.socketio.recovery import RecoveryLog

# Unanswered questions to one client in one namespace.
ACKS_MAX_COUNT: Final = 10_000

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


@dataclass(frozen=True, slots=True)
class Answers:
    """What a whole room answered: the values of each ack that came, and how many did not."""

    values: list[list[Any]]
    missing_count: int


class AckGroup:
    """The acks of one event sent to many clients. Every method belongs to the loop's thread.

    Args:
        done: called once with the answers, when all have come or the time is over.
    """

    __slots__ = ("_done", "_missing_count", "_values", "_waiting_count")

    def __init__(self, asked_count: int, done: Callable[[Answers], None]) -> None:
        self._done: Callable[[Answers], None] | None = done
        self._waiting_count = asked_count
        self._missing_count = 0
        self._values: list[list[Any]] = []
        if not asked_count:
            self.expire()

    def answer_of(self, socket: Socket | None, values: list[Any] | None) -> None:
        """One client has acknowledged, or has left or is late (None); no socket: nobody was asked."""
        if socket is None:
            return
        self._waiting_count -= 1
        if values is None:
            self._missing_count += 1
        else:
            self._values.append(values)
        if not self._waiting_count:
            self.expire()

    def expire(self) -> None:
        """Nobody is waited for any more."""
        done, self._done = self._done, None
        if done is not None:
            done(Answers(self._values, self._missing_count + self._waiting_count))


class Speaker:
    """The rooms of one Socket.IO server, and what is said to them.

    Before `attach` what is sent is kept, and done once a worker serves.

    Args:
        codec: how packets are written; both sides must use the same.
        recovery: with it, clients that were lost come back to their rooms and miss nothing.
    """

    def __init__(
        self,
        backplane: Backplane | None = None,
        codec: Codec | None = None,
        recovery: RecoveryLog | None = None,
    ) -> None:
        self.codec: Codec = codec or TextCodec()
        self.recovery = recovery
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

    @property
    def services(self) -> HubServices | None:
        """Any thread: what the worker that serves has given; None before."""
        return self._services

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
        timeout_seconds: float | None = None,
        expired: Callable[[Socket], None] | None = None,
        volatile: bool = False,
        local: bool = False,
    ) -> None:
        """Send an event to rooms (None: everybody), encoded once, in the caller's thread.

        Args:
            callback: called with each client and the values of its ack, on that client's strand.
            timeout_seconds: after it an ack comes too late. expired: called on the strand of each client
                whose ack did not come in time, or that left.
            volatile: dropped for clients that could not take it at once. local: to this process only.

        Raises:
            TypeError, ValueError: the arguments cannot be written as JSON.
            ServerStopped: the server has stopped.
        """
        arguments = (event, *args)
        if callback is None:
            offset = None if self.recovery is None or volatile else self.recovery.next_offset()
            said = arguments if offset is None else (*arguments, offset)
            prepared = self.codec.prepare(PacketType.EVENT, namespace, said)
            envelope = Envelope(namespace, rooms, excepted, prepared, arguments, offset, volatile)
            self._post(self._deliver if local else self._broadcast, envelope, prepared)
        else:
            ack_id = next(self._ack_ids)
            prepared = self.codec.prepare(PacketType.EVENT, namespace, arguments, ack_id)
            envelope = Envelope(namespace, rooms, excepted, prepared, arguments)
            answer = partial(self._call_back, callback, expired)
            self._post(self._ask_clients, envelope, prepared, ack_id, answer, timeout_seconds)

    def call_room(
        self,
        event: str,
        args: Iterable[Any],
        *,
        namespace: str = "/",
        rooms: tuple[Any, ...] | None = None,
        excepted: tuple[Any, ...] = (),
        timeout_seconds: float,
    ) -> Answers:
        """Send an event to rooms and wait for every ack, as long as the time allows.

        Raises:
            RuntimeError: no server runs, or this is the loop's thread.
        """
        self._check_waiting()
        waiter = Waiter()
        ack_id = next(self._ack_ids)
        prepared = self.codec.prepare(PacketType.EVENT, namespace, (event, *args), ack_id)
        envelope = Envelope(namespace, rooms, excepted, prepared)
        self._post(self._ask_room, envelope, prepared, ack_id, waiter.set, timeout_seconds)
        answers: Answers = wait(waiter, None)
        return answers

    def _check_waiting(self) -> None:
        """A wait that could only hang is refused at once."""
        if self._services is None:
            raise RuntimeError("call() waits for a client's answer, and no server runs yet: use emit()")
        if self._services.door.on_loop():
            raise RuntimeError(
                "call() would wait on the server's own thread: register the handler without inline=True"
            )

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
        self._check_waiting()
        waiter = Waiter()
        ack_id = next(self._ack_ids)
        prepared = self.codec.prepare(PacketType.EVENT, namespace, (event, *args), ack_id)
        envelope = Envelope(namespace, (sid,), (), prepared)
        self._post(self._call_client, envelope, prepared, ack_id, waiter)
        try:
            values = wait(waiter, timeout_seconds)
        except TimeoutError:  # else the client would owe this ack as long as it lives, and not be paused
            self._post(self._give_up_on, envelope, ack_id)
            raise
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

    def sockets(self) -> list[Socket]:
        """Every client in every namespace."""

        def gather() -> list[Any]:
            return [
                socket
                for adapter in self._adapters.values()
                for sid in adapter.members_of(None)
                if (socket := adapter.get(sid)) is not None
            ]

        found: list[Socket] = self._ask(gather)
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
        self._remember(envelope)
        self._adapter(envelope.namespace).broadcast(envelope)

    def _deliver(self, envelope: Envelope, prepared: Prepared) -> None:
        self._remember(envelope)
        self._adapter(envelope.namespace).deliver(envelope)

    def _remember(self, envelope: Envelope) -> None:
        if self.recovery is not None and envelope.offset is not None:
            self.recovery.append(envelope, self._running().now())

    def _ask_clients(
        self,
        envelope: Envelope,
        prepared: Prepared,
        ack_id: int,
        answer: Callable[..., None],
        timeout_seconds: float | None = None,
    ) -> None:
        """Send, and remember who is to be called with (socket, values), values None when it has left."""
        asked = self._addressees(envelope)
        if not asked:
            answer(None, None)
        for socket in asked:
            if len(socket.acks) >= ACKS_MAX_COUNT:  # it answers nothing: the oldest question is given up
                socket.acks.pop(next(iter(socket.acks)))(None)
            socket.acks[ack_id] = partial(answer, socket)
            socket.send(prepared)
            if socket.client.paused:  # else the answer would never be read
                self._resume(socket.client)
        if timeout_seconds is not None and asked:
            self._running().call_later(timeout_seconds, partial(self._give_up, asked, ack_id))

    def _ask_room(
        self,
        envelope: Envelope,
        prepared: Prepared,
        ack_id: int,
        done: Callable[[Answers], None],
        timeout_seconds: float,
    ) -> None:
        group = AckGroup(len(self._addressees(envelope)), done)
        self._ask_clients(envelope, prepared, ack_id, group.answer_of, timeout_seconds)

    def _give_up_on(self, envelope: Envelope, ack_id: int) -> None:
        self._give_up(self._addressees(envelope), ack_id)

    def _give_up(self, asked: list[Socket], ack_id: int) -> None:
        """Loop's thread: the time is over for those who have not answered."""
        for socket in asked:
            resolve = socket.acks.pop(ack_id, None)
            if resolve is not None:
                resolve(None)

    def _resume(self, client: Client) -> None:
        """Loop's thread: read from the client again."""
        if client.paused:
            client.paused = False
            client.session.pause_reading(False)

    def _call_client(self, envelope: Envelope, prepared: Prepared, ack_id: int, waiter: Waiter) -> None:
        """One client is asked; the worker that waits hears its answer, or why there will be none."""

        def answer(socket: Socket | None, values: list[Any] | None) -> None:
            waiter.set(TimeoutError("the client has left: no answer will come") if values is None else values)

        if any(socket.state is SocketState.PENDING for socket in self._addressees(envelope)):
            waiter.set(
                RuntimeError(
                    "its connect handler has not returned, so it cannot answer: call() it from a later event"
                )
            )
        else:
            self._ask_clients(envelope, prepared, ack_id, answer)

    def _addressees(self, envelope: Envelope) -> list[Any]:
        return list(self._adapter(envelope.namespace).recipients(envelope))

    def _call_back(
        self,
        callback: AckCallback,
        expired: Callable[[Socket], None] | None,
        socket: Socket | None,
        values: list[Any] | None,
    ) -> None:
        if socket is None:
            return
        if values is not None:
            socket.client.strand.submit(partial(self._run_callback, callback, socket, values))
        elif expired is not None:
            socket.client.strand.submit(
                partial(self._run_callback, lambda left, _: expired(left), socket, [])
            )

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
