"""The built wheel in an environment that has nothing else: what works, and what is said of the rest.

It must not know an index: everything is installed offline, and what a test lends comes from this environment.
"""

import os
import socket
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import package_contents
from built_package import built, copied_tree, needs_build_tools
from running_program import run_to_its_end

PATIENCE_SECONDS = 120
WHAT = (
    'click, httptools, msgspec, orjson, not installed here: pip install "wsframe[server]" [missing-package]'
)
PLAIN = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'served']\n"
FLASK = "from flask import Flask\napp = Flask('shop')\napp.get('/')(lambda: 'served')\n"

pytestmark = [
    needs_build_tools,
    pytest.mark.skipif(os.name != "posix", reason="an environment's programs stand elsewhere"),
    pytest.mark.skipif(not (package_contents.ROOT / ".git").exists(), reason="no repository here"),
]
Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the environment's programs; without pip, which this environment's own fills."""
    wheel, _, _ = built(copied_tree(tmp_path_factory.mktemp("tree")))
    place = tmp_path_factory.mktemp("bare")
    venv.create(place, symlinks=True)
    # Without --no-deps: a package that it needed would be a failure.
    pip(place / "bin", "install", "--quiet", "--no-index", str(wheel))
    return place / "bin"


def pip(programs: Path, *words: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", programs / "python"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def run(bare: Path, tmp_path: Path) -> Run:
    """run("wsframe", "status", lent=FOLDER): a program of the environment, its status and what it said."""

    def call(program: str, *words: str, lent: Path | None = None, **more: str) -> tuple[int, str]:
        environment = {"PATH": f"{bare}:/usr/bin:/bin"} | ({"PYTHONPATH": str(lent)} if lent else {}) | more
        return run_to_its_end([bare / program, *words], tmp_path, environment, PATIENCE_SECONDS)

    return call


def needed(name: str) -> Iterator[metadata.Distribution]:
    """A package of this environment, and what it requires here."""
    found = metadata.distribution(name)
    yield found
    for requirement in map(Requirement, found.requires or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield from needed(requirement.name)


@pytest.fixture
def lend(tmp_path: Path) -> Callable[..., Path]:
    """lend("pytest"): a folder with that package and what it needs, as if they were installed."""

    def link(name: str) -> Path:
        folder = tmp_path / "lent"
        folder.mkdir()
        for found in needed(name):
            for top in {Path(file).parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                if not (folder / top).exists():
                    (folder / top).symlink_to(Path(str(found.locate_file(top))))
        return folder

    return link


def test_nothing_else_is_installed(bare: Path, run: Run) -> None:
    version = package_contents.PROJECT["version"]
    assert pip(bare, "list", "--format=freeze") == f"wsframe=={version}\n"
    assert pip(bare, "check") == "No broken requirements found.\n"
    codec = "import wsframe.handshake, wsframe.deflate as d; print(d.DEFLATE_IMPLEMENTATION)"
    assert run("python", "-c", codec) == (0, "zlib\n")


@pytest.mark.parametrize(
    ("program", "words", "said"),
    [
        ("wsframe", "serve shop:app", "wsframe serve"),
        ("wsframe", "status", "wsframe status"),
        ("wsframe", "--version", "wsframe --version"),
        ("python", "-m python_server shop:app", "python -m python_server"),
    ],
)
def test_a_command_says_what_to_install(
    run: Run, tmp_path: Path, program: str, words: str, said: str
) -> None:
    (tmp_path / "shop.py").write_text(PLAIN)
    assert run(program, *words.split()) == (1, f"Error: {said} needs {WHAT}\n")


@pytest.mark.parametrize("words", ["", "-h", "--help"])
def test_help_shows_the_command_that_works(run: Run, words: str) -> None:
    status, log = run("wsframe", *words.split())
    assert (status, log.splitlines()[0]) == (0, "Usage: wsframe connect URL [OPTIONS]")
    assert log.endswith(f"\nEvery other command needs {WHAT}\n")


@pytest.mark.parametrize(("program", "words"), [("wsframe", "connect"), ("python", "-m wsframe")])
def test_the_client_needs_no_package(run: Run, program: str, words: str) -> None:
    status, log = run(program, *words.split(), "--help")
    assert (status, "--subprotocol" in log) == (0, True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
    status, log = run(program, *words.split(), url)  # nobody listens there any more
    assert status == 1
    assert log.count("\n") == 1
    assert "refused" in log


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from python_server import SocketIO", "python_server.SocketIO"),
        ("from python_server import emit", "python_server.emit"),
        ("import python_server; python_server.WSGIServer", "python_server.WSGIServer"),
        ("from python_server import GunicornWorker", "python_server.GunicornWorker"),
        ("from python_server.gunicorn.worker import GunicornWorker", "python_server.gunicorn"),
    ],
)
def test_an_import_says_what_to_install(run: Run, line: str, said: str) -> None:
    status, log = run("python", "-c", line)
    assert (status, log.splitlines()[-1]) == (1, f"ModuleNotFoundError: {said} needs {WHAT}")
    caught = f"try:\n    {line}\nexcept ImportError as error:\n    print(error.name)"
    assert run("python", "-c", caught) == (0, "click\n")
    assert run("python", "-c", "import python_server; print('imported')") == (0, "imported\n")


def test_another_projects_pytest_runs(run: Run, lend: Callable[..., Path], tmp_path: Path) -> None:
    """pytest loads the plugin of every package that is installed; a fixture of ours says what it lacks."""
    (tmp_path / "test_shop.py").write_text(
        "import wsframe\n"
        "def test_codec(): assert wsframe.Connection(wsframe.Role.SERVER).encode('a') == b'\\x81\\x01a'\n"
        "def test_server(socketio_live): socketio_live(None)\n"
    )
    words = ("-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-q", "test_shop.py")
    status, log = run("python", *words, lent=lend("pytest"))
    assert status == 1, log
    assert f" ModuleNotFoundError: socketio_live needs {WHAT}\n" in log
    assert log.splitlines()[-1].startswith("1 passed, 1 error in ")
    status, log = run("python", *words, "-k", "codec", lent=tmp_path / "lent")
    assert status == 0, log


def test_another_projects_flask_runs(run: Run, lend: Callable[..., Path], tmp_path: Path) -> None:
    """Flask loads our `run` before each command; of an application without events it is Flask's own."""
    (tmp_path / "app.py").write_text(FLASK)
    lent = lend("flask")  # with click
    assert run("python", "-m", "flask", "routes", lent=lent)[0] == 0
    status, log = run("python", "-m", "flask", "run", "--help", lent=lent)
    assert status == 0, log
    assert "--with-threads" in log
    what = WHAT.removeprefix("click, ")
    status, log = run("python", "-m", "flask", "run", lent=lent, WSFRAME_DROP_IN="1")
    assert (status, log) == (1, f"Error: WSFRAME_DROP_IN needs {what}\n")
    (tmp_path / "app.py").write_text(f"{FLASK}from python_server import SocketIO\nSocketIO(app)\n")
    status, log = run("python", "-m", "flask", "run", lent=lent)
    assert status != 0
    assert log.rstrip().endswith(f"ModuleNotFoundError: python_server.SocketIO needs {what}")
