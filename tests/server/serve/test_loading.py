"""Import strings, what they lead to, and what cannot run here; in this process, module by module.

It must not know how anything is served.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask
import pytest

from python_server.net.monkey_patch import PatchedError
from python_server.serve import loading
from python_server.serve.loading import (
    ApplicationError,
    load_application,
    other_python_server,
    refuse_foreign,
    with_debugger,
)

PROGRAMS = {
    "shop/__init__.py": "",
    "shop/web.py": "def app(environ, start_response): ...\nclass site: app = app\nnumber = 5\n",
    "made.py": "def create_app():\n    def made(environ, start_response): ...\n    return made\n",
    "failing.py": "def create_app(): return 1 / 0\n",
    "broken.py": "import nothing_of_that_name\n",
    "raising.py": "1 / 0\n",
}


@pytest.fixture
def app_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, text in PROGRAMS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield str(tmp_path)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("shop.web:app", "app"),
        ("shop.web", "app"),
        ("shop.web:site.app", "app"),
        ("made", "made"),
    ],
)
def test_import_strings_that_resolve(app_dir: str, target: str, name: str) -> None:
    assert load_application(target, app_dir).__name__ == name


def test_a_factory_is_called_when_one_says_so(app_dir: str) -> None:
    assert load_application("made:create_app", app_dir).__name__ == "create_app"
    assert load_application("made:create_app", app_dir, factory=True).__name__ == "made"


@pytest.mark.parametrize(
    ("target", "words", "own_fault"),
    [
        ("nosuch:app", "no module named 'nosuch' (looked for 'nosuch:app' in ", False),
        ("shop.nosuch:app", "no module named 'shop.nosuch'", False),
        ("shop.web:nothing", "module 'shop.web' has no attribute 'nothing'", False),
        ("shop", "module 'shop' has no attribute 'app' or 'application'", False),
        ("shop.web:number", "shop.web:number is int, which is not callable", False),
        (
            "broken:app",
            "importing 'broken' raised ModuleNotFoundError: No module named 'nothing_of_that_name'",
            True,
        ),
        ("raising:app", "importing 'raising' raised ZeroDivisionError: division by zero", True),
        ("failing", "failing:create_app() raised ZeroDivisionError: division by zero", True),
    ],
)
def test_import_strings_that_do_not_resolve(
    app_dir: str, capsys: pytest.CaptureFixture[str], target: str, words: str, own_fault: bool
) -> None:
    with pytest.raises(ApplicationError) as raised:
        load_application(target, app_dir)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    # The application's own fault keeps its traceback.
    assert ("Traceback" in capsys.readouterr().err) is own_fault


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def test_who_lacks_what_drop_in_stands_in_for_hears_of_it(
    app_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(app_dir, "green.py").write_text("import eventlet\n")
    monkeypatch.setitem(sys.modules, "eventlet", None)  # not installed
    with pytest.raises(ApplicationError, match="--drop-in serves it"):
        load_application("green:app", app_dir)


def test_an_asgi_application_is_refused() -> None:
    with pytest.raises(ApplicationError, match="is an ASGI application"):
        refuse_foreign(asgi)


class Failing:
    @property
    def async_mode(self) -> str:
        raise LookupError("no mode")


@pytest.mark.parametrize("mode", ["eventlet", "gevent", "gevent_uwsgi"])
@pytest.mark.parametrize("place", ["application", "wrapped", "engine", "extension"])
def test_a_socketio_server_of_another_mode_is_found_wherever_it_stands(mode: str, place: str) -> None:
    server = SimpleNamespace(async_mode=mode)
    application: Any = {
        "application": server,
        "wrapped": SimpleNamespace(wsgi_app=SimpleNamespace(app=server)),
        "engine": SimpleNamespace(engineio_app=server),
        "extension": SimpleNamespace(extensions={"odd": Failing(), "socketio": server}),
    }[place]
    with pytest.raises(ApplicationError, match=f"async_mode='{mode}'"):
        refuse_foreign(application)
    server.async_mode = "threading"
    refuse_foreign(application)


def test_an_application_that_wraps_itself_is_looked_at_once() -> None:
    ring = SimpleNamespace()
    ring.app = ring
    refuse_foreign(ring)


def test_a_patched_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def patched() -> None:
        raise PatchedError("this process is monkey-patched")

    monkeypatch.setattr(loading, "refuse_patched", patched)
    with pytest.raises(ApplicationError, match="monkey-patched"):
        refuse_foreign(SimpleNamespace())


@pytest.mark.parametrize("place", ["python_server.py", "python_server/__init__.py"])
def test_another_package_of_our_name_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    other = tmp_path / place
    other.parent.mkdir(exist_ok=True)
    other.write_text("x = 1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert other_python_server() == other
    other.write_text('DISTRIBUTION: Final = "wsframe"\n')  # ours, in another place
    assert other_python_server() is None


def test_the_debugger_stands_around_the_application_and_tells_its_pin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = flask.Flask(__name__)
    debugged = with_debugger(SimpleNamespace(wsgi_app=app))
    assert app.debug
    assert debugged.evalex
    assert capsys.readouterr().err == f" * Debugger is active!\n * Debugger PIN: {debugged.pin}\n"
    assert not with_debugger(app, evalex=False, host="shop.test").evalex
    monkeypatch.setitem(sys.modules, "werkzeug.debug", None)
    with pytest.raises(ApplicationError, match="pip install werkzeug"):
        with_debugger(app)
