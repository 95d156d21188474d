"""The other workers of this machine, and the supervisor above them: who lives, who took over, how to reach.

Must not know: what the messages of other rooms mean, or how a worker serves.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import Any, Final

from python_server.net.link import QUEUE_MAX_BYTES, Link, encode, pair
from python_server.net.loop import Loop
from python_server.net.sockets import Socket
from python_server.workers import link_messages
from python_server.workers.greetings import Greetings

Function = Callable[[int, bytes, int | None], None]
Report = Callable[[str, BaseException], None]

# Successions remembered; a sid of a worker that drained longer ago is nobody's.
SUCCESSIONS_MAX_COUNT: Final = 4096
# How long a newborn waits for a sibling that stands still; without it events and returning clients are lost
# between the two. A loaded machine takes seconds; a worker that stands still for good is killed by then or
# soon after (--worker-timeout).
GREETING_SECONDS: Final = 10.0


class MessageKind(IntEnum):
    """What a link carries. The first group is this file's own; what they say stands in `words`."""

    HELLO = 1  # a sibling: I serve; the supervisor: a newborn, its link comes with it
    READY = 2  # to the supervisor: I accept connections
    DRAIN = 3  # from the supervisor: stop gracefully
    DRAINING = 4  # I take nothing new over, and lead no more
    SUCCESSOR = 5  # who holds what a drained worker held
    REPLACE_ME = 6  # to the supervisor: start another worker in my place, then drain me
    REOPEN_LOGS = 7  # from the supervisor
    STOP = 8  # to the supervisor: the whole server is to stop
    KNOWN = 9  # a newborn that hears from now on what I say
    SETTLED = 10  # to a newborn: what was said before everybody knew you has come to me
    ACCEPT = 11  # from the supervisor: those that were started with you are there, take whoever comes
    # Hand-over of connections and of what a drained worker held.
    CONNECTION = 20
    RECORDS = 21
    # Broadcasts, commands and questions.
    ENVELOPE = 40
    QUESTION = 41
    ANSWER = 42


CONTROL_KINDS: Final = frozenset(range(MessageKind.HELLO, MessageKind.CONNECTION))


class Peers:
    """The other workers of this machine. Every method belongs to the loop's thread.

    Args:
        index: ours. host_id: of the machine, the same for all its workers.
        report: for a fault in a function of `on`, and for a link that broke the format.
        complain: called with (kind, message); counted and logged at most now and then.
        control: the link to the supervisor; None where there is none.
        successors: who took over from whom before we were born.
    """

    def __init__(
        self,
        loop: Loop,
        index: int,
        host_id: str,
        report: Report,
        complain: Callable[[str, str], None],
        control: Socket | None = None,
        successors: Mapping[int, int] | None = None,
        max_queued_bytes: int = QUEUE_MAX_BYTES,
    ) -> None:
        self.index = index
        self.host_id = host_id
        self.living: tuple[int, ...] = ()
        self.draining = False
        # Have all that served before us greeted us back, or stood still for too long?
        self.met = False
        self.dropped: Counter[int] = Counter()
        self._loop = loop
        self._report = report
        self._complain = complain
        self._max_queued_bytes = max_queued_bytes
        self._links: dict[int, Link] = {}
        self._draining: set[int] = set()
        # Who began beside us, known from what others said; others wait for our word that we know it as well.
        self._announced: set[int] = set()
        self._greetings = Greetings(lambda index: self._send_word(index, MessageKind.SETTLED, b""))
        self._on_joined: Callable[[], None] | None = None
        self._successors: dict[int, int] = dict(successors or {})
        self._functions: dict[int, list[Function]] = {}
        self._lost_functions: list[Callable[[int], None]] = []
        self._changed_functions: list[Callable[[], None]] = []
        self._orphaned_functions: list[Callable[[], None]] = []
        self._control: Link | None = None
        if control is not None:
            self._control = Link(loop, control, self._from_supervisor, self._orphaned, report)

    # Messages

    def send(self, index: int, kind: int, *pieces: Any, descriptor: int | None = None) -> bool:
        """Send to one sibling, in order with everything else sent to it; with a descriptor at once.

        Args:
            pieces: bytes-like. descriptor: owned from here on if True is returned.

        Returns:
            False: there is no such sibling (any more), or its queue is full.

        Raises:
            ValueError: the message is longer than a link carries (64 MiB).
        """
        return index in self.living and self._links[index].send(kind, *pieces, descriptor=descriptor)

    def send_all(self, kind: int, *pieces: Any) -> int:
        """Send to every living sibling; encoded once.

        Returns:
            The number of siblings whose queue was full: for them the message is dropped, counted in
            `dropped` and complained about.
        """
        if not self.living:
            return 0
        frame = encode(kind, *pieces)
        dropped_count = 0
        for index in self.living:
            if not self._links[index].send_encoded(frame):
                dropped_count += 1
        if dropped_count:
            self.dropped[kind] += dropped_count
            self._complain(
                f"sibling queue {kind}",
                f"{dropped_count} of {len(self.living)} workers do not keep up: messages to them are dropped",
            )
        return dropped_count

    def on(self, kind: int, function: Function) -> None:
        """Have `function(from index, payload, descriptor)` called for messages of `kind`.

        Several functions may share a kind, each is called; a message with a descriptor, which then belongs
        to the function, needs a kind with one function alone.

        Raises:
            ValueError: the kind is this room's own.
        """
        if kind in CONTROL_KINDS:
            raise ValueError(f"messages of kind {kind} belong to the workers' own life")
        self._functions.setdefault(kind, []).append(function)

    def queued_bytes(self) -> int:
        """What siblings and supervisor have not taken yet."""
        links = [*self._links.values(), *([self._control] if self._control else [])]
        return sum(link.queued_bytes for link in links)

    # Who lives

    def on_lost(self, function: Callable[[int], None]) -> None:
        """Have `function(index)` called when a living sibling's link has ended."""
        self._lost_functions.append(function)

    def on_changed(self, function: Callable[[], None]) -> None:
        """Have `function()` called when `leader` or `successor_of` may say something else than before."""
        self._changed_functions.append(function)

    def on_orphaned(self, function: Callable[[], None]) -> None:
        """Have `function()` called when the supervisor is gone."""
        self._orphaned_functions.append(function)

    def leader(self) -> bool:
        """Is ours the lowest index among those that serve and do not drain?"""
        if self.draining:
            return False
        return all(index > self.index for index in self.living if index not in self._draining)

    def any_draining(self) -> bool:
        """Is a sibling that drains still here?"""
        return not self._draining.isdisjoint(self.living)

    def successor_of(self, index: int) -> int | None:
        """Who holds what worker `index` held: itself while it serves, then whom it named, and so on.

        Ours when it is us. None: it is unknown, or died without a successor.
        """
        seen = set()
        while index in self._successors and index not in seen:
            seen.add(index)
            index = self._successors[index]
        return index if index == self.index or index in self.living else None

    def likely_successor(self) -> int | None:
        """The youngest sibling that does not drain, or None: who may take over from us."""
        candidates = [index for index in self.living if index not in self._draining]
        return max(candidates, default=None)

    def announce_draining(self, successor: int | None = None) -> None:
        """Tell everybody that we lead no more and take nothing over; with a successor, that too."""
        if not self.draining:
            self.draining = True
            self._tell_all(MessageKind.DRAINING, b"")
        if successor is not None:
            self._successors[self.index] = successor
            self._tell_all(
                MessageKind.SUCCESSOR, link_messages.encode(link_messages.Succession(self.index, successor))
            )
        self._changed()

    # Birth

    def join(self, index: int, sock: Socket, *, serving: bool) -> None:
        """A sibling's link. It is `living` once it says that it serves; `serving`: `begin` awaits that."""
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
        if serving:
            self._greetings.expect(index)
            if self._greetings.began:
                self._greet(index)

    def begin(self, joined: Callable[[], None], timeout_seconds: float = GREETING_SECONDS) -> None:
        """Greet the siblings; `joined()` once those that serve have greeted back, so that none misses us.

        And once they have heard what was said before all of them knew us, see `greetings`. A sibling that
        stands still is not waited for longer than the timeout.
        """
        for index in self.living:  # who began since we were born: it is told who knows it, as by the others
            self._tell_known(index)
        self._greetings.begin(self.living)
        self._on_joined = joined
        for index in self._links:
            self._greet(index)
        self._loop.call_later(timeout_seconds, self._wait_no_longer)
        self._loop.call_soon(self._look_round)

    def _greet(self, index: int, *, settles: bool = False) -> None:
        said = link_messages.Greeting(link_messages.VERSION, self.living, settles)
        self._send_word(index, MessageKind.HELLO, link_messages.encode(said))

    def _tell_known(self, newborn: int) -> None:
        for index in self._links:
            if index != newborn:
                self._send_word(
                    index, MessageKind.KNOWN, link_messages.encode(link_messages.NewWorker(newborn))
                )

    def _look_round(self) -> None:
        """Has everybody greeted us?"""
        if self._on_joined is not None and not self._greetings.awaited:
            joined, self._on_joined = self._on_joined, None
            self.met = True
            joined()
            self._changed()

    def _wait_no_longer(self) -> None:
        for index in self._greetings.awaited if self._on_joined is not None else ():
            self._complain("greeting", f"worker {index} stands still: clients it loses may start anew")
            self._greetings.give_up(index)
        self._look_round()

    def tell_supervisor(self, kind: MessageKind, payload: bytes = b"") -> bool:
        """False: there is none."""
        return self._control is not None and self._control.send(kind, payload)

    def on_supervisor(self, kind: MessageKind, function: Function) -> None:
        """Have `function(0, payload, None)` called for this word of the supervisor."""
        self._functions.setdefault(-kind, []).append(function)

    def close(self) -> None:
        """Send what the system takes at once, then end every link; nobody is told here."""
        for link in self._links.values():
            link.close()
        self._links.clear()
        self.living = ()
        if self._control is not None:
            self._control.close()

    # What comes

    def _received(self, index: int, kind: int, payload: bytes, descriptor: int | None) -> None:
        if kind in CONTROL_KINDS:
            if descriptor is not None:
                os.close(descriptor)
            self._from_sibling(index, kind, payload)
        else:
            self._call(kind, index, payload, descriptor)

    def _call(self, key: int, index: int, payload: bytes, descriptor: int | None) -> None:
        functions = self._functions.get(key, ())
        if descriptor is not None and len(functions) != 1:
            os.close(descriptor)
            functions = ()
        if not functions:
            self._complain(
                f"sibling message {abs(key)}",
                f"a message of kind {abs(key)} from worker {index} is not taken",
            )
        for function in functions:
            function(index, payload, descriptor)

    def _from_sibling(self, index: int, kind: int, payload: bytes) -> None:
        if kind == MessageKind.HELLO:
            self._greeted(index, payload)
        elif kind == MessageKind.KNOWN:
            self._greetings.confirmed(
                link_messages.decode(payload, type=link_messages.NewWorker).index, index
            )
        elif kind == MessageKind.SETTLED:
            self._greetings.settled(index)
            self._look_round()
        elif kind == MessageKind.DRAINING:
            self._draining.add(index)
            self._changed()
        elif kind == MessageKind.SUCCESSOR:
            self._succession(payload)

    def _from_supervisor(self, kind: int, payload: bytes, descriptor: int | None) -> None:
        if kind == MessageKind.HELLO and descriptor is not None:
            newborn = link_messages.decode(payload, type=link_messages.NewWorker).index
            self.join(newborn, Socket(fileno=descriptor), serving=False)
        elif kind == MessageKind.SUCCESSOR:
            self._succession(payload)
        else:
            self._call(-kind, 0, payload, descriptor)

    def _succession(self, payload: bytes) -> None:
        said = link_messages.decode(payload, type=link_messages.Succession)
        self._successors[said.index] = said.successor
        while len(self._successors) > SUCCESSIONS_MAX_COUNT:
            del self._successors[next(iter(self._successors))]
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
        said = link_messages.decode(payload, type=link_messages.Greeting)
        greetings = self._greetings
        answer = index in greetings.awaited and index not in self._announced
        self._announced.discard(index)
        if self._on_joined is not None:  # whom it knows, and we do not yet, is about to greet us
            for other in self._links.keys() & set(said.living) - set(self.living) - greetings.awaited:
                greetings.expect(other)
                self._announced.add(other)
        if index not in self.living:
            self._found(index, newborn=not answer)
        greetings.greeted(index, settles=said.settles)
        self._look_round()

    def _found(self, index: int, *, newborn: bool) -> None:
        others, self.living = self.living, tuple(sorted((*self.living, index)))
        if self._greetings.began:
            self._greet(index, settles=True)  # the answer that `begin` over there waits for
            if newborn:
                self._tell_known(index)
            self._greetings.found(index, others)
        self._changed()

    def _lost(self, index: int) -> None:
        self._links.pop(index, None)
        self._draining.discard(index)
        self._announced.discard(index)
        if index in self.living:
            self.living = tuple(other for other in self.living if other != index)
            self._tell(self._lost_functions, index)
            self._changed()
        self._greetings.lost(index)
        self._look_round()

    def _orphaned(self) -> None:
        self._control = None
        for function in self._orphaned_functions:
            function()

    def _changed(self) -> None:
        for function in self._changed_functions:
            function()

    def _tell(self, functions: Iterable[Callable[[int], None]], index: int) -> None:
        for function in functions:
            try:
                function(index)
            except Exception as error:
                self._report(f"news of worker {index}", error)

    def _tell_all(self, kind: MessageKind, payload: bytes) -> None:
        self.tell_supervisor(kind, payload)
        for link in self._links.values():
            link.send(kind, payload)

    def _send_word(self, index: int, kind: MessageKind, payload: bytes) -> None:
        """To a sibling that may not serve yet."""
        if index in self._links:
            self._links[index].send(kind, payload)


def joined(*siblings: Peers) -> None:
    """Join each to each, as a supervisor would, all of them serving. For tests in one process."""
    for place, first in enumerate(siblings):
        for second in siblings[place + 1 :]:
            ours, theirs = pair()
            first.join(second.index, ours, serving=True)
            second.join(first.index, theirs, serving=True)
    for each in siblings:
        each.begin(lambda: None)
