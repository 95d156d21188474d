"""Builds of ours to compare: the working tree and a commit, each a wheel in a virtual environment of its own.
It must not know what is measured with them."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import environment

FOLDER = environment.ROOT / "build" / "against"
# What a wheel is made of.
SOURCES = ("pyproject.toml", "setup.py", "readme_on_index.py", "README.md", "LICENSE", "src", "python_server")


@dataclass(frozen=True, slots=True)
class Build:
    name: str
    python: Path


class BuildFailed(Exception):
    """The text says which build, and what was said last."""


def _git(*words: str) -> bytes:
    if shutil.which("git") is None:
        raise BuildFailed("git is not installed")
    done = subprocess.run(["git", "-C", str(environment.ROOT), *words], capture_output=True, check=False)
    if done.returncode:
        raise BuildFailed(done.stderr.decode().strip())
    return done.stdout


def _export_commit(commit: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    archive = _git("archive", "--format=tar", commit)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)


def _export_tree(folder: Path) -> None:
    """Committed or not; what git ignores (built modules, caches) stays behind."""
    names = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *SOURCES)
    for name in names.decode().split("\0"):
        source = environment.ROOT / name
        if name and source.exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)


def _installed(name: str, home: Path) -> Build:
    """The wheel of home/source, in home/venv; its dependencies are taken anew, so two builds get the same."""
    venv, wheels = home / "venv", home / f"wheel-{sys.implementation.cache_tag}"
    python = venv / "bin" / "python"
    print(f"building {name} ...", flush=True)
    if not list(wheels.glob("*.whl")):
        pip = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--wheel-dir",
            wheels,
            home / "source",
        ]
        if trouble := environment.trouble_of(pip):
            raise BuildFailed(f"{name}: {trouble}")
    trouble = environment.trouble_of([sys.executable, "-m", "venv", "--clear", venv])
    wheel = f"{next(wheels.glob('*.whl'))}[flask]"
    if trouble := trouble or environment.trouble_of([python, "-m", "pip", "install", "-q", wheel]):
        raise BuildFailed(f"{name}: {trouble}")
    return Build(name, python)


def of_working_tree() -> Build:
    home = FOLDER / "tree"
    shutil.rmtree(home, ignore_errors=True)
    _export_tree(home / "source")
    return _installed(f"working tree ({environment.commit()})", home)


def _hash_of(commit: str) -> str:
    """In full.

    Raises:
        BuildFailed: there is no such commit, or no git.
    """
    try:
        return _git("rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}").decode().strip()
    except BuildFailed as failure:
        raise BuildFailed(f"{commit}: {failure}") from None


def of_commit(commit: str, full: str) -> Build:
    """The wheel of a commit is kept: it never changes."""
    home = FOLDER / full
    if not (home / "source").exists():
        unpacked = FOLDER / f"{full}.part"
        shutil.rmtree(unpacked, ignore_errors=True)
        _export_commit(full, unpacked)
        home.mkdir(exist_ok=True)
        unpacked.rename(home / "source")
    return _installed(full[:7] if full.startswith(commit) else f"{commit} ({full[:7]})", home)


def both(commit: str) -> tuple[Build, Build]:
    """The working tree first. Where the two have other dependencies, that is said: it is part of the ratio.

    Raises:
        BuildFailed: no such commit, or one of them does not build.
    """
    full = _hash_of(commit)
    pair = of_working_tree(), of_commit(commit, full)
    freezes = [_freeze(build) for build in pair]
    for line in sorted(freezes[0] ^ freezes[1]):
        print(f"only one of the two has {line}", flush=True)
    return pair


def _freeze(build: Build) -> set[str]:
    command = [str(build.python), "-m", "pip", "freeze", "--exclude", "wsframe"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())
