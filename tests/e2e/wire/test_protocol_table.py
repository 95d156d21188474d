"""The table of docs/protocol.md, held: each test it names exists, each numbered test is in it.

It must not know what the tests do: it reads names and arguments.
"""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "protocol.md"
ROW = re.compile(r"^\| ([\d.]+) \| .+ \| (\w+) \| `(test_\w+)` \|$", re.M)
# Fixtures and parameters that run a test over each transport; a test that itself has both says so.
BOTH = {"way", "session", "pair", "carrier"}
AT_ONCE = "On both transports at once."


def gathered() -> dict[str, set[str]]:
    """The names of the tests of this folder, with those of their arguments."""
    return {
        node.name: {argument.arg for argument in node.args.args}
        | (BOTH if AT_ONCE in (ast.get_docstring(node) or "") else set())
        for path in HERE.glob("test_*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_rule_has_its_test_and_every_numbered_test_its_rule() -> None:
    rows = ROW.findall(PAGE.read_text("utf-8"))
    named = [name for _, _, name in rows]
    found = gathered()
    assert len(named) == len(set(named)) > 100
    assert [name for name in named if name not in found] == []
    assert {name for name in found if re.match(r"test_\d", name)} - set(named) == set()
    for number, over, name in rows:
        assert name.startswith(f"test_{number.replace('.', '_')}_"), name
        assert (over == "both") is bool(BOTH & found[name]), f"{name} runs over {over}?"
