"""Which worker of a machine passes on what a shared channel brings, and the hand-over between two. Sans-I/O.

Must not know: what the channel brings, how words travel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, TypeVar

from python_server.net.states import StateEnum
from python_server.net.system import CallLater, TimerLike

Message = TypeVar("Message")
# How long a sibling may take to say that it has what was passed on to it; a successor waits twice as long.
# As long as official adapters wait for other processes (requestsTimeout).
HAND_OVER_SECONDS: Final = 5.0
# What a successor keeps meanwhile; with more it goes on at once.
HELD_MAX_COUNT: Final = 100_000


@dataclass(frozen=True, slots=True)
class Place:
    """This worker among those of its machine.

    Attributes:
        host_id: of the machine. index: of the worker.
        leads: is it the one that hears the channel?
        settled: does it know the others yet? Before, nobody leads.
        succeeds: is a worker that drains still here, or not everybody aware that one has gone? It may pass on
            what stands before our word, or be heard by somebody only now.
    """

    host_id: str
    index: int
    leads: Callable[[], bool]
    settled: Callable[[], bool] = lambda: True
    succeeds: Callable[[], bool] = lambda: False

    @property
    def name(self) -> str:
        return f"{self.host_id}.{self.index}"

    def elder_than(self, name: str) -> bool:
        """Than another worker of this machine?"""
        index = name.removeprefix(f"{self.host_id}.")
        return not index.isdigit() or self.index < int(index)


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
    """

    IDLE = "JOINING"  # another worker leads
    JOINING = "IDLE", "SAID"  # we begin to listen
    SAID = "WAITING", "LEADING"  # our word is on its way; from there on others rely on us
    WAITING = "LEADING"  # it has come; our predecessor has not left
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
        release: takes what `holds` has kept, in order, before anything else comes.
    """

    place: Place
    listen: Callable[[bool], None]
    say: Callable[[Word, str | None], None]
    settle: Callable[[], None]
    release: Callable[[list[Message]], None]
    call_later: CallLater
    state: Lead = field(init=False, default=Lead.IDLE)
    _successor: str | None = field(init=False, default=None)
    # While we wait: what stands behind our word, and what ends the wait in any case.
    _held: list[Message] = field(init=False, default_factory=list)
    _patience: TimerLike = field(init=False)

    @property
    def passes_on(self) -> bool:
        """Is what comes now ours to pass on?"""
        state = self.state
        return state is _LEADING or state is _LEAVING

    @property
    def leaves(self) -> bool:
        """Do the others still wait for us, who lead no more?"""
        return self.state not in (Lead.IDLE, Lead.JOINING) and not self.place.leads()

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
        elif self.state is Lead.WAITING and not self.place.succeeds():
            self.go_on()

    def subscribed(self) -> None:
        """The channel is heard from here on, or our word was dropped."""
        if self.state is Lead.LEAVING:  # it was away when we began to leave: a successor's word may be missed
            self._leave()
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
        elif self.state is Lead.LEAVING:
            self._hand_over(name)
        elif self.state is Lead.LEADING:  # it had not met us yet: the elder goes on
            if self.place.elder_than(name):
                self.say(Word.LEAD, None)
            else:
                self._hand_over(name)

    def holds(self, message: Message) -> bool:
        """Keep what came while our predecessor may still pass on what stood before it; else it is for now."""
        if self.state is not _WAITING:
            return False
        if len(self._held) >= HELD_MAX_COUNT:
            self.go_on()
            return False
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

    def settled(self) -> None:
        """Every other worker has what was passed on to it."""
        if self.state is Lead.HANDING:
            self.say(Word.LEFT, self._successor)
            self._leave()
            self.look()

    def lost(self) -> None:
        """The channel is not heard any more; a word may be missed."""
        if self.state is Lead.LEAVING:
            self._leave()
        else:
            self.go_on()

    def _begin(self) -> None:
        if self.place.succeeds():
            self.state = self.state.to(Lead.WAITING)
            self._patience = self.call_later(2 * HAND_OVER_SECONDS, self.go_on)
        else:
            self.state = self.state.to(Lead.LEADING)
            self.look()

    def _hand_over(self, name: str) -> None:
        self.state = self.state.to(Lead.HANDING)
        self._successor = name
        self.settle()

    def _leave(self) -> None:
        self.state = self.state.to(Lead.IDLE)
        self.listen(False)
