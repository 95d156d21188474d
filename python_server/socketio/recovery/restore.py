"""Clients that come back: found here, in what was inherited, or in the other processes of the machine.

Must not know: events, handlers, how a question travels; what a log finds is the log's to say.

A process that is asked for a client lends it, and forgets it only when it hears that the client has arrived:
the connection for which it was asked may be gone by then, and the client ask from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from python_server.engineio.session import DisconnectReason
from python_server.socketio.client import Client, Socket, SocketState
from python_server.socketio.cluster.port import Question, QuestionKind, Reply
from python_server.socketio.cluster.requests import convert, plain
from python_server.socketio.recovery.log import Found, RecoveryLog
from python_server.socketio.recovery.records import FetchQuestion, read_found, tell_found
from python_server.socketio.services import HubServices

# Other processes answer in milliseconds, on a loaded machine in seconds; after it the client is a new one.
FETCH_SECONDS: Final = 10.0
# Clients that wait for it; more are new at once.
FETCHING_MAX_COUNT: Final = 10_000
# Several may know the client, the one better than the other: how long we wait for the others after the first.
# As long as official adapters wait for other processes (requestsTimeout).
COMPARE_SECONDS: Final = 5.0
# What comes after something is later than it, whatever two clocks say.
CLAIM_STEP_SECONDS: Final = 1e-6
# How often we ask again when a process has gone without an answer: its successor may have the client now.
ASK_AGAIN_MAX_COUNT: Final = 3

# A client that still answers pings after it has taken what it was sent on its return.
PRELUDE_SECONDS: Final = 120.0

# Called with the client it was before, if that one is still here, and its rooms with their positions.
Admit = Callable[[Client | None, dict[Any, int]], None]
AdmitNow = Callable[[dict[Any, int]], None]


class Restorer:
    """Every method belongs to the loop's thread.

    Args:
        log: of the hub. services: of the worker.

    Attributes:
        living: who is here, by the secret with which it would come back.
        taken: told of each secret whose client has come from elsewhere, and when: whoever has lent it may
            forget it.
    """

    def __init__(self, log: RecoveryLog, services: HubServices) -> None:
        self._log = log
        self._services = services
        # For whom others are asked, by the client's secret.
        self._fetching: dict[str, Socket] = {}
        self.living: dict[str, Socket] = {}
        self.taken: Callable[[str, float], None] = lambda pid, claimed_at: None
        log.begin(services.now())

    def begin(self, socket: Socket, admit: Admit) -> None:
        """Make a client what it was, or new; `admit` is called at once, or once others have answered."""
        socket.claimed_at = self._services.now()
        auth = socket.auth or {}
        pid, offset = auth.get("pid"), auth.get("offset")
        socket.auth = {name: value for name, value in auth.items() if name not in ("pid", "offset")} or None
        if type(pid) is str:
            self._look_for(socket, admit, FetchQuestion(pid, offset if type(offset) is str else None))
        else:
            self._admit_new(socket, partial(admit, None))

    def _look_for(self, socket: Socket, admit: Admit, asked: FetchQuestion) -> None:
        pid, seen, namespace = asked.pid, asked.offset, socket.namespace
        former = self._end_living(pid, namespace)
        admit = partial(admit, former)
        now = self._services.now()
        here = self._log.restore(pid, namespace, seen, now)
        if here is not None:
            client, missed = here
            self._admit_returned(socket, admit, Found(client, missed, {}, set(), now))
            return
        # Others may know more of one that we have lent or inherited.
        best = self._log.find(pid, namespace, seen, now)
        if self._may_ask(pid):
            self._fetching[pid] = socket
            self._fetch(socket, admit, asked, best, ASK_AGAIN_MAX_COUNT)
        elif best is not None:
            self._arrive(socket, admit, best)
        else:
            self._admit_new(socket, admit)

    def gone(self, socket: Socket) -> None:
        """A client has left."""
        if self.living.get(socket.pid) is socket:
            del self.living[socket.pid]

    def answer(self, question: Question, reply: Reply) -> None:
        """Another process has a client that says it was ours. Raises Malformed."""
        asked: FetchQuestion = convert(question.data, FetchQuestion)
        found = None
        if self._services.names.made_on_this_machine(asked.pid):  # the clock of another is not ours
            self._end_living(asked.pid, question.namespace)
            found = self._log.find(asked.pid, question.namespace, asked.offset, self._services.now())
        reply(None if found is None else tell_found(found, self._services.complain))

    def moved(self, pid: str, claimed_at: float | None) -> None:
        """It has come back elsewhere: what seems to be here is a connection that it has lost."""
        living = self.living.get(pid)
        if living is not None and (claimed_at is None or living.claimed_at < claimed_at):
            self._end_living(pid, living.namespace)

    def _end_living(self, pid: str, namespace: str) -> Client | None:
        """Its connection is dead, which nobody had noticed."""
        waiting = self._fetching.pop(pid, None)  # whoever is asked for it lends it to the next as well
        if waiting is not None and waiting.state is not SocketState.CLOSED:
            waiting.client.session.end(DisconnectReason.TRANSPORT_ERROR)
        living = self.living.get(pid)
        if living is None or living.namespace != namespace:
            return None
        living.client.session.end(DisconnectReason.TRANSPORT_ERROR)
        return living.client

    def _may_ask(self, pid: str) -> bool:
        services = self._services
        return (
            not services.backplane.alone
            and services.names.made_on_this_machine(pid)
            and len(self._fetching) < FETCHING_MAX_COUNT
        )

    def _fetch(
        self, socket: Socket, admit: AdmitNow, asked: FetchQuestion, best: Found | None, again_count: int
    ) -> None:
        """Ask everybody: after a recovery elsewhere the secret's beginning names its home no more."""

        def heard(part: Any) -> None:
            nonlocal best
            found = None if part is None else read_found(part)
            if found is None:
                return
            if best is None:
                self._services.call_later(COMPARE_SECONDS, settle)
            if best is None or best.client.claimed_at < found.client.claimed_at:
                best = found

        def settle() -> None:
            if self._fetched(socket, asked.pid):
                if best is None:
                    self._admit_new(socket, admit)
                else:
                    self._arrive(socket, admit, best)

        def ended(missing_count: int) -> None:
            if best is None and missing_count and again_count and self._fetching.get(asked.pid) is socket:
                self._fetch(socket, admit, asked, best, again_count - 1)
            else:
                settle()

        question = Question(QuestionKind.FETCH, socket.namespace, plain(asked))
        if best is not None:
            self._services.call_later(COMPARE_SECONDS, settle)
        self._services.backplane.request(question, heard, ended, FETCH_SECONDS)

    def _fetched(self, socket: Socket, pid: str) -> bool:
        """Others have been asked; does the client wait for it?"""
        if self._fetching.get(pid) is not socket:
            return False
        del self._fetching[pid]
        return socket.state is not SocketState.CLOSED

    def _arrive(self, socket: Socket, admit: AdmitNow, found: Found) -> None:
        """A client of another process has been found; what is on its way to both will not come twice."""
        self._log.adopt(found, self._services.now())
        self._admit_returned(socket, admit, found)
        self._services.call_later(PRELUDE_SECONDS, socket.forget_prelude)
        self.taken(socket.pid, socket.claimed_at)

    def _admit_returned(self, socket: Socket, admit: AdmitNow, found: Found) -> None:
        client = found.client
        client.claimed_at = max(socket.claimed_at, client.claimed_at + CLAIM_STEP_SECONDS)
        socket.come_back(client)
        for envelope in found.missed:
            socket.last_offset = envelope.offset
            socket.send(envelope.prepared)
        self.living[socket.pid] = socket
        admit(client.rooms)

    def _admit_new(self, socket: Socket, admit: AdmitNow) -> None:
        if socket.state is not SocketState.CLOSED:
            socket.pid = self._services.names.make()
            socket.joined_at = self._log.position
            self.living[socket.pid] = socket
            admit({})
