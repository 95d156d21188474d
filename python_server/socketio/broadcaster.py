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
from python_server.socketio.acks import AckRequest, AckState, Answers, Heard, RemoteAcks, ask_clients
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.client import Socket
from python_server.socketio.cluster.port import (
    Envelope,
    PeerRequest,
    Question,
    QuestionKind,
    Room,
    check_rooms,
)
from python_server.socketio.cluster.requests import AcksQuestion, pack_text, plain, unpack
from python_server.socketio.handler_runner import named
from python_server.socketio.observer import SocketObserver
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
    """Encodes an event once, in the caller's thread, and has it delivered."""

    def __init__(
        self,
        services: HubServices,
        configuration: Configuration,
        rooms: RoomDirectory,
        observer: SocketObserver | None,
    ) -> None:
        self._services = services
        self._observer = observer
        self._tracer = services.tracer
        self._door = services.door
        self._at_once = services.door.at_once
        self._backplane = services.backplane
        self._codec = configuration.codec
        self._recovery = configuration.recovery
        self._last_name = ""  # of the event that was said last: names rise
        self._rooms = rooms
        self._adapters = rooms.adapters
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
            heard = self._call_back(event, callback, expired)
            self._ask_all(event, args, to, heard, None, timeout_seconds)
            return
        recovery = self._recovery
        if recovery is None or volatile or (local and not recovery.names_local):
            prepared = self._codec.prepare(EVENT, namespace, (event, *args))
            if alone and not volatile and self._at_once():  # it need not be written down for anybody
                adapter = self._adapters.get(namespace)
                recipients = [] if adapter is None else adapter.recipients(rooms, excepted)
                if adapter is not None and adapter.traffic is not None:
                    adapter.traffic.delivered(prepared, len(recipients))
                if self._observer is not None:
                    self._observer.delivered(namespace, rooms, prepared, len(recipients))
                Socket.send_to_all(recipients, prepared)
                if adapter is not None and adapter.streamed is not None:
                    adapter.streamed(Envelope(namespace, rooms, excepted, prepared))
                return
            envelope = Envelope(namespace, rooms, excepted, prepared, None, volatile)
        else:
            offset = recovery.next_offset()
            prepared = self._codec.prepare(EVENT, namespace, (event, *args, offset))
            envelope = Envelope(namespace, rooms, excepted, prepared, offset)
        if self._tracer is not None:
            envelope = envelope._replace(traceparent=self._tracer.traceparent())
        deliver = self._deliver_in_order if local else self._broadcast
        if self._at_once():
            deliver(envelope)
        else:
            self._door.post(deliver, envelope, nbytes=len(prepared.frames))

    def call_room(
        self, event: str, args: Iterable[object], to: BroadcastOptions, timeout_seconds: float
    ) -> Answers:
        """See `Hub.call_room`."""
        self._rooms.check(to.rooms, to.excepted)
        _, answers = self._gather(event, args, to, timeout_seconds)
        return answers

    def call(
        self, event: str, args: Iterable[object], namespace: str, sid: str, timeout_seconds: float | None
    ) -> list[JSONValue]:
        """See `Hub.call`."""
        self._rooms.check((sid,))
        to = BroadcastOptions(namespace, (sid,))
        state, answers = self._gather(event, args, to, timeout_seconds, one_client=True)
        if answers.values:
            return answers.values[0]
        if state is AckState.UNREADY:
            raise RuntimeError(
                "its connect handler has not returned, so it cannot answer: call() it from a later event"
            )
        if state is AckState.EXPIRED:
            raise TimeoutError(f"no answer within {timeout_seconds} s")
        raise TimeoutError("the client has left: no answer will come")

    def _gather(
        self,
        event: str,
        args: Iterable[object],
        to: BroadcastOptions,
        timeout_seconds: float | None,
        one_client: bool = False,
    ) -> tuple[AckState, Answers]:
        """Send an event and wait for its acks; a wait that could only hang is refused at once."""
        if self._door.on_loop():
            raise RuntimeError(
                "call() would wait on the server's own thread: register the handler without inline=True "
                "(of a test client every handler runs there) [would-block]"
            )
        check_waiting("call()")
        waiter: Waiter[AckState] = Waiter()
        acks: list[list[JSONValue] | None] = []
        self._ask_all(
            event,
            args,
            to,
            lambda socket, values: acks.append(values),
            waiter.set,
            timeout_seconds,
            one_client,
        )
        state = waiter.wait(None, lends=True)
        if state is AckState.FAILED:
            raise RuntimeError("not everybody could be asked: the log says why")
        answered = [values for values in acks if values is not None]
        return state, Answers(answered, len(acks) - len(answered))

    def _ask_all(
        self,
        event: str,
        args: Iterable[object],
        to: BroadcastOptions,
        heard: Heard,
        ended: Callable[[AckState], None] | None,
        timeout_seconds: float | None,
        one_client: bool = False,
    ) -> None:
        if timeout_seconds is not None and (
            not isinstance(timeout_seconds, (int, float)) or isnan(timeout_seconds)
        ):
            raise TypeError(f"timeout={timeout_seconds!r}: it is a number of seconds, or None")
        ack_id = next(self._ack_ids)
        prepared = self._codec.prepare(EVENT, to.namespace, (event, *args), ack_id)
        request = AckRequest(to, prepared, ack_id, heard, ended, timeout_seconds, one_client)
        self._door.post(self._ask, request, nbytes=len(prepared.frames))

    # Loop's thread

    def hear(self, envelope: Envelope) -> Envelope | None:
        """An event of another process: what of it is to be delivered here; None: it was heard before."""
        if self._recovery is None or envelope.offset is None:
            return envelope
        return self._recovery.hear(envelope, self._services.now())

    def _in_order(self, envelope: Envelope) -> Envelope:
        """With a later name, where a thread that had named its event later has said it earlier."""
        name = envelope.offset
        if name is None:
            return envelope
        if (len(name), name) < (len(self._last_name), self._last_name):
            assert self._recovery is not None
            try:
                packed = pack_text(*self._codec.data_text(envelope.prepared, envelope.namespace))
                *said, _ = unpack(packed)
            except (TypeError, ValueError):  # MessagePack has words that JSON has not: it stays what it is
                return envelope
            name = self._recovery.next_offset()
            prepared = self._codec.prepare(EVENT, envelope.namespace, (*said, name))
            envelope = envelope._replace(prepared=prepared, offset=name)
        self._last_name = name
        return envelope

    def _deliver_in_order(self, envelope: Envelope) -> None:
        self.deliver(self._in_order(envelope))

    def deliver(self, envelope: Envelope) -> None:
        """To the clients of this process; those that come back may have missed it."""
        if self._recovery is not None and envelope.offset is not None:
            self._recovery.append(envelope, self._services.now())
        adapter = self._adapters.get(envelope.namespace)
        count = 0 if adapter is None else adapter.deliver(envelope)
        if self._observer is not None:
            self._observer.delivered(envelope.namespace, envelope.rooms, envelope.prepared, count)

    def _broadcast(self, envelope: Envelope) -> None:
        envelope = self._in_order(envelope)
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
        request = AckRequest(to, prepared, ack_id, heard, timeout_seconds=timeout_seconds)
        self._ask_clients(sockets, request)

    def _ask_clients(self, sockets: list[Socket], request: AckRequest) -> None:
        to = request.to
        traffic = self._rooms.adapter(to.namespace).traffic
        if traffic is not None:
            traffic.delivered(request.prepared, len(sockets))
        if self._observer is not None:
            self._observer.delivered(to.namespace, to.rooms, request.prepared, len(sockets))
        ask_clients(sockets, request, self._services.call_later)

    def _ask(self, request: AckRequest) -> None:
        """Have the clients asked, here and elsewhere."""
        to = request.to
        try:
            adapter = self._rooms.adapter(to.namespace)
            sockets = adapter.recipients(to.rooms, to.excepted)
            elsewhere = not (to.local or self._backplane.alone or adapter.owns(to.rooms))
            distant = RemoteAcks(request) if elsewhere else None
            self._ask_clients(sockets, request)
            if distant is not None and request.state is AckState.WAITING:
                self._ask_elsewhere(request, distant)
        except BaseException:  # without memory, say: a thread that waits for acks must hear of it
            request.end(AckState.FAILED)
            raise

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
            request.one_client,
        )
        self._backplane.request(
            PeerRequest(
                Question(QuestionKind.ACKS, to.namespace, plain(question)),
                distant.heard,
                distant.ended,
                None if timeout_seconds is None else timeout_seconds + ACKS_GRACE_SECONDS,
            )
        )

    def _call_back(
        self, event: str, callback: AckCallback, expired: Callable[[Socket | None], None] | None
    ) -> Heard:
        """Each ack is a job on its client's strand, or on one for all clients of other processes."""
        distant: Strand | None = None
        run = partial(self._run_callback, event)

        def heard(socket: Socket | None, values: list[JSONValue] | None) -> None:
            nonlocal distant
            if values is not None:
                job = partial(run, callback, socket, values)
            elif expired is not None:
                job = partial(run, expired, socket)
            else:
                return
            if socket is None:
                strand = distant = distant or self._door.strand()
            else:
                strand = socket.client.backlog.strand
            strand.submit(job)

        return heard

    def _run_callback(
        self, event: str, function: Callable[..., object], socket: Socket | None, *values: object
    ) -> None:
        """A worker: what the callback raises is reported once."""
        try:
            function(socket, *values)
        except BaseException as error:
            what = "acknowledgement callback"
            self._services.report(what if socket is None else named(what, socket, event), error)
