"""`flask run` and `app.run()` of an application with our SocketIO; other applications are left to Flask.

It must not know the server's insides: programs are written to a folder, started, changed, and asked.
"""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from one_thread_call import call
from ordered_clients import SimpleClient
from running_program import RunningProgram, run_to_its_end

PATIENCE_SECONDS = 60
EVENTS = """
import os
from flask import Blueprint, Flask
from python_server import SocketIO
from werkzeug.middleware.dispatcher import DispatcherMiddleware
import words

socketio = SocketIO()
pages = Blueprint("pages", __name__)

@pages.get("/")
def index():
    return words.GREETING

@pages.get("/fail")
def fail():
    raise LookupError("a word to find")

@socketio.on("echo")
def echo(value):
    return [value, words.GREETING]

def create_app(folder=""):
    app = Flask(__name__)
    app.register_blueprint(pages, url_prefix=folder)
    socketio.init_app(app)
    second = SocketIO(app, path="/second")
    second.on_event("echo", lambda value: [value, "second"])
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/other": Flask("other")})
    return app

if __name__ == "__main__":
    create_app().run(port=0, **OPTIONS)
"""
PLAIN = """
from flask import Flask
app = Flask(__name__)

@app.get("/")
def index():
    return "a page"

@app.cli.command("hello")
def hello():
    print("hello")
"""
# Flask's command line, and as it is without anything that is installed beside it.
FLASK = "import flask.cli as f; f.main()"
FLASK_ALONE = "import flask.cli as f; f.cli._loaded_plugin_commands = True; f.main()"
# Both, each in a child of its own: Flask is imported once for all of them. The parent prints the statuses.
FLASK_BOTH = """
import json, os, sys, flask.cli as f
commands = json.loads(sys.argv[1])
for number, arguments in enumerate(commands):
    for alone in (False, True):
        child = os.fork()
        if child == 0:
            place = os.open(f"said-{number}-{alone}", os.O_WRONLY | os.O_CREAT)
            os.dup2(place, 1), os.dup2(place, 2)
            sys.argv[1:] = arguments
            f.cli._loaded_plugin_commands = alone
            f.main()
            sys.exit()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
WAYS = {
    "flask run": ("-m", "flask", "--app", "events:create_app", "run", "--port", "0"),
    "app.run()": ("events.py",),
}


def written(folder: Path) -> Path:
    (folder / "words.py").write_text("GREETING = 'good morning'\n")
    (folder / "events.py").write_text(EVENTS.replace("OPTIONS", "{'debug': bool(os.environ.get('DEBUG'))}"))
    (folder / "plain.py").write_text(PLAIN)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path)


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
        return str(answer.read().decode())


def failure(url: str) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as failed:
        get(url)
    with failed.value as answer:
        return answer.code, answer.read().decode()


def ask(url: str, transport: str, path: str = "socket.io") -> Any:
    with SimpleClient() as client:
        client.connect(url, transports=[transport], socketio_path=path)
        return client.call("echo", 1, timeout=PATIENCE_SECONDS)


def flask(folder: Path, *arguments: str, program: str = FLASK, **environment: str) -> tuple[int, str]:
    """The status of a `flask` command that ends, and what it says."""
    done = RunningProgram([sys.executable, "-c", program, *arguments], folder, environment)
    return done.wait(), done.log


@pytest.mark.parametrize("way", WAYS)
def test_events_come_with_the_application(serve: Any, folder: Path, way: str) -> None:
    """A factory, a blueprint, a second SocketIO, and middleware around it all."""
    server = serve(folder, *WAYS[way], program=True)
    for transport in ("polling", "websocket"):
        assert ask(server.url, transport) == [1, "good morning"]
        assert ask(server.url, transport, "second") == [1, "second"]
    assert get(server.url) == "good morning"
    assert failure(server.url + "/fail")[0] == 500
    assert failure(server.url + "/other/")[0] == 404
    server.intended_exceptions_count = 1
    server.wait_for(" * Debug mode: off")
    assert "Debugger PIN" not in server.log
    server.wait_for('"GET / HTTP/1.1" 200')


@pytest.mark.parametrize("way", WAYS)
def test_debug_mode_reloads_and_shows_tracebacks(serve: Any, folder: Path, way: str) -> None:
    """An edit, a mistake, its mend; the PIN once for each start."""
    server = serve(folder, *WAYS[way], program=True, env={"FLASK_DEBUG": "1", "DEBUG": "1"})
    url = server.url
    assert ask(url, "polling") == [1, "good morning"]
    status, page = failure(url + "/fail")
    assert (status, "a word to find" in page, "EVALEX = true" in page) == (500, True, True)
    (folder / "words.py").write_text("GREETING = 'good evening, all'\n")
    server.wait_for("listening on", count=2)
    assert ask(url, "websocket") == [1, "good evening, all"]
    (folder / "words.py").write_text("GREETING = 1 / 0\n")
    if way == "flask run":
        server.wait_for("listening on", count=3)
        for _ in range(2):
            assert "ZeroDivisionError" in failure(url)[1]
    else:
        server.wait_for("the next change of a file starts it again")
    (folder / "words.py").write_text("GREETING = 'as you were'\n")
    server.wait_for("listening on", count=4 if way == "flask run" else 3)
    assert get(url) == "as you were"
    assert ask(url, "polling") == [1, "as you were"]
    pins = re.findall(r"^ \* Debugger PIN: (\S+)$", server.log, re.MULTILINE)
    assert len(pins) == server.log.count("listening on")
    assert server.log.count(" * Debug mode: on") == 1
    server.intended_exceptions_count = server.log.count("Traceback (most recent call last)")
    assert server.intended_exceptions_count == (4 if way == "flask run" else 2)


def test_an_application_in_words_of_its_own(serve: Any, folder: Path) -> None:
    """Arguments for the factory, and Flask's environment."""
    words = {"FLASK_APP": "events:create_app('/x')", "FLASK_RUN_PORT": "0", "FLASK_RUN_DEBUGGER": "1"}
    server = serve(folder, "-m", "flask", "run", program=True, env=words)
    assert get(server.url + "/x/") == "good morning"
    server.wait_for("Debugger PIN")
    assert "console" not in failure(server.url + "/x/fail")[1]  # Flask answers itself without debug mode
    server.intended_exceptions_count = 1


def test_a_certificate_made_on_the_spot(serve: Any, folder: Path) -> None:
    server = serve(folder, *WAYS["flask run"], "--cert", "adhoc", program=True)
    assert server.url.startswith("https://")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(server.url, timeout=PATIENCE_SECONDS, context=context) as answer:
        assert answer.read() == b"good morning"
    assert call(server.url, "echo", 1, context=context) == [[1, "good morning"]]


def test_what_is_watched_besides(serve: Any, folder: Path) -> None:
    """A file and a folder of --extra-files; what --exclude-patterns names is left alone."""
    (folder / "texts" / "deep").mkdir(parents=True)
    (inner := folder / "texts" / "deep" / "part.py").write_text("a = 1\n")
    (extra := folder / "settings.toml").write_text("a = 1\n")
    watched = ("--reload", "--extra-files", "settings.toml:texts", "--exclude-patterns", "*words.py")
    server = serve(folder, *WAYS["flask run"], *watched, program=True)
    (folder / "words.py").write_text("GREETING = 'unseen'\n")
    extra.write_text("a = 2\n")
    server.wait_for("listening on", count=2)
    inner.write_text("a = 2\n")
    server.wait_for("part.py changed: the server restarts")
    server.wait_for("listening on", count=3)
    assert "words.py changed" not in server.log


def test_an_application_in_a_thread(serve: Any, folder: Path) -> None:
    """As tests of applications start it: signals stay the main thread's."""
    (folder / "thread.py").write_text(
        "import signal, sys, threading, events\n"
        "app = events.create_app()\n"
        "threading.Thread(target=app.run, kwargs={'port': 0, 'use_reloader': False}, daemon=True).start()\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())\n"
        "signal.pause()\n"
    )
    server = serve(folder, "thread.py", program=True)
    assert ask(server.url, "websocket") == [1, "good morning"]


def test_a_program_for_greenlets(serve: Any, tmp_path: Path) -> None:
    """With WSFRAME_DROP_IN, as it stands, through a reload."""
    (tmp_path / "green.py").write_text(
        "import eventlet\neventlet.monkey_patch()\n"
        "from flask import Flask\nfrom flask_socketio import SocketIO\n"
        "app = Flask(__name__)\nsocketio = SocketIO(app, async_mode='eventlet')\n"
        "socketio.on_event('echo', lambda value: [value, 'green'])\n"
    )
    arguments = ("-m", "flask", "--app", "green", "run", "--reload", "--port", "0")
    server = serve(tmp_path, *arguments, program=True, env={"WSFRAME_DROP_IN": "1"})
    assert ask(server.url, "websocket") == [1, "green"]
    (tmp_path / "green.py").touch()
    server.wait_for("listening on", count=2)
    assert ask(server.url, "polling") == [1, "green"]
    status, said = flask(tmp_path, "--app", "green", "run", WSFRAME_DROP_IN="perhaps")
    assert (status, "'perhaps' is not a valid boolean" in said) == (2, True)


def served_by_flask(folder: Path, program: str) -> tuple[str, str]:
    """What a development server says until it is told to end, and what the page is."""
    server = RunningProgram([sys.executable, "-c", program, "--app", "plain", "run", "--port", "0"], folder)
    url = server.find(re.compile(r"http://127\.0\.0\.1:\d+"))[0]
    server.wait_for("Press CTRL+C to quit")
    page = get(url)
    server.wait_for('"GET / HTTP/1.1" 200')
    server.stop()
    return page, re.sub(r"127\.0\.0\.1:\d+|\[\d\d/.*\]", "", server.log)


def test_a_plain_application_is_flasks(folder: Path) -> None:
    page, said = served_by_flask(folder, FLASK)
    assert (page, said) == served_by_flask(folder, FLASK_ALONE)
    assert "development server" in said


def test_a_plain_application_that_gets_events(folder: Path) -> None:
    """Werkzeug's reloader goes on with Werkzeug's server, and it is said what to do."""
    command = [sys.executable, "-m", "flask", "--app", "plain", "run", "--debug", "--port", "0"]
    server = RunningProgram(command, folder)
    url = server.find(re.compile(r"http://127\.0\.0\.1:\d+"))[0]
    assert get(url) == "a page"  # it watches from here on
    (folder / "plain.py").write_text(PLAIN + "1 / 0\n")
    server.wait_for("Debugger PIN", count=2)
    assert "ZeroDivisionError" in failure(url)[1]
    (folder / "plain.py").write_text(PLAIN + "from python_server import SocketIO\nSocketIO(app)\n")
    server.wait_for("A change has brought events: start 'flask run' again to serve them")
    assert get(url) == "a page"
    assert failure(f"{url}/socket.io/?EIO=4&transport=polling")[0] == 501
    assert server.stop(signal.SIGINT) == 0


COMMANDS = [
    ("run", "--help"),
    ("--help",),
    ("--app", "plain", "--help"),
    ("--app", "plain", "routes"),
    ("--app", "plain", "hello"),
    ("--app", "events:create_app", "routes"),
    ("--app", "nothing_there", "run"),
    ("--app", "plain:nothing", "run"),
    ("--app", "events:create_app", "run", "--port", "many"),
    ("--app", "events:create_app", "run", "--cert", "words.py"),
    ("--app", "events:create_app", "run", "--cert", "adhoc", "--key", "words.py"),
    ("--app", "events:create_app", "run", "--key", "words.py"),
    ("--app", "events:create_app", "run", "--prot", "5"),
    ("--app", "events:create_app", "runn"),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], list[tuple[str, str]]]:
    """The status and the words of each command, first with what is installed beside Flask, then without."""
    folder = written(tmp_path_factory.mktemp("commands"))
    status, statuses = run_to_its_end(
        [sys.executable, "-c", FLASK_BOTH, json.dumps(COMMANDS)], folder, {**os.environ}
    )
    assert status == 0, statuses
    words = [
        (folder / f"said-{number}-{alone}").read_text()
        for number in range(len(COMMANDS))
        for alone in (False, True)
    ]
    both = list(zip(statuses.split(), words, strict=True))
    return {command: both[2 * number : 2 * number + 2] for number, command in enumerate(COMMANDS)}


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_what_flask_says_it_says_here(said: Any, arguments: tuple[str, ...]) -> None:
    here, alone = said[arguments]
    assert here == alone
    assert here[1]


def test_a_port_that_is_taken(serve: Any, folder: Path) -> None:
    """One sentence, and no traceback."""
    port = serve(folder, *WAYS["flask run"], program=True).url.rpartition(":")[2]
    status, said = flask(folder, "--app", "events:create_app", "run", "--port", port)
    assert (status, said.count("\n")) == (1, 3)
    assert f"\nError: cannot listen on 127.0.0.1:{port}: the port is in use" in said


def test_other_commands_do_not_import_the_server(folder: Path) -> None:
    script = (
        "import sys, flask.cli\n"
        "try: flask.cli.main()\n"
        "except SystemExit: pass\n"
        "print(sorted(name for name in sys.modules if name.startswith(('python_server', 'wsframe'))))\n"
    )
    for arguments in (["--help"], ["--app", "plain", "routes"], ["--app", "plain", "run", "--port", "many"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == str(
            [
                "python_server",
                "python_server.command",
                "python_server.command.flask_run",
                "python_server.serve",
                "python_server.serve.reloaded",
            ]
        )
