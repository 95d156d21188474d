"""Faults planted in a copy of the codec, one at a time: the codec's tests must find each.

It must not know a fault or a test: faults.toml has the faults, pytest runs all of tests/wsframe.

    .venv/bin/python tests/planted_faults/planted_faults.py [NAME ...]     faults of the table; none: all
    .venv/bin/python tests/planted_faults/planted_faults.py --list
    .venv/bin/python tests/planted_faults/planted_faults.py --tests tests/wsframe/test_deflate.py -- NAME ...

First the tests run without a fault, and must pass. It ends with 1 if they pass with one of the faults as
well, and with 2 if it could not try one: its text is not in the source (any more), or what came of it cannot
be built or loaded.
"""

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TABLE = HERE / "faults.toml"
PLACE = ROOT / "build" / "planted_faults"
COPIED = ["src/wsframe", "tests/wsframe", "tests/vectors", "tests/common"]
COPIED += ["pyproject.toml", "setup.py", "readme_on_index.py", "README.md"]
# What these look at is the same with every fault: an installation, the types, the pages.
LEFT_OUT = ["test_build.py", "test_typing.py", "test_docs.py"]
PYTEST = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:wsframe", "-rfE", "--tb=short"]
# A fault may make a loop endless: of the time that a process computes, not of the clock's.
CPU_SECONDS_MAX_COUNT = 600
COMPILED = {".pyx", ".h"}
PASSED, FAILED = 0, 1  # pytest's
ALL_TESTS = ("tests/wsframe",)


class Untried(Exception):
    """Nothing can be said of a fault; the message says why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`text`, which stands once in `file`, becomes `replacement`."""

    name: str
    file: str
    breaks: str
    text: str
    replacement: str

    def planted(self, source: str) -> str:
        count = source.count(self.text)
        if count != 1:
            raise Untried(f"its text stands {count} times in {self.file}, not once")
        return source.replace(self.text, self.replacement)


def read_table(path: Path = TABLE) -> list[Fault]:
    faults = [Fault(**entry) for entry in tomllib.loads(path.read_text("utf-8"))["fault"]]
    assert len({fault.name for fault in faults}) == len(faults), "a name stands twice"
    return faults


def prepare(place: Path) -> None:
    """A tree of its own, with the extension built in it: what is changed there is nobody's installation."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    leave_out = shutil.ignore_patterns("__pycache__", "*.so", "_codec.c", "_pure_build.py", *LEFT_OUT)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / name, ignore=leave_out)
        else:
            shutil.copy(ROOT / name, place / name)
    build(place)


def environment(place: Path) -> Mapping[str, str]:
    # No compiled file of Python: one of the same second and size would be taken for the source's.
    own = {"PYTHONPATH": str(place / "src"), "PYTHONDONTWRITEBYTECODE": "1", "WSFRAME_PURE": "0"}
    return {**os.environ, **own}


def build(place: Path) -> None:
    """The extension alone, as it is built for a wheel."""
    command = [sys.executable, "setup.py", "-q", "build_ext", "--force", "--inplace"]
    with (place / "build.log").open("wb") as log:
        done = subprocess.run(command, cwd=place, env=environment(place), stdout=log, stderr=log, check=False)
    if done.returncode:
        raise Untried(f"the extension is not built, see {place / 'build.log'}")


def limit_processor() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS_MAX_COUNT, CPU_SECONDS_MAX_COUNT))


def finding(place: Path, tests: Sequence[str]) -> str:
    """Which test fails first, or how their process ended; "" if all pass."""
    log = place / "tests.log"
    with log.open("wb") as written:
        done = subprocess.run(
            [sys.executable, *PYTEST, *tests],
            cwd=place,
            env=environment(place),
            stdout=written,
            stderr=written,
            preexec_fn=limit_processor,
            check=False,
        )
    if done.returncode == PASSED:
        return ""
    if done.returncode < 0:
        return f"its process ended by {signal.Signals(-done.returncode).name}"
    told = re.findall(
        r"^(?:FAILED|ERROR) tests/wsframe/(\S+)", log.read_text("utf-8", "replace"), re.MULTILINE
    )
    if done.returncode != FAILED or not told:
        raise Untried(f"pytest ended with {done.returncode}, see {log}")
    return str(told[0])


def check_control(place: Path, tests: Sequence[str]) -> None:
    """Without a fault all tests pass, and they see the codec of the place."""
    where = "import wsframe; print(wsframe.IMPLEMENTATION, wsframe.__file__)"
    command = [sys.executable, "-c", where]
    told = subprocess.run(
        command, cwd=place, env=environment(place), capture_output=True, text=True, check=True
    )
    if told.stdout != f"cython {place / 'src' / 'wsframe' / '__init__.py'}\n":
        raise Untried(f"the tests would see another codec: {told.stdout}")
    found = finding(place, tests)
    if found:
        raise Untried(f"the tests fail without a fault: {found}, see {place / 'tests.log'}")


def try_fault(place: Path, fault: Fault, tests: Sequence[str]) -> str:
    """What finds it; "" if nothing does. The place is as it was afterwards."""
    source = (place / fault.file).read_text("utf-8")
    compiled = Path(fault.file).suffix in COMPILED
    extensions = [(path, path.read_bytes()) for path in (place / "src/wsframe").glob("*.so")]
    (place / fault.file).write_text(fault.planted(source), "utf-8")
    try:
        if compiled:
            build(place)
        return finding(place, tests)
    finally:
        (place / fault.file).write_text(source, "utf-8")
        for path, built in extensions:
            path.unlink()  # a process may still have it
            path.write_bytes(built)


def exit_status(results: Iterable[bool | None]) -> int:
    """Of what was found (True), lives (False), could not be tried (None)."""
    results = list(results)
    return 2 if None in results else int(not all(results))


def run(faults: Iterable[Fault], place: Path, tests: Sequence[str] = ALL_TESTS) -> int:
    """Says of each fault what found it. Returns the exit status."""
    try:
        prepare(place)
        check_control(place, tests)
    except Untried as reason:
        print(reason, file=sys.stderr)
        return 2
    return exit_status([tell(place, fault, tests) for fault in faults])


def tell(place: Path, fault: Fault, tests: Sequence[str]) -> bool | None:
    began = time.monotonic()
    result: bool | None = None
    try:
        found = try_fault(place, fault, tests)
        result = bool(found)
        words = f"found by {found}" if found else f"NOT FOUND: {fault.breaks}"
    except Untried as reason:
        words = f"NOT TRIED: {reason}"
    print(f"{fault.name:24} {time.monotonic() - began:5.1f} s  {words}", flush=True)
    return result


def main(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("names", nargs="*", metavar="NAME")
    options.add_argument("--list", action="store_true", help="name the faults, and try none")
    options.add_argument("--tests", nargs="+", default=ALL_TESTS, metavar="TEST", help="none but these")
    told = options.parse_args(arguments)
    table = {fault.name: fault for fault in read_table()}
    unknown = [name for name in told.names if name not in table]
    if unknown:
        options.error(f"no such fault: {' '.join(unknown)}")
    chosen = [table[name] for name in told.names or table]
    if told.list:
        print(*(f"{fault.name:24} {fault.file}: {fault.breaks}" for fault in chosen), sep="\n")
        return 0
    return run(chosen, PLACE, told.tests)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
