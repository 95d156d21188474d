"""Small changes of protocol modules: the modules' own tests notice each, or a file explains it (mutmut).

It must not know any test: `PLACES` says which modules are changed and where their tests are.

    .venv/bin/python tests/common/mutation.py [PLACE ...]     places of the table; none: all
"""

import json
import os
import re
import shutil
import sys
import tomllib
from collections import Counter
from contextlib import suppress
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

from interruptible import run_interruptible

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "build" / "mutation"
# Changes that no test can notice, or need not: regular expressions with a reason.
EXPLAINED = ROOT / "tests" / "common" / "mutation.toml"
# The modules that are changed, and the tests that must notice it, with what these import.
PLACES = {
    "http1": ("python_server/http1/*.py", ["tests/server/http1"]),
    "packet": (
        "python_server/socketio/*packet.py",
        [f"tests/server/socketio/{name}.py" for name in ("conftest", "test_packet", "test_msgpack_packet")],
    ),
}
ALSO_COPIED = ["python_server", "tests/common", "tests/vectors"]
NOTICED = {"killed", "timeout", "segfault"}
UNTRIED = {"not checked", "check was interrupted by user"}
# A change may make a loop endless: mutmut bounds the time that its process computes, not that of the clock.
SETTINGS = """
[tool.pytest.ini_options]
addopts = "--import-mode=importlib -p no:benchmark -p no:cacheprovider -p no:wsframe --hypothesis-seed=0"
pythonpath = ["tests/common", "."]
[tool.mutmut]
source_paths = ["python_server"]
only_mutate = ["{modules}"]
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false
track_dependencies = false
"""


def prepare(place: Path, modules: str, tests: list[str]) -> None:
    """A tree of its own: what is changed there is nobody's installation."""
    shutil.rmtree(place, ignore_errors=True)
    leave_out = shutil.ignore_patterns("__pycache__", "client")
    for name in [*ALSO_COPIED, *tests]:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / name, ignore=leave_out)
        else:
            shutil.copy(ROOT / name, place / name)
    (place / "pyproject.toml").write_text(SETTINGS.format(modules=modules, tests=json.dumps(tests)), "utf-8")


def run_mutmut(place: Path) -> None:
    """Its results stay in the place, also when it is interrupted."""
    with (place / "mutmut.log").open("wb") as log:
        command = [Path(sys.executable).parent / "mutmut", "run", "--max-children", "2"]
        run_interruptible(command, cwd=place, stdout=log, stderr=log)


def described(name: str, path: Path) -> str:
    """A change by its function and its lines, which other changes of the module leave as they are."""
    lines = get_diff_for_mutant(name, path=path).splitlines()[2:]
    function = name.rpartition("__mutmut_")[0].replace("python_server.", "").replace("ǁ", ".")
    changed = (f"{line[0]} {line[1:].strip()}" for line in lines if line[0] in "+-")
    return f"{function.replace('.x.', '.').replace('.x_', '.')}: {' '.join(changed)}"


def results(place: Path) -> tuple[Counter[str], list[str]]:
    """How many changes had which end, and those that no test has noticed."""
    counts: Counter[str] = Counter()
    unnoticed = []
    os.chdir(place)  # mutmut finds its files from there
    for meta in sorted(Path("mutants").rglob("*.meta")):
        codes = json.loads(meta.read_text("utf-8"))["exit_code_by_key"]
        for name, code in codes.items():
            status = status_by_exit_code[code]
            counts[status] += 1
            if status not in NOTICED | UNTRIED:
                unnoticed.append(described(name, meta.with_suffix("").relative_to("mutants")))
    return counts, unnoticed


def unexplained(unnoticed: list[str], explained: list[str]) -> list[str]:
    return [change for change in unnoticed if not any(re.search(pattern, change) for pattern in explained)]


def outlived(unnoticed: list[str], explained: list[str]) -> list[str]:
    """Explanations of changes that are noticed now, or are not made any more."""
    return [pattern for pattern in explained if not any(re.search(pattern, change) for change in unnoticed)]


def main(wanted: list[str]) -> int:
    reasons = tomllib.loads(EXPLAINED.read_text("utf-8"))
    faults: list[str] = []
    for name in wanted or PLACES:
        place = PLACE / name
        prepare(place, *PLACES[name])
        with suppress(KeyboardInterrupt):  # what it has found is told
            run_mutmut(place)
        counts, unnoticed = results(place)
        print(f"{name}: {counts.total()} changes, {dict(counts)}", flush=True)
        explained = [pattern for entry in reasons.get(name, []) for pattern in entry["changes"]]
        faults += [f"no test notices: {change}" for change in unexplained(unnoticed, explained)]
        if not counts["killed"] or any(counts[status] for status in UNTRIED):
            faults.append(f"{name}: mutmut did not come to its end, see {place / 'mutmut.log'}")
            break
        faults += [f"explains nothing any more: {pattern}" for pattern in outlived(unnoticed, explained)]
    print(*faults, sep="\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
