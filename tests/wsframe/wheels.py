"""Builds wheel and sdist, and tests both in clean environments under every CPython >= 3.11 that is found.

It must not use the environment it runs in: each Python builds for itself, and tests what it has installed.
"""

from __future__ import annotations

import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = (
    "~/.pyenv/versions/*/bin/python3",
    "/usr/local/bin/python3.*",
    "/usr/bin/python3.*",
    "/opt/python/*/bin/python3",
)
TESTS = ("pytest>=8", "hypothesis>=6.100")
ASK = "import sys, platform; print(platform.python_implementation(), *sys.version_info[:2], sys.prefix)"


def pythons() -> dict[str, str]:
    """Version -> executable: the first that is found of each, and that can make environments."""
    found: dict[str, str] = {}
    names = [sys.executable, *(shutil.which(f"python3.{minor}") or "" for minor in range(11, 16))]
    for place in PLACES:
        names.extend(sorted(glob.glob(os.path.expanduser(place))))
    for name in filter(None, names):
        told = subprocess.run([name, "-c", ASK], capture_output=True, text=True, check=False).stdout.split()
        if len(told) >= 3 and told[0] == "CPython" and (int(told[1]), int(told[2])) >= (3, 11):
            able = subprocess.run([name, "-c", "import ensurepip, venv"], capture_output=True, check=False)
            if able.returncode == 0:
                found.setdefault(f"{told[1]}.{told[2]}", name)
    return found


def run(*arguments: str | Path, cwd: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    if "pytest" in map(str, arguments):
        print("   ", done.stdout.strip().splitlines()[-1])


def environment(python: str, place: Path, *packages: str | Path) -> Path:
    run(python, "-m", "venv", place, cwd=place.parent)
    inside = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(inside, "-m", "pip", "install", "-q", *packages, cwd=place.parent)
    return inside


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", help="versions, such as 3.12")
    options = parser.parse_args()
    found = pythons()
    print("found:", ", ".join(f"{version} ({name})" for version, name in found.items()))
    for version, python in found.items():
        if options.only and version not in options.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            builder = environment(python, place / "builder", "build")
            run(builder, "-m", "build", "--outdir", place / "dist", ROOT, cwd=place)
            for kind in ("*.whl", "*.tar.gz"):
                (built,) = (place / "dist").glob(kind)
                inside = environment(python, place / kind.strip("*."), built, *TESTS)
                core = "import wsframe, sys; sys.exit(wsframe.IMPLEMENTATION != 'cython')"
                run(inside, "-c", core, cwd=place)
                print(f"{version}: {built.name}", flush=True)
                run(
                    inside,
                    "-m",
                    "pytest",
                    "-q",
                    "-p",
                    "no:cacheprovider",
                    ROOT / "tests" / "wsframe",
                    cwd=place,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
