"""What is long and may wait, to siblings, piece by piece: what others wait for passes between two pieces.

Must not know: what a piece says, who asked for it, how a link sends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from python_server.net.system import CallLater
from python_server.workers.peers import MessageKind, Peers

# What a sibling may have before it on the link when the next piece is sent, as much as the system takes at
# once: a message of others waits for no more than that, and a loop that turns slowly still sends.
QUEUED_MAX_BYTES: Final = 256 * 1024
# How often it is looked whether the sibling has taken it.
LOOK_SECONDS: Final = 0.01

# Of one message: its kind, and the bytes that follow one another in it.
Piece = tuple[MessageKind, list[bytes]]


class PacedSender:
    """Every method belongs to the loop's thread.

    What is for the same sibling takes turns, one piece each, so that a short answer does not wait for a long
    one.

    Args:
        siblings: the other workers. call_later: the loop's.
    """

    def __init__(self, siblings: Peers, call_later: CallLater) -> None:
        self._siblings = siblings
        self._call_later = call_later
        # By sibling: what is still to be sent, and whom to tell that it was.
        self._waiting: dict[int, deque[tuple[Iterator[Piece], Callable[[], None]]]] = {}

    def send(self, index: int, pieces: Iterator[Piece], ended: Callable[[], None] = lambda: None) -> None:
        """Send them behind each other; `ended` is called once, after the last one or when the sibling has
        gone. A piece is made when it is its turn."""
        if index not in self._siblings.living:
            ended()
            return
        waiting = self._waiting.setdefault(index, deque())
        waiting.append((pieces, ended))
        if len(waiting) == 1:
            self._go_on(index)

    def lost(self, index: int) -> None:
        """That sibling has gone."""
        for _, ended in self._waiting.pop(index, ()):
            ended()

    def _go_on(self, index: int) -> None:
        """As many pieces as may wait on the link."""
        waiting = self._waiting.get(index)
        while waiting and self._siblings.queued_for(index) <= QUEUED_MAX_BYTES:
            pieces, ended = waiting.popleft()
            piece = next(pieces, None)
            if piece is None:
                ended()
            else:
                kind, payload = piece
                self._siblings.send(index, kind, *payload)
                waiting.append((pieces, ended))
        if waiting:
            self._call_later(LOOK_SECONDS, partial(self._go_on, index))
        else:
            self._waiting.pop(index, None)
