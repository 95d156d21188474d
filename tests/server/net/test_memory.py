"""The memory of large messages, and how often old objects are looked at (net/memory.py).

It must not know messages: blocks of their size come and go in a fresh process, whose page faults are counted.
"""

import os
import platform
import subprocess
import sys

import pytest

BLOCKS_COUNT, BLOCK_BYTES, ROUNDS_COUNT = 4, 4 << 20, 50
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# As messages of four connections: all alive at once, then all gone.
PROGRAM = f"""
import resource
from python_server.net.memory import keep_large_blocks
{{call}}
def round():
    blocks = [b"x" * {BLOCK_BYTES} for _ in range({BLOCKS_COUNT})]
for _ in range(5):
    round()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({ROUNDS_COUNT}):
    round()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_count(call: str, **environment: str) -> int:
    """Page faults of the rounds in a process of its own: what an allocator learnt is never unlearnt."""
    neutral = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{call}", call)],
        env={**neutral, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the bounds are glibc's")
def test_large_blocks_come_from_memory_that_is_there_already() -> None:
    """Without the call every page of every block is fresh."""
    pages_count = ROUNDS_COUNT * BLOCKS_COUNT * BLOCK_BYTES // PAGE_BYTES
    assert faults_count("") > pages_count / 2
    assert faults_count("keep_large_blocks()") < pages_count / 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the bounds are glibc's")
def test_whoever_chose_the_bounds_keeps_them() -> None:
    pages_count = ROUNDS_COUNT * BLOCKS_COUNT * BLOCK_BYTES // PAGE_BYTES
    bounds = {"MALLOC_MMAP_THRESHOLD_": "131072"}
    assert faults_count("keep_large_blocks()", **bounds) > pages_count / 2


@pytest.mark.parametrize(
    ("own", "left"), [("", "usual"), ("gc.set_threshold(50_000, 10, 10)", "(50000, 10, 10)")]
)
def test_old_objects_are_spared_unless_a_program_has_chosen(own: str, left: str) -> None:
    program = f"""
import gc
from python_server.net.memory import LOOKS_MAX_COUNT, USUAL_THRESHOLDS, spare_old_objects
usual = gc.get_threshold()
usual = (*usual[:2], LOOKS_MAX_COUNT) if usual in USUAL_THRESHOLDS else usual
{own}
spare_old_objects()
assert gc.get_threshold() == {left}, gc.get_threshold()
assert gc.get_freeze_count() > 1000, gc.get_freeze_count()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
