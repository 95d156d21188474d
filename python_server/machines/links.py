"""Connections to workers of other machines: found, called, greeted, kept.

Must not know: what a client asks, how a request is passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from python_server.connection.exchange import TransportLike
from python_server.machines.asking import Asked, AskingLink
from python_server.machines.directory import Directory, MachineEntry
from python_server.machines.greeting import GONE, GREETING_SECONDS, OTHER_SECRET, Caller
from python_server.machines.proof import NONCE_BYTES
from python_server.machines.stream import FrameStream
from python_server.machines.words import VERSION, Hello
from python_server.net.calling import Call
from python_server.net.loop import Deadline, Loop
from python_server.net.transport import Transport
from python_server.settings import TransportSettings

if TYPE_CHECKING:
    from python_server.net.certificates import TLSContext

# A worker that ends may not have taken a connection that the system has: it is made once more, elsewhere.
TRIES_MAX_COUNT: Final = 2
# Connections that are being made; what is asked of the directory meanwhile costs none.
CALLS_MAX_COUNT: Final = 1024
# Gets a connection for requests; None: the worker is not there.
Ready = Callable[[AskingLink | None], None]


class RemoteWorker(NamedTuple):
    """A worker of another machine: its tag, and its index."""

    machine: str
    worker: int


@dataclass(frozen=True, slots=True)
class LinkServices:
    """What links need of their worker.

    Attributes:
        tag: of this machine. context: of TLS; None: links are plain.
        entropy: so many bytes that nobody can guess. complain: called with (kind, sentence).
        report: for an exception of a handler.
    """

    loop: Loop
    tag: str
    secret: bytes
    limits: TransportSettings
    context: TLSContext | None
    entropy: Callable[[int], bytes]
    complain: Callable[[str, str], None]
    report: Callable[[str, BaseException], None]


@dataclass(slots=True, eq=False)
class Attempt:
    """One connection that is being made: found, called, greeted. Every method belongs to the loop's thread.

    Attributes:
        websocket: is it for one client's WebSocket? done: called once; None: the worker is not there.
        may_call: may one more connection be made?
    """

    home: RemoteWorker
    websocket: bool
    directory: Directory
    services: LinkServices
    done: Callable[[Attempt, FrameStream | None], None]
    may_call: Callable[[], bool]
    _tries_count: int = field(default=0, init=False)
    _entry: MachineEntry | None = field(default=None, init=False)
    _step: Call | Caller | None = field(default=None, init=False)
    _cancelled: bool = field(default=False, init=False)

    def begin(self) -> None:
        self._tries_count += 1
        self.directory.find(self.home.machine, self.home.worker, self._found)

    @property
    def calling(self) -> bool:
        """Does it hold a connection?"""
        return self._step is not None

    def cancel(self) -> None:
        """Nobody waits for it any more: `done` is not called."""
        self._cancelled = True
        if self._step is not None:
            self._step.cancel()

    def _found(self, entry: MachineEntry | None) -> None:
        if self._cancelled:
            return
        if entry is None or not self.may_call():
            self.done(self, None)
            return
        self._entry, services = entry, self.services
        call = self._step = Call(
            loop=services.loop,
            host=entry.host,
            port=entry.port,
            seconds=GREETING_SECONDS,
            done=self._called,
            report=services.report,
            limits=services.limits,
            context=services.context,
            server_name=entry.name,
        )
        call.begin()

    def _called(self, transport: Transport | None, reason: str) -> None:
        if transport is None:
            self._failed(reason)
            return
        services, home = self.services, self.home
        nonce = services.entropy(NONCE_BYTES)
        hello = Hello(VERSION, nonce, services.tag, home.machine, home.worker, self.websocket)
        deadline = partial(Deadline, services.loop)
        caller = self._step = Caller(transport, services.secret, hello, self._greeted, deadline)
        caller.begin()

    def _greeted(self, stream: FrameStream | None, reason: str) -> None:
        self._step = None
        if stream is None:
            self._failed(reason)
        else:
            self.done(self, stream)

    def _failed(self, reason: str) -> None:
        self._step, entry = None, self._entry
        if reason != OTHER_SECRET and self._tries_count < TRIES_MAX_COUNT:
            self.begin()
            return
        if reason != GONE and entry is not None:
            self.services.complain(
                "cluster call",
                f"machine {self.home.machine} at {entry.host}:{entry.port} is not reached: {reason}",
            )
        self.done(self, None)


@dataclass(slots=True, eq=False)
class Links:
    """All that this worker has called. Every method belongs to the loop's thread.

    Attributes:
        relayed: connections that carry one client's WebSocket, for as long as they are open.
    """

    directory: Directory
    services: LinkServices
    relayed: set[TransportLike] = field(default_factory=set, init=False)
    _links: dict[RemoteWorker, AskingLink] = field(default_factory=dict, init=False)
    _waiting: dict[RemoteWorker, list[Callable[[AskingLink | None], None]]] = field(
        default_factory=dict, init=False
    )
    _attempts: set[Attempt] = field(default_factory=set, init=False)
    _closed: bool = field(default=False, init=False)

    def link(self, home: RemoteWorker, ready: Ready) -> None:
        """`ready` gets the one connection for requests, perhaps at once; None: the worker is not there."""
        link = self._links.get(home)
        if link is not None:
            ready(link)
        elif (waiting := self._waiting.get(home)) is not None:
            waiting.append(ready)
        else:
            self._waiting[home] = [ready]
            self._open(home, False, partial(self._linked, home))

    def websocket(self, home: RemoteWorker, done: Callable[[FrameStream | None], None]) -> Callable[[], None]:
        """A connection for one client alone, greeted; None: the worker is not there.

        Returns what to call when nobody waits for it any more.
        """
        return self._open(home, True, done)

    def hurry(self) -> None:
        """This worker is about to end."""
        for link in self._links.values():
            link.hurry()

    def close(self) -> None:
        self._closed = True
        for attempt in self._attempts:
            attempt.cancel()
        for link in self._links.values():
            link.close()
        for transport in self.relayed:
            transport.close("server stopped")
        self._attempts.clear()
        self._links.clear()
        self._waiting.clear()

    def _open(
        self, home: RemoteWorker, websocket: bool, done: Callable[[FrameStream | None], None]
    ) -> Callable[[], None]:
        def ended(attempt: Attempt, stream: FrameStream | None) -> None:
            self._attempts.discard(attempt)
            done(stream)

        attempt = Attempt(home, websocket, self.directory, self.services, ended, self._may_call)
        if self._closed:
            done(None)
        else:
            self._attempts.add(attempt)
            attempt.begin()
        return partial(self._give_up, attempt)

    def _may_call(self) -> bool:
        attempts = self._attempts
        if len(attempts) < CALLS_MAX_COUNT or sum(each.calling for each in attempts) < CALLS_MAX_COUNT:
            return True
        self.services.complain(
            "cluster calls",
            f"{CALLS_MAX_COUNT} connections to other machines are being made: some are refused",
        )
        return False

    def _give_up(self, attempt: Attempt) -> None:
        if attempt in self._attempts:
            self._attempts.discard(attempt)
            attempt.cancel()

    def _linked(self, home: RemoteWorker, stream: FrameStream | None) -> None:
        link = None
        if stream is not None:
            deadline = partial(Deadline, self.services.loop)
            link = AskingLink(stream, partial(self._lost, home), self._passed_over, deadline)
            self._links[home] = link
            link.begin()
        for ready in self._waiting.pop(home, []):
            ready(link)

    def _lost(self, home: RemoteWorker, waiting: list[Asked], reason: str) -> None:
        del self._links[home]
        if waiting:
            self.services.complain(
                "cluster link", f"the link to machine {home.machine} has ended ({reason}): sessions end"
            )
        for exchange, gone in waiting:
            gone(exchange)

    def _passed_over(self, kind: int) -> None:
        self.services.complain("cluster words", f"a frame of unknown kind {kind} from another machine")
