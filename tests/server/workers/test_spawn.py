"""What a worker is given: into a process and out of its environment (spawn.py).

It must not know the supervisor.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from python_server.net.link import pair
from python_server.net.scoreboard import Row, Scoreboard
from python_server.workers.spawn import WORKER_VARIABLE, WorkerSlot, is_worker, take_slot

CHILD = """
import os, subprocess, sys
from time import monotonic
from python_server.workers.spawn import is_worker, take_slot
from python_server.net.scoreboard import Row
assert is_worker(os.environ)
below = subprocess.run([sys.executable, "-c",
    "import os; from time import monotonic; from python_server.workers.spawn import is_worker, take_slot;"
    "assert not is_worker(os.environ); assert take_slot(os.environ, monotonic) is None"])
assert below.returncode == 0  # it has the variable, and none of the descriptors
slot = take_slot(os.environ, monotonic)
assert not is_worker(os.environ)
Row(slot.board, slot.row).count(7)
slot.control.send(b"control")
slot.siblings[3].send(b"sibling")
print(slot.index, slot.host_id, sorted(slot.serving), slot.successors, sorted(slot.named))
print([os.get_inheritable(number) for number in slot.descriptors()])
print(slot.metrics_folder)
"""


def test_a_seat_travels_into_a_new_process() -> None:
    control, sibling, named = pair(), pair(), pair()
    board = Scoreboard(monotonic)
    row = board.claim()
    slot = WorkerSlot(
        5,
        row,
        "abc",
        board,
        control[1],
        {3: sibling[1]},
        frozenset({3}),
        {1: 3, 2: 3},
        {"more": named[1]},
        metrics_folder="/run/metrics",
    )
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={**os.environ, WORKER_VARIABLE: slot.to_text()},
        pass_fds=slot.descriptors(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["5 abc [3] {1: 3, 2: 3} ['more']", str([False] * 4), "/run/metrics"]
    assert control[0].recv(100) == b"control"
    assert sibling[0].recv(100) == b"sibling"
    assert board.connections_count(row) == 7
    assert Row(board, row).allowance() < 0
    for sock in (*control, *sibling, *named):
        sock.close()
    board.close()


@pytest.mark.parametrize("environment", [{}, {WORKER_VARIABLE: ""}])
def test_a_process_without_a_seat_is_no_worker(environment: dict[str, str]) -> None:
    assert not is_worker(environment)
    assert take_slot(environment, monotonic) is None


@pytest.mark.parametrize("version", [None, 99])
def test_a_worker_whose_supervisor_is_of_another_version_says_so_and_ends(version: int | None) -> None:
    """The rolling restart is given up then, and the old workers go on."""
    control, board = pair(), Scoreboard(monotonic)
    slot = WorkerSlot(5, board.claim(), "abc", board, control[1])
    said = json.loads(slot.to_text())
    assert said.pop("version") == slot.version
    if version is not None:
        said["version"] = version
    control[0].close()  # a worker that did not look would end as one whose supervisor is gone
    done = subprocess.run(
        [sys.executable, "-m", "python_server", "wsgiref.simple_server:demo_app", "--port", "0"],
        env={**os.environ, WORKER_VARIABLE: json.dumps(said)},
        pass_fds=slot.descriptors(),
        capture_output=True,
        text=True,
        check=False,
        cwd="/",  # the installed package, not this folder
    )
    assert done.returncode == 1
    words = f"the supervisor speaks version {version or 0} of the workers' words, not {slot.version}"
    assert f"{words}: restart the whole server" in done.stderr
    assert "Traceback" not in done.stderr
    control[1].close()
    board.close()


PROGRAM = """
import os, sys
from python_server.workers.spawn import start_again
print(sys.argv, sys.flags.utf8_mode, __name__, os.environ.get("WSFRAME_INHERITED_FDS"), flush=True)
if "WSFRAME_INHERITED_FDS" not in os.environ:
    sys.exit(start_again(os.environ, []).wait())
"""


@pytest.mark.parametrize("start", [["program.py"], ["-m", "program"], ["-X", "utf8", "-m", "program"]])
def test_a_program_is_started_again_as_it_was(tmp_path: Path, start: list[str]) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, *start, "one", "--two=3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.endswith(" __main__ None")
    assert second == first.removesuffix("None")
