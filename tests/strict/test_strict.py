"""What a strict run judges by: a process knows whether it is in its mode, and a run that did nothing fails.

It must not run the suite in a mode: `make strict` does.
"""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUN = runpy.run_path(str(HERE / "run.py"))


@pytest.mark.parametrize("mode", RUN["MODES"])
def test_a_process_notes_whether_it_is_in_its_mode(mode: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    told = {"PYTHONPATH": str(HERE), "STRICT_MODE": mode, "STRICT_PROCESSES": str(notes)}
    neutral = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    for more in (RUN["MODES"][mode], {}):
        subprocess.run([sys.executable, "-c", ""], env={**neutral, **told, **more}, check=True)
    first, second = notes.read_text().splitlines()
    assert first.startswith(f"in {mode}: ")
    # The interval of a thread's turn is set by what notes it.
    assert second.startswith(f"in {mode}: " if mode == "switch" else f"NOT IN {mode}: ")


def test_the_switch_interval_stays_though_a_server_sets_it(tmp_path: Path) -> None:
    script = "import sitecustomize as s, sys; sys.setswitchinterval(0.5)"
    script += "; sys.exit([sys.getswitchinterval(), s.is_in_its_mode()] != [0.5, True])"
    told = {"PYTHONPATH": str(HERE), "STRICT_MODE": "switch", "STRICT_PROCESSES": str(tmp_path / "notes")}
    subprocess.run([sys.executable, "-c", script], env={**os.environ, **told}, check=True)


@pytest.mark.parametrize(
    ("status", "said", "noted", "wrong"),
    [
        (0, "3 passed in 1 s", ["in dev: []"], []),
        (1, "1 failed, 3 passed", ["in dev: []"], ["pytest ended with 1"]),
        (0, "3 passed", ["in dev: []", "NOT IN dev: ['-c']"], ["a process was NOT IN dev: ['-c']"]),
        (0, "3 passed", [], ["no process"]),
        (5, "no tests ran", ["in dev: []"], ["pytest ended with 5", "no test passed"]),
        (0, "3 skipped", ["in dev: []"], ["no test passed"]),
    ],
)
def test_a_run_is_judged(status: int, said: str, noted: list[str], wrong: list[str]) -> None:
    assert RUN["what_is_wrong"](status, said, noted) == wrong
