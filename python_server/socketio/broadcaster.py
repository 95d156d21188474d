"""Events to clients, from any thread: emit, call, call_room; and the loop's half of them.

Must not know: how a packet comes in, what a handler is, how other processes are reached.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from functools import partial
from math import isnan
from typing import Final, cast

from python_server.net.system import below
from python_server.net.tasks import check_waiting
from python_server.net.threads import Strand, Waiter
from python_server.socketio.acks import AckRequest, AckState, Answers, Heard, LocalAcks, RemoteAcks
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.client import Socket
from python_server.socketio.cluster.port import Envelope, Question, QuestionKind, Room, check_rooms
from python_server.socketio.cluster.requests import AcksQuestion, pack_text, plain
from python_server.socketio.packet import EVENT
from python_server.socketio.rooms import RoomDirectory
from python_server.socketio.services import Configuration, HubServices
from python_server.socketio.values import JSONValue

# Some clients keep an ack's number in 31 bits.
ACK_IDS_BEGIN_LIMIT: Final = 2**30
# Beyond the time that clients have for their acks: the way of the last word about them.
ACKS_GRACE_SECONDS: Final = 0.5

# Called on a client's strand with the client and the values of its ack. For a client of another process it is
# called with None, on a strand of the event's own.
AckCallback = Callable[[Socket | None, list[JSONValue]], object]


class Broadcaster:
    """Encodes an event once, in the caller's thread, and has it delivered.

    Args:
        rooms: of this server.
    """

    def __init__(self, services: HubServices, configuration: Configuration, rooms: RoomDirectory) -> None:
        self._services = services
        self._door = services.door
        self._at_once = services.door.at_once
        self._backplane = services.backplane
        self._codec = configuration.codec
        self._recovery = configuration.recovery
        self._rooms = rooms
        self._adapters = rooms.adapters
        self._acks = LocalAcks(services.call_later)
        # A client may come back to another process and answer there what was asked here.
        begin = 1 if services.backplane.alone else 1 + below(ACK_IDS_BEGIN_LIMIT, services.entropy)
        self._ack_ids = itertools.count(begin)

    # Any thread

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
        namespace, rooms, excepted, local, volatile = to
        alone = local or self._backplane.alone
        if not alone:
            check_rooms(rooms, excepted)
        if callback is not None:
            self._ask_all(
                event, args, to, self._call_back(callback, expired), timeout_seconds=timeout_seconds
            )
            return
        recovery = self._recovery
        if recovery is None or volatile:
            prepared = self._codec.prepare(EVENT, namespace, (event, *args))
            if alone and not volatile and self._at_once():  # it need not be written down for anybody
                adapter = self._adapters.get(namespace)
                if adapter is not None:
                    recipients: list[Socket] = adapter.recipients(rooms, excepted)
                    Socket.send_to_all(recipients, prepared)
                return
            envelope = Envelope(namespace, rooms, excepted, prepared, None, volatile)
        else:
            offset = recovery.next_offset()
            prepared = self._codec.prepare(EVENT, namespace, (event, *args, offset))
            envelope = Envelope(namespace, rooms, excepted, prepared, offset)
        deliver = self.deliver if local else self._broadcast
        if self._at_once():
            deliver(envelope)
        else:
            self._door.post(deliver, envelope, nbytes=len(prepared.frames))

    def call_room(
        self, event: str, args: Iterable[object], to: BroadcastOptions, timeout_seconds: float
    ) -> Answers:
        """See `Hub.call_room`."""
        self._rooms.check(to.rooms, to.excepted)
        self._check_waiting()
        waiter: Waiter[Answers] = Waiter()
        values: list[list[JSONValue]] = []
        missing: list[None] = []

        def heard(socket: Socket | None, answered: list[JSONValue] | None) -> None:
            if answered is None:
                missing.append(None)
            else:
                values.append(answered)

        def ended(state: AckState) -> None:
            waiter.set(Answers(values, len(missing)))

        self._ask_all(event, args, to, heard, ended, timeout_seconds)
        return waiter.wait(None, lends=True)

    def call(
        self, event: str, args: Iterable[object], namespace: str, sid: str, timeout_seconds: float | None
    ) -> list[JSONValue]:
        """See `Hub.call`."""
        self._rooms.check((sid,))
        self._check_waiting()
        waiter: Waiter[list[JSONValue] | Exception] = Waiter()

        def heard(socket: Socket | None, values: list[JSONValue] | None) -> None:
            if values is not None:
                waiter.set(values)

        def ended(state: AckState) -> None:
            if state is AckState.UNREADY:
                waiter.set(
                    RuntimeError(
                        "its connect handler has not returned, so it cannot answer: "
                        "call() it from a later event"
                    )
                )
            elif state is AckState.EXPIRED:
                waiter.set(TimeoutError(f"no answer within {timeout_seconds} s"))
            else:
                waiter.set(TimeoutError("the client has left: no answer will come"))

        to = BroadcastOptions(namespace, (sid,))
        self._ask_all(event, args, to, heard, ended, timeout_seconds, joined_only=True)
        values = waiter.wait(None, lends=True)
        if isinstance(values, Exception):
            raise values
        return list(values)

    def _check_waiting(self) -> None:
        """A wait that could only hang is refused at once."""
        if self._door.on_loop():
            raise RuntimeError(
                "call() would wait on the server's own thread: register the handler without inline=True "
                "(of a test client every handler runs there)"
            )
        check_waiting("call()")

    def _ask_all(
        self,
        event: str,
        args: Iterable[object],
        to: BroadcastOptions,
        heard: Heard,
        ended: Callable[[AckState], None] | None = None,
        timeout_seconds: float | None = None,
        joined_only: bool = False,
    ) -> None:
        if timeout_seconds is not None and (
            not isinstance(timeout_seconds, (int, float)) or isnan(timeout_seconds)
        ):
            raise TypeError(f"timeout={timeout_seconds!r}: it is a number of seconds, or None")
        ack_id = next(self._ack_ids)
        prepared = self._codec.prepare(EVENT, to.namespace, (event, *args), ack_id)
        request = AckRequest(to, prepared, ack_id, heard, ended, timeout_seconds, joined_only)
        self._door.post(self._ask, request, nbytes=len(prepared.frames))

    # Loop's thread

    def hear(self, envelope: Envelope) -> Envelope:
        """An event of another process: what of it is to be delivered here."""
        if self._recovery is None or envelope.offset is None:
            return envelope
        return self._recovery.hear(envelope, self._services.now())

    def deliver(self, envelope: Envelope) -> None:
        """To the clients of this process; those that come back may have missed it."""
        if self._recovery is not None and envelope.offset is not None:
            self._recovery.append(envelope, self._services.now())
        adapter = self._adapters.get(envelope.namespace)
        if adapter is not None:
            adapter.deliver(envelope)

    def _broadcast(self, envelope: Envelope) -> None:
        self.deliver(envelope)
        if not self._backplane.alone:
            adapter = self._adapters.get(envelope.namespace)
            if adapter is None or not adapter.owns(envelope.rooms):
                self._backplane.publish(envelope)

    def ask_here(
        self,
        namespace: str,
        sockets: list[Socket],
        event: list[object],
        heard: Heard,
        timeout_seconds: float | None,
    ) -> None:
        """For another process: an ack id is unique only beside the others of its process."""
        ack_id = next(self._ack_ids)
        prepared = self._codec.prepare(EVENT, namespace, event, ack_id)
        to = BroadcastOptions(namespace, local=True)
        self._acks.ask(sockets, AckRequest(to, prepared, ack_id, heard, timeout_seconds=timeout_seconds))

    def _ask(self, request: AckRequest) -> None:
        """Have the clients asked, here and elsewhere."""
        to = request.to
        adapter = self._rooms.adapter(to.namespace)
        sockets: list[Socket] = adapter.recipients(to.rooms, to.excepted)
        elsewhere = not (to.local or self._backplane.alone or adapter.owns(to.rooms))
        distant = RemoteAcks(request) if elsewhere else None
        self._acks.ask(sockets, request)
        if distant is not None and request.state is AckState.WAITING:
            self._ask_elsewhere(request, distant)

    def _ask_elsewhere(self, request: AckRequest, distant: RemoteAcks) -> None:
        to, timeout_seconds = request.to, request.timeout_seconds
        try:
            text, attachments = self._codec.data_text(request.prepared, to.namespace)
        except (TypeError, ValueError) as error:
            self._services.report("asking the clients of other processes", error)
            distant.ended(0)
            return
        question = AcksQuestion(
            None if to.rooms is None else cast("list[Room]", [*to.rooms]),
            cast("list[Room]", list(to.excepted)),
            pack_text(text, attachments),
            timeout_seconds,
            request.joined_only,
        )
        self._backplane.request(
            Question(QuestionKind.ACKS, to.namespace, plain(question)),
            distant.heard,
            distant.ended,
            None if timeout_seconds is None else timeout_seconds + ACKS_GRACE_SECONDS,
        )

    def _call_back(self, callback: AckCallback, expired: Callable[[Socket | None], None] | None) -> Heard:
        """Each ack is a job on its client's strand, or on one for all clients of other processes."""
        distant: list[Strand] = []

        def heard(socket: Socket | None, values: list[JSONValue] | None) -> None:
            job: Callable[[], object]
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
                    distant.append(self._door.strand())
                strand = distant[0]
            strand.submit(partial(self._run_callback, job))

        return heard

    def _run_callback(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException as error:
            self._services.report("acknowledgement callback", error)
