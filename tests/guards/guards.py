"""Counts that need no clock: instructions of the codec's hot paths, allocations of one message.

    python tests/guards/guards.py            what this machine counts, as JSON
    python tests/guards/guards.py --record   the same, kept in bounds.json for the running CPython

It must not judge: test_guards.py holds the counts against the bounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BOUNDS = HERE / "bounds.json"
TIMES_COUNT = 200
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class ToolMissing(Exception):
    """A count needs a tool that is not there; the text names it."""


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ToolMissing(f"{name} is not installed")
    return found


def _run(command: list[str | Path], **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr[-2000:]}")
    return str(done.stdout)


def _dump_total(path: Path) -> int:
    """Of one callgrind dump: its `totals` line, in instructions."""
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith("totals:"))


def count_instructions() -> dict[str, float]:
    """Instructions of one call of each path in codec_paths.py, that of an empty call taken off.

    Raises:
        ToolMissing: valgrind. RuntimeError: it failed.
    """
    valgrind = _tool("valgrind")
    names = _run([sys.executable, "-c", f"{_codec_paths()}; print(*PATHS, sep='\\n')"]).splitlines()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        _run(
            [
                *(valgrind, "--tool=callgrind", "--dump-before=getpgid", f"--callgrind-out-file={out}"),
                *(sys.executable, "-I", HERE / "codec_paths.py", str(TIMES_COUNT)),
            ],
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        # A dump ends at each marker: one before a path's loop, one after it, and so on.
        totals = [_dump_total(Path(f"{out}.{number}")) for number in range(2, 2 * len(names) + 1, 2)]
    each = dict(zip(names, (total / TIMES_COUNT for total in totals), strict=True))
    empty = each.pop("nothing")
    return {name: round(count - empty, 1) for name, count in each.items()}


def _codec_paths() -> str:
    return (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); sys.argv[1:] = ['1']; from codec_paths import PATHS"
    )


def count_allocations() -> dict[str, float]:
    """Allocations of one message on each path in allocation_paths.py.

    Raises:
        ToolMissing: a C compiler, or Python.h. RuntimeError: it failed.
    """
    compiler, headers = _tool(os.environ.get("CC", "cc")), sysconfig.get_path("include")
    if not (Path(headers) / "Python.h").exists():
        raise ToolMissing("Python.h is not installed")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "allocations.so"
        source = HERE / "allocations.c"
        _run([compiler, "-O1", "-shared", "-fPIC", f"-I{headers}", "-o", library, source])
        found: dict[str, float] = json.loads(
            _run([sys.executable, HERE / "allocation_paths.py", library], env=dict(os.environ, PYTHONPATH=""))
        )
        return found


COUNTS = {"instructions": count_instructions, "allocations": count_allocations}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    counts = {kind: count() for kind, count in COUNTS.items()}
    print(json.dumps(counts, indent=1))
    if arguments.record:
        bounds = json.loads(BOUNDS.read_text()) if BOUNDS.exists() else {}
        bounds[PYTHON] = {
            "recorded_on": f"{platform.python_implementation()} {platform.python_version()}",
            **counts,
        }
        BOUNDS.write_text(json.dumps(dict(sorted(bounds.items())), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
