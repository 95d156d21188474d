"""A fatal signal writes stacks where the error log is (observe/fatal_signals.py).

It must not know the server.
"""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

PROGRAM = """
import faulthandler, os, signal, sys
from python_server.observe.fatal_signals import write_stacks_at_fatal_signals
from python_server.observe.log import reopen_logs
def at_the_end():
    os.kill(os.getpid(), signal.SIGSEGV)
write_stacks_at_fatal_signals(sys.argv[1] or None)
for moved in sys.argv[2:]:
    os.rename(sys.argv[1], moved)
    reopen_logs()
    assert moved not in map(os.path.realpath, os.scandir("/proc/self/fd"))
at_the_end()
"""


def run(path: str, *options: str, moved: Sequence[str] = ()) -> str:
    command = [sys.executable, *options, "-c", PROGRAM, path, *moved]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGSEGV
    return done.stderr


def test_into_the_file_behind_what_stands_there(tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    log.write_text("a line\n")
    assert run(str(log)) == ""
    assert log.read_text().startswith("a line\nFatal Python error: Segmentation fault\n")
    assert " in at_the_end\n" in log.read_text()


@pytest.mark.parametrize("path", ["", "/no/such/folder/log"])
def test_into_standard_error_or_nowhere(path: str) -> None:
    assert ("Segmentation fault" in run(path)) == (not path)


def test_who_has_asked_for_it_already_decides(tmp_path: Path) -> None:
    assert "Segmentation fault" in run(str(tmp_path / "log"), "-X", "faulthandler")
    assert not (tmp_path / "log").exists()


def test_into_the_new_file_once_it_has_been_moved(tmp_path: Path) -> None:
    log, moved = tmp_path / "error.log", [str(tmp_path / "log.1"), str(tmp_path / "log.2")]
    assert run(str(log), moved=moved) == ""
    assert log.read_text().startswith("Fatal Python error: Segmentation fault\n")
    assert [Path(each).read_text() for each in moved] == ["", ""]
