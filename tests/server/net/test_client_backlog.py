"""A client's messages that wait for a worker: when it is not read from, and when it is again.

It must not know sockets; the worker runs when a test says so.
"""

from collections import deque
from collections.abc import Callable

import pytest

from python_server.net.client_backlog import (
    HARD_BYTES,
    HARD_COUNT,
    HEAVY_BYTES,
    RESUME_COUNT,
    SOFT_BYTES,
    SOFT_COUNT,
    Backlog,
)
from python_server.net.threads import Door, Mailbox
from python_server.settings import TransportSettings
from wsframe import Opcode, encode_frame


class Jobs:
    """An executor whose jobs wait for the test."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], None]] = deque()
        self.submit = self.resubmit = self.waiting.append


class World:
    """A backlog between a loop and a worker that are both moved by hand."""

    def __init__(self) -> None:
        self.jobs = Jobs()
        self.mailbox = Mailbox(lambda: None, 1 << 20)
        self.told: list[bool] = []
        self.done: list[int] = []
        self.backlog = Backlog(Door(self.mailbox, self.jobs), self.told.append)

    def submit(self, count: int, size_bytes: int, *, beside: bool = False) -> None:
        submit = self.backlog.submit_beside if beside else self.backlog.submit
        for _ in range(count):
            if submit(lambda: self.done.append(size_bytes), size_bytes):
                self.backlog.pause()

    def work(self, batches: int | None = None) -> None:
        """A worker runs the strand, at most so many batches of it; the loop hears of nothing yet."""
        while self.jobs.waiting and batches != 0:
            self.jobs.waiting.popleft()()
            batches = None if batches is None else batches - 1

    def hear(self) -> None:
        self.mailbox.drain(lambda what, error: pytest.fail(f"{what}: {error}"))


# (messages, bytes of each): just below a bound, and at it.
BOUNDS = [(SOFT_COUNT, 1), (SOFT_COUNT, HEAVY_BYTES - 1), (8, SOFT_BYTES // 8), (1, SOFT_BYTES)]


@pytest.mark.parametrize("beside", [False, True], ids=["in order", "overtaking"])
@pytest.mark.parametrize(("count", "size_bytes"), BOUNDS)
def test_reading_pauses_at_the_bound_and_goes_on_when_most_is_done(
    count: int, size_bytes: int, beside: bool
) -> None:
    world = World()
    world.submit(count - 1, size_bytes, beside=beside)
    assert world.told == []
    world.submit(1, size_bytes, beside=beside)
    assert world.told == [True]
    world.work()
    world.hear()
    assert world.told == [True, False]
    assert world.done == [size_bytes] * count
    assert world.backlog.held_bytes == 0


def test_it_goes_on_no_sooner_than_most_is_done() -> None:
    """By number at RESUME_COUNT, by bytes at half: not a pause and a word for each message."""
    world = World()
    world.submit(SOFT_COUNT, 1)
    while world.backlog.strand.waiting_count >= RESUME_COUNT:
        assert world.told == [True]
        world.work(1)
        world.hear()
    assert world.told == [True, False]
    world = World()
    world.submit(2 * world.backlog.strand.BATCH_COUNT, SOFT_BYTES // world.backlog.strand.BATCH_COUNT)
    world.work(1)
    world.hear()
    assert world.told == [True]  # half of what came is done, the other half is as much as the bound
    world.work()
    world.hear()
    assert world.told == [True, False]


def test_what_comes_in_spite_of_the_pause_is_waited_for_as_well() -> None:
    """A POST is read to its end: its later messages must not swallow the word that the earlier are done."""
    world = World()
    world.submit(SOFT_COUNT, 1)
    world.work()  # the worker is done before the loop hears of it
    world.submit(SOFT_COUNT, 1)
    world.hear()
    assert world.told == [True]
    world.work()
    world.hear()
    assert world.told == [True, False]


def test_who_can_be_paused_is_not_overloaded_by_what_one_receive_brings() -> None:
    frame_bytes = len(encode_frame(Opcode.BINARY, b"", bytes(4)))
    assert SOFT_COUNT + TransportSettings().receive_buffer_bytes // frame_bytes < HARD_COUNT


@pytest.mark.parametrize(("count", "size_bytes"), [(HARD_COUNT, 1), (64, HARD_BYTES // 64)])
def test_who_goes_on_for_ever_is_overloaded(count: int, size_bytes: int) -> None:
    world = World()
    world.submit(count - 1, size_bytes)
    assert not world.backlog.overloaded
    world.submit(2, size_bytes)  # with the strand idle the first is taken at once
    assert world.backlog.overloaded


def test_who_is_read_again_before_its_messages_are_handled_is_paused_again() -> None:
    world = World()
    world.submit(SOFT_COUNT, 1)
    world.backlog.resume()  # an answer of it is waited for
    assert world.told == [True, False]
    world.submit(1, 1)
    assert world.told == [True, False, True]


def test_a_worker_that_ends_after_the_server_is_not_disturbed() -> None:
    world = World()
    world.submit(SOFT_COUNT, SOFT_BYTES)
    world.mailbox.close()
    world.work()
    assert len(world.done) == SOFT_COUNT
