"""What a worker that has gone had said to some of the others alone: they tell each other. Sans-I/O.

Must not know: links, clients, how an event or a word is written.

A worker that is killed has events in its queues: one sibling has heard them, another never will. A client of
the second one that returns to the first would be told them, behind what their speakers said later elsewhere.
So each tells all others how far it has heard the one that has gone, and who has heard more sends the rest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from msgspec import Struct

from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.event_names import PASSED_ON, TAG_CHARACTERS, sender_and_number

# Workers that have gone, of which it is remembered how far they were heard: others may still ask.
GONE_MAX_COUNT: Final = 1024

# How far each sender was heard: the name of the last event, by the sender's tag.
Names = dict[str, str]


class HowFar(Struct, array_like=True):
    """How far the teller has heard the worker `index`, which has gone.

    Attributes:
        asks: is an answer awaited of who has never met that worker?
        all_sent: what the teller had heard beyond the other one is sent.
    """

    index: int
    names: Names
    asks: bool = False
    all_sent: bool = False


class KeptEvents(Protocol):
    """Port: what was heard, as far as it is kept."""

    def behind(self, name: str) -> list[Envelope]:
        """What an event's sender has said behind it, in order."""


class HeardEvents(Protocol):
    """Port: the log of what was heard."""

    @property
    def events(self) -> KeptEvents: ...

    def last_names(self, tags: Iterable[str]) -> Names:
        """Of each of these senders of which something was heard, the last event."""


@dataclass(slots=True)
class _Gone:
    """A worker that has gone.

    Attributes:
        names: how far it was heard here. told: how far by each sibling, None as long as it has not said so.
        lacks: does a sibling know more than we? complete: has everybody heard what anybody had?
    """

    names: Names
    told: dict[int, Names | None] = field(default_factory=dict)
    lacks: bool = False
    complete: bool = False


class LastWords:
    """Every method belongs to the loop's thread.

    Args:
        log: what was heard here. living: the siblings that are there.
        tell: sends a word to a sibling, at once. send: sends events to a sibling, and the word behind them.
        changed: called when `awaited` may have become false.
    """

    def __init__(
        self,
        log: HeardEvents,
        living: Callable[[], Iterable[int]],
        tell: Callable[[int, HowFar], object],
        send: Callable[[int, list[Envelope], HowFar], object],
        changed: Callable[[], object],
    ) -> None:
        self._log = log
        self._living = living
        self._tell = tell
        self._send = send
        self._changed = changed
        self._tags: dict[int, set[str]] = {}  # with which each sibling's events begin
        self._gone: OrderedDict[int, _Gone] = OrderedDict()
        self._gone_of: dict[str, int] = {}  # by a tag
        # Of those that have not gone yet for us: what others have said of them.
        self._early: dict[int, dict[int, Names]] = {}
        self._incomplete: set[int] = set()

    @property
    def awaited(self) -> bool:
        """May somebody still hear an event of a worker that has gone?"""
        return bool(self._incomplete)

    def is_new(self, index: int, name: str) -> bool:
        """An event comes from that sibling: False where another one has sent it before."""
        tag = name[:TAG_CHARACTERS]
        tags = self._tags.get(index)
        if tags is not None and tag in tags:
            return True
        gone = self._gone.get(self._gone_of.get(tag, -1))
        if gone is not None:
            if not _is_behind(gone.names[tag], name):
                return False
            gone.names[tag] = name
        # What is passed on of other machines has numbers that go on at the next worker: not ours to complete.
        elif not name.startswith(PASSED_ON):
            self._tags.setdefault(index, set()).add(tag)
        return True

    def gone(self, index: int) -> None:
        """All that this sibling had said to us has come."""
        for other, gone in self._gone.items():
            if index in gone.told:
                del gone.told[index]
                self._look(other)
        living = list(self._living())
        gone = _Gone(self._log.last_names(self._tags.pop(index, ())), dict.fromkeys(living))
        early = self._early.pop(index, {})
        gone.told.update((teller, names) for teller, names in early.items() if teller in gone.told)
        self._gone[index] = gone
        self._gone_of.update(dict.fromkeys(gone.names, index))
        while len(self._gone) > GONE_MAX_COUNT:
            self._forget(*self._gone.popitem(last=False))
        self._incomplete.add(index)
        for teller in living:
            self._tell(teller, HowFar(index, dict(gone.names), asks=True))
        for teller, names in early.items():
            self._help(teller, index, gone, names)
        self._look(index)

    def _forget(self, index: int, gone: _Gone) -> None:
        self._incomplete.discard(index)
        for tag in gone.names:
            self._gone_of.pop(tag, None)

    def told(self, teller: int, word: HowFar) -> None:
        """A sibling says how far it has heard one that has gone."""
        gone = self._gone.get(word.index)
        if gone is None:
            if word.index in self._living():  # the end of it is still to come to us
                early = self._early.setdefault(word.index, {})
                early.setdefault(teller, word.names)
            elif word.asks:
                self._tell(teller, HowFar(word.index, {}))
            return
        if word.all_sent:
            for tag, name in word.names.items():
                if tag in gone.names and _is_behind(gone.names[tag], name):
                    gone.names[tag] = name
        elif word.asks:
            self._help(teller, word.index, gone, word.names)
        if teller in gone.told:
            gone.told[teller] = word.names
        self._look(word.index)

    def _help(self, teller: int, index: int, gone: _Gone, names: Names) -> None:
        """It has heard less than we: it gets the rest."""
        lacking = [name for tag, name in names.items() if _is_behind(name, gone.names.get(tag, name))]
        if lacking:
            envelopes = [envelope for name in lacking for envelope in self._log.events.behind(name)]
            self._send(teller, envelopes, HowFar(index, dict(gone.names), all_sent=True))

    def _look(self, index: int) -> None:
        """Has everybody heard what any of those that are there has heard?"""
        gone = self._gone[index]
        if gone.complete:
            return
        told = [names for names in gone.told.values() if names is not None]
        most = dict(gone.names)
        for names in told:
            for tag, name in names.items():
                if _is_behind(most.get(tag, name), name):
                    most[tag] = name
        lacks = _lacks(gone.names, most)
        if gone.lacks and not lacks:
            for teller in self._living():
                self._tell(teller, HowFar(index, dict(gone.names)))
        gone.lacks = lacks
        if not lacks and len(told) == len(gone.told) and not any(_lacks(names, most) for names in told):
            gone.complete = True
            self._incomplete.discard(index)
            self._changed()


def _is_behind(name: str, other: str) -> bool:
    """Was the second of two events of one sender said later?"""
    return sender_and_number(other)[1] > sender_and_number(name)[1]


def _lacks(names: Names, most: Names) -> bool:
    return any(_is_behind(name, most.get(tag, name)) for tag, name in names.items())
