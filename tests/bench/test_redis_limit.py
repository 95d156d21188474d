"""What one Redis forwards, measured shortly (bench/redis_limit.py).

It must not measure anything worth quoting.
"""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from outside_tools import outside_tool

BENCH = Path(__file__).resolve().parents[2] / "bench" / "redis_limit.py"

pytestmark = pytest.mark.needs_redis


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("redis_limit", BENCH)
    outside_tool("redis-server")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("together", [1, 50])
def test_each_reader_gets_each_message(
    bench: Any, streams: bool, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "DELIVERIES_COUNT", 300)
    with bench.redis_server() as redis:
        row = bench.measure(redis, streams, 3, together, 150)
    assert row["messages"] % together == 0
    assert row["cpu_us_per_message"] > 0
    # 150 bytes, and what RESP has around them: more where each is read alone, with the entry before it.
    assert 150 < row["bytes_per_delivery"] < 700


def test_a_line_through_its_own_points(bench: Any) -> None:
    rows = [{"kind": "channel", "readers": n, "cpu_us_per_message": 5.0 + 2.0 * n} for n in (1, 10, 100)]
    base, slope = bench.line(rows, kind="channel")
    assert (round(base, 6), round(slope, 6)) == (5.0, 2.0)
