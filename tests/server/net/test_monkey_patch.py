"""Whether the process is monkey-patched is asked of whoever can have done it (net/monkey_patch.py).

It must not know gevent or eventlet.
"""

import sys
from types import SimpleNamespace

import pytest

from python_server.net.monkey_patch import PATCHERS, PatchedError, refuse_patched


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for _, module, _ in PATCHERS:
        monkeypatch.delitem(sys.modules, module, raising=False)


@pytest.mark.parametrize(("name", "module", "question"), PATCHERS)
def test_each_is_asked(monkeypatch: pytest.MonkeyPatch, name: str, module: str, question: str) -> None:
    patched = {"socket"}
    patcher = SimpleNamespace(**{question: patched.__contains__})
    monkeypatch.setitem(sys.modules, module, patcher)  # type: ignore[arg-type]
    with pytest.raises(PatchedError, match=f"monkey-patched by {name}"):
        refuse_patched()
    patched.clear()
    refuse_patched()


def test_one_that_is_kept_from_being_imported_has_patched_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for _, module, _ in PATCHERS:
        monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    refuse_patched()
