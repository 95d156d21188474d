"""New code in the same process: it is tried in a child, and what does not load is not served.

It must not know how a server ends; `tests/e2e/test_operation.py` sends the signal to a real one.
"""

import atexit
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from python_server.net.sockets import Listening, bind_unix
from python_server.observe import log
from python_server.serve import reexec as module
from python_server.serve.reexec import CLIENTS, GOOD, Reexec, inherited_from_itself
from python_server.workers.spawn import INHERITED_VARIABLE

LOADS = f"print({GOOD!r}, flush=True)"


class Process:
    """A server that is told to take new code, its timers run by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self._monkeypatch = monkeypatch
        self.said: list[str] = []
        self.executed: list[tuple[Any, ...]] = []
        self.happened: list[str] = []
        self.timers: list[Callable[[], None]] = []
        monkeypatch.setattr(log, "say", self.said.append)
        monkeypatch.setattr(log, "warn", self.said.append)
        monkeypatch.setattr(os, "execve", lambda *arguments: self.executed.append(arguments))
        monkeypatch.setenv("LISTEN_PID", "1")
        monkeypatch.chdir(tmp_path)
        self._hang_up_before = signal.getsignal(signal.SIGHUP)
        self.reexec = Reexec()
        path = str(tmp_path / "s")
        self.listening = Listening([bind_unix(path, 5, 0o600)], [(path, os.stat(path).st_ino)])
        self.reexec.keep(CLIENTS, self.listening)
        self.beside = Listening([bind_unix(f"{path}2", 5, 0o600)], [(f"{path}2", os.stat(f"{path}2").st_ino)])
        self.reexec.keep("metrics", self.beside)

    def hang_up(self, program: str) -> None:
        """The signal, where this is the program."""
        self._monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", program])
        self.reexec.begin(
            lambda seconds, function: self.timers.append(function),
            lambda: self.happened.append("stop"),
            lambda: self.happened.append("refused"),
        )

    def look(self, ended: bool = True) -> None:
        """All timers, until there is none; each once the child has ended."""
        while self.timers:
            with suppress(ChildProcessError):
                if ended:
                    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            self.timers.pop(0)()
            os.sched_yield()

    def end(self) -> None:
        """The exit handlers."""
        self.reexec._execute()

    def close(self) -> None:
        signal.signal(signal.SIGHUP, self._hang_up_before)
        self.reexec._end_check()
        atexit.unregister(self.reexec._execute)
        for name, listening in self.reexec._listening.items():
            for sock in self.reexec._kept[name]:
                sock.close()
            listening.close()


def lives(process_id: int) -> bool:
    """Does it run? A zombie does not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Process]:
    made = Process(monkeypatch, tmp_path)
    assert not made.reexec.loaded()
    yield made
    made.close()


def test_code_that_loads_is_executed_on_the_same_sockets(process: Process, tmp_path: Path) -> None:
    process.hang_up(
        f"import os; assert os.environ['WSFRAME_CHECK_CONFIG'] == 'true'; open('tried', 'w'); {LOADS}"
    )
    process.look()
    assert process.happened == ["stop"]
    assert (tmp_path / "tried").exists()
    assert process.reexec.ending
    assert process.listening.paths == process.beside.paths == []  # they are the new program's to remove
    os.chdir("/")
    process.end()
    program, arguments, environment = process.executed[0]
    assert (program, arguments) == (sys.executable, sys.orig_argv)
    assert os.getcwd() == str(tmp_path)
    assert "LISTEN_PID" not in environment
    (kept,), (beside,) = process.reexec._kept.values()
    assert all(os.get_inheritable(sock.fileno()) for sock in (kept, beside))
    assert environment[INHERITED_VARIABLE] == str(kept.fileno())
    place = json.loads(environment[module.REEXEC_VARIABLE])
    path = str(tmp_path / "s")
    assert place["paths"] == [[path, os.stat(path).st_ino]]
    assert place["beside"] == {"metrics": [[beside.fileno()], [[f"{path}2", os.stat(f"{path}2").st_ino]]]}


def test_code_that_does_not_load_is_not_served(process: Process) -> None:
    process.hang_up("import sys; print('before'); sys.exit('importing app raised SyntaxError')")
    process.look()
    assert process.happened == ["refused"]
    assert process.said[-1].endswith("the old code goes on: importing app raised SyntaxError")
    process.end()
    assert process.executed == []
    process.hang_up(LOADS)  # mended
    process.look()
    assert process.happened == ["refused", "stop"]


def test_a_child_without_words_without_end_and_without_python(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.hang_up("raise SystemExit(3)")
    process.look()
    assert process.said[-1].endswith("its process ended with status 3 before it was loaded")
    monkeypatch.setattr(module, "CHECK_MAX_SECONDS", 0.1)
    process.hang_up("import time; time.sleep(1000)")
    process.look(ended=False)
    assert process.said[-1].endswith("it did not load within 0.1 s")
    monkeypatch.setattr(sys, "executable", "/no/python")
    process.hang_up("")
    assert process.said[-1].endswith("cannot start /no/python: No such file or directory")
    assert process.happened == ["refused"] * 3


def test_without_a_place_for_what_a_check_says_the_old_code_goes_on(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp")

    with monkeypatch.context() as patched:
        patched.setattr(module.tempfile, "TemporaryFile", full)
        process.hang_up(LOADS)
    assert process.said[-1] == (
        "the new code is not loaded, the old code goes on: the check needs a temporary file: "
        "[Errno 28] No space left on device: '/tmp'"
    )
    process.hang_up(LOADS)
    process.look()
    assert process.happened == ["refused", "stop"]


def test_whoever_is_told_to_stop_meanwhile_stops(process: Process) -> None:
    process.hang_up(LOADS)
    process.look()
    process.reexec.give_up()
    process.reexec.give_up()
    process.end()
    assert process.executed == []
    assert len(process.listening.paths) == 1


def test_new_code_is_not_tried_once_the_process_is_to_stop(process: Process) -> None:
    process.reexec.give_up()
    process.hang_up(LOADS)
    assert process.timers == []


def test_a_check_ends_with_what_it_has_started_when_the_process_is_to_stop(
    process: Process, tmp_path: Path
) -> None:
    process.hang_up("import os, time\nos.fork()\nopen(f'loads-{os.getpid()}', 'w').close()\ntime.sleep(1000)")
    while len(started := [int(path.name[6:]) for path in tmp_path.glob("loads-*")]) < 2:
        os.sched_yield()
    process.reexec.give_up()
    while any(map(lives, started)):
        os.sched_yield()
    process.look(ended=False)
    assert process.happened == []


def test_code_that_ends_the_process_with_status_0_is_not_served(process: Process) -> None:
    process.hang_up("import sys; sys.exit(0)")
    process.look()
    assert process.happened == ["refused"]
    assert process.said[-1].endswith("its process ended with status 0 before it was loaded")


def test_an_application_that_ignores_its_children_does_not_hide_a_fault(process: Process) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system then keeps no status
    try:
        process.hang_up("raise SystemExit('importing app raised SyntaxError')")
        process.look()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert process.happened == ["refused"]
    assert process.said[-1].endswith("importing app raised SyntaxError")


def test_threads_that_never_end_do_not_hold_a_check_up(process: Process, tmp_path: Path) -> None:
    thread = "threading.Thread(target=time.sleep, args=[1000]).start()"
    process.hang_up(f"import threading, time; {thread}; {LOADS}; open('loaded', 'w').close()")
    while not (tmp_path / "loaded").exists():
        os.sched_yield()
    process.look(ended=False)
    assert process.happened == ["stop"]


def test_a_signal_during_a_check_has_the_code_tried_once_more(process: Process) -> None:
    process.hang_up("raise SystemExit('a fault that is mended before it is told')")
    process.hang_up(LOADS)
    process.hang_up(LOADS)
    process.look()
    assert process.happened == ["stop"]


def test_a_signal_before_the_process_serves_is_kept(process: Process) -> None:
    process.reexec._state = module.ReexecState.LOADING
    os.kill(os.getpid(), signal.SIGHUP)
    assert process.reexec.loaded()
    process.hang_up(LOADS)
    process.look()
    assert process.happened == ["stop"]
    os.kill(os.getpid(), signal.SIGHUP)  # the new code is loaded later than this
    assert process.reexec.ending


def test_the_applications_threads_are_waited_for_so_long(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.reexec.served(0.0)
    process.hang_up(LOADS)
    process.look()
    assert process.executed == []
    process.reexec.served(0.0)
    while not process.executed:
        os.sched_yield()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert "are cut off" in process.said[-1]


def test_a_child_of_the_application_executes_nothing(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.hang_up(LOADS)
    process.look()
    monkeypatch.setattr(os, "getpid", lambda: 1)
    process.end()
    assert process.executed == []


def test_a_program_that_has_gone_is_told(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses: list[int] = []
    process.hang_up(LOADS)
    process.look()

    def gone(*arguments: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "execve", gone)
    monkeypatch.setattr(os, "_exit", statuses.append)
    process.end()
    assert statuses == [1]
    assert process.said[-1] == f"cannot start {sys.executable}: No such file or directory; this process ends"


def test_the_folder_keeps_the_name_that_the_shell_gave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "first").mkdir()
    link = tmp_path / "current"
    link.symlink_to("first")
    monkeypatch.chdir(link)
    for named, found in {str(link): str(link), "/": os.getcwd(), "": os.getcwd()}.items():
        assert module._folder({"PWD": named}) == found


def test_the_new_program_finds_sockets_and_paths() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number = os.dup(sock.fileno())
        os.set_inheritable(number, True)
        beside = {"metrics": [[os.dup(number)], [["/run/m", 8]]]}
        place = {"process": os.getpid(), "paths": [["/run/s", 7]], "beside": beside}
        environment = {INHERITED_VARIABLE: str(number), module.REEXEC_VARIABLE: json.dumps(place)}
        found_all = inherited_from_itself(environment)
        assert found_all.keys() == {CLIENTS, "metrics"}
        assert environment == {}
        metrics = found_all["metrics"]
        assert metrics.paths == [("/run/m", 8)]
        metrics.close()
        listening = found_all[CLIENTS]
        assert listening.paths == [("/run/s", 7)]
        found = listening.sockets[0]
        assert found.getsockname() == sock.getsockname()
        assert not found.get_inheritable()
        copy = found.dup()
        with pytest.raises(BlockingIOError):  # neither it nor a copy blocks
            found.accept()
        copy.close()
        listening.paths.clear()
        listening.close()


@pytest.mark.parametrize("text", [None, '{"process": 1, "paths": []}'])
def test_another_process_is_not_meant(text: str | None) -> None:
    environment = {INHERITED_VARIABLE: "3"} | ({module.REEXEC_VARIABLE: text} if text else {})
    before = dict(environment)
    assert inherited_from_itself(environment) == {}
    assert environment == before
