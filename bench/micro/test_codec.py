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
wsframe = importlib.import_module("wsframe")


@pytest.mark.parametrize("peer", [name for name, module in cases.installed_peers().items() if module is None])
def test_missing(peer: str) -> None:
    pytest.skip(f"{peer} is not installed")


@pytest.mark.parametrize("case", list(cases.all_cases()), ids=lambda case: f"{case.task} [{case.peer}]")
def test_case(benchmark: Any, case: Any) -> None:
    benchmark.group = case.task
    benchmark.extra_info |= {
        "peer": case.peer,
        "items": case.items,
        "item_bytes": case.item_bytes,
        "implementation": wsframe.IMPLEMENTATION,
        "mask_implementation": wsframe.MASK_IMPLEMENTATION,
    }
    benchmark(case.call)
    seconds = benchmark.stats.stats.min
    benchmark.extra_info["bytes_per_second"] = case.items * case.item_bytes / seconds
