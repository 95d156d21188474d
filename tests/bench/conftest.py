"""What the tests of bench/e2e share: its modules with the running Python, and its generator, compiled once.

It must not know a scenario or a server.
"""

import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

E2E = Path(__file__).resolve().parents[2] / "bench" / "e2e"
MODULES = (
    "against",
    "builds",
    "environment",
    "goals",
    "kept",
    "pages",
    "paired",
    "peers",
    "processes",
    "report",
    "run",
    "scenarios",
)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """The modules of bench/e2e, with the running Python instead of the peers' environment."""
    monkeypatch.syspath_prepend(str(E2E))
    found = Namespace(**{name: importlib.import_module(name) for name in MODULES})
    for name, path in (("BUILD", tmp_path), ("GENERATOR", tmp_path / "generator")):
        monkeypatch.setattr(found.environment, name, path)
    monkeypatch.setattr(found.environment, "VENV", tmp_path / "no packages")
    monkeypatch.setattr(found.environment, "FLOOR", tmp_path / "floor_epoll")
    monkeypatch.setattr(found.environment, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(found.run, "LOG", tmp_path / "server.log")
    monkeypatch.setattr(found.run, "RESULTS", tmp_path / "results")
    # Two processes of tests that began at the same port would race for it.
    first = found.processes.FIRST_PORT + os.getpid() * 97 % 10_000
    monkeypatch.setattr(found.processes, "_next_port", first)
    yield found  # type: ignore[misc]
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the C of all tests is compiled, once."""
    return tmp_path_factory.mktemp("build")


@pytest.fixture
def compiled(harness: Any, build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a load generator."""
    for name in ("GENERATOR", "FLOOR"):
        monkeypatch.setattr(harness.environment, name, build / name)
    if not harness.environment.GENERATOR.exists():
        harness.environment.compile_c()
