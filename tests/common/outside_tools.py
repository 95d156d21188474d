"""What to do about a program that the tests need and that is not installed.

It must not know any test.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

# Some systems' own folder, and what pip has installed beside us.
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", str(Path(sys.executable).parent)])


def missing_tool(reason: str) -> NoReturn:
    """Skip on a person's machine, fail in CI: there every tool is installed first."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def outside_tool(*names: str) -> str:
    """The path of the first of these programs that is installed."""
    for name in names:
        program = shutil.which(name, path=PLACES)
        if program is not None:
            return program
    missing_tool(f"{names[0]} is not installed")
