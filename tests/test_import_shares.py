"""Workers that import a part of the test modules each, before the collection: in runs of pytest of their own.

It must not know pytest's compiler: what was imported says so in a file.
"""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

COMMON = Path(__file__).parent / "common"
CONFTEST = f"""
import sys
sys.path.insert(0, {str(COMMON)!r})
import pytest
from import_shares import import_share

@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    import_share(session.config, WORKER, 2)
    with open("said.txt", "a") as said:
        said.write("collection\\n")
    return (yield)
"""
MODULE = """
with open("said.txt", "a") as said:
    said.write(__name__.rpartition(".")[2] + "\\n")

def test_it():
    assert True
"""


@pytest.fixture
def folder(pytester: pytest.Pytester) -> Path:
    tests = pytester.mkdir("tests")
    for name in "abcd":
        (tests / f"test_{name}.py").write_text(MODULE)
    pytester.makeini("[pytest]\naddopts = --import-mode=importlib -p no:anyio -p no:cacheprovider\n")
    return pytester.path


def run(folder: Path, pytester: pytest.Pytester, worker: int) -> tuple[pytest.RunResult, list[str]]:
    (folder / "conftest.py").write_text(CONFTEST.replace("WORKER", str(worker)))
    result = pytester.runpytest_subprocess("-q", "-n", "0", "tests")
    return result, (folder / "said.txt").read_text().split()


@pytest.mark.parametrize(("worker", "first", "then"), [(0, "ac", "bd"), (1, "bd", "ac")])
def test_each_module_is_imported_once_and_a_workers_part_before_all(
    folder: Path, pytester: pytest.Pytester, worker: int, first: str, then: str
) -> None:
    result, said = run(folder, pytester, worker)
    result.assert_outcomes(passed=4)
    assert said == [*(f"test_{name}" for name in first), "collection", *(f"test_{name}" for name in then)]


def test_what_cannot_be_imported_is_told_by_the_collection(folder: Path, pytester: pytest.Pytester) -> None:
    """Whether it raises, skips itself, or is no Python."""
    (folder / "tests" / "test_a.py").write_text("raise LookupError('not today')\n")
    (folder / "tests" / "test_c.py").write_text(
        "import pytest\npytest.skip('not here', allow_module_level=True)\n"
    )
    (folder / "tests" / "test_e.py").write_text("this is no Python\n")
    result, _ = run(folder, pytester, 0)
    result.assert_outcomes(errors=2, skipped=1)
    result.stdout.fnmatch_lines(["*LookupError: not today*"])
    result.stdout.fnmatch_lines(["*this is no Python*"])
