"""Clients that come back: found here, in what was inherited, or in the other processes of the machine.

Must not know: events, handlers, how a question travels; what a log finds is the log's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from python_server.engineio.session import DisconnectReason
from python_server.socketio.backplane import Question, QuestionKind, Reply
from python_server.socketio.client import Client, Socket, SocketState
from python_server.socketio.ground import HubServices
from python_server.socketio.questions import convert, plain
from python_server.socketio.records import FetchQuestion, read_found, tell_found
from python_server.socketio.recovery import Found, RecoveryLog

# Other processes answer in milliseconds; after it the client is a new one.
FETCH_SECONDS: Final = 2.0
# Clients that wait for it; more are new at once.
FETCHING_MAX_COUNT: Final = 10_000
# How long, and in what steps, we wait for events that the client's former home has heard before us.
CATCH_UP_SECONDS: Final = 0.5
CATCH_UP_STEP_SECONDS: Final = 0.005

# A client that still answers pings after it has taken what it was sent on its return.
PRELUDE_SECONDS: Final = 120.0

# Called with the client's former self, if it still lived here, and its rooms with their positions.
Admit = Callable[[Client | None, dict[Any, int]], None]


class Comebacks:
    """Every method belongs to the loop's thread.

    Args:
        log: of the hub. services: of the worker.

    Attributes:
        living: who is here, by the secret with which it would come back.
        given: told of each secret whose client went to another process; a successor may have it too.
    """

    def __init__(self, log: RecoveryLog, services: HubServices) -> None:
        self._log = log
        self._services = services
        self._fetching_count = 0
        self._arriving: dict[Socket, Found] = {}
        self.living: dict[str, Socket] = {}
        self.given: Callable[[str], None] = lambda pid: None
        log.begin(services.now())

    def begin(self, socket: Socket, admit: Admit) -> None:
        """Make a client what it was, or new; `admit` is called at once, or once others have answered."""
        auth = socket.auth or {}
        pid, offset = auth.get("pid"), auth.get("offset")
        socket.auth = {name: value for name, value in auth.items() if name not in ("pid", "offset")} or None
        if type(pid) is not str:
            self._admit_new(socket, None, admit)
            return
        seen = offset if type(offset) is str else None
        former = self._end_living(pid, socket.namespace)
        now = self._services.now()
        here = self._log.restore(pid, socket.namespace, seen, now)
        if here is not None:
            client, missed = here
            self._admit_returned(socket, former, admit, Found(client, missed, {}, set(), now))
            return
        inherited = self._log.find(pid, socket.namespace, seen, now)
        if inherited is not None:
            self._arrive(socket, admit, inherited, now + CATCH_UP_SECONDS)
        elif former is None and self._may_ask(pid):
            self._fetch(socket, admit, FetchQuestion(pid, seen))
        else:
            self._admit_new(socket, former, admit)

    def gone(self, socket: Socket) -> None:
        """A client has left."""
        found = self._arriving.pop(socket, None)
        if found is not None:
            self._arrive(socket, lambda former, rooms: None, found, 0.0)
        if self.living.get(socket.pid) is socket:
            del self.living[socket.pid]

    def answer(self, question: Question, reply: Reply) -> None:
        """Another process has a client that says it was ours. Raises Malformed."""
        asked: FetchQuestion = convert(question.data, FetchQuestion)
        found = None
        if self._services.names.made_on_this_machine(asked.pid):  # the clock of another is not ours
            self._end_living(asked.pid, question.namespace)
            found = self._log.find(asked.pid, question.namespace, asked.offset, self._services.now())
        if found is None:
            reply(None)
        else:
            reply(tell_found(found, self._services.complain))
            self.given(asked.pid)

    def _end_living(self, pid: str, namespace: str) -> Client | None:
        """Its connection is dead, which nobody had noticed."""
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
            and self._fetching_count < FETCHING_MAX_COUNT
        )

    def _fetch(self, socket: Socket, admit: Admit, asked: FetchQuestion) -> None:
        """Ask everybody: after a recovery elsewhere the secret's beginning names its home no more."""
        answered = False

        def heard(part: Any) -> None:
            nonlocal answered
            if part is not None and not answered:
                found = read_found(part)
                answered = True
                self._arrive(socket, admit, found, self._services.now() + CATCH_UP_SECONDS)

        def ended(missing_count: int) -> None:
            self._fetching_count -= 1
            if not answered:
                self._admit_new(socket, None, admit)

        self._fetching_count += 1
        question = Question(QuestionKind.FETCH, socket.namespace, plain(asked))
        self._services.backplane.request(question, heard, ended, FETCH_SECONDS)

    def _arrive(self, socket: Socket, admit: Admit, found: Found, deadline: float) -> None:
        """A client of another process has been found; what is on its way to both must not come twice."""
        now = self._services.now()
        if socket.state is SocketState.CLOSED:  # it has left again, and may come back to what is here now
            self._log.adopt(found)
            self._log.save(found.client, now)
        elif now < deadline and self._log.lacks(found, now):
            self._arriving[socket] = found
            again = partial(self._arrive_later, socket, admit, deadline)
            self._services.call_later(CATCH_UP_STEP_SECONDS, again)
        else:
            self._log.adopt(found)
            self._admit_returned(socket, None, admit, found)
            self._services.call_later(PRELUDE_SECONDS, socket.forget_prelude)

    def _arrive_later(self, socket: Socket, admit: Admit, deadline: float) -> None:
        found = self._arriving.pop(socket, None)
        if found is not None:
            self._arrive(socket, admit, found, deadline)

    def _admit_returned(self, socket: Socket, former: Client | None, admit: Admit, found: Found) -> None:
        socket.come_back(found.client)
        for envelope in found.missed:
            socket.last_offset = envelope.offset
            socket.send(envelope.prepared)
        self.living[socket.pid] = socket
        admit(former, found.client.rooms)

    def _admit_new(self, socket: Socket, former: Client | None, admit: Admit) -> None:
        if socket.state is not SocketState.CLOSED:
            socket.pid = self._services.names.make()
            socket.joined_at = self._log.position
            self.living[socket.pid] = socket
            admit(former, {})
