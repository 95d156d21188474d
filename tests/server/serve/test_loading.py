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

import python_server
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
    "quiz.py": (
        "from flask import Flask\n"
        "from python_server import SocketIO\n"
        "app = Flask(__name__)\n"
        "socketio = SocketIO(app)\n"
        "def build(config=None, debug=False): return app\n"
        "def named(name): return app\n"
        "def forgets(): app\n"
        "class Site: ...\n"
        "def wraps(environ, start_response): return app(environ, start_response)\n"
        "def wrapper(*args, **kwargs): return app(*args, **kwargs)\n"
    ),
    "my-site.py": "def app(environ, start_response): ...\n",
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
        ("made:create_app()", "made"),
        ("made:", "made"),
        ("my-site:app", "app"),
        ("quiz:wrapper", "wrapper"),
    ],
)
def test_import_strings_that_resolve(app_dir: str, target: str, name: str) -> None:
    assert load_application(target, app_dir).__name__ == name


def test_a_factory_is_called_when_one_says_so(app_dir: str) -> None:
    assert load_application("made:create_app", app_dir, factory=True).__name__ == "made"
    assert load_application("quiz:build", app_dir, factory=True).name == "quiz"  # type: ignore[attr-defined]


# What somebody typed, with what they are told.
MISTYPED = {
    ":app": "':app' names no module: write module:app [no-module]",
    "./quiz.py:app": "'./quiz.py:app' names no module: write quiz:app",
    "quiz.py:site": "'quiz.py:site' names no module: write quiz:site",
    "../shop/web:app": "'../shop/web:app' names no module: write --app-dir ../shop web:app",
    ".quiz:app": "names no module: write quiz:app",
    "quizz:app": "no module named 'quizz' (looked for 'quizz:app' in {}); did you mean quiz:app? [no-module]",
    "nothing_like_it:app": "no module named 'nothing_like_it' (looked for 'nothing_like_it:app' in {}); "
    "write module:app",
    "quiz:ap": "module 'quiz' has no attribute 'ap' (looked for 'quiz:ap'): write quiz:app",
    "quiz:nothing_like_it": "has no attribute 'nothing_like_it' (looked for 'quiz:nothing_like_it'): "
    "write quiz:app [no-application]",
    "quiz:socketio": "quiz:socketio is a SocketIO, which is not callable: write quiz:app [no-application]",
    "quiz:build": "quiz:build is not a WSGI application, it cannot be called with (environ, start_response): "
    "if it returns one, write quiz:build() or add --factory",
    "made:create_app": "if it returns one, write made:create_app() or add --factory [no-application]",
    "quiz:Site": "quiz:Site is not a WSGI application, it cannot be called with (environ, start_response)",
    "quiz:named": "quiz:named is not a WSGI application, it cannot be called with (environ, start_response)",
    "quiz:named()": "quiz:named(name) wants arguments, and is called without any: name a function that takes "
    "none and returns the application [no-application]",
    "quiz:wraps()": "quiz:wraps is the application itself: leave --factory out",
    "quiz:named('x')": "has no attribute \"named('x')\" (looked for \"quiz:named('x')\"): a factory is "
    "called without arguments, name a function that takes none",
    "quiz:forgets()": "quiz:forgets() returned None, and not an application [no-application]",
}


@pytest.mark.parametrize(("typed", "told"), MISTYPED.items(), ids=MISTYPED)
def test_who_typed(app_dir: str, capsys: pytest.CaptureFixture[str], typed: str, told: str) -> None:
    with pytest.raises(ApplicationError) as raised:
        load_application(typed, app_dir)
    assert told.format(app_dir) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("typed", ["import flask", "from python_server import SocketIO, emit"])
def test_an_application_without_flask_hears_of_the_extra(
    app_dir: str, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    Path(app_dir, "bare.py").write_text(f"{typed}\n")
    for name in [name for name in sys.modules if name.startswith("python_server.api.flask_socketio")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(vars(python_server), "SocketIO", raising=False)
    monkeypatch.setitem(sys.modules, "flask", None)  # not installed
    with pytest.raises(ApplicationError) as raised:
        load_application("bare:app", app_dir)
    assert str(raised.value).count('pip install "wsframe[flask]"') == 1


@pytest.mark.parametrize(
    ("target", "words", "own_fault"),
    [
        ("nosuch:app", "no module named 'nosuch' (looked for 'nosuch:app' in ", False),
        ("shop.nosuch:app", "no module named 'shop.nosuch'", False),
        ("shop.web:nothing", "module 'shop.web' has no attribute 'nothing'", False),
        ("shop", "module 'shop' has no attribute 'app' or 'application'", False),
        ("shop.web:number", "shop.web:number is an int, which is not callable", False),
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


def test_a_folder_of_the_path_that_is_closed_to_this_user_has_no_other_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(sys, "path", [str(tmp_path / "closed")])
    monkeypatch.setattr(Path, "is_file", closed)  # as CPython does before 3.14; root may look anywhere
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
