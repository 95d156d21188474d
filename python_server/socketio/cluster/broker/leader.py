"""Which worker of a machine passes on what a shared channel brings, and the hand-over between two. Sans-I/O.

Must not know: what the channel brings, how words travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final, Generic, TypeVar

from python_server.net.states import StateEnum
from python_server.net.system import CallLater, TimerLike

Message = TypeVar("Message")
# How long a sibling may take to say that it has what was passed on to it.
# As long as official adapters wait for other processes (requestsTimeout).
HAND_OVER_SECONDS: Final = 5.0
# How long a successor waits for a predecessor, which may be behind, and waits itself for its siblings.
SUCCESSOR_SECONDS: Final = 2 * HAND_OVER_SECONDS
# Until a worker that has handed over, and believes that it leads, says its word again: the two had not met.
AGAIN_SECONDS: Final = 1.0
# What a successor keeps meanwhile; with more it goes on at once.
HELD_MAX_COUNT: Final = 100_000


@dataclass(frozen=True, slots=True)
class Place:
    """This worker among those of its machine.

    Attributes:
        host_id: of the machine. index: of the worker.
        leads: is it the one that hears the channel?
        settled: does it know the others yet? Before, nobody leads.
        succeeds: has a worker gone, and not everybody noticed it? What it passed on may be heard only now.
        may_hand_over: is there, or begins, another worker that may lead? Else nobody's word is waited for.
    """

    host_id: str
    index: int
    leads: Callable[[], bool]
    settled: Callable[[], bool] = lambda: True
    succeeds: Callable[[], bool] = lambda: False
    may_hand_over: Callable[[], bool] = lambda: True

    @property
    def name(self) -> str:
        return f"{self.host_id}.{self.index}"


class Word(StrEnum):
    """What workers of one machine tell each other on the channel that all share; other servers ignore it."""

    LEAD = "wsframe_lead"  # I pass on what follows
    LEFT = "wsframe_left"  # what stood before my successor's word has reached every worker
    HOLE = "wsframe_hole"  # in a stream: something of ours was dropped that should stand before


class Lead(StateEnum):
    """What this worker does with the channel.

    A worker that begins to lead says so on the channel itself, where its predecessor hears it at the same
    place in the stream: one passes on what stands before, the other what stands behind. But each reads at
    its own pace, and reaches the others on ways of its own: the successor holds what stands behind its word
    until its predecessor knows that all have what stood before. So nothing is lost, doubled or overtaken.
    Words alone decide: each takes over from the one before it, whoever said them. Who has no predecessor is
    told so by all others.
    """

    IDLE = "JOINING"  # another worker leads
    JOINING = "IDLE", "SAID"  # we begin to listen
    SAID = "WAITING"  # our word is on its way; from there on others rely on us
    WAITING = "LEADING"  # it has come; somebody may still pass on what stands before it
    LEADING = "LEAVING", "HANDING"
    LEAVING = "IDLE", "LEADING", "HANDING"  # we drain; a successor's word has not come yet
    HANDING = "IDLE"  # it has; some of the others have not said that they have what stood before it


# Asked for with every message.
_WAITING: Final = Lead.WAITING
_LEADING: Final = Lead.LEADING
_LEAVING: Final = Lead.LEAVING


@dataclass(slots=True)
class Leadership(Generic[Message]):
    """One worker's part. Every method belongs to the loop's thread.

    Attributes:
        listen: to the shared channel from now on, or no more.
        say: a word, on the channel; LEFT with the name of the successor.
        settle: calls `settled` when every other worker has what was passed on to it.
        ask: asks every other worker (`answer`), telling whose words are known to stand behind ours, and calls
            what it is given when all have answered.
        release: takes what `holds` has kept, in order, before anything else comes.
    """

    place: Place
    listen: Callable[[bool], None]
    say: Callable[[Word, str | None], None]
    settle: Callable[[], None]
    ask: Callable[[list[str], Callable[[], None]], None]
    release: Callable[[list[Message]], None]
    call_later: CallLater
    state: Lead = field(init=False, default=Lead.IDLE)
    _successor: str | None = field(init=False, default=None)
    # While we wait: what stands behind our word, what ends the wait in any case, and whether all have
    # answered the question of that number.
    _held: list[Message] = field(init=False, default_factory=list)
    _patience: TimerLike = field(init=False)
    _question: int = field(init=False, default=0)
    _is_relieved: bool = field(init=False, default=False)
    # Has the channel been lost since, when another one was to lead? What follows is not ours.
    _is_cut: bool = field(init=False, default=False)
    # Whose words stood before ours, and behind it, as far as that is known; and who is to be told that we
    # pass nothing on before theirs.
    _before: set[str] = field(init=False, default_factory=set)
    _behind: set[str] = field(init=False, default_factory=set)
    _askers: dict[str, Callable[[], object]] = field(init=False, default_factory=dict)

    @property
    def passes_on(self) -> bool:
        """Is what comes now ours to pass on?"""
        state = self.state
        return state is _LEADING or state is _LEAVING

    @property
    def leaves(self) -> bool:
        """Do the others still wait for us, who lead no more?"""
        if self.state in (Lead.IDLE, Lead.JOINING) or self.place.leads():
            return False
        return self.state is Lead.HANDING or self.place.may_hand_over()

    def look(self) -> None:
        """Workers have come or gone."""
        leads = self.place.leads()
        if leads and self.state is Lead.IDLE:
            self.state = self.state.to(Lead.JOINING)
            self.listen(True)
        elif leads and self.state is Lead.LEAVING:
            self.state = self.state.to(Lead.LEADING)
        elif not leads and self.state is Lead.LEADING:
            self.state = self.state.to(Lead.LEAVING)
        elif not leads and self.state is Lead.JOINING:
            self._leave()
        elif self.state is Lead.WAITING and self._is_relieved and not self.place.succeeds():
            self.go_on()

    def subscribed(self) -> None:
        """The channel is heard from here on, or our word was dropped."""
        if self.state is Lead.LEAVING:  # it was away when we began to leave: a successor's word may be missed
            self._hand_over(None)
        if self.state is Lead.JOINING:
            self.state = self.state.to(Lead.SAID)
        if self.state is Lead.SAID:
            self.say(Word.LEAD, None)

    def heard(self, word: Word, name: str, successor: str | None = None) -> None:
        """A worker of this machine has said a word, perhaps ourselves."""
        if word is Word.LEFT:
            if successor == self.place.name:
                self.go_on()
        elif name == self.place.name:
            if self.state is Lead.SAID:
                self._begin()
        elif self.passes_on:
            self._hand_over(name)
        elif self.state in (Lead.JOINING, Lead.SAID):
            self._before.add(name)
            if reply := self._askers.pop(name, None):
                reply()

    def foresee(self, name: str) -> None:
        """That worker's word was kept: it stands behind ours, and who said it may not know that."""
        if self.state is Lead.WAITING and name not in (self.place.name, *self._behind):
            self._behind.add(name)
            self._ask()

    def answer(self, asker: str, behind: Iterable[str], reply: Callable[[], object]) -> None:
        """Call it once we pass on nothing more that stands before that worker's word, which has come to it.

        behind: whose words, as far as it knows, stand behind that.
        """
        former = self._askers.pop(asker, None)
        if former is not None:
            former()
        if self.state in (Lead.IDLE, Lead.JOINING) or asker in self._before or self.place.name in behind:
            reply()
        else:
            self._askers[asker] = reply

    def holds(self, message: Message) -> bool:
        """Keep what came while our predecessor may still pass on what stood before it; else it is for now."""
        if self.state is not _WAITING:
            return False
        if len(self._held) >= HELD_MAX_COUNT:
            self.go_on()
            return False
        if not self._is_cut:
            self._held.append(message)
        return True

    def go_on(self) -> None:
        """Our predecessor has left, is gone, or has had time enough."""
        if self.state is Lead.WAITING:
            self._patience.cancel()
            held, self._held = self._held, []
            self.state = self.state.to(Lead.LEADING)
            self.look()
            self.release(held)
            if self._is_cut and self.passes_on:
                self._hand_over(None)

    def settled(self) -> None:
        """Every other worker has what was passed on to it."""
        if self.state is Lead.HANDING:
            if self._successor is not None:
                self.say(Word.LEFT, self._successor)
            self._leave()
            if self._successor is None:
                self.look()
            elif self.place.leads():
                self.call_later(AGAIN_SECONDS, self.look)

    def lost(self) -> None:
        """The channel is not heard any more; a word may be missed. What was heard before keeps its order."""
        if self.state is Lead.LEAVING:
            self._hand_over(None)
        elif self.state is Lead.WAITING:
            self._is_cut |= not self.place.leads()

    def _begin(self) -> None:
        self.state = self.state.to(Lead.WAITING)
        self._patience = self.call_later(SUCCESSOR_SECONDS, self.go_on)
        self._is_relieved = self._is_cut = False
        self._behind.clear()
        self._ask()

    def _ask(self) -> None:
        self._question += 1
        self.ask(sorted(self._behind), partial(self._relieved, self._question))

    def _relieved(self, question: int) -> None:
        """Nobody who is there has anything to pass on that stands before our word."""
        if question == self._question:
            self._is_relieved = True
            self.look()

    def _hand_over(self, name: str | None) -> None:
        """To that worker, or to one whose word we have not heard: then our answers tell it."""
        self.state = self.state.to(Lead.HANDING)
        self._successor = name
        self.settle()

    def _leave(self) -> None:
        self.state = self.state.to(Lead.IDLE)
        self._before.clear()
        askers, self._askers = self._askers, {}
        for reply in askers.values():
            reply()
        self.listen(False)
