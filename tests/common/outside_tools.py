"""What to do about a program that the tests need and that is not installed.

It must not know any test.
"""

import os
import shutil
from typing import NoReturn

import pytest


def missing_tool(reason: str) -> NoReturn:
    """Skip on a person's machine, fail in CI: there every tool is installed first."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def outside_tool(*names: str) -> str:
    """The path of the first of these programs that is installed."""
    for name in names:
        program = shutil.which(name) or shutil.which(name, path="/usr/sbin")
        if program is not None:
            return program
    missing_tool(f"{names[0]} is not installed")
