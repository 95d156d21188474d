"""The source itself: formatted, linted and typed as pyproject.toml says.

It must not know any rule; the tools do.
"""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.extended  # `make lint` is the same, and CI begins with it

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "arguments",
    [["ruff", "check", "--quiet", "."], ["ruff", "format", "--check", "--quiet", "."], ["mypy"]],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_tools_have_nothing_to_say(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
