"""The pytest plugin of a strict run: after each test the process must still be in the run's mode.

It must not know what a mode is: `sitecustomize.py` does.
"""

import sys
from pathlib import Path

import pytest
import sitecustomize
from _pytest.assertion.rewrite import AssertionRewritingHook

TESTS = Path(__file__).resolve().parents[1]

# Under -O only what pytest rewrites has its asserts: test files, and with this the modules they share.
pytest.register_assert_rewrite(*(path.stem for path in TESTS.glob("common/*.py")))


def what_is_off() -> str:
    """pytest rewrites asserts into code that -O leaves in: of tests, where that is wanted, and of all that
    comes with a plugin, as this product does.
    """
    if not sitecustomize.is_in_its_mode():
        return "this process is not in its mode"
    try:
        assert not TESTS
        return "asserts of tests do nothing"
    except AssertionError:
        pass
    rewritten = [
        name
        for name, module in sys.modules.items()
        if name.startswith(("wsframe", "python_server")) and name != "python_server.api.pytest_plugin"
        if isinstance(getattr(module, "__loader__", None), AssertionRewritingHook)
    ]
    return f"asserts of {rewritten} are on" if sitecustomize.MODE == "optimised" and rewritten else ""


def pytest_report_header() -> str:
    return f"strict: {sitecustomize.MODE}"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Of the suite: a pytest that a test starts as a user would is one more process."""
    if session.config.rootpath == TESTS.parent and (off := what_is_off()):
        raise pytest.UsageError(f"{sitecustomize.MODE}: {off}")


def pytest_runtest_teardown() -> None:
    if not sitecustomize.is_in_its_mode():
        pytest.exit(f"this process is not in the mode {sitecustomize.MODE!r} any more", returncode=1)
