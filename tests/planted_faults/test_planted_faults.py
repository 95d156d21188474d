"""The planted faults themselves: each can be planted in today's source, a few are, and what lives is told.

It must not try all of them: `make planted-faults` does.
"""

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import wsframe

HERE = Path(__file__).resolve().parent


def load_program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("planted_faults", HERE / "planted_faults.py")
    assert spec
    assert spec.loader
    module = sys.modules["planted_faults"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if os.name != "posix":
    pytest.skip("bounds a process's time as Unix does", allow_module_level=True)
program = load_program()
TABLE = {fault.name: fault for fault in program.read_table()}
# One of each kind of file: C, Cython, Python.
SAMPLE = ["ascii-lead", "short-way-mid-header", "deflate-bfinal-count"]


@pytest.mark.parametrize("name", TABLE)
def test_a_fault_has_its_place_in_the_source(name: str) -> None:
    """Who changes the lines of one plants it anew."""
    fault = TABLE[name]
    source = (program.ROOT / fault.file).read_text("utf-8")
    assert fault.planted(source) != source
    assert fault.breaks


def test_a_fault_that_is_not_there_is_told() -> None:
    with pytest.raises(program.Untried, match="0 times"):
        TABLE["ascii-lead"].planted("nothing of the kind")
    with pytest.raises(program.Untried, match="2 times"):
        replace(TABLE["ascii-lead"], text="a").planted("a a")


@pytest.mark.extended  # two whole runs of tests/wsframe, and builds
@pytest.mark.long
@pytest.mark.skipif(wsframe.IMPLEMENTATION != "cython", reason="a pure build may be one without a compiler")
def test_a_sample_is_found_and_what_lives_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    none = replace(
        TABLE["deflate-threshold"],
        name="none",
        breaks="nothing at all",
        replacement=TABLE["deflate-threshold"].text,
    )
    gone = replace(none, name="gone", text="a text that nobody wrote")
    assert program.run([*(TABLE[name] for name in SAMPLE), none, gone], tmp_path / "tree") == 2
    *found, lived, untried = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in found] == SAMPLE
    assert all(" found by test_" in line for line in found)
    assert "NOT FOUND: nothing at all" in lived
    assert "NOT TRIED: its text stands 0 times" in untried
    assert program.exit_status([True, True]) == 0
    assert program.exit_status([True, False]) == 1
    assert program.exit_status([None, False]) == 2
