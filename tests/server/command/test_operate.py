"""`wsframe stop`, `reload` and `dump`, on told time (command/operate.py).

It must not know sockets or processes.
"""

import signal
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from python_server.command import operate
from python_server.command.cli import main
from python_server.control.places import Server
from python_server.net.system import REAL


class Machine:
    """One server on it, which lives for `seconds` after it was told to end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.now = 50.0
        self.signals: list[tuple[int, int]] = []
        self.ends = self.now + seconds
        self.answers: dict[int, dict[str, Any] | None] = {}
        monkeypatch.setattr(operate, "chosen", lambda *options: Server(10, [], "/c.sock"))
        monkeypatch.setattr(operate, "lives", lambda process: self.now < self.ends)
        monkeypatch.setattr(operate, "REAL", replace(REAL, monotonic=lambda: self.now))
        monkeypatch.setattr(operate.time, "sleep", self.sleep)
        monkeypatch.setattr(operate.os, "kill", lambda *told: self.signals.append(told))
        monkeypatch.setattr(operate, "ask_workers", lambda *asked: self.answers)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, prog_name="wsframe")


def test_stop_waits_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 29.0)
    done = machine.run("stop")
    assert (done.exit_code, done.output) == (0, "process 10 has ended\n")
    assert machine.signals == [(10, signal.SIGTERM)]
    assert 79.0 <= machine.now < 79.1


def test_stop_gives_up_in_time_and_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 1000.0)
    done = machine.run("stop", "--timeout", "2")
    assert done.exit_code == 1
    assert "has not ended within 2 s" in done.output
    assert done.output.endswith("`kill -QUIT 10` [not-stopped]\n")
    assert 52.0 <= machine.now < 52.1


def test_reload_is_a_hang_up(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 1000.0)
    assert machine.run("reload").output.startswith("process 10 reloads")
    assert machine.signals == [(10, signal.SIGHUP)]


def test_a_process_that_may_not_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 1000.0)

    def refuse(process: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(operate.os, "kill", refuse)
    done = machine.run("reload")
    assert done.exit_code == 1
    assert done.output == "Error: process 10: Operation not permitted [no-running-server]\n"


def test_dump_says_who_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 1000.0)
    machine.answers = {11: {"dump": "stacks of 11"}, 12: None}
    done = machine.run("dump", "--stdout")
    assert done.exit_code == 1
    assert done.output.startswith("stacks of 11\n")
    assert "`kill -ABRT 12`" in done.output
    assert done.output.endswith("[no-dump]\n")
    machine.answers = {11: {"dump": "stacks of 11"}}
    done = machine.run("dump")
    assert (done.exit_code, done.output) == (0, "process 11 has written it into its log\n")


def test_dump_of_a_server_whose_workers_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 1000.0)
    done = machine.run("dump")
    assert (done.exit_code, done.output) == (
        1,
        "Error: process 10 has no workers that could be asked; its log says why [no-dump]\n",
    )
