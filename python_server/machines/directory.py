"""Where the machines of a cluster are: each writes an entry into their broker, signed, with an expiry.

Must not know: how a broker is spoken to, how a machine is reached there, what for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import msgspec

from python_server.machines.proof import sign, verify
from python_server.net.system import CallLater, TimerLike

ENTRY_PURPOSE: Final = b"wsframe cluster entry 1"
# An entry is written again three times before it expires.
ENTRY_SECONDS: Final = 30
ANNOUNCE_SECONDS: Final = 10.0
# A broker that does not answer is away: what was known last counts then.
ANSWER_SECONDS: Final = 1.0
# A worker that has just begun may not stand in the entry yet.
AGAIN_SECONDS: Final = 0.2
KNOWN_MAX_COUNT: Final = 4096
# Anybody can make up the name of a machine: so many are looked up at once, and per second.
SEARCHES_MAX_COUNT: Final = 64
SEARCHES_PER_SECOND_COUNT: Final = 200


class MachineEntry(msgspec.Struct, array_like=True, frozen=True):
    """One machine. A later release adds fields at the end.

    Attributes:
        version: of this shape. tag: of the machine. host, port: numeric: where it listens for others.
        name: what its certificate is for. workers: the indices of those that live.
    """

    version: int
    tag: str
    host: str
    port: int
    name: str
    workers: tuple[int, ...]


Found = Callable[[MachineEntry | None], None]


class EntryStore(Protocol):
    """Port: values by key, in a broker. The loop's thread; nothing blocks."""

    def put(self, key: str, value: bytes, seconds: int) -> None:
        """Keep it so long."""

    def get(self, key: str, told: Callable[[bool, bytes | None], None]) -> None:
        """`told` is called in a later turn: did the broker answer, and with what?"""


@dataclass(slots=True)
class Search:
    """One that is on its way, and who waits for it."""

    waiting: list[tuple[int, Found]] = field(default_factory=list)
    timer: TimerLike | None = None
    is_second: bool = False


@dataclass(slots=True, eq=False)
class Directory:
    """Finds the others, and tells them of us. Every method belongs to the loop's thread.

    Attributes:
        own: our own entry, as it is now; None while another worker of this machine writes it.
        complain: called with (kind, sentence).
    """

    store: EntryStore
    secret: bytes
    own: Callable[[], MachineEntry | None]
    call_later: CallLater
    now: Callable[[], float]
    complain: Callable[[str, str], None]
    _known: dict[str, MachineEntry] = field(default_factory=dict, init=False)
    _searches: dict[str, Search] = field(default_factory=dict, init=False)
    _unanswered_count: int = field(default=0, init=False)  # the broker owes them, perhaps to nobody
    _begun_at: deque[float] = field(default_factory=deque, init=False)
    _announcing: TimerLike | None = field(default=None, init=False)
    _said: bytes = field(default=b"", init=False)
    _closed: bool = field(default=False, init=False)

    # Of us

    def announce(self) -> None:
        """Write our entry now, and go on doing so."""
        if self._announcing is not None:
            self._announcing.cancel()
        if self._closed:
            return
        self._announcing = self.call_later(ANNOUNCE_SECONDS, self.announce)
        entry = self.own()
        if entry is not None:
            self._said = msgspec.msgpack.encode(entry)
            self.store.put(entry.tag, sign(self.secret, ENTRY_PURPOSE, self._said), ENTRY_SECONDS)

    def changed(self) -> None:
        """Workers of this machine have come or gone."""
        entry = self.own()
        if entry is not None and msgspec.msgpack.encode(entry) != self._said:
            self.announce()

    def close(self) -> None:
        self._closed = True
        if self._announcing is not None:
            self._announcing.cancel()
        for search in self._searches.values():
            if search.timer is not None:
                search.timer.cancel()
        self._searches.clear()

    # Of others

    def find(self, tag: str, worker: int, found: Found) -> None:
        """`found` is called, perhaps at once: the machine with that worker, None when there is none."""
        if self._closed:
            found(None)
            return
        search = self._searches.get(tag)
        if search is None:
            if not self._may_search():
                self.complain(
                    "cluster searches",
                    f"sessions of more than {SEARCHES_PER_SECOND_COUNT} unknown machines per second are "
                    "asked for: some are refused",
                )
                found(self._last_known(tag, worker))
                return
            search = self._searches[tag] = Search()
            self._begin(tag, search)
        search.waiting.append((worker, found))

    def _last_known(self, tag: str, worker: int) -> MachineEntry | None:
        entry = self._known.get(tag)
        return entry if entry is not None and worker in entry.workers else None

    def _may_search(self) -> bool:
        begun_at, now = self._begun_at, self.now()
        while begun_at and begun_at[0] <= now - 1.0:
            begun_at.popleft()
        if self._unanswered_count >= SEARCHES_MAX_COUNT or len(begun_at) >= SEARCHES_PER_SECOND_COUNT:
            return False
        begun_at.append(now)
        return True

    def _begin(self, tag: str, search: Search) -> None:
        search.timer = self.call_later(ANSWER_SECONDS, partial(self._told, tag, search, False, None))
        self._unanswered_count += 1
        self.store.get(tag, partial(self._answered, tag, search))

    def _answered(self, tag: str, search: Search, answered: bool, value: bytes | None) -> None:
        self._unanswered_count -= 1
        self._told(tag, search, answered, value)

    def _told(self, tag: str, search: Search, answered: bool, value: bytes | None) -> None:
        if self._searches.get(tag) is not search or search.timer is None:
            return
        search.timer.cancel()
        search.timer = None
        entry = self._read(tag, value) if answered else self._known.get(tag)
        if entry is None and answered:
            self._known.pop(tag, None)
        workers = () if entry is None else entry.workers
        waiting = search.waiting
        search.waiting = [each for each in waiting if each[0] not in workers]
        again = entry is not None and answered and bool(search.waiting) and not search.is_second
        if again:
            search.is_second = True
            search.timer = self.call_later(AGAIN_SECONDS, partial(self._begin, tag, search))
        else:
            del self._searches[tag]
        for worker, found in waiting:
            if worker in workers:
                found(entry)
            elif not again:
                found(None)

    def _read(self, tag: str, value: bytes | None) -> MachineEntry | None:
        """The entry that was signed with our secret, and is of that machine."""
        if value is None:
            return None
        data = verify(self.secret, ENTRY_PURPOSE, value)
        entry: MachineEntry | None = None
        if data is not None:
            with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
                entry = msgspec.msgpack.decode(data, type=MachineEntry)
        if entry is None or entry.tag != tag:
            self.complain(
                "cluster entry",
                f"the broker's entry of machine {tag} is refused: it was signed with another "
                "--cluster-secret, or by nobody",
            )
            return None
        while len(self._known) >= KNOWN_MAX_COUNT:
            del self._known[next(iter(self._known))]
        self._known[tag] = entry
        return entry
