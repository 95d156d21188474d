"""What is watched, what a change leads to, and how a child ends; the child is a stand-in, nothing is started.

It must not know sockets or a real program.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from python_server.serve import reloader
from python_server.serve.reloader import Watched


class Child:
    """A process that ends with `code` when it is asked to, unless it is `deaf`."""

    def __init__(self, log: list[Any], *, code: int | None = None, deaf: bool = False) -> None:
        self.log, self.code, self.deaf = log, code, deaf

    def poll(self) -> int | None:
        return self.code

    def send_signal(self, number: int) -> None:
        self.log.append(signal.Signals(number).name)
        if not self.deaf:
            self.code = -number

    def kill(self) -> None:
        self.log.append("killed")
        self.code = -9

    def wait(self, timeout: float | None = None) -> int:
        if self.code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("child", timeout)
        return self.code


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    log: list[Any] = []
    monkeypatch.setattr(reloader.log, "say", log.append)
    monkeypatch.setattr(reloader.log, "warn", log.append)
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, *reloader.PASSED_ON)}
    yield log
    for number, handler in kept.items():
        signal.signal(number, handler)


def run(monkeypatch: pytest.MonkeyPatch, children: list[Child], looks: Any) -> list[Child]:
    """Watch until `looks` is over; the children that are left."""
    monkeypatch.setattr(reloader, "_start", lambda listening: children.pop(0))
    monkeypatch.setattr(reloader, "_changes", lambda watched: looks)
    reloader._run(Watched([]), [])
    return children


def test_a_change_ends_the_child_and_starts_another(monkeypatch: pytest.MonkeyPatch, log: list[Any]) -> None:
    children = [Child(log), Child(log)]
    paths = {os.path.abspath(name) for name in ("b.py", "a.py", "d.py", "c.py")}
    assert run(monkeypatch, children, iter([set(), paths])) == []
    assert log == ["a.py, b.py, c.py changed: the server restarts", "SIGTERM", "SIGTERM"]


def test_a_child_starts_when_changes_and_signals_are_noticed(
    monkeypatch: pytest.MonkeyPatch, log: list[Any]
) -> None:
    """Whoever sees it serve may edit a file, or end its parent, before that comes to its next line."""

    def start(listening: object) -> Child:
        log.append(signal.getsignal(signal.SIGTERM))
        return Child(log, code=0)

    monkeypatch.setattr(reloader, "_start", start)
    monkeypatch.setattr(reloader, "_changes", lambda watched: log.append("watched") or iter([set()]))
    reloader._run(Watched([]), [])
    assert log == ["watched", reloader._interrupt]


def test_the_programs_own_good_end_is_the_end(monkeypatch: pytest.MonkeyPatch, log: list[Any]) -> None:
    run(monkeypatch, [Child(log, code=0)], iter([set(), {"never looked at"}]))
    assert log == []


def test_a_fault_is_told_once_and_waits_for_a_change(monkeypatch: pytest.MonkeyPatch, log: list[Any]) -> None:
    left = run(monkeypatch, [Child(log, code=1), Child(log)], iter([set(), set(), {os.path.abspath("a.py")}]))
    assert left == []
    assert log == [
        "the program has ended with a fault: the next change of a file starts it again",
        "a.py changed: the server restarts",
        "SIGTERM",
    ]


@pytest.mark.parametrize("number", [None, signal.SIGTERM])
def test_a_signal_ends_both(monkeypatch: pytest.MonkeyPatch, log: list[Any], number: int | None) -> None:
    def looks() -> Iterator[set[str]]:
        if number is None:
            raise KeyboardInterrupt  # Ctrl-C, which the child hears as well
        signal.raise_signal(number)
        yield set()

    run(monkeypatch, [Child(log)], looks())
    assert log == ["SIGTERM"]


def test_other_signals_are_the_childs(monkeypatch: pytest.MonkeyPatch, log: list[Any]) -> None:
    child = Child(log, deaf=True)

    def looks() -> Iterator[set[str]]:
        for number in reloader.PASSED_ON:
            signal.raise_signal(number)
        child.code = 0
        yield set()

    run(monkeypatch, [child], looks())
    assert log == [signal.Signals(number).name for number in reloader.PASSED_ON]


def test_a_child_that_does_not_stop_is_killed(log: list[Any]) -> None:
    child: Any = Child(log, deaf=True)
    reloader._stop(child)
    assert log == ["SIGTERM", "killed"]


def test_a_child_gets_the_sockets_and_knows_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *command, **options: started.append(options))
    sockets: Any = [SimpleNamespace(fileno=lambda: 7), SimpleNamespace(fileno=lambda: 9)]
    reloader._start(sockets)
    (options,) = started
    assert options["pass_fds"] == [7, 9]
    assert options["env"][reloader.INHERITED_VARIABLE] == "7,9"
    assert options["env"][reloader.RELOADER_VARIABLE] == str(os.getpid())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "a.py",
        "b.txt",
        "page.html",
        "below/c.py",
        "tests/d.py",
        ".hidden/e.py",
        "__pycache__/f.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    return tmp_path


def test_python_files_below_the_folders_and_named_files_are_watched(tree: Path) -> None:
    watched = Watched([str(tree)], [str(tree / "page.html")], ["*/tests/*"])
    assert {os.path.relpath(path, tree) for path in reloader._paths(watched)} == {
        "a.py",
        "below/c.py",
        "page.html",
    }


def test_other_kinds_of_files_may_be_watched_and_folders_left_out(tree: Path) -> None:
    watched = Watched([str(tree)], ignored=["*/below", "*/below/*"], included=["*/*.txt"])
    assert {os.path.relpath(path, tree) for path in reloader._paths(watched)} == {
        "a.py",
        "b.txt",
        "tests/d.py",
    }


def test_times_are_compared_from_look_to_look(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloader.time, "sleep", lambda seconds: None)
    looks = reloader._changes(Watched([str(tree)], [str(tree / "gone.html")], polling=True))
    assert next(looks) == set()
    os.utime(tree / "a.py", ns=(1, 1))
    (tree / "new.py").write_text("")
    (tree / "below/c.py").unlink()
    assert {os.path.relpath(path, tree) for path in next(looks)} == {"a.py", "new.py", "below/c.py"}
    assert next(looks) == set()


@pytest.mark.parametrize("polling", [True, False])
def test_what_changes_before_the_first_look_is_told_once(
    tree: Path, monkeypatch: pytest.MonkeyPatch, polling: bool
) -> None:
    changed = str(tree / "a.py")
    told: list[set[Any]] = [set(), {(1, changed)}, {(1, changed)}]
    python = SimpleNamespace(DefaultFilter=lambda: lambda *told: True, watch=lambda *places, **options: told)
    monkeypatch.setitem(sys.modules, "watchfiles", python)
    monkeypatch.setattr(reloader.time, "sleep", lambda seconds: None)
    looks = reloader._changes(Watched([str(tree)], polling=polling))
    os.utime(changed, ns=(1, 1))
    assert [next(looks), next(looks)] == [{changed}, set()]
    os.utime(changed, ns=(2, 2))
    assert next(looks) == {changed}


@pytest.mark.parametrize("file", ["later/page.html", "a.py/page.html"])
def test_a_file_whose_folder_is_missing_is_waited_for(
    tree: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setattr(reloader.time, "sleep", lambda seconds: None)
    looks = reloader._changes(Watched([str(tree)], [str(tree / file)]))
    assert next(looks) == set()
    if file.startswith("later"):
        (tree / "later").mkdir()
        (tree / file).write_text("")
        assert next(looks) == {str(tree / file)}


def test_what_the_system_tells_of_is_filtered_alike(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def watch(*places: str, watch_filter: Any, rust_timeout: int, **options: Any) -> Iterator[Any]:
        told = [tree / name for name in ("a.py", "b.txt", "page.html", "tests/d.py")]
        asked.append((set(places), rust_timeout))
        yield {(1, str(path)) for path in told if watch_filter(1, str(path))}

    python = SimpleNamespace(DefaultFilter=lambda: lambda change, path: True, watch=watch)
    monkeypatch.setitem(sys.modules, "watchfiles", python)
    looks = reloader._changes(Watched([str(tree)], [str(tree / "page.html")], ["*/tests/*"], 0.5))
    assert {os.path.relpath(path, tree) for path in next(looks)} == {"a.py", "page.html"}
    assert asked == [({str(tree)}, 500)]
    looks = reloader._changes(Watched([str(tree)], ignored=["*/a.py"], included=["*/*.txt"]))
    assert {os.path.relpath(path, tree) for path in next(looks)} == {"b.txt", "tests/d.py"}


def test_the_programs_folders_are_those_outside_of_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    module = SimpleNamespace(__file__=str(tmp_path / "below" / "module.py"))
    installed = SimpleNamespace(__file__=os.path.join(sys.prefix, "lib", "module.py"))
    monkeypatch.setattr(sys, "modules", {"ours": module, "theirs": installed, "built in": SimpleNamespace()})
    assert reloader.folders_of_program() == [str(tmp_path)]


@pytest.mark.parametrize("asked", [True, False])
def test_without_inherited_sockets_it_is_said_and_the_program_serves(
    monkeypatch: pytest.MonkeyPatch, log: list[Any], asked: bool
) -> None:
    monkeypatch.setattr(reloader, "UNIX", False)
    assert not reloader.reloads(asked)
    assert [line.partition(":")[0] for line in log] == ["there is no reloader"] * asked


def test_the_parent_watches_and_its_child_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [reloader.reloads(True), reloader.reloads(False)] == [True, False]
    monkeypatch.setenv(reloader.INHERITED_VARIABLE, "7")
    assert not reloader.reloads(True)
