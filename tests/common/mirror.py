"""Each product module's own test file, run alone: how much of the module's lines it covers.

It must not know any single module: the rule is the tree's.

    .venv/bin/python tests/common/mirror.py [MODULE ...]      dotted names below python_server; none: all
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "python_server"
TESTS = ROOT / "tests" / "server"
# A module of more lines than this has a test file of its own, which covers this part of its lines.
LINES_WITHOUT_A_TEST_MAX_COUNT = 120
COVERED_MIN_PERCENT = 80
# Modules whose work is in processes that they start, or that only run as one: `tests/e2e` has their tests.
TESTED_AS_A_PROCESS: dict[str, str] = {}


def measured_modules() -> Iterator[tuple[str, Path]]:
    """(dotted name, the test file that bears its name) of each module that the rule is about."""
    for path in sorted(SERVER.rglob("*.py")):
        place = path.relative_to(SERVER)
        name = ".".join(place.with_suffix("").parts)
        lines_count = path.read_text("utf-8").count("\n")
        if path.name != "__init__.py" and lines_count > LINES_WITHOUT_A_TEST_MAX_COUNT:
            yield name, TESTS / place.parent / f"test_{path.name}"


def covered_percent(name: str, test_file: Path) -> tuple[float, str]:
    """Of the module's lines, by this file's tests alone subprocesses apart; and what is missing."""
    scripts = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        data, report = Path(folder, "data"), Path(folder, "report.json")
        environ = {**os.environ, "COVERAGE_FILE": str(data), "COVERAGE_RCFILE": os.devnull}
        coverage = [str(scripts / "coverage")]
        only = f"--include=*/python_server/{name.replace('.', '/')}.py"
        tests = [str(scripts / "pytest"), "-q", "-p", "no:cacheprovider", str(test_file)]
        ran = subprocess.run(
            [*coverage, "run", only, *tests], cwd=ROOT, env=environ, capture_output=True, text=True
        )
        said = (ran.stdout.strip().splitlines() or [ran.stderr.strip()])[-1]
        if ran.returncode:
            return 0.0, said
        subprocess.run(
            [*coverage, "json", "-q", "-o", str(report)], cwd=ROOT, env=environ, capture_output=True
        )
        if not report.exists():
            return 0.0, "the module was never run"
        totals = json.loads(report.read_text("utf-8"))["totals"]
        missing = next(iter(json.loads(report.read_text("utf-8"))["files"].values()))["missing_lines"]
        return float(totals["percent_covered"]), f"missing: {ranges(missing)}"


def ranges(lines: list[int]) -> str:
    """1, 2, 3, 7 -> 1-3 7."""
    spans: list[list[int]] = []
    for line in lines:
        if spans and line == spans[-1][1] + 1:
            spans[-1][1] = line
        else:
            spans.append([line, line])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def main(wanted: list[str]) -> int:
    modules = [(name, file) for name, file in measured_modules() if not wanted or name in wanted]
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda module: measure(*module), modules)
        return int(sum(results) > 0)


def measure(name: str, test_file: Path) -> bool:
    """Whether the module fails; says so on a line of its own."""
    if not test_file.exists():
        percent, said = 0.0, "no test file"
    else:
        percent, said = covered_percent(name, test_file)
    fails = percent < COVERED_MIN_PERCENT
    excused = TESTED_AS_A_PROCESS.get(name)
    word = ("known " if excused else "FAILS ") if fails else "      "
    print(f"{word}{percent:5.1f} %  {name:45} {excused or said}", flush=True)
    return fails and not excused


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
