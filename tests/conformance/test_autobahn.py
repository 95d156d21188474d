"""A part of Autobahn|Testsuite in both roles, as the command that the full run uses too.

It must not need Python 2.7 to be there: without one the rules hang on tests/vectors/frames.json alone.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "autobahn.py"
spec = importlib.util.spec_from_file_location("autobahn_command", SCRIPT)
assert spec is not None
assert spec.loader is not None
command = importlib.util.module_from_spec(spec)
spec.loader.exec_module(command)


@pytest.mark.long
@pytest.mark.skipif(
    command.find_python27() is None, reason="autobahntestsuite needs a Python 2.7; none was found"
)
@pytest.mark.parametrize(
    "part",
    # Larger messages: four times the processor for what our own tests of compression do with random ones.
    ["--quick", pytest.param("--sample", marks=pytest.mark.extended)],
)
def test_autobahn(part: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), part], capture_output=True, text=True, check=False, timeout=3600
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("cases; behaviour") >= 2
