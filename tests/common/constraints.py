"""Which release of each package CI installs: `make constraints` resolves tests/constraints.txt anew.

It must not know what a package is for. It binds nobody else: pip reads it where PIP_CONSTRAINT names it.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "tests" / "constraints.txt"
HEAD = """\
# By `make constraints`, under the oldest Python that is supported. CI installs these (PIP_CONSTRAINT), and
# `make audit` looks for their known vulnerabilities.
"""
# Without those of `make bench`, which compares with whatever is newest.
GROUPS = ("test", "coverage", "docs", "release", "audit")


def wanted() -> list[str]:
    """What pyproject.toml asks for, in the words of PEP 508."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project, groups = told["project"], told["dependency-groups"]
    lists = [told["build-system"]["requires"], project["dependencies"]]
    own = project["name"]  # an extra that another one contains
    lists += [*project["optional-dependencies"].values(), *(groups[name] for name in GROUPS)]
    return sorted({word for words in lists for word in words if Requirement(word).name != own})


def pinned(lines: Iterable[str]) -> dict[str, str]:
    """By name the release; any other line is a mistake, and raises ValueError."""
    pins: dict[str, str] = {}
    for line in lines:
        if line.strip() and not line.startswith("#"):
            name, release = line.strip().split("==")
            pins[canonicalize_name(name)] = release
    return pins


def faults(pins: dict[str, str], requirements: Iterable[str]) -> list[str]:
    """What of the requirements has no pin, or one that does not fit."""
    found = []
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        release = pins.get(canonicalize_name(requirement.name))
        if release is None:
            found.append(f"{requirement.name} has no pin: make constraints")
        elif not requirement.specifier.contains(release, prereleases=True):
            found.append(f"{requirement.name}=={release} is not {requirement.specifier}: make constraints")
    return found


def resolved(requirements: Iterable[str]) -> dict[str, str]:
    """What pip would install into an empty environment, with what that needs."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    told = subprocess.run([*command, "--report", "-", *requirements], stdout=subprocess.PIPE, check=True)
    found = [each["metadata"] for each in json.loads(told.stdout)["install"]]
    return {canonicalize_name(each["name"]): each["version"] for each in found}


if __name__ == "__main__":
    pins = resolved(wanted())
    if missing := faults(pins, wanted()):
        raise SystemExit("\n".join(missing))
    FILE.write_text(HEAD + "".join(f"{name}=={pins[name]}\n" for name in sorted(pins)), "utf-8")
    print(f"{FILE.relative_to(ROOT)}: {len(pins)} packages")
