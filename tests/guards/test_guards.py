"""Speed held without a clock: the counts of guards.py against the recorded bounds.

It must not know how anything is counted. A bound that was beaten for good is renewed with
`python tests/guards/guards.py --record`, in the commit that beat it.
"""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import wsframe

HERE = Path(__file__).parent
# Above the recorded count. A timer that falls into a look adds allocations; compilers differ by instructions.
MARGINS = {"instructions": 0.15, "allocations": 0.15}
# Where the running CPython has no bounds of its own, those of the nearest one, and more room.
FOREIGN_MARGIN = 0.50
SLACK = {"instructions": 20.0, "allocations": 1.0}


def load_guards() -> ModuleType:
    spec = importlib.util.spec_from_file_location("guards", HERE / "guards.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


guards = load_guards()
BOUNDS: dict[str, dict[str, Any]] = json.loads((HERE / "bounds.json").read_text())


def nearest(python: str) -> str:
    """The recorded version that is nearest to this one."""
    return min(BOUNDS, key=lambda each: abs(int(each.partition(".")[2]) - int(python.partition(".")[2])))


def too_high(counts: dict[str, float], kind: str) -> list[str]:
    """What stands above its bound, in words."""
    version = nearest(guards.PYTHON)
    margin = MARGINS[kind] if version == guards.PYTHON else FOREIGN_MARGIN
    bounds = BOUNDS[version][kind]
    assert counts.keys() == bounds.keys(), "paths came or went: renew the bounds"
    return [
        f"{name}: {counts[name]} {kind}, recorded {bound} on {version}"
        for name, bound in bounds.items()
        if counts[name] > bound * (1 + margin) + SLACK[kind]
    ]


def counted(count: Callable[[], dict[str, float]]) -> dict[str, float]:
    try:
        return count()
    except guards.ToolMissing as missing:
        pytest.skip(str(missing))


def test_instructions_of_the_codecs_hot_paths() -> None:
    if wsframe.IMPLEMENTATION != "cython":
        pytest.skip("the pure core has no bounds")
    assert too_high(counted(guards.count_instructions), "instructions") == []


def test_allocations_of_a_message() -> None:
    if wsframe.IMPLEMENTATION != "cython":
        pytest.skip("the pure core has no bounds")
    assert too_high(counted(guards.count_allocations), "allocations") == []


@pytest.mark.parametrize("kind", MARGINS)
def test_a_dearer_path_is_told_by_name(kind: str) -> None:
    counts = dict(BOUNDS[nearest(guards.PYTHON)][kind])
    assert too_high(counts, kind) == []
    name = next(iter(counts))
    counts[name] = counts[name] * (1 + FOREIGN_MARGIN) + SLACK[kind] + 1
    assert [line.partition(":")[0] for line in too_high(counts, kind)] == [name]


def test_every_recorded_version_has_both_counts() -> None:
    for version, bounds in BOUNDS.items():
        assert version.startswith("3.")
        assert set(MARGINS) < bounds.keys()
