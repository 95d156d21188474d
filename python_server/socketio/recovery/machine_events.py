"""Events of the processes of one machine, which hear them before the stream has them. Sans-I/O.

Must not know: clients, records, what an event says, clocks; positions are those of the log.

Of each process they come in the order in which they will stand in the stream, but not in that of their
numbers: threads name what they say before they say it.
"""

from __future__ import annotations

from collections.abc import Mapping

from python_server.socketio.recovery.event_names import TAG_CHARACTERS, sender_and_number


class MachineEvents:
    """By their names: where they stand in the log, and once that is known, in the stream.

    Args:
        tag: of this process, which hears all it says.
    """

    def __init__(self, tag: str) -> None:
        self._tag = tag
        # Of each process: those that have no place yet, by position.
        self._unplaced: dict[str, dict[str, int]] = {}
        self._placed: dict[str, tuple[int, int]] = {}
        # Of each process, of those that are forgotten: the highest number of one that had a place, and of
        # one that had none, of which the stream may still tell.
        self._forgotten: dict[str, int] = {}
        self._doubted: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._placed or name in self._unplaced.get(name[:TAG_CHARACTERS], ())

    def add(self, name: str, position: int) -> None:
        """It is heard, and will stand in the stream."""
        self._unplaced.setdefault(name[:TAG_CHARACTERS], {})[name] = position

    def is_unplaced(self, name: str) -> bool:
        return name in self._unplaced.get(name[:TAG_CHARACTERS], ())

    def place(self, name: str, place: int) -> None:
        """It stands there. What its sender had said before and is not in the stream will never be."""
        unplaced = self._unplaced.get(name[:TAG_CHARACTERS])
        if unplaced is None or name not in unplaced:
            return
        for each in [*unplaced]:
            self._placed[each] = (place, unplaced.pop(each))
            if each == name:
                break
        if not unplaced:
            del self._unplaced[name[:TAG_CHARACTERS]]

    def known_place(self, name: str) -> int:
        """0: it has none, or is not here."""
        return self._placed.get(name, (0, 0))[0]

    def first_unplaced(self, end: int) -> int:
        """The first position of one that has no place; `end`: there is none."""
        return min((next(iter(each.values())) for each in self._unplaced.values()), default=end)

    def all_heard(self, own: Mapping[str, int], behind: int) -> bool | None:
        """Of what the stream has brought back, by place: has all behind a place come here on its own way?
        None: of the rest it cannot be said, or its sender has said something later that has come."""
        coming: set[str] = set()
        is_whole = True
        for name, place in own.items():
            tag, number = sender_and_number(name)
            if name in self:
                if tag in coming:
                    is_whole = False
                    coming.discard(tag)
            elif place <= behind or tag == self._tag or number <= self._forgotten.get(tag, -1):
                continue  # its place was said again, or it was said before we were here
            elif number <= self._doubted.get(tag, -1):
                is_whole = False
            else:
                coming.add(tag)
        if coming:
            return False
        return is_whole or None

    def sweep(self, first: int) -> None:
        """Forget what stood before that position."""
        for name in [name for name, (_, position) in self._placed.items() if position < first]:
            del self._placed[name]
            self._note(self._forgotten, name)
        for tag, unplaced in [*self._unplaced.items()]:
            for name in [name for name, position in unplaced.items() if position < first]:
                del unplaced[name]
                self._note(self._doubted, name)
            if not unplaced:
                del self._unplaced[tag]

    @staticmethod
    def _note(highest: dict[str, int], name: str) -> None:
        tag, number = sender_and_number(name)
        highest[tag] = max(number, highest.get(tag, -1))

    def forget(self, tag: str) -> None:
        """That process has said nothing for so long that nobody asks for it."""
        self._forgotten.pop(tag, None)
        self._doubted.pop(tag, None)
