"""The workers of one arbiter in shared memory (generation.py), and the words that change it (arbiter.py).

It must not know gunicorn: the processes are this one, its children, and none.
"""

import os
import signal
import tempfile
from pathlib import Path

import pytest

from python_server.gunicorn.arbiter import ArbiterLink
from python_server.gunicorn.generation import PID, STAGE, Generation, Stage
from python_server.net.scoreboard import ROWS_COUNT
from python_server.workers.link_messages import Succession, encode
from python_server.workers.peers import MessageKind
from python_server.workers.rendezvous import Rendezvous


@pytest.fixture
def generation() -> Generation:
    return Generation()


def worker(generation: Generation, age: int, index: int = 0, stage: Stage = Stage.SERVING) -> int:
    row = generation.claim(age)
    generation.write(row, PID, os.getpid())
    generation.write(row, STAGE, stage)
    if index:
        generation.give(row, index)
    return row


def gone_process() -> int:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_whom_a_worker_that_ends_leaves_alone(generation: Generation) -> None:
    """Those that were forked before it go before it, or with it; those that were told to end go, too."""
    for age, index in ((1, 2), (2, 1), (3, 3), (4, 4)):
        worker(generation, age, index)
    assert generation.ending() == set()
    assert generation.ending(elder_than=3) == {1, 2}
    worker(generation, 5, 5, Stage.DRAINING)
    assert generation.ending(elder_than=2) == {2, 5}
    assert generation.last_index == 5


def test_a_worker_that_loads_is_seen_from_its_fork_on(generation: Generation) -> None:
    worker(generation, 1, 1)
    assert not generation.loading()
    row = generation.claim(2)  # the arbiter: its process has no number yet
    assert generation.loading()
    assert generation.loading(younger_than=1)
    assert not generation.loading(younger_than=2)
    generation.write(row, PID, os.getpid())
    assert generation.loading()
    generation.write(row, STAGE, Stage.SERVING)
    assert not generation.loading()


def test_a_worker_that_died_while_it_loaded_is_not_waited_for(generation: Generation) -> None:
    row = generation.claim(2)
    generation.write(row, PID, gone_process())
    assert not generation.loading()


def test_rows_of_the_dead_are_taken_again(generation: Generation) -> None:
    dead = worker(generation, 1, 1)
    living = worker(generation, 2, 2)
    generation.write(dead, PID, gone_process())
    assert generation.claim(3) == dead
    assert generation.claim(4) not in (dead, living)
    assert generation.last_index == 2  # it is not forgotten with the row


def test_more_workers_than_rows_are_refused(generation: Generation) -> None:
    for age in range(1, ROWS_COUNT):
        generation.claim(age)
    with pytest.raises(RuntimeError, match="rows"):
        generation.claim(ROWS_COUNT)


def test_children_share_the_memory(generation: Generation) -> None:
    row = generation.claim(1)
    pid = os.fork()
    if not pid:
        generation.write(row, PID, os.getpid())
        generation.give(row, 9)
        os._exit(0)
    os.waitpid(pid, 0)
    assert generation.last_index == 9
    assert not generation.loading()


def test_each_word_does_what_a_supervisor_would(generation: Generation) -> None:
    with tempfile.TemporaryDirectory(prefix="met-") as folder:
        tell_everything(generation, Path(folder))


def tell_everything(generation: Generation, folder: Path) -> None:
    replaced: list[bool] = []
    stopped: list[int] = []
    row = worker(generation, 1, 1, Stage.LOADING)
    rendezvous = Rendezvous(str(folder / "met"))
    link = ArbiterLink(generation, row, rendezvous, os.getpid(), lambda: replaced.append(True))
    assert generation.loading()
    assert link.send(MessageKind.READY)
    assert not generation.loading()
    assert generation.ending() == set()
    assert link.send(MessageKind.DRAINING)
    assert generation.ending() == {1}
    assert link.send(MessageKind.REPLACE_ME)
    assert replaced == [True]
    assert link.send(MessageKind.SUCCESSOR, encode(Succession(1, 2)))
    meeting = rendezvous.join()
    assert meeting.successors == {1: 2}
    meeting.listening.close()
    former = signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    try:
        assert link.send(MessageKind.STOP)
    finally:
        signal.signal(signal.SIGTERM, former)
    assert stopped == [signal.SIGTERM]
    assert link.queued_bytes == 0
    link.close()
