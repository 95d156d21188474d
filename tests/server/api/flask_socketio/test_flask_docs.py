"""Every test that the migration page names exists.

It must not know what it says.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]


def test_each_difference_has_its_test() -> None:
    text = (ROOT / "docs" / "migration.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    rows = [row for row in rows if not row.endswith("| test |")]
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(rows) > 60
    assert text.splitlines()[2].startswith("| you have | you write |")  # the first thing that is looked for
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row.rsplit("|", 2)[1])
        assert named, row
        for name in named:
            assert f"def {name}(" in tests, f"{name} is named by the migration page and does not exist"
