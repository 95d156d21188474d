"""The fuzzers' bounded runs, as the commands that a long run uses too.

It must not need more than some seconds each: the long runs are for their commands.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import wsframe

HERE = Path(__file__).parent
GUARD_SECONDS = 3600  # of a machine with far more to do than this
BOTH_CORES = wsframe.IMPLEMENTATION == "cython"


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=GUARD_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_mutated_frames() -> None:
    cores = ["_codec", "_pure"] if BOTH_CORES else ["_pure"]
    assert "frames in" in run("mutate.py", "--frames", "60000", "--cores", *cores)


@pytest.mark.skipif(importlib.util.find_spec("websockets") is None, reason="websockets is not installed")
@pytest.mark.skipif(importlib.util.find_spec("wsproto") is None, reason="wsproto is not installed")
def test_against_websockets_and_wsproto() -> None:
    assert "3000 streams" in run("peers.py", "--streams", "3000")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
def test_memory_comes_back() -> None:
    assert "grown" in run("leaks.py", "--frames", "60000")


@pytest.mark.skipif(importlib.util.find_spec("_testcapi") is None, reason="this interpreter has no _testcapi")
def test_memory_that_runs_out() -> None:
    cores = ["_codec", "_pure"] if BOTH_CORES else ["_pure"]
    assert "runs without memory" in run("nomemory.py", "--cores", *cores)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_coverage_guided() -> None:
    run("atheris_decoder.py", "-runs=20000", "-max_len=400")


@pytest.mark.extended
@pytest.mark.long
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="preloads the sanitizers' runtimes as Linux does"
)
@pytest.mark.skipif(shutil.which(os.environ.get("CC", "cc")) is None, reason="no C compiler is installed")
@pytest.mark.skipif(importlib.util.find_spec("Cython") is None, reason="Cython is not installed")
def test_under_sanitizers() -> None:
    done = subprocess.run(
        ["sh", str(HERE / "sanitizers.sh"), "20000"],
        capture_output=True,
        text=True,
        check=False,
        timeout=GUARD_SECONDS,
        env={**os.environ, "PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "no report from AddressSanitizer or UBSan" in done.stdout
