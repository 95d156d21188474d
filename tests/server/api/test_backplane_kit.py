"""The tests for who writes a backplane: a small broker passes them all, a fault fails that which names it.

It must not know how servers use a broker: the small one is that of docs/how-to/backplane.md.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from folder_broker_page import install_folder_broker

FILE = "test_folder_broker.py"


def run(folder: Path, *options: str) -> str:
    """A run of pytest of its own; what it has said."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rf", *options, FILE],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.long
def test_the_pages_broker_passes(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(install_folder_broker(tmp_path))
    said = run(tmp_path)
    assert re.search(r"^11 passed", said, re.MULTILINE), said


FAULTS = {
    "it turns the order round": (
        "for channel, payload in messages]",
        "for channel, payload in reversed(messages)]",
        "brings_what_is_published_in_order",
    ),
    "it counts what nobody reads": ("return count\n", "return 7\n", "brings_what_is_published_in_order"),
    "it forgets no channel": (
        "(self.place_of(channel) / self.name).unlink(missing_ok=True)",
        "pass",
        "forgets_a_channel",
    ),
    "it does not see that the broker is gone": (
        "os.stat(self.folder)\n",
        "pass\n",
        "raises_where_the_broker_is_gone",
    ),
}


@pytest.mark.extended
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_the_test_that_names_it(tmp_path: Path, fault: str) -> None:
    (tmp_path / FILE).write_text(install_folder_broker(tmp_path))
    right, wrong, name = FAULTS[fault]
    module = tmp_path / "folder_broker.py"
    text = module.read_text()
    assert text.count(right) == 1
    module.write_text(text.replace(right, wrong))
    said = run(
        tmp_path,
        "-k",
        "a_link",
        "-x",
        "-o",
        "faulthandler_exit_on_timeout=true",
        "-o",
        "faulthandler_timeout=30",
    )
    assert re.search(rf"test_a_link_\w*{name}", said.partition("short test summary")[2] or said), said
    assert "failed" in said or "Timeout" in said, said
