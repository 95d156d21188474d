"""Members with metadata, of all processes: what the application is told of them, each thing once.

Must not know: handlers, how a word travels, members without metadata.

Each process passes on what changes among its own clients, with numbers; who has missed one asks it for all.
The oldest process tells the application, and passes on what it has told: where it ends, the next goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Final

import msgspec

from python_server.socketio.cluster.port import (
    Command,
    CommandKind,
    PeerRequest,
    Question,
    QuestionKind,
    Reply,
    Room,
)
from python_server.socketio.cluster.requests import convert, plain
from python_server.socketio.services import HubServices
from python_server.socketio.values import JSONValue

# How often a process says that it is there, and after which silence its clients have gone, as those of a
# killed one have. Phoenix.Presence takes 1.5 s and 30 s.
BEAT_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 15.0
ASK_SECONDS: Final = 5.0
# How long after a change of who tells it is awaited what only the one before has heard by then.
SETTLE_SECONDS: Final = 1.0
# Of one answer; between two of them the loop serves others.
PART_COUNT: Final = 500

# Namespace, room, key: several clients of one user have one key; that of a client alone is its sid.
Place = tuple[str, Room, str]
NOWHERE: Final = ("/", "", "")
# Called with ("join", "update" or "leave", namespace, sid, room, metadata as JSON text).
Tell = Callable[[str, str, str, Room, str], None]


class PresenceWord(msgspec.Struct, array_like=True):
    """What a process says of its members with metadata, or of what it has told the application.

    Attributes:
        owner: the process. number: of its words that change something; one more each time.
        what: "here": the sid is there with that metadata, None: no more. "told": so was told. "alive". "bye".
    """

    owner: str
    number: int
    what: str
    key: str = ""
    text: str | None = None


class PresenceState(msgspec.Struct, array_like=True):
    """A part of all that a process says of itself.

    Attributes:
        members, told: namespace, room, key, sid, metadata. has_told: `told` is what counts.
        more: parts are to follow.
    """

    owner: str
    number: int
    members: list[tuple[str, Room, str, str, str]]
    told: list[tuple[str, Room, str, str, str]]
    has_told: bool
    more: bool


class PresenceStage(Enum):
    """What this process knows of the others."""

    NEW = auto()  # nothing has been asked or heard
    ASKING = auto()  # they have been asked; nothing is told
    READY = auto()
    LEAVING = auto()  # it ends, and they know


@dataclass(slots=True)
class Other:
    """Another process: the number of its last word, and when that came."""

    number: int
    heard_at: float


@dataclass(eq=False, slots=True)
class Presence:
    """The members with metadata. Every method belongs to the loop's thread.

    Attributes:
        name: of this process, once it has said something; that of an older one comes first.
        has_handlers: one without hears nothing, and does not count.
    """

    _services: HubServices
    _tell: Tell
    has_handlers: Callable[[], bool]
    name: str = ""  # asked for with every change: has it begun?
    _stage: PresenceStage = PresenceStage.NEW
    _number: int = 0
    # By sid the process and the metadata, that which has come last at the end.
    _holders: dict[Place, dict[str, tuple[str, str]]] = field(default_factory=dict)
    _told: dict[Place, tuple[str, str]] = field(default_factory=dict)  # sid and metadata
    _others: dict[str, Other] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)
    _parts: dict[str, list[PresenceState]] = field(default_factory=dict)
    _left: set[str] = field(default_factory=set)
    _beat_at: float | None = None
    _has_told: bool = False  # something, since others have

    def start(self) -> None:
        """This process has begun. What others know it has to know before they end, which may be at once."""
        if self.has_handlers() and not self._services.backplane.alone:
            self._look()

    def changed(self, place: Place, sid: str, text: str | None) -> None:
        """A client of this process is there, with that metadata; None: it has left."""
        if not self.name:
            self._begin()
        self._put(place, sid, self.name, text)
        if not self._services.backplane.alone:
            self._number += 1
            self._pass_on("here", place, sid, text)
        self._settle(place)

    def leave(self) -> None:
        """This process ends; where there is no other it tells of its clients' end itself."""
        if not self._services.backplane.alone and self._stage is not PresenceStage.LEAVING:
            self._stage = PresenceStage.LEAVING
            if self.name:
                self._pass_on("bye")

    # What others say

    def hear(self, command: Command) -> None:
        """Raises Malformed."""
        word: PresenceWord = convert(command.data, PresenceWord)
        if word.owner == self.name or word.owner in self._left or not self.has_handlers():
            return
        if word.what == "bye":
            self._left.add(word.owner)
            self._forget([word.owner])
            self._services.call_later(SETTLE_SECONDS, self._settle_all)
            return
        self._begin()
        other = self._others.get(word.owner)
        if other is not None:
            other.heard_at = self._services.now()
        is_next = word.what != "alive"
        if other is None and not word.number:  # it has just begun
            self._others[word.owner] = Other(0, self._services.now())
        elif other is None or word.number > other.number + is_next:
            if word.owner not in self._asked:
                self._ask(word.owner)
        elif is_next and word.number > other.number:
            other.number = word.number
            place = (command.namespace, "" if command.room is None else command.room, word.key)
            if word.what == "told":
                self._has_told = False
                self._note(place, str(command.sid), word.text)
            else:
                self._put(place, str(command.sid), word.owner, word.text)
                self._settle(place)

    def answer(self, question: Question, reply: Reply) -> None:
        """All of this process, for who has missed something of it, or has just begun. Raises Malformed."""
        is_silent = not self.name or self._stage in (PresenceStage.NEW, PresenceStage.LEAVING)
        if is_silent or question.data not in (None, self.name):
            reply(None)
            return
        members = [
            (*place, sid, text)
            for place, sids in self._holders.items()
            for sid, (owner, text) in sids.items()
            if owner == self.name
        ]
        has_told = self._has_told or self._leads
        told = [(*place, *last) for place, last in self._told.items()] if has_told else []
        for first in range(0, max(len(members), len(told), 1), PART_COUNT):
            here, said = members[first : first + PART_COUNT], told[first : first + PART_COUNT]
            more = first + PART_COUNT < max(len(members), len(told))
            state = PresenceState(self.name, self._number, here, said, has_told, more)
            reply(plain(state), last=not more)

    def _heard(self, part: JSONValue) -> None:
        if part is None:
            return
        state: PresenceState = convert(part, PresenceState)
        self._begin()
        parts = self._parts.setdefault(state.owner, [])
        parts.append(state)
        if state.more or state.owner == self.name or state.owner in self._left:
            return
        del self._parts[state.owner]
        self._drop([state.owner])
        self._others[state.owner] = Other(state.number, self._services.now())
        if state.has_told:
            self._told.clear()
        for each in parts:
            for namespace, room, key, sid, text in each.told:
                self._note((namespace, room, key), sid, text)
            for namespace, room, key, sid, text in each.members:
                self._put((namespace, room, key), sid, state.owner, text)
        if self._stage is PresenceStage.READY:
            self._settle_held()
            self._services.call_later(SETTLE_SECONDS, self._settle_all)

    # Beginning, asking, beating

    def _begin(self) -> None:
        """There is something to say, or to know."""
        if self._stage is PresenceStage.LEAVING:
            return
        if not self.name:
            self.name = f"{int(self._services.wall() * 1000):014}.{self._services.names.make()}"
        if self._beat_at is None and not self._services.backplane.alone:
            self._beat()
        self._look()

    def _look(self) -> None:
        if self._stage is PresenceStage.NEW:
            self._stage = PresenceStage.ASKING
            self._ask(None)

    def _ask(self, owner: str | None) -> None:
        """That one for all of it, or everybody."""
        if owner is not None:
            self._asked.add(owner)
        question = Question(QuestionKind.PRESENCE, "/", owner)
        ended = partial(self._answered, owner)
        self._services.backplane.request(PeerRequest(question, self._heard, ended, ASK_SECONDS))

    def _answered(self, owner: str | None, silent_count: int) -> None:
        if owner is not None:
            self._asked.discard(owner)
            self._parts.pop(owner, None)
        elif self._stage is PresenceStage.ASKING and not self.name:  # nobody has any
            self._stage = PresenceStage.NEW
        elif self._stage is PresenceStage.ASKING:
            self._stage = PresenceStage.READY
            self._settle_held()
            if not self._services.backplane.alone:
                self._services.call_later(SETTLE_SECONDS, self._settle_all)

    def _beat(self) -> None:
        """As long as the loop turns."""
        now, before = self._services.now(), self._beat_at
        self._beat_at = now
        self._services.call_later(BEAT_SECONDS, self._beat)
        if self._stage is PresenceStage.LEAVING:
            return
        if before is not None and now - before > SILENT_SECONDS:  # we stood still, and have heard nobody
            for other in self._others.values():
                other.heard_at = now
            self._stage = PresenceStage.NEW
            self._begin()
        self._pass_on("alive")
        silent = [name for name, other in self._others.items() if other.heard_at <= now - SILENT_SECONDS]
        if silent:
            self._forget(silent)
            self._settle_all()

    def _pass_on(
        self, what: str, place: Place = NOWHERE, sid: str | None = None, text: str | None = None
    ) -> None:
        backplane, (namespace, room, key) = self._services.backplane, place
        if self._stage is not PresenceStage.LEAVING or what == "bye":
            word = plain(PresenceWord(self.name, self._number, what, key, text))
            backplane.publish(Command(CommandKind.PRESENCE, namespace, sid, room, data=word))

    # What is known, and what is told

    @property
    def _leads(self) -> bool:
        return self._stage is PresenceStage.READY and (not self._others or self.name < min(self._others))

    def _put(self, place: Place, sid: str, owner: str, text: str | None) -> None:
        sids = self._holders.get(place)
        if sids is not None:
            sids.pop(sid, None)
        elif text is not None:
            sids = self._holders[place] = {}
        if sids is not None and text is not None:
            sids[sid] = (owner, text)
        elif not sids:
            self._holders.pop(place, None)

    def _note(self, place: Place, sid: str, text: str | None) -> None:
        if text is None:
            self._told.pop(place, None)
        else:
            self._told[place] = (sid, text)

    def _forget(self, owners: Iterable[str]) -> None:
        """Those processes have ended."""
        self._drop(owners)
        self._settle_held()

    def _drop(self, owners: Iterable[str]) -> None:
        for owner in owners:
            self._others.pop(owner, None)
        for place, sids in [*self._holders.items()]:
            for sid in [sid for sid, (owner, _) in sids.items() if owner in owners]:
                self._put(place, sid, "", None)

    def _settle_held(self) -> None:
        if self._leads:
            for place in [*self._holders]:
                self._settle(place)

    def _settle_all(self) -> None:
        self._settle_held()
        if self._leads:
            for place in [place for place in self._told if place not in self._holders]:
                self._settle(place)

    def _settle(self, place: Place) -> None:
        """Tell what has changed there since the last word about it."""
        if not self._leads:
            return
        sids, told = self._holders.get(place), self._told.get(place)
        if sids:
            sid = next(reversed(sids))
            text = sids[sid][1]
            kind = "join" if told is None else "update"
            self._told[place] = (sid, text)
            if told is not None and told[1] == text:
                return
        elif told is not None:
            kind, (sid, text) = "leave", told
            del self._told[place]
        else:
            return
        if not self._services.backplane.alone:
            self._number += 1
            self._has_told = True
            self._pass_on("told", place, sid, None if kind == "leave" else text)
        self._tell(kind, place[0], sid, place[1], text)
