"""Which worker of a machine passes on what a shared channel brings, and the hand-over between two. Sans-I/O.

Must not know: what the channel brings, how words travel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


@dataclass(frozen=True, slots=True)
class Place:
    """This worker among those of its machine.

    Attributes:
        host_id: of the machine. index: of the worker.
        leads: is it the one that hears the channel?
        settled: does it know the others yet? Before, nobody leads.
    """

    host_id: str
    index: int
    leads: Callable[[], bool]
    settled: Callable[[], bool] = lambda: True

    @property
    def name(self) -> str:
        return f"{self.host_id}.{self.index}"

    def elder_than(self, name: str) -> bool:
        """Than another worker of this machine?"""
        index = name.removeprefix(f"{self.host_id}.")
        return not index.isdigit() or self.index < int(index)


class Lead(Enum):
    """What this worker does with the channel that all share.

    A worker that begins to lead says so on the channel itself, where its predecessor hears it at the same
    place in the stream: one passes on what stands before, the other what stands behind; nothing is lost
    or doubled.
    """

    IDLE = auto()  # another worker leads
    JOINING = auto()  # subscribed; our own word has not come yet
    LEADING = auto()
    LEAVING = auto()  # we drain; a successor's word has not come yet


MOVES: Final = {
    Lead.IDLE: {Lead.JOINING},
    Lead.JOINING: {Lead.LEADING, Lead.IDLE},
    Lead.LEADING: {Lead.LEAVING, Lead.IDLE},
    Lead.LEAVING: {Lead.LEADING, Lead.IDLE},
}


class Leading:
    """One worker's part. Every method belongs to the loop's thread.

    Args:
        subscribe, unsubscribe: to and from the shared channel. say: "I pass on what follows", on the channel.
    """

    def __init__(
        self,
        place: Place,
        subscribe: Callable[[], None],
        unsubscribe: Callable[[], None],
        say: Callable[[], None],
    ) -> None:
        self._place = place
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._say = say
        self.state = Lead.IDLE

    @property
    def passes_on(self) -> bool:
        """Is what comes now ours to pass on?"""
        return self.state is Lead.LEADING or self.state is Lead.LEAVING

    def look(self) -> None:
        """Workers have come or gone."""
        leads = self._place.leads()
        if leads and self.state is Lead.IDLE:
            self._move(Lead.JOINING)
            self._subscribe()
        elif leads and self.state is Lead.LEAVING:
            self._move(Lead.LEADING)
        elif not leads and self.state is Lead.LEADING:
            self._move(Lead.LEAVING)
        elif not leads and self.state is Lead.JOINING:
            self._leave()

    def subscribed(self) -> None:
        """The channel is heard from here on."""
        if self.state is Lead.JOINING:
            self._say()

    def word(self, name: str) -> None:
        """A worker of this machine passes on what follows."""
        if name == self._place.name:
            if self.state is Lead.JOINING:
                self._move(Lead.LEADING)
        elif self.state is Lead.LEAVING:
            self._leave()
        elif self.state is Lead.LEADING:  # it had not met us yet: the elder goes on
            if self._place.elder_than(name):
                self._say()
            else:
                self._leave()

    def lost(self) -> None:
        """The channel is not heard any more; a successor's word may be missed."""
        if self.state is Lead.LEAVING:
            self._leave()

    def _leave(self) -> None:
        self._move(Lead.IDLE)
        self._unsubscribe()

    def _move(self, state: Lead) -> None:
        assert state in MOVES[self.state], (self.state, state)
        self.state = state
