"""The micro benchmarks under pytest-benchmark: pytest bench/micro -p benchmark --benchmark-json=FILE

It must not compare: peers here run one after the other; ratios come from ratios.py, which interleaves them.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
cases = importlib.import_module("cases")
tasks = importlib.import_module("tasks")
wsframe = importlib.import_module("wsframe")

PEERS = cases.installed_peers()


@pytest.mark.parametrize("peer", [name for name, module in PEERS.items() if module is None])
def test_missing(peer: str) -> None:
    pytest.skip(f"{peer} is not installed")


@pytest.mark.parametrize("peer", [name for name, module in PEERS.items() if module is not None])
@pytest.mark.parametrize("task", list(tasks.all_tasks()), ids=lambda task: task.name)
def test_case(benchmark: Any, task: Any, peer: str) -> None:
    found = list(task.cases({peer: PEERS[peer]}))
    if not found:
        pytest.skip(f"{peer} has no such call")
    benchmark.group = task.name
    benchmark.extra_info |= {
        "peer": peer,
        "items": found[0].items,
        "payload_bytes": found[0].payload_bytes,
        "implementation": wsframe.IMPLEMENTATION,
        "mask_implementation": wsframe.MASK_IMPLEMENTATION,
    }
    try:
        benchmark(found[0].call)
    finally:
        found[0].close()
    if benchmark.stats is not None:  # with --benchmark-disable there are none
        benchmark.extra_info["bytes_per_second"] = found[0].payload_bytes / benchmark.stats.stats.min
