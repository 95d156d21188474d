"""How much of the product the tests run, processes that they start included; a module below its floor fails.

It must not know any single test: pyproject.toml says how it is measured, `test_floors` what is sans-I/O.

    .venv/bin/python tests/common/covered.py [FOLDER ...]     "wsframe" or folders of python_server; none: all
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from mirror import ROOT, ranges

sys.path.append(str(ROOT / "tests"))
from test_floors import SANS_IO

BIN = Path(sys.executable).parent
PLACE = ROOT / "build" / "coverage"
# In percent of lines and branches; of the compiled core there are lines alone.
WHOLE, REST = 100.0, 96.0
WHOLE_MODULES = {f"python_server/{name.replace('.', '/')}.py" for name in SANS_IO}
WHOLE_MODULES |= {f"src/wsframe/{name}" for name in ("_codec.pyx", "_pure.py", "_pure_frames.py", "_pure_outbox.py")}
# The traced core is a hundred times slower, and serves nobody: the codec's own tests have it.
CODEC_TESTS = ["tests/wsframe"]


def traced_core() -> Path:
    """A folder with the package wsframe whose compiled core tells each line that it runs."""
    package = PLACE / "wsframe"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(ROOT / "src" / "wsframe", package, ignore=shutil.ignore_patterns("*.c", "*.so", "__pycache__"))
    macros = "-O0 -DCYTHON_TRACE=1 -DCYTHON_TRACE_NOGIL=1"
    build = [BIN / "cythonize", "-q", "-i", "-X", "linetrace=True", package / "_codec.pyx"]
    subprocess.run(build, env={**os.environ, "CFLAGS": macros}, check=True, stdout=subprocess.DEVNULL)
    return PLACE


def run_tests(tests: list[str], environ: dict[str, str]) -> bool:
    """Whether they pass; an interrupt ends them, and what they have found stays."""
    command = [BIN / "coverage", "run", BIN / "pytest", "-q", "-p", "no:cacheprovider", *tests]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environ})
    try:
        return process.wait() == 0
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise


def report() -> dict[str, Any]:
    """The measured files, by their place in the tree."""
    for words in (["combine", "-q"], ["json", "-q", "-o", "build/coverage/report.json"]):
        subprocess.run([BIN / "coverage", *words], cwd=ROOT, check=True)
    files: dict[str, Any] = json.loads((PLACE / "report.json").read_text("utf-8"))["files"]
    return files


def judged(files: dict[str, Any], folders: list[str]) -> list[str]:
    """What is below its floor; prints a line for each folder, and what is missing in it."""
    faults: list[str] = []
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path, file in sorted(files.items()):
        folder = "wsframe" if path.startswith("src/") else path.split("/")[1]
        if folders and folder not in folders:
            continue
        summary = file["summary"]
        there = summary["num_statements"] + summary.get("num_branches", 0)
        ran = summary["covered_lines"] + summary.get("covered_branches", 0)
        for key in (folder, "sans-I/O" if path in WHOLE_MODULES else "the rest"):
            counts[key][0] += ran
            counts[key][1] += there
        if ran < there:
            lines, branches = ranges(file["missing_lines"]), file.get("missing_branches", [])
            missing = f"{lines} {' '.join(f'{begin}->{end}' for begin, end in branches)}"
            print(f"{100 * ran / there:6.1f} %  {path}  {missing}")
            if path in WHOLE_MODULES:
                faults.append(f"{path}: {missing}")
    for key, (ran, there) in counts.items():
        print(f"{100 * ran / max(there, 1):6.2f} %  {key}")
    ran, there = counts["the rest"]
    if 100 * ran < REST * there:
        faults.append(f"the rest: {100 * ran / there:.2f} % is below {REST} %")
    unmeasured = {path for path in WHOLE_MODULES if not folders or path.split("/")[1] in folders} - files.keys()
    return faults + [f"{path}: never measured" for path in sorted(unmeasured)]


def main(folders: list[str]) -> int:
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    failed: list[str] = []
    if not folders or "wsframe" in folders:
        if not run_tests(CODEC_TESTS, {"PYTHONPATH": str(traced_core())}):
            failed.append("tests of the codec fail")
    others = [folder for folder in folders if folder != "wsframe"]
    tests = [f"tests/server/{folder}" for folder in others] or ["tests", "--ignore=tests/wsframe", "--extended"]
    if (others or not folders) and not run_tests([*tests, "-n", "2", "--dist", "worksteal"], {}):
        failed.append("tests fail")
    faults = failed + judged(report(), folders)
    print(*(f"FAILS  {fault}" for fault in faults), sep="\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
