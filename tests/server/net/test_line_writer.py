"""Lines through a thread: order, bound, places that block or fail, the end of a process (net/line_writer.py).

It must not know logs; a place here is a function that blocks, fails or remembers.
"""

import os
from collections.abc import Callable
from threading import Event, Semaphore, Thread
from time import monotonic
from typing import Any

import pytest

from python_server.net import line_writer
from python_server.net.line_writer import LineWriter


class Place:
    """Remembers what was written; blocks while `open` is clear."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.told: list[Any] = []
        self.error: Exception | None = None
        self.open = Event()
        self.open.set()
        self.entered = Event()
        self.told_dropped = Event()
        self.quiet = Event()

    def __call__(self, piece: bytes) -> None:
        self.entered.set()
        assert self.open.wait(60)
        if self.error is not None:
            raise self.error
        self.pieces.append(piece)

    def dropped(self, count: int) -> None:
        self.told.append(count)
        self.told_dropped.set()

    def writer(self, **more: Any) -> LineWriter:
        given: dict[str, Any] = {
            "piece_bytes": 64,
            "waiting_max_bytes": 1_000,
            "dropping": lambda: self.told.append("dropping"),
            "dropped": self.dropped,
            "quiet": self.quiet.set,
            "monotonic": monotonic,
            **more,
        }
        return LineWriter("a log", self, **given)

    @property
    def text(self) -> bytes:
        return b"".join(self.pieces)


def lines(*numbers: int) -> bytes:
    return b"".join(b"line %07d\n" % number for number in numbers)


def test_a_closed_one_has_no_thread_until_a_line_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[Thread] = []

    def made(**given: Any) -> Thread:
        threads.append(Thread(**given))
        return threads[-1]

    monkeypatch.setattr(line_writer, "Thread", made)
    place = Place()
    writer = place.writer()
    for number in range(2):
        writer.add(lines(number))
        writer.close()
        assert place.text == lines(*range(number + 1))
        assert len(threads) == number + 1
        threads[-1].join()


def test_lines_come_in_order_whole_and_in_pieces_of_a_pipes_size() -> None:
    place = Place()
    writer = place.writer()
    place.open.clear()
    for number in range(50):
        writer.add(lines(number))
    place.open.set()
    writer.flush(60.0)
    assert place.text == lines(*range(50))
    assert all(len(piece) <= 64 and piece.endswith(b"\n") for piece in place.pieces)
    assert len(place.pieces) <= 14  # five lines each, whatever the first piece held


def test_a_line_leaves_without_a_flush_or_another_line() -> None:
    place = Place()
    place.writer().add(b"prompt\n")
    assert place.entered.wait(60)


def test_a_line_above_the_size_of_a_piece_goes_alone() -> None:
    place = Place()
    writer = place.writer()
    for line in (b"a\n", b"b" * 100 + b"\n", b"c\n"):
        writer.add(line)
    writer.flush(60.0)
    assert place.text == b"a\n" + b"b" * 100 + b"\nc\n"


def test_whoever_adds_never_waits_and_what_is_too_much_is_counted() -> None:
    place = Place()
    writer = place.writer()
    place.open.clear()
    writer.add(lines(0))
    assert place.entered.wait(60)
    for number in range(1, 101):  # 13 bytes each: 76 fit into the 1,000
        writer.add(lines(number))
    assert place.told == ["dropping"]
    place.open.set()
    writer.flush(60.0)
    assert place.text == lines(*range(76))
    assert place.told_dropped.wait(60)
    assert place.told == ["dropping", 25]
    writer.add(lines(7))
    writer.flush(60.0)
    assert place.text.endswith(lines(7))


class Stream(Place):
    """Writes nothing when there is nothing to write, as standard output does."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at = Semaphore(0)

    def __call__(self, piece: bytes) -> None:
        if piece:
            super().__call__(piece)
        else:
            self.looked_at.release()


def test_a_look_at_a_place_that_fails_does_not_mean_that_it_writes_again() -> None:
    place = Stream()
    writer = place.writer()
    place.error = OSError(32, "Broken pipe")
    writer.add(lines(0))
    writer.flush(60.0)
    for _ in range(2):  # the second look comes after what the thread does behind the first
        writer.wake()
        assert place.looked_at.acquire(timeout=60)
    assert place.told == ["dropping"]
    assert writer.untold_count() == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left"), ValueError("closed file")], ids=repr)
def test_a_place_that_fails_costs_its_lines_alone(error: Exception) -> None:
    place = Place()
    writer = place.writer()
    place.error = error
    for number in range(3):
        writer.add(lines(number))
        writer.flush(60.0)
    assert place.told == ["dropping"]
    place.error = None
    writer.add(lines(3))
    writer.flush(60.0)
    assert place.text == lines(3)
    assert place.told_dropped.wait(60)
    assert place.told == ["dropping", 3]


def test_what_was_not_told_can_be_asked_for_once() -> None:
    place = Place()
    writer = place.writer()
    place.error = OSError()
    writer.add(b"lost\n")
    writer.flush(60.0)
    assert [writer.untold_count(), writer.untold_count()] == [1, 0]


def test_a_flush_ends_though_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    writer = place.writer()
    place.open.clear()
    writer.add(b"kept\n")
    writer.flush(0.0)
    assert place.text == b""
    place.open.set()
    writer.flush(60.0)
    assert place.text == b"kept\n"


def test_a_wake_without_a_line_lets_the_place_look() -> None:
    place = Place()
    place.writer().wake()
    assert place.entered.wait(60)
    assert place.text == b""


def test_after_a_while_without_lines_somebody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_writer, "REPEAT_SECONDS", 0.01)
    place = Place()
    place.writer().add(b"last\n")
    assert place.quiet.wait(60)


def test_without_a_thread_lines_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class None_:
        def __init__(self, **options: Any) -> None: ...

        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    real: Callable[..., Any] = line_writer.Thread
    monkeypatch.setattr(line_writer, "Thread", None_)
    place = Place()
    writer = place.writer()
    for number in range(3):
        writer.add(lines(number))
    assert place.text == lines(0, 1, 2)
    monkeypatch.setattr(line_writer, "Thread", real)
    writer.add(lines(3))
    writer.flush(60.0)
    assert place.text == lines(0, 1, 2, 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_writes_its_own_lines_and_not_its_parents() -> None:
    receive, send = os.pipe()
    hold = Event()

    def write(piece: bytes) -> None:
        if os.getpid() == parent:
            assert hold.wait(60)
        os.write(send, piece)

    parent = os.getpid()
    place = Place()
    writer = LineWriter(
        "a log",
        write,
        piece_bytes=64,
        waiting_max_bytes=1_000,
        dropping=lambda: None,
        dropped=place.dropped,
        quiet=lambda: None,
        monotonic=monotonic,
    )
    writer.add(b"parent\n")
    child = os.fork()
    if child == 0:
        writer.add(b"child\n")
        writer.flush(60.0)
        os._exit(0)
    os.waitpid(child, 0)
    hold.set()
    writer.flush(60.0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        assert pipe.read() == b"child\nparent\n"
