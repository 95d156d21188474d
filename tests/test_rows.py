"""The page of the 80 rows is that of the tests as they are: docs/rows.md, written by `make rows`.

It must not know what a row says.
"""

import ast
import re
from functools import cache

import pytest

from rows import IN_A_DOCSTRING, IN_A_NAME, PAGE, ROOT, ROWS

LINE = re.compile(r"^\| R(\d+) \| (.+?) \| (.+) \| (.*?) \| (.+?) \|$", re.MULTILINE)
# Where neither stands, no test names a row.
NAMED = re.compile(r"_r\d|\bR\d")
LINK = re.compile(r"\[(\w+)\]\(\.\./([\w/.]+)\)")


@cache
def rows_in_sources() -> dict[int, set[tuple[str, str]]]:
    """Row -> (test, file) of each test function that names it by itself."""
    named: dict[int, set[tuple[str, str]]] = {row: set() for row in ROWS}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = "" if "node_modules" in path.parts else path.read_text("utf-8")
        if not NAMED.search(text):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                numbers = IN_A_NAME.findall(node.name)
                numbers += IN_A_DOCSTRING.findall(ast.get_docstring(node) or "")
                for row in {int(number) for number in numbers} & named.keys():
                    named[row].add((node.name, str(path.relative_to(ROOT))))
    return named


ON_THE_PAGE = {
    int(row): (system, says, set(LINK.findall(tests)), result)
    for row, system, says, tests, result in LINE.findall(PAGE.read_text("utf-8"))
}


def test_all_80_rows_are_there() -> None:
    assert list(ON_THE_PAGE) == list(ROWS) == list(range(1, 81))


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_tests_that_passed(row: int) -> None:
    system, says, tests, result = ON_THE_PAGE[row]
    assert (system, says) == ROWS[row]
    assert re.fullmatch(r"[1-9]\d* passed", result), "run `make rows`"
    assert tests
    assert tests >= rows_in_sources()[row], "run `make rows`"
    for name, file in tests:
        assert f"def {name}(" in (ROOT / file).read_text("utf-8"), "run `make rows`"
