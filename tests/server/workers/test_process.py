"""A worker's process, real each time: what it is given and told, and how it ends (process.py).

It must not know the supervisor, or how a worker serves: the program here sends one word and waits for one.
"""

import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from python_server.net.loop import Loop
from python_server.net.scoreboard import Scoreboard
from python_server.workers import link_messages
from python_server.workers.peers import MessageKind
from python_server.workers.process import ALIVE, Life, WorkerProcess, exit_text
from python_server.workers.spawn import INHERITED_VARIABLE, WorkerSlot

# It says READY, and ends with the kind of the first message that it hears.
PROGRAM = """
import os, socket, sys
from time import monotonic
from python_server.net.link import HEADER, encode
from python_server.workers.peers import MessageKind
from python_server.workers.spawn import take_slot
leads_group = os.getpgrp() == os.getpid()
said = f"{os.environ['WSFRAME_INHERITED_FDS']} {'NOTIFY_SOCKET' in os.environ} {leads_group}"
slot = take_slot(os.environ, monotonic)
slot.control.setblocking(True)
slot.control.sendall(encode(MessageKind.READY, said.encode())[0])
kind, flags, length = HEADER.unpack(slot.control.recv(HEADER.size, socket.MSG_WAITALL))
slot.control.sendall(encode(MessageKind.STOP, slot.control.recv(length))[0])
sys.exit(kind)
"""
STANDS_STILL = "import signal; signal.pause()"


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.reported: list[str] = []
        self.loop = Loop(lambda what, error: self.reported.append(f"{what}: {error}"))
        self.board = Scoreboard(monotonic)
        self.heard: list[tuple[int, int, bytes]] = []
        self.children: list[WorkerProcess] = []

    def start(
        self, program: str = PROGRAM, *others: WorkerProcess, listening: list[Any] | None = None
    ) -> WorkerProcess:
        self.monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", program])
        slot = WorkerSlot(len(self.children) + 1, self.board.claim(), "host", self.board)
        child = WorkerProcess(
            self.loop,
            slot,
            others,
            listening or [],
            lambda child, kind, payload: self.heard.append((child.index, kind, payload)),
            lambda what, error: self.reported.append(f"{what}: {error}"),
            None,
        )
        self.children.append(child)
        return child

    def serving(self, *others: WorkerProcess, listening: list[Any] | None = None) -> WorkerProcess:
        """One that has said so."""
        child = self.start(PROGRAM, *others, listening=listening)
        while (child.index, MessageKind.READY) not in [(index, kind) for index, kind, _ in self.heard]:
            self.loop.run_once(60)
        child.serves(self.loop.now)
        return child

    def end(self, child: WorkerProcess) -> int | None:
        """Its exit code, and what it said last has been heard."""
        child.reap()
        self.children.remove(child)
        assert child.life is Life.GONE
        return child.ended()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(monkeypatch)
    yield bench
    for child in bench.children:
        child.kill()
        child.reap()
    bench.loop.close()
    bench.board.close()
    assert bench.reported == []


def test_a_worker_has_its_sockets_a_group_of_its_own_and_no_word_for_systemd(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nobody")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        child = bench.serving(listening=[listening])
        assert bench.heard == [(1, MessageKind.READY, f"{listening.fileno()} False True".encode())]
    assert child.life is Life.SERVING
    assert child.name.startswith("worker 1 (process ")
    assert INHERITED_VARIABLE not in os.environ
    assert child.ended() is None


def test_a_worker_that_serves_is_told_to_drain_and_what_it_says_last_is_heard(bench: Bench) -> None:
    child = bench.serving()
    child.deadline = bench.loop.call_later(1_000, lambda: None)
    child.drain(7)
    assert child.life is Life.DRAINING
    bench.loop.run_once(0)
    assert bench.end(child) == MessageKind.DRAIN
    assert bench.heard[-1] == (1, MessageKind.STOP, link_messages.encode(link_messages.Drain(7)))
    assert child.deadline.function is None


def test_a_worker_that_still_loads_is_ended_by_a_signal(bench: Bench) -> None:
    child = bench.start(STANDS_STILL)
    child.drain(None)
    assert child.life is Life.DRAINING
    assert bench.end(child) == -signal.SIGTERM


def test_one_that_loads_has_nothing_to_cut_off_and_one_that_serves_is_asked(bench: Bench) -> None:
    loading, serving = bench.start(STANDS_STILL), bench.serving()
    for child in (loading, serving):
        child.quit()
        assert child.life is Life.KILLED
        child.quit()  # once is enough
    assert bench.end(loading) == -signal.SIGKILL
    assert bench.end(serving) == -signal.SIGQUIT


def test_a_worker_may_be_killed_more_than_once(bench: Bench) -> None:
    child = bench.serving()
    child.kill()
    child.kill()
    assert child.life not in ALIVE
    assert bench.end(child) == -signal.SIGKILL


def test_who_lives_gets_the_link_to_a_new_one(bench: Bench) -> None:
    first = bench.serving()
    second = bench.serving(first)
    assert bench.end(first) == MessageKind.HELLO
    assert (1, MessageKind.STOP, link_messages.encode(link_messages.NewWorker(2))) in bench.heard
    second.drain(None)
    bench.loop.run_once(0)
    assert bench.end(second) == MessageKind.DRAIN


def descriptors_count() -> int:
    gc.collect()  # what was left to the collector is open no more, then and now
    return len(os.listdir("/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd"))


def test_a_link_to_one_that_has_gone_is_closed(bench: Bench) -> None:
    gone = bench.start("raise SystemExit")
    gone.reap()
    before = descriptors_count()
    gone.tell(MessageKind.HELLO, link_messages.NewWorker(2), os.dup(0))
    assert descriptors_count() == before
    bench.children.clear()


def test_a_system_without_processes_keeps_no_descriptor(bench: Bench) -> None:
    first = bench.start(STANDS_STILL)
    before = descriptors_count()
    bench.monkeypatch.setattr(sys, "executable", "/there/is/no/python")
    with pytest.raises(OSError, match="No such file"):
        bench.start(STANDS_STILL, first)
    assert descriptors_count() == before


@pytest.mark.parametrize(("code", "text"), [(0, "exit code 0"), (-9, "signal SIGKILL"), (-250, "signal 250")])
def test_exit_codes_in_words(code: int, text: str) -> None:
    assert exit_text(code) == text
