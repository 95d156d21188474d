"""Long answers to siblings, piece by piece (paced_sender.py).

It must not know what a piece says.
"""

from collections.abc import Callable, Iterator
from typing import Any

from python_server.socketio.cluster.paced_sender import LOOK_SECONDS, QUEUED_MAX_BYTES, PacedSender, Piece
from python_server.workers.peers import MessageKind


class Siblings:
    """What a PacedSender asks of the other workers, and a loop that is told to turn.

    Attributes:
        piece_bytes: what each message takes on a link.
    """

    piece_bytes = QUEUED_MAX_BYTES + 1

    def __init__(self) -> None:
        self.living = [1, 2]
        self.queued = dict.fromkeys(self.living, 0)
        self.sent: list[tuple[int, bytes]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def queued_for(self, index: int) -> int:
        return self.queued[index]

    def send(self, index: int, kind: int, *pieces: bytes) -> bool:
        assert kind == MessageKind.ANSWER
        self.sent.append((index, b"".join(pieces)))
        self.queued[index] += self.piece_bytes
        return True

    def call_later(self, seconds: float, function: Callable[[], None]) -> Any:
        self.timers.append((seconds, function))

    def turn(self) -> list[float]:
        """All links are read, then the loop turns; how long each timer had waited."""
        self.queued = dict.fromkeys(self.queued, 0)
        timers, self.timers = self.timers, []
        for _, function in timers:
            function()
        return [seconds for seconds, _ in timers]


def pieces(name: bytes, count: int, made: list[bytes] | None = None) -> Iterator[Piece]:
    for number in range(count):
        if made is not None:
            made.append(name)
        yield MessageKind.ANSWER, [name, b"%d" % number]


def test_pieces_leave_until_the_link_is_full_and_are_made_then() -> None:
    siblings = Siblings()
    made: list[bytes] = []
    ended: list[str] = []
    sender = PacedSender(siblings, siblings.call_later)  # type: ignore[arg-type]
    sender.send(1, pieces(b"a", 3, made), lambda: ended.append("a"))
    assert (len(made), siblings.sent) == (1, [(1, b"a0")])
    while siblings.timers:
        assert ended == []
        assert siblings.turn() == [LOOK_SECONDS]
    assert siblings.sent == [(1, b"a0"), (1, b"a1"), (1, b"a2")]
    assert ended == ["a"]
    siblings.piece_bytes = 1
    sender.send(2, pieces(b"b", 3))
    assert siblings.sent[3:] == [(2, b"b0"), (2, b"b1"), (2, b"b2")]
    assert siblings.timers == []


def test_a_short_one_does_not_wait_for_a_long_one() -> None:
    siblings = Siblings()
    sender = PacedSender(siblings, siblings.call_later)  # type: ignore[arg-type]
    ended: list[str] = []
    sender.send(1, pieces(b"long", 100))
    sender.send(1, pieces(b"short", 2), lambda: ended.append("short"))
    sender.send(2, pieces(b"other", 1))
    for _ in range(6):
        siblings.turn()
    assert [piece for index, piece in siblings.sent if piece.startswith(b"short")] == [b"short0", b"short1"]
    assert (ended, siblings.sent.count((2, b"other0"))) == (["short"], 1)
    assert sum(piece.startswith(b"long") for _, piece in siblings.sent) < 6


def test_who_does_not_keep_up_is_sent_nothing_until_it_does() -> None:
    siblings = Siblings()
    sender = PacedSender(siblings, siblings.call_later)  # type: ignore[arg-type]
    siblings.queued[1] = QUEUED_MAX_BYTES + 1
    sender.send(1, pieces(b"a", 2))
    assert siblings.sent == []
    siblings.turn()
    assert siblings.sent == [(1, b"a0")]


def test_who_has_gone_is_sent_nothing_and_whoever_answered_is_told() -> None:
    siblings = Siblings()
    sender = PacedSender(siblings, siblings.call_later)  # type: ignore[arg-type]
    ended: list[str] = []
    for name in ("a", "b"):
        sender.send(1, pieces(name.encode(), 5), lambda name=name: ended.append(name))  # type: ignore[misc]
    sender.send(2, pieces(b"c", 5), lambda: ended.append("c"))
    sender.lost(1)
    assert ended == ["a", "b"]
    siblings.living.remove(1)
    sender.send(1, pieces(b"d", 5), lambda: ended.append("d"))
    assert ended == ["a", "b", "d"]
    for _ in range(5):
        siblings.turn()
    assert siblings.timers == []
    assert [index for index, _ in siblings.sent] == [1, 2, 2, 2, 2, 2]
    assert ended == ["a", "b", "d", "c"]
