"""The other workers of this machine: who lives, who took over from whom, how to reach them.

Must not know: what the messages of other rooms mean, how a worker serves, how the supervisor is reached.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from enum import IntEnum
from typing import Final, TypeVar

import msgspec

from python_server.net.byte_handler import Buffer
from python_server.net.link import QUEUE_MAX_BYTES, Link, LinkState, encode
from python_server.net.loop import Loop
from python_server.net.sockets import Socket
from python_server.net.states import StateEnum
from python_server.workers import link_messages
from python_server.workers.confirmations import EARLY_MAX_COUNT, Confirmations
from python_server.workers.greetings import Greetings
from python_server.workers.link_messages import Greeting, NewWorker, Succession, decode

Function = Callable[[int, bytes, int | None], None]
Report = Callable[[str, BaseException], None]
Word = TypeVar("Word", bound=msgspec.Struct)

# Successions remembered; a sid of a worker that drained longer ago is nobody's.
SUCCESSIONS_MAX_COUNT: Final = 4096
# How long a worker that starts waits for a sibling that stands still; without it events and returning clients
# are lost between the two. A loaded machine takes seconds; a worker that stands still for good is killed by
# then or soon after (--worker-timeout).
GREETING_SECONDS: Final = 10.0


class MessageKind(IntEnum):
    """What a link carries. The first group is this file's own; what they say stands in `link_messages`."""

    HELLO = 1  # a sibling: I serve; the supervisor: a worker starts, its link comes with it
    READY = 2  # to the supervisor: I accept connections
    DRAIN = 3  # from the supervisor: stop gracefully
    DRAINING = 4  # I take nothing new over, and lead no more
    SUCCESSOR = 5  # who holds what a drained worker held
    REPLACE_ME = 6  # to the supervisor: start another worker in my place, then drain me
    REOPEN_LOGS = 7  # from the supervisor
    STOP = 8  # to the supervisor: the whole server is to stop
    KNOWN = 9  # a worker that starts, and hears from now on what I say
    SETTLED = 10  # to a worker that starts: what was said before everybody knew you has come to me
    ACCEPT = 11  # from the supervisor: those that were started with you are there, take whoever comes
    LOST = 12  # a sibling's link has ended here: what it said before has come to me
    # Hand-over of connections and of what a drained worker held.
    CONNECTION = 20
    RECORDS = 21
    ARRIVED = 22  # a connection from another machine
    # Broadcasts, commands and questions.
    ENVELOPE = 40
    QUESTION = 41
    ANSWER = 42
    HOW_FAR = 43  # a worker that has gone was heard


CONTROL_KINDS: Final = frozenset(range(MessageKind.HELLO, MessageKind.CONNECTION))


class PeersState(StateEnum):
    """Where this worker stands among the others."""

    STARTING = "GREETING", "DRAINING"  # it has greeted nobody
    GREETING = "SERVING", "DRAINING"  # those that serve are to greet it back
    SERVING = "DRAINING"
    DRAINING = ()  # it leads no more, and takes nothing over


class Peers:
    """The other workers of this machine. Every method belongs to the loop's thread.

    Args:
        index: ours.
        report: for a fault in a function of `on`, and for a link that broke the format.
        complain: called with (kind, message); counted and logged at most now and then.
        successors: who took over from whom before we were started.
    """

    def __init__(
        self,
        loop: Loop,
        index: int,
        report: Report,
        complain: Callable[[str, str], None],
        successors: Mapping[int, int] | None = None,
        max_queued_bytes: int = QUEUE_MAX_BYTES,
    ) -> None:
        self.index = index
        self.living: tuple[int, ...] = ()
        self.state: PeersState = PeersState.STARTING
        self.dropped: Counter[int] = Counter()
        self._loop = loop
        self._report = report
        self._complain = complain
        self._max_queued_bytes = max_queued_bytes
        self._links: dict[int, Link] = {}
        self._draining: set[int] = set()
        # Who began beside us, known from what others said; others wait for our word that we know it as well.
        self._announced: set[int] = set()
        self._greetings = Greetings(lambda index: self._tell(index, MessageKind.SETTLED))
        self._noticed = (
            Confirmations()
        )  # that a worker has gone, by all others: its last words may still come
        # Who has gone, and whom we have told that its last words have come to us; no index is given twice.
        self._told_of: dict[int, set[int]] = {}
        self._on_joined: Callable[[], None] = lambda: None
        self._successors: dict[int, int] = dict(successors or {})
        self._functions: dict[int, list[Function]] = {}
        self._lost_functions: list[Callable[[int], None]] = []
        self._changed_functions: list[Callable[[], None]] = []

    # Messages

    def send(self, index: int, kind: int, *pieces: Buffer, descriptor: int | None = None) -> bool:
        """Send to one sibling, in order with everything else sent to it; with a descriptor at once.

        False: there is no such sibling (any more), or its queue is full; the descriptor stays the caller's.
        Raises ValueError for a message that is longer than a link carries (64 MiB).
        """
        return index in self.living and self._links[index].send(kind, *pieces, descriptor=descriptor)

    def send_all(self, kind: int, *pieces: Buffer) -> int:
        """Send to every living sibling, encoded once; returns how many do not get it: their queue is full."""
        if not self.living:
            return 0
        frame = encode(kind, *pieces)
        dropped_count = 0
        for index in self.living:
            if not self._links[index].send_encoded(frame) and self.hears(index):
                dropped_count += 1
        if dropped_count:
            self.dropped[kind] += dropped_count
            self._complain(
                f"sibling queue {kind}",
                f"{dropped_count} of {len(self.living)} workers do not keep up: messages to them are dropped",
            )
        return dropped_count

    def hears(self, index: int) -> bool:
        """Does that sibling take messages, now or once it reads again? Not one that has just ended."""
        return index in self.living and self._links[index].state is LinkState.OPEN

    def on(self, kind: int, function: Function) -> None:
        """Have `function(from index, payload, descriptor)` called for messages of `kind`.

        Several functions may share a kind, each is called; a message with a descriptor, which then belongs
        to the function, needs a kind with one function alone. Raises ValueError for a kind of this room.
        """
        if kind in CONTROL_KINDS:
            raise ValueError(f"messages of kind {kind} belong to the workers' own life")
        self._functions.setdefault(kind, []).append(function)

    def queued_bytes(self) -> int:
        """What siblings have not taken yet."""
        return sum(link.queued_bytes for link in self._links.values())

    def queued_for(self, index: int) -> int:
        """The bytes that one sibling has not taken yet."""
        return self._links[index].queued_bytes if index in self._links else 0

    # Who lives

    def on_lost(self, function: Callable[[int], None]) -> None:
        """Have `function(index)` called when a living sibling's link has ended."""
        self._lost_functions.append(function)

    def on_changed(self, function: Callable[[], None]) -> None:
        """Have `function()` called when `leader`, `successor_of` or `any_unnoticed` may change."""
        self._changed_functions.append(function)

    @property
    def met(self) -> bool:
        """Have all that served before us greeted us back, or stood still for too long? Or do we drain?"""
        return self.state in (PeersState.SERVING, PeersState.DRAINING)

    def leader(self) -> bool:
        """Is ours the lowest index among those that serve and do not drain?"""
        return self.state is not PeersState.DRAINING and all(
            index > self.index for index in self.living if index not in self._draining
        )

    def any_unnoticed(self) -> bool:
        """May the last words of a worker that has gone still come to somebody?"""
        return self._noticed.awaited or not all(map(self.hears, self.living))

    def successor_of(self, index: int) -> int | None:
        """Who holds what worker `index` held: itself while it serves, then whom it named, and so on.

        Ours when it is us. None: it is unknown, or died without a successor.
        """
        seen = set()
        while index in self._successors and index not in seen:
            seen.add(index)
            index = self._successors[index]
        return index if index == self.index or index in self.living else None

    def likely_successor(self, besides: Collection[int] = ()) -> int | None:
        """The youngest sibling that does not drain, or None: who may take over from us; none of `besides`."""
        return max((i for i in self.living if i not in self._draining and i not in besides), default=None)

    def any_beginning(self) -> bool:
        """Is there a sibling that has not greeted us yet, and may be the one to take over from us?"""
        return any(index not in self.living for index in self._links)

    def announce_draining(self, successor: int | None) -> None:
        """Tell everybody that we lead no more and take nothing over, and who takes over from us."""
        self.state = self.state.to(PeersState.DRAINING)
        for index in self._links:
            self._tell(index, MessageKind.DRAINING)
            if successor is not None:
                self._tell(index, MessageKind.SUCCESSOR, Succession(self.index, successor))
        if successor is not None:
            self._successors[self.index] = successor
        self._changed()

    # The start

    @property
    def settling(self) -> bool:
        """May something come to us that a worker that begins will never hear?"""
        return self._greetings.unconfirmed

    def join(self, index: int, sock: Socket, *, serving: bool, begins: bool = False) -> None:
        """A sibling's link. It is `living` once it says that it serves; `serving`: `begin` awaits that.

        begins: perhaps it has not begun yet; then others wait for our word that we know it.
        """
        if index in self._links:
            raise ValueError(f"worker {index} is joined already")
        self._links[index] = Link(
            self._loop,
            sock,
            lambda kind, payload, descriptor: self._received(index, kind, payload, descriptor),
            lambda: self._lost(index),
            self._report,
            self._max_queued_bytes,
        )
        if begins:
            self._announced.add(index)
        if serving:
            self._greetings.expect(index)
            if self.state is not PeersState.STARTING:
                self._greet(index)

    def begin(self, joined: Callable[[], None], timeout_seconds: float = GREETING_SECONDS) -> None:
        """Greet the siblings; `joined()` once those that serve have greeted back, so that none misses us.

        And have settled, see `greetings`; or the timeout has passed. Not when we drain by then.
        """
        self.state = self.state.to(PeersState.GREETING)
        self._on_joined = joined
        for index in self.living:  # who began since our start is told who knows it, as by the others
            self._tell_known(index)
            self._greetings.expect(index)
        for index in self._links:
            self._greet(index)
        self._loop.call_later(timeout_seconds, self._wait_no_longer)
        self._loop.call_soon(self._look_round)

    def _greet(self, index: int, *, settles: bool = False) -> None:
        self._tell(index, MessageKind.HELLO, Greeting(link_messages.VERSION, self.living, settles))

    def _tell_known(self, new: int) -> None:
        for index in self._links:
            if index != new:
                self._tell(index, MessageKind.KNOWN, NewWorker(new))

    def _tell(self, index: int, kind: MessageKind, word: msgspec.Struct | None = None) -> None:
        """Also to a sibling that may not serve yet."""
        if index in self._links:
            self._links[index].send(kind, link_messages.encode(word))

    def _look_round(self) -> None:
        """Has everybody greeted us?"""
        if self.state is PeersState.GREETING and not self._greetings.awaited:
            self.state = self.state.to(PeersState.SERVING)
            self._on_joined()
            self._changed()

    def _wait_no_longer(self) -> None:
        if self.state is PeersState.GREETING:
            for index in self._greetings.awaited:
                self._complain("greeting", f"worker {index} stands still: clients it loses may start anew")
                self._greetings.give_up(index)
            self._look_round()

    def close(self) -> None:
        """Send what the system takes at once, then end every link; nobody is told here."""
        for link in self._links.values():
            link.close()
        self._links.clear()
        self.living = ()

    # What comes

    def told(self, kind: int, payload: bytes, descriptor: int | None) -> None:
        """The supervisor's words on siblings: one starts, with the link to it; one has taken over."""
        if kind == MessageKind.HELLO and descriptor is not None:
            new, sock = with_socket(payload, NewWorker, descriptor)
            self.join(new.index, sock, serving=False)
        elif kind == MessageKind.SUCCESSOR:
            self._succession(payload)
        else:
            self._not_taken(kind, 0, descriptor)

    def _received(self, index: int, kind: int, payload: bytes, descriptor: int | None) -> None:
        if kind in CONTROL_KINDS:
            if descriptor is not None:
                os.close(descriptor)
            self._from_sibling(index, kind, payload)
            return
        functions = self._functions.get(kind, ())
        if not functions or (descriptor is not None and len(functions) != 1):
            self._not_taken(kind, index, descriptor)
            return
        for function in functions:
            function(index, payload, descriptor)

    def _not_taken(self, kind: int, index: int, descriptor: int | None) -> None:
        if descriptor is not None:
            os.close(descriptor)
        self._complain(
            f"sibling message {kind}", f"a message of kind {kind} from worker {index} is not taken"
        )

    def _from_sibling(self, index: int, kind: int, payload: bytes) -> None:
        if kind == MessageKind.HELLO:
            self._greeted(index, payload)
        elif kind == MessageKind.KNOWN:
            self._greetings.confirmed(decode(payload, type=NewWorker).index, index)
        elif kind == MessageKind.SETTLED:
            self._greetings.settled(index)
            self._look_round()
        elif kind == MessageKind.LOST:
            gone = decode(payload, type=NewWorker).index
            # It may wait for our word, who have never met that worker, or did not know the teller by then.
            if gone not in self._links and index not in self._told_of.get(gone, ()):
                self._tell_lost(gone, index)
            self._noticed.confirmed(gone, index)
            if not self._noticed.awaited:
                self._changed()
        elif kind == MessageKind.DRAINING:
            self._draining.add(index)
            self._changed()
        elif kind == MessageKind.SUCCESSOR:
            self._succession(payload)

    def _succession(self, payload: bytes) -> None:
        remember_succession(self._successors, decode(payload, type=Succession))
        self._changed()

    def _greeted(self, index: int, payload: bytes) -> None:
        version = link_messages.version_of(payload)
        if version != link_messages.VERSION:
            self._complain(
                "version", f"worker {index} {link_messages.other_version(version)}; its link is closed"
            )
            self._links[index].close()
            self._lost(index)
            return
        said = decode(payload, type=Greeting)
        greetings = self._greetings
        answer = index in greetings.awaited and index not in self._announced
        self._announced.discard(index)
        if self.state is PeersState.GREETING:  # whom it knows, and we do not yet, is about to greet us
            for other in self._links.keys() & set(said.living) - set(self.living) - greetings.awaited:
                greetings.expect(other)
                self._announced.add(other)
        if index not in self.living:
            self._found(index, starts=not answer)
        greetings.greeted(index, settles=said.settles)
        self._look_round()

    def _found(self, index: int, *, starts: bool) -> None:
        others, self.living = self.living, tuple(sorted((*self.living, index)))
        if self.state is not PeersState.STARTING:
            self._greet(index, settles=True)  # the answer that `begin` over there waits for
            if starts:
                self._tell_known(index)
                self._greetings.found(index, others)
        if self.state is PeersState.DRAINING:
            self._tell(index, MessageKind.DRAINING)
        self._changed()

    def _lost(self, index: int) -> None:
        self._links.pop(index, None)
        self._tell_lost(index, *self._links)
        self._draining.discard(index)
        self._announced.discard(index)
        if index in self.living:
            self.living = tuple(other for other in self.living if other != index)
            self._noticed.expect(index, self.living)
            self._noticed.lost(index)
            for function in self._lost_functions:
                try:
                    function(index)
                except Exception as error:
                    self._report(f"news of worker {index}", error)
            self._changed()
        self._greetings.lost(index)
        self._look_round()

    def _tell_lost(self, gone: int, *others: int) -> None:
        self._told_of.setdefault(gone, set()).update(others)
        while len(self._told_of) > EARLY_MAX_COUNT:
            del self._told_of[next(iter(self._told_of))]
        for other in others:
            self._tell(other, MessageKind.LOST, NewWorker(gone))

    def _changed(self) -> None:
        for function in self._changed_functions:
            function()


def remember_succession(successors: dict[int, int], said: Succession) -> None:
    """Add one, and forget the oldest above the bound."""
    successors[said.index] = said.successor
    while len(successors) > SUCCESSIONS_MAX_COUNT:
        del successors[next(iter(successors))]


def with_socket(payload: bytes, kind: type[Word], descriptor: int) -> tuple[Word, Socket]:
    """A word and the socket that came with it; when one of them cannot be read, nothing stays open."""
    try:
        return decode(payload, type=kind), Socket(fileno=descriptor)
    except Exception:
        os.close(descriptor)
        raise
