"""How much of the product the tests run, processes that they start included; a module below its floor fails.

It must not know any single test: pyproject.toml says how it is measured, `test_floors` what is sans-I/O.

    .venv/bin/python tests/common/covered.py [FOLDER ...]     "wsframe" or folders of python_server; none: all
"""

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from interruptible import run_interruptible
from mirror import ROOT, ranges

sys.path.append(str(ROOT / "tests"))
from test_floors import SANS_IO

BIN = Path(sys.executable).parent
PLACE = ROOT / "build" / "coverage"
# In percent of lines and branches, of all modules that need not be whole.
REST = 96.0
WHOLE_MODULES = {f"python_server/{name.replace('.', '/')}.py" for name in SANS_IO}
WHOLE_MODULES |= {
    f"src/wsframe/{name}"
    for name in ("_codec.pyx", *(f"_pure_{part}.py" for part in ("decoder", "encoder", "frames", "outbox")))
}
# The traced core is slower by far, and finds its lines from this folder alone: the codec's own tests and the
# client's have it, with the processes that they start.
CODEC_TESTS = ["tests/wsframe", "tests/sync"]
CODEC_SETTINGS = """
[run]
branch = true
source_pkgs = wsframe
data_file = build/coverage/data
parallel = true
relative_files = true
patch = subprocess, _exit
plugins = Cython.Coverage
"""


def copy_codec() -> None:
    shutil.rmtree(PLACE, ignore_errors=True)
    leave_out = shutil.ignore_patterns("*.c", "*.so", "__pycache__")
    shutil.copytree(ROOT / "src" / "wsframe", PLACE / "wsframe", ignore=leave_out)


def run_codec_tests() -> bool:
    """Its own tests, with a compiled core that tells each line that it runs."""
    flags = {"CFLAGS": "-O0 -DCYTHON_TRACE=1 -DCYTHON_TRACE_NOGIL=1"}
    build = [BIN / "cythonize", "-q", "-i", "-X", "linetrace=True", PLACE / "wsframe" / "_codec.pyx"]
    subprocess.run(build, cwd=ROOT, env={**os.environ, **flags}, check=True, stdout=subprocess.DEVNULL)
    settings = PLACE / "codec.rc"
    settings.write_text(CODEC_SETTINGS, "utf-8")
    return run_tests(CODEC_TESTS, {"PYTHONPATH": str(PLACE), "COVERAGE_RCFILE": str(settings)})


def run_tests(tests: list[str], environ: dict[str, str]) -> bool:
    """Whether they pass."""
    command = [BIN / "coverage", "run", BIN / "pytest", "-q", "-p", "no:cacheprovider", *tests]
    return run_interruptible(command, cwd=ROOT, env={**os.environ, **environ}) == 0


def report() -> dict[str, Any]:
    """The measured files, by their place in the tree; none where nothing was measured."""
    for words in (["combine", "-q"], ["json", "-q", "--ignore-errors", "-o", "build/coverage/report.json"]):
        if subprocess.run([BIN / "coverage", *words], cwd=ROOT).returncode:
            return {}
    files: dict[str, Any] = json.loads((PLACE / "report.json").read_text("utf-8"))["files"]
    return {path.replace("build/coverage", "src"): file for path, file in files.items()}


def missing_in(file: dict[str, Any]) -> str:
    branches = (f"{begin}->{end}" for begin, end in file.get("missing_branches", []))
    return " ".join((ranges(file["missing_lines"]), *branches)).strip()


def judged(files: dict[str, Any], folders: list[str]) -> list[str]:
    """What is below its floor; prints what each module lacks, and the percentages of folders."""
    faults: list[str] = []
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    wanted = {path for path in {*files, *WHOLE_MODULES} if not folders or path.split("/")[1] in folders}
    for path in sorted(wanted):
        summary = files[path]["summary"] if path in files else {"num_statements": 0, "covered_lines": 0}
        there = summary["num_statements"] + summary.get("num_branches", 0)
        ran = summary["covered_lines"] + summary.get("covered_branches", 0)
        for key in (path.split("/")[1], "sans-I/O" if path in WHOLE_MODULES else "the rest"):
            counts[key][0] += ran
            counts[key][1] += there
        if ran < there:
            print(f"{100 * ran / there:6.1f} %  {path}  {missing_in(files[path])}")
        if path in WHOLE_MODULES and (ran < there or not there):
            faults.append(f"{path}: {missing_in(files[path]) if there else 'never measured'}")
    for key, (ran, there) in counts.items():
        if there:
            print(f"{100 * ran / there:6.2f} %  {key}")
    ran, there = counts["the rest"]
    if not files or 100 * ran < REST * there:
        faults.append(f"the rest: {100 * ran / max(there, 1):.2f} % is below {REST} %")
    return faults


def run_all(folders: list[str]) -> list[str]:
    """The tests of the folders, or all; the faults."""
    faults = []
    if (not folders or "wsframe" in folders) and not run_codec_tests():
        faults.append("tests of the codec fail")
    tests = [f"tests/server/{folder}" for folder in folders if folder != "wsframe"]
    if not folders:
        tests = ["tests", "--ignore=tests/wsframe", "-n", "2", "--dist", "worksteal"]
    if tests and not run_tests(tests, {}):
        faults.append("tests fail")
    return faults


def main(folders: list[str]) -> int:
    unknown = [name for name in folders if name != "wsframe" and not (ROOT / "python_server" / name).is_dir()]
    if unknown:
        print(f"no folders of the product: {' '.join(unknown)}")
        return 2
    copy_codec()
    try:
        faults = run_all(folders)
    except KeyboardInterrupt:
        faults = ["interrupted: the figures are of what had run"]
    faults += judged(report(), folders)
    for fault in faults:
        print(f"FAILS  {fault}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
