"""What every test stands on: the installed package, never the source folder by accident.

It must not know any single test.
"""

from pathlib import Path

import pytest

import python_server
import wsframe

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    for package in (wsframe, python_server):
        home = Path(str(package.__file__)).resolve()
        if home.is_relative_to(ROOT / "src") or home.is_relative_to(ROOT / "python_server"):
            raise pytest.UsageError(
                f"{package.__name__} comes from {home.parent}, not from an installed wheel: run `make test`"
            )


def pytest_report_header() -> str:
    return f"wsframe: {wsframe.IMPLEMENTATION} core from {Path(str(wsframe.__file__)).parent}"
