"""Clients that come back: found here, in a log that was kept, or in the other processes of the machine.

Must not know: events, handlers, how a question travels; what a log finds is the log's to say.

A process that is asked for a client offers it, and forgets it only when it hears that the client has come
back: the connection for which it was asked may be gone by then, and the client ask from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Final

from python_server.engineio.session import DisconnectReason
from python_server.net.system import TimerLike
from python_server.socketio.client import Client, Socket, SocketState
from python_server.socketio.cluster.port import (
    Envelope,
    LongAnswer,
    PeerRequest,
    Question,
    QuestionKind,
    Reply,
    Room,
)
from python_server.socketio.cluster.requests import convert, plain
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.record import (
    ComingRecords,
    FetchQuestion,
    RecoveryRecord,
    found_parts,
)
from python_server.socketio.services import HubServices
from python_server.socketio.values import JSONValue

# Other processes answer in milliseconds, on a loaded machine in seconds; after it the client is a new one.
# The question and the answer travel within it, and in between SETTLE_SECONDS may pass.
FETCH_SECONDS: Final = 15.0
# Clients that wait for it; more are new at once.
LOOKUPS_MAX_COUNT: Final = 10_000
# Several may know the client, the one better than the other: how long we wait for the others after the first.
# As long as official adapters wait for other processes (requestsTimeout).
COMPARE_SECONDS: Final = 5.0
# How long it is awaited that what a returning client said here has come to all others: where one of them is
# further behind, what the client says next may be heard before it there.
SETTLE_SECONDS: Final = 5.0
# What comes after something is later than it, whatever two clocks say.
LATER_SECONDS: Final = 1e-6
# How often we ask again when a process has gone without an answer: its successor may have the client now.
ASK_AGAIN_MAX_COUNT: Final = 3
# A client that still answers pings after it has taken what it was sent on its return.
TAKEN_SECONDS: Final = 120.0

# How long a log that nobody uses may hold what is too old, beyond the time for which it is kept.
SWEEP_SECONDS: Final = 30.0

# Called with the client it was before, if that one is still here, and its rooms with their positions.
Admit = Callable[[Client | None, dict[Room, int]], None]
AdmitNow = Callable[[dict[Room, int]], None]


class LookupState(Enum):
    """What is awaited of the other processes."""

    ASKING = auto()  # a first record
    COMPARING = auto()  # a better one than that which is known, until the deadline
    SETTLED = auto()  # nothing more


@dataclass(eq=False, slots=True)
class Lookup:
    """A client for which other processes are asked.

    Attributes:
        best: the record that knows the client best, of those here and elsewhere.
        again_count: how often we may still ask again.
        coming: answers that have not come whole.
        forgotten: does somebody know the client, and keep no more what it has missed?
    """

    socket: Socket
    admit: AdmitNow
    question: FetchQuestion
    best: RecoveryRecord | None
    state: LookupState = LookupState.ASKING
    deadline: TimerLike | None = None
    again_count: int = ASK_AGAIN_MAX_COUNT
    coming: ComingRecords = field(default_factory=ComingRecords)
    forgotten: bool = False

    def settle(self) -> bool:
        """Nothing is awaited any more; does the client still wait for it?"""
        waits = self.state is not LookupState.SETTLED and self.socket.state is not SocketState.CLOSED
        self.state = LookupState.SETTLED
        if self.deadline is not None:
            self.deadline.cancel()
        return waits


def introduce(socket: Socket, services: HubServices) -> FetchQuestion | None:
    """Note the secret by which a connection would come back; returns whom it says it was, None for nobody.

    What it says of that is not for the application.
    """
    secret, now = services.names.make(), services.now()
    socket.recovery = RecoveryRecord(socket.namespace, socket.sid, secret, came_at=now)
    auth = socket.auth or {}
    pid, offset = auth.get("pid"), auth.get("offset")
    socket.auth = {name: value for name, value in auth.items() if name not in ("pid", "offset")} or None
    return FetchQuestion(pid, offset if type(offset) is str else None) if type(pid) is str else None


class Restorer:
    """Finds who a new connection was before, and gives it back its name, rooms, data and what it missed.

    Every method belongs to the loop's thread.

    Attributes:
        sockets: of the clients that are here, by the secret with which they would come back.
        answers_count: what others have asked here, and are still to be told.
        returned: told of each secret whose client has come from elsewhere, and when: whoever has offered it
            may forget it.
    """

    def __init__(self, log: RecoveryLog, services: HubServices) -> None:
        self._log = log
        self._services = services
        self._lookups: dict[str, Lookup] = {}  # by the client's secret
        self.sockets: dict[str, Socket] = {}
        self.answers_count = 0
        self.returned: Callable[[str, float], None] = lambda pid, came_at: None
        log.begin(services.now())
        services.call_later(SWEEP_SECONDS, self._sweep)

    def begin(self, socket: Socket, admit: Admit) -> None:
        """Make a client what it was, or new; `admit` is called at once, or once others have answered."""
        asked = introduce(socket, self._services)
        if asked is None:
            self._admit_new(socket, partial(admit, None))
        else:
            self._look_for(socket, admit, asked)

    def _look_for(self, socket: Socket, admit: Admit, asked: FetchQuestion) -> None:
        pid, seen, namespace = asked.pid, asked.offset, socket.namespace
        admit_now = partial(admit, self._end_former(pid, namespace))
        now = self._services.now()
        here = self._log.restore(pid, namespace, seen, now)
        if here is not None:
            if self._services.has_passed(here[0].authorized_until):
                self._admit_new(socket, admit_now)
            else:
                self._admit_returned(socket, admit_now, *here)
            return
        # Others may know more of one that we have offered or keep for another process.
        best = self._log.find(pid, namespace, seen, now)
        forgotten = best is None and self._log.has_forgotten(pid, seen)
        if (
            self._services.backplane.alone
            or not self._services.names.made_on_this_machine(pid)
            or len(self._lookups) >= LOOKUPS_MAX_COUNT
        ):
            self._admit_found(socket, admit_now, best, forgotten)
            return
        lookup = self._lookups[pid] = Lookup(socket, admit_now, asked, best, forgotten=forgotten)
        if best is not None:
            self._compare(lookup)
        self._ask(lookup)

    def _sweep(self) -> None:
        """As long as the loop turns."""
        self._services.call_later(SWEEP_SECONDS, self._sweep)
        self._log.sweep(self._services.now())

    def lost(self, socket: Socket, rooms: dict[Room, int]) -> None:
        """A client's connection has gone; it may come back."""
        record = socket.recovery
        assert record is not None
        record.left_position = self._log.events.position
        record.rooms = rooms
        record.last_offset = socket.last_offset
        record.data = socket.data
        record.authorized_until, record.members = socket.authorized_until, {**(socket.members or {})}
        self._log.save(record, self._services.now())

    def closed(self, socket: Socket) -> None:
        """A client has left."""
        record = socket.recovery
        if record is not None and self.sockets.get(record.pid) is socket:
            del self.sockets[record.pid]

    def answer(self, question: Question, reply: Reply) -> None:
        """Another process has a client that says it was ours. Raises Malformed.

        It is answered once all others have what the client said here: what it says there comes behind it.
        """
        asked: FetchQuestion = convert(question.data, FetchQuestion)
        if self._services.names.made_on_this_machine(asked.pid):  # the clock of another is not ours
            self._end_former(asked.pid, question.namespace)
            if self._log.offer(asked.pid):
                self.answers_count += 1
                settled = Question(QuestionKind.SETTLED, question.namespace)
                hand_out = partial(self._hand_out, question.namespace, asked, reply)
                self._services.backplane.request(
                    PeerRequest(settled, lambda part: None, hand_out, SETTLE_SECONDS)
                )
                return
        reply(None)

    def _hand_out(self, namespace: str, asked: FetchQuestion, reply: Reply, missing_count: int) -> None:
        """What we know of the client by now; its own words have gone to all but so many."""
        found = self._log.find(asked.pid, namespace, asked.offset, self._services.now())
        if found is None:
            self._answered()
            reply(False if self._log.has_forgotten(asked.pid, asked.offset) else None)
        else:
            parts = found_parts(self._log.tag, found, self._services.complain)
            reply(LongAnswer(parts, self._answered))

    def _answered(self) -> None:
        self.answers_count -= 1

    def returned_elsewhere(self, pid: str, came_at: float | None) -> None:
        """A client has come back to another process: what seems to be here is a connection it has lost."""
        socket = self.sockets.get(pid)
        if socket is not None and socket.recovery is not None and socket.recovery.older_than(came_at):
            self._end_former(pid, socket.namespace)

    def _end_former(self, pid: str, namespace: str) -> Client | None:
        """End the connection it had, which is dead though nobody had noticed; returns whose that was."""
        lookup = self._lookups.pop(pid, None)  # whoever is asked for it offers it to the next as well
        if lookup is not None and lookup.settle():
            lookup.socket.client.session.end(DisconnectReason.TRANSPORT_ERROR)
        former = self.sockets.get(pid)
        if former is None or former.namespace != namespace:
            return None
        former.client.session.end(DisconnectReason.TRANSPORT_ERROR)
        return former.client

    def _ask(self, lookup: Lookup) -> None:
        """Ask everybody: after a recovery elsewhere the secret's beginning names its process no more."""
        question = Question(QuestionKind.FETCH, lookup.socket.namespace, plain(lookup.question))
        heard, ended = partial(self._heard, lookup), partial(self._ended, lookup)
        self._services.backplane.request(PeerRequest(question, heard, ended, FETCH_SECONDS))

    def _heard(self, lookup: Lookup, part: JSONValue) -> None:
        """Another process knows the client, or does not (None), or not enough any more (False). Raises
        Malformed."""
        if part is False:
            lookup.forgotten = True
        if part is None or part is False or lookup.state is LookupState.SETTLED:
            return
        found = lookup.coming.take(part)
        if lookup.state is LookupState.COMPARING:  # what comes in parts is waited for as long as they come
            self._compare(lookup)
        if found is None:
            return
        if lookup.best is None or lookup.best.came_at < found.came_at:
            lookup.best = found
        if lookup.state is LookupState.ASKING:
            self._compare(lookup)

    def _compare(self, lookup: Lookup) -> None:
        """One record is known: wait for better ones until the deadline."""
        lookup.state = LookupState.COMPARING
        if lookup.deadline is not None:
            lookup.deadline.cancel()
        lookup.deadline = self._services.call_later(COMPARE_SECONDS, partial(self._settle, lookup))

    def _ended(self, lookup: Lookup, missing_count: int) -> None:
        """No more answers will come."""
        lookup.coming.clear()
        if lookup.state is LookupState.ASKING and missing_count and lookup.again_count:
            lookup.again_count -= 1
            self._ask(lookup)
        else:
            self._settle(lookup)

    def _settle(self, lookup: Lookup) -> None:
        if lookup.state is not LookupState.SETTLED:
            del self._lookups[lookup.question.pid]
            if lookup.settle():
                self._admit_found(lookup.socket, lookup.admit, lookup.best, lookup.forgotten)

    def _admit_found(
        self, socket: Socket, admit: AdmitNow, found: RecoveryRecord | None, forgotten: bool
    ) -> None:
        """All that know the client have answered; what is on its way to two of them will not come twice."""
        over = found is not None and self._services.has_passed(found.authorized_until)
        if found is None or over or not self._log.take_over(found, self._services.now()):
            if forgotten or (found is not None and not over):
                self._services.complain(
                    "recovery log",
                    "a client begins anew: the recovery log does not reach back to what it saw (max_bytes)",
                )
            self._admit_new(socket, admit)
            return
        self._admit_returned(socket, admit, found, [envelope for _, envelope in found.missed_elsewhere])
        self._services.call_later(TAKEN_SECONDS, partial(self._has_taken, socket, found))
        self.returned(found.pid, found.came_at)

    @staticmethod
    def _has_taken(socket: Socket, record: RecoveryRecord) -> None:
        """The client has been here for so long that it has seen all it was sent on its return."""
        if socket.state is not SocketState.CLOSED:
            record.missed_elsewhere = []

    def _admit_returned(
        self, socket: Socket, admit: AdmitNow, record: RecoveryRecord, missed: list[Envelope]
    ) -> None:
        assert socket.recovery is not None
        record.came_at = max(socket.recovery.came_at, record.came_at + LATER_SECONDS)
        socket.come_back(record, missed)
        if socket.state is SocketState.CLOSED:  # it is more than may wait for a client
            return
        self.sockets[record.pid] = socket
        admit(record.rooms)

    def _admit_new(self, socket: Socket, admit: AdmitNow) -> None:
        record = socket.recovery
        if socket.state is not SocketState.CLOSED and record is not None:
            self._log.join(record, self._services.now())
            self.sockets[record.pid] = socket
            admit({})
