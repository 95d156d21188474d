"""A wheel and an sdist built from a tree, as setup.py makes them.

It must not know what they should hold.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import package_contents

BUILD_SECONDS = 600

needs_build_tools = pytest.mark.skipif(
    importlib.util.find_spec("setuptools") is None, reason="setuptools is not installed here"
)


def copied_tree(place: Path) -> Path:
    """What git holds, and a client of which each file says its name."""
    for name in package_contents.tracked():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(package_contents.ROOT / name, place / name)
    client = place / package_contents.CLIENT
    client.mkdir(parents=True)
    for name in ("LICENSE", *(f"{name}.gz" for name in package_contents.SCRIPTS), "socket.io.js.map.gz"):
        (client / name).write_text(name)
    return place


def built(place: Path) -> tuple[Path, Path, str]:
    """The wheel, with the plain Python core, the sdist, and what was said."""
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "sdist", "bdist_wheel"],
        cwd=place,
        env={**os.environ, "WSFRAME_PURE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = (list((place / "dist").glob(kind)) for kind in ("*.whl", "*.tar.gz"))
    return wheel, sdist, done.stderr
