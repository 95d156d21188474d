"""What any thread may say through a hub: emit and call; and the loop's half of both.

Must not know: how a packet comes in, what a handler is, how other processes are reached.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from python_server.engineio.packet import Prepared
from python_server.net.tasks import check_waiting, wait
from python_server.net.threads import Strand, Waiter
from python_server.socketio.acks import AckGroup, Acks, Answers, DistantAcks, Heard
from python_server.socketio.client import Socket, SocketState
from python_server.socketio.cluster.port import Envelope, Question, QuestionKind, check_rooms
from python_server.socketio.cluster.requests import AcksQuestion, pack_text, plain
from python_server.socketio.ground import HubServices
from python_server.socketio.packet import EVENT, Codec
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.rooms import Rooms

# Some clients keep an ack's number in 31 bits.
ACK_IDS_BEGIN_LIMIT: Final = 2**30
# Beyond the time that clients have for their acks: the way of the last word about them.
ACKS_GRACE_SECONDS: Final = 0.5

# Called on a client's strand with the client and the values of its ack. For a client of another process it is
# called with None, on a strand of the event's own.
AckCallback = Callable[[Socket | None, list[Any]], None]


class Speaker(Rooms):
    """What is said to the clients of one Socket.IO server."""

    def __init__(self, codec: Codec | None = None, recovery: RecoveryLog | None = None) -> None:
        super().__init__(codec, recovery)
        self._ack_ids = itertools.count(1)
        self._acks: Acks | None = None

    def attach(self, services: HubServices) -> None:
        """Loop's thread: a worker serves from here on."""
        self._acks = Acks(services.call_later)
        if not services.backplane.alone:
            # A client may come back to another process and answer there what was asked here.
            self._ack_ids = itertools.count(1 + secrets.randbelow(ACK_IDS_BEGIN_LIMIT))
        super().attach(services)

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
        expired: Callable[[Socket | None], None] | None = None,
        volatile: bool = False,
        local: bool = False,
    ) -> None:
        """Send an event to rooms (None: everybody), encoded once, in the caller's thread.

        Args:
            callback: see AckCallback. timeout_seconds: after it an ack comes too late. expired: called as
                `callback` is, for each client whose ack did not come in time, or that left.
            volatile: dropped for clients that could not take it at once. local: to this process only.

        Raises:
            TypeError, ValueError: the arguments cannot be written as JSON; a room cannot be named to other
                processes. ServerStopped: the server has stopped.
        """
        alone = local or self._backplane.alone
        if not alone:
            check_rooms(rooms, excepted)
        if callback is None:
            if self.recovery is None or volatile:
                prepared = self.codec.prepare(EVENT, namespace, (event, *args))
                if alone and not volatile and self._at_once():  # it need not be written down for anybody
                    adapter = self._adapters.get(namespace)
                    if adapter is not None:
                        recipients: list[Any] = adapter.recipients(rooms, excepted)
                        Socket.send_to_all(recipients, prepared)
                    return
                envelope = Envelope(namespace, rooms, excepted, prepared, None, volatile)
            else:
                offset = self.recovery.next_offset()
                prepared = self.codec.prepare(EVENT, namespace, (event, *args, offset))
                envelope = Envelope(namespace, rooms, excepted, prepared, offset)
            self._tell(self._deliver if local else self._broadcast, envelope, prepared)
        else:
            ack_id = next(self._ack_ids)
            prepared = self.codec.prepare(EVENT, namespace, (event, *args), ack_id)
            envelope = Envelope(namespace, rooms, excepted, prepared)
            heard = partial(self._call_back, callback, expired, [])
            self._post(self._ask_clients, envelope, prepared, ack_id, heard, timeout_seconds, local)

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
        self._check_rooms(rooms, excepted)
        self._check_waiting()
        waiter = Waiter()
        ack_id = next(self._ack_ids)
        prepared = self.codec.prepare(EVENT, namespace, (event, *args), ack_id)
        envelope = Envelope(namespace, rooms, excepted, prepared)
        self._post(self._ask_room, envelope, prepared, ack_id, waiter.set, timeout_seconds)
        answers: Answers = wait(waiter, None)
        return answers

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
        self._check_rooms((sid,))
        self._check_waiting()
        waiter = Waiter()
        ack_id = next(self._ack_ids)
        prepared = self.codec.prepare(EVENT, namespace, (event, *args), ack_id)
        envelope = Envelope(namespace, (sid,), (), prepared)
        self._post(self._call_client, envelope, prepared, ack_id, waiter, timeout_seconds)
        try:
            values = wait(waiter, timeout_seconds)
        except TimeoutError:  # else the client would owe this ack as long as it lives, and not be paused
            self._post(self._give_up_on, envelope, ack_id)
            raise
        if isinstance(values, Exception):
            raise values
        return list(values)

    def _check_waiting(self) -> None:
        """A wait that could only hang is refused at once."""
        if self._services is None:
            raise RuntimeError("call() waits for a client's answer, and no server runs yet: use emit()")
        if self._services.door.on_loop():
            raise RuntimeError(
                "call() would wait on the server's own thread: register the handler without inline=True"
            )
        check_waiting("call()")

    # Posted calls

    def _broadcast(self, envelope: Envelope, prepared: Prepared) -> None:
        if self.recovery is not None:
            self._remember(envelope)
        adapter = self._adapters.get(envelope.namespace)
        if adapter is not None:
            adapter.deliver(envelope)
            if self._backplane.alone or adapter.owns(envelope.rooms):
                return
        self._backplane.publish(envelope)

    def _deliver(self, envelope: Envelope, prepared: Prepared) -> None:
        """To the clients of this process."""
        self._remember(envelope)
        adapter = self._adapters.get(envelope.namespace)
        if adapter is not None:
            adapter.deliver(envelope)

    def _ask_clients(
        self,
        envelope: Envelope,
        prepared: Prepared,
        ack_id: int,
        heard: Heard,
        timeout_seconds: float | None = None,
        local: bool = False,
        timed_here: bool = True,
        done: Callable[[], None] = lambda: None,
        unready: Callable[[], None] | None = None,
    ) -> None:
        """Have the clients asked, here and elsewhere.

        Args:
            timed_here: without it the asker gives up the clients of this process itself.
            done: called once nobody is waited for. unready: called, and nobody asked, where a client's
                connect handler has not returned.
        """
        adapter = self._adapter(envelope.namespace)
        sockets: list[Any] = adapter.recipients(envelope.rooms, envelope.excepted)
        if unready is not None and any(socket.state is SocketState.PENDING for socket in sockets):
            unready()
            return
        elsewhere = not (local or self._backplane.alone or adapter.owns(envelope.rooms))
        group = AckGroup(heard, done, 2 if elsewhere else 1)
        assert self._acks is not None
        self._acks.ask(sockets, prepared, ack_id, group, timeout_seconds if timed_here else None)
        if elsewhere:
            self._ask_distant(envelope, group, timeout_seconds, unready)

    def _ask_distant(
        self,
        envelope: Envelope,
        group: AckGroup,
        timeout_seconds: float | None,
        unready: Callable[[], None] | None,
    ) -> None:
        distant = DistantAcks(group, unready)
        try:
            text, attachments = self.codec.data_text(envelope.prepared, envelope.namespace)
        except (TypeError, ValueError) as error:
            self._running().report("asking the clients of other processes", error)
            distant.ended(0)
            return
        question = AcksQuestion(
            None if envelope.rooms is None else list(envelope.rooms),
            list(envelope.excepted),
            pack_text(text, attachments),
            timeout_seconds,
            unready is not None,
        )
        self._backplane.request(
            Question(QuestionKind.ACKS, envelope.namespace, plain(question)),
            distant.heard,
            distant.ended,
            None if timeout_seconds is None else timeout_seconds + ACKS_GRACE_SECONDS,
        )

    def _ask_sockets(
        self,
        namespace: str,
        sockets: list[Any],
        event: list[Any],
        heard: Heard,
        timeout_seconds: float | None,
    ) -> None:
        """For another process: an ack id is unique only beside the others of its process."""
        ack_id = next(self._ack_ids)
        prepared = self.codec.prepare(EVENT, namespace, event, ack_id)
        assert self._acks is not None
        self._acks.ask(sockets, prepared, ack_id, AckGroup(heard, lambda: None), timeout_seconds)

    def _ask_room(
        self,
        envelope: Envelope,
        prepared: Prepared,
        ack_id: int,
        done: Callable[[Answers], None],
        timeout_seconds: float,
    ) -> None:
        values: list[list[Any]] = []
        missing: list[None] = []

        def heard(socket: Socket | None, answered: list[Any] | None) -> None:
            if answered is None:
                missing.append(None)
            else:
                values.append(answered)

        def ended() -> None:
            done(Answers(values, len(missing)))

        self._ask_clients(envelope, prepared, ack_id, heard, timeout_seconds, done=ended)

    def _call_client(
        self,
        envelope: Envelope,
        prepared: Prepared,
        ack_id: int,
        waiter: Waiter,
        timeout_seconds: float | None,
    ) -> None:
        """One client is asked; the worker that waits hears its answer, or why there will be none."""

        def heard(socket: Socket | None, values: list[Any] | None) -> None:
            if values is not None:
                waiter.set(values)

        def unready() -> None:
            waiter.set(
                RuntimeError(
                    "its connect handler has not returned, so it cannot answer: call() it from a later event"
                )
            )

        def done() -> None:
            waiter.set(TimeoutError("the client has left: no answer will come"))

        self._ask_clients(
            envelope, prepared, ack_id, heard, timeout_seconds, timed_here=False, done=done, unready=unready
        )

    def _give_up_on(self, envelope: Envelope, ack_id: int) -> None:
        assert self._acks is not None
        self._acks.give_up(
            self._adapter(envelope.namespace).recipients(envelope.rooms, envelope.excepted), ack_id
        )

    def _call_back(
        self,
        callback: AckCallback,
        expired: Callable[[Socket | None], None] | None,
        distant: list[Strand],
        socket: Socket | None,
        values: list[Any] | None,
    ) -> None:
        job: Callable[[], None]
        if values is not None:
            job = partial(callback, socket, values)
        elif expired is not None:
            job = partial(expired, socket)
        else:
            return
        if socket is not None:
            strand = socket.client.backlog.strand
        else:
            if not distant:
                distant.append(self._running().door.strand())
            strand = distant[0]
        strand.submit(partial(self._run_callback, job))

    def _run_callback(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except BaseException as error:
            self._running().report("acknowledgement callback", error)
