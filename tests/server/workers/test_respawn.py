"""The command that starts a program again: module, script and interpreter options survive.

It must not know what the program is.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
from python_server.workers.respawn import own_command
print(json.dumps(own_command()))
"""


@pytest.mark.parametrize("start", [["program.py"], ["-m", "program"], ["-X", "utf8", "-m", "program"]])
def test_a_program_is_started_again_as_it_was(tmp_path: Path, start: list[str]) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, *start, "one", "--two=3"]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    again = json.loads(first.stdout)
    assert again[1:] == command[1:]
    second = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert second.stdout == first.stdout
