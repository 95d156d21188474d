"""The pytest plugin, in runs of pytest of its own: what a stranger's tests are given, and what they leave.

It must not know how the plugin serves.
"""

import copy
import gc
import pickle
import re
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from own_ports import port_of_its_own
from python_server import Settings, SocketIO
from python_server.net.certificates import CertificateError
from python_server.net.sockets import BindError

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "testing.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# pytest warns under -O, which `make strict` runs this with.
STRICT = ("-W", "error", "-W", "ignore:assertions not in test modules", "-p", "no:cacheprovider")

# A program of its own, and what most tests of it begin with.
QUIZ = """
import gc, logging, os, sys, threading, urllib.error, urllib.request
import pytest
from flask import Flask
from ordered_clients import ClosingEngine, SimpleClient
from python_server import Resource, Server, Settings, SocketIO, WebSocketApplication, WSGIApp, emit

app = Flask(__name__)
socketio = SocketIO(app)

@app.get("/")
def index():
    socketio.emit("visited")
    return "a quiz"

@socketio.on("double")
def double(value):
    socketio.sleep(0)
    emit("doubled", value * 2)
    return value * 2

@socketio.on("divide")
def divide(by):
    return 1 / by

def read(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()

def refuses(url):
    try:
        read(url)
    except urllib.error.URLError as error:
        return isinstance(error.reason, ConnectionRefusedError)

def play(live, **options):
    with SimpleClient() as client:
        client.connect(live, **options)
        assert client.call("double", 21) == 42
        assert client.receive(60) == ["doubled", 42]
        read(live)
        assert client.receive(60) == ["visited"]
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """run(source, *arguments): a file of tests in a pytest of its own, where a warning is an error."""

    # The library's own clients leave a socket open where they are late, which is a warning.
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "common"))

    def run(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_quiz=source)
        return pytester.runpytest_subprocess(*STRICT, *arguments, timeout=600)

    return run


STRANGERS = (
    QUIZ
    + """
from websockets.sync.client import connect
from python_server import EngineServer

@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_events(socketio_live, transport):
    play(socketio_live(app), transports=[transport])

class Echo(WebSocketApplication):
    def on_message(self, socket, message):
        socket.send(message)

def test_raw_websockets(socketio_live):
    live = socketio_live(Resource({"/echo": Echo()}, app))
    with connect(live.websocket_url + "/echo") as websocket:
        websocket.send("again")
        assert websocket.recv() == "again"
    play(live)

def test_two_at_once(socketio_live):
    server = Server()
    server.on("half", lambda sid, value: value / 2)
    quiz, other = socketio_live(app), socketio_live(WSGIApp(server))
    assert quiz.port != other.port
    play(quiz)
    with SimpleClient() as client:
        client.connect(other)
        assert client.call("half", 5) == 2.5
    other.stop()
    assert refuses(other)
    assert read(quiz) == "a quiz"

def test_engineio_alone(socketio_live):
    server = EngineServer()
    server.on("message", lambda sid, text: server.send(sid, text * 2))
    client, heard = ClosingEngine(), threading.Event()
    client.on("message", lambda text: text == "againagain" and heard.set())
    client.connect(socketio_live(WSGIApp(server)))
    client.send("again")
    assert heard.wait(60)
    client.disconnect()

@pytest.mark.parametrize("number", range(15))
def test_a_fault_is_in_the_log_of_each_test(socketio_live, caplog, number):
    with SimpleClient() as client:
        client.connect(socketio_live(app))
        client.emit("divide", 0)
        client.call("double", 1)
    assert "ZeroDivisionError" in caplog.text
"""
)
STRANGERS_COUNT = 20


@pytest.mark.parametrize(
    "arguments",
    [pytest.param((), id="alone"), pytest.param(("-n", "2"), id="xdist", marks=pytest.mark.extended)],
)
def test_a_strangers_tests(run: Any, arguments: tuple[str, ...]) -> None:
    run(STRANGERS, *arguments).assert_outcomes(passed=STRANGERS_COUNT)


@pytest.mark.extended
def test_nothing_is_imported_before_a_fixture_is_used(run: Any) -> None:
    names = ["python_server", "python_server.api", "python_server.api.pytest_plugin"]
    done = run(
        f"""
        import sys

        def test_modules():
            known = ("python_server", "wsframe", "flask", "httptools", "orjson", "msgspec", "click")
            assert sorted(name for name in sys.modules if name.split(".")[0] in known) == {names}

        def test_fixture(socketio_live):
            assert "python_server.serve.worker" in sys.modules
            assert "flask" not in sys.modules
        """
    )
    done.assert_outcomes(passed=2)


FAILING = (
    QUIZ
    + """
from python_server.observe import log

lives = []

def test_fails(socketio_live):
    lives.append(socketio_live(app))
    with SimpleClient() as client:
        client.connect(lives[0])
        client.emit("divide", 0)
        client.call("double", 1)
    log.flush()  # a thread writes it, maybe later than this ends
    assert False, "on purpose"

def test_after():
    assert refuses(lives[0])
"""
)


@pytest.mark.parametrize(("arguments", "section"), [((), "log"), (("-p", "no:logging"), "stderr")])
def test_a_test_that_fails_shows_what_a_handler_raised(
    run: Any, arguments: tuple[str, ...], section: str
) -> None:
    done = run(FAILING, *arguments)
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(
        [
            "*on purpose*",
            f"*Captured {section} call*",
            "*'divide'*failed*",
            "*ZeroDivisionError: division by zero",
            "*short test summary*",
        ]
    )
    done.stdout.no_fnmatch_line("*Captured * teardown*")


TURNS = (
    QUIZ
    + """
early = socketio.test_client(app)

def clients_play(client):
    client.get_received()
    assert client.emit("double", 21, callback=True) == 42
    assert [event["name"] for event in client.get_received()] == ["doubled"]
    app.test_client().get("/")
    assert [event["name"] for event in client.get_received()] == ["visited"]

@pytest.mark.parametrize("kind", ["clients", "live", "nobody", "clients", "live", "live", "clients"])
def test_turns(kind, request):
    if kind == "live":
        play(request.getfixturevalue("socketio_live")(app))
    elif kind == "clients":
        clients_play(early)
        clients_play(socketio.test_client(app))
    else:
        app.test_client().get("/")

def test_both(socketio_live):
    socketio_live(app)
    with pytest.raises(RuntimeError, match="is being served"):
        socketio.test_client(app)

fresh = Flask("fresh")
quiz = SocketIO(fresh)
quiz.on_event("double", double)

def test_served_first(socketio_live):
    socketio_live(fresh)

def test_then_by_test_clients():
    quiz.emit("nobody hears it")
    client = quiz.test_client(fresh)
    client.get_received()
    assert client.emit("double", 2, callback=True) == 4
    quiz.emit("heard")
    assert [event["name"] for event in client.get_received()] == ["doubled", "heard"]
"""
)


@pytest.mark.extended
def test_live_servers_and_test_clients_take_turns(run: Any) -> None:
    run(TURNS).assert_outcomes(passed=10)


# What a test finds in its process.
FOUND = """
def found():
    gc.collect()
    loggers = [logging.getLogger(name) for name in ("python_server", "python_server.access")]
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "loggers": [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers],
        "interval": sys.getswitchinterval(),
    }
"""
HUNDRED = (
    QUIZ
    + FOUND
    + """
before = {}

def test_before(socketio_live, module_socketio_live, session_socketio_live):
    before.update(found())

@pytest.mark.parametrize("number", range(100))
def test_one(socketio_live, number):
    settings = Settings(idle_grace_seconds=0) if number % 3 else None
    live = socketio_live(app, settings=settings)
    assert read(live) == "a quiz"
    if number % 10 == 0:
        play(live)

def test_after():
    assert found() == before
"""
)


@pytest.mark.extended
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
@pytest.mark.parametrize("arguments", [(), ("-p", "no:logging")], ids=["log", "no log"])
def test_a_hundred_in_a_row_leave_nothing(run: Any, arguments: tuple[str, ...]) -> None:
    run(HUNDRED, *arguments).assert_outcomes(passed=102)


@pytest.mark.extended
def test_it_can_be_left_out_and_asked_for(
    run: Any, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "def test_one(socketio_live): pass"
    done = run(source, "-p", "no:wsframe")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*fixture 'socketio_live' not found*"])
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    run(source).assert_outcomes(errors=1)
    run(source, "-p", "wsframe").assert_outcomes(passed=1)


@pytest.mark.extended
def test_it_leaves_other_plugins_names_alone(run: Any) -> None:
    """pytest-flask and pytest-django have `live_server`, and conftest.py `app` and `client`."""
    done = run("", "--fixtures")
    ours = re.findall(
        r"^(\w+)(?: \[\w+ scope\])? -- .*/api/pytest_plugin\.py:", done.stdout.str(), re.MULTILINE
    )
    assert sorted(ours) == ["module_socketio_live", "session_socketio_live", "socketio_live"]


@pytest.mark.extended
def test_a_program_that_has_imported_us_calls_pytest(pytester: pytest.Pytester) -> None:
    """As `flask test` does, where somebody has written it."""
    pytester.makepyfile(test_one="def test_one(): pass")
    program = pytester.makepyfile(
        program="""
        import sys, pytest, wsframe, wsframe_start
        from python_server import SocketIO

        ours = "error:.*(wsframe|python_server)"
        sys.exit(pytest.main(["-q", "-W", ours, "-p", "no:cacheprovider", "test_one.py"]))
        """
    )
    done = pytester.run(sys.executable, program, timeout=600)
    assert (done.ret, done.parseoutcomes()) == (0, {"passed": 1})


def test_the_testing_pages_blocks_are_a_file_of_tests(run: Any) -> None:
    source = "".join(BLOCK.findall(PAGE.read_text("utf-8")))
    tests_count = source.count("def test_")
    assert tests_count == 6
    run(source).assert_outcomes(passed=tests_count)


# In this run


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.url_scheme"].encode()]


def read(url: str, **options: Any) -> bytes:
    with urllib.request.urlopen(url, **options) as answer:
        return bytes(answer.read())


def test_the_url_is_a_str(socketio_live: Any) -> None:
    live = socketio_live(page)
    assert isinstance(live, str)
    assert live == live.url == f"http://{live.host}:{live.port}" == f"{live}"
    assert type(live.url) is type(str(live)) is str
    assert live.websocket_url == f"ws://127.0.0.1:{live.port}"
    assert read(live + "/page") == b"http"
    for same in (copy.copy(live), copy.deepcopy(live), pickle.loads(pickle.dumps(live))):
        assert (type(same), same) == (str, live.url)


def test_tls_has_its_own_urls(socketio_live: Any, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    live = socketio_live(page, certfile=str(tmp_path / "pem"))
    assert (live.split(":")[0], live.websocket_url.split(":")[0]) == ("https", "wss")
    import ssl

    assert read(live, context=ssl.create_default_context(cafile=str(tmp_path / "ca"))) == b"https"


def test_where_it_listens_can_be_said(socketio_live: Any) -> None:
    port = port_of_its_own()
    first = socketio_live(page, host="localhost", port=port)
    first.stop()
    first.stop()
    again = socketio_live(page, host="localhost", port=port)
    assert again == first
    assert read(again) == b"http"


@pytest.mark.parametrize(
    ("application", "words", "error", "said"),
    [
        (None, {}, TypeError, "serves an application"),
        (SocketIO(), {}, TypeError, "no SocketIO"),
        ("shop:app", {}, TypeError, "no str"),
        (page, {"certfile": "/no/file"}, CertificateError, "/no/file"),
        (page, {"settings": Settings(allowed_hosts="a b")}, ValueError, "a b"),
        (page, {"port": 65_536}, BindError, "65535"),
    ],
)
def test_what_cannot_start_is_raised_in_the_test(
    socketio_live: Any, application: Any, words: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as raised:
        socketio_live(application, **words)
    del raised
    gc.collect()  # a socket that was left open warns
    assert read(socketio_live(page)) == b"http"  # others can


def test_a_port_in_use_is_raised_in_the_test(socketio_live: Any) -> None:
    live = socketio_live(page)
    with pytest.raises(BindError, match="in use"):
        socketio_live(page, port=live.port)
    assert read(live) == b"http"
