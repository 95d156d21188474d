"""socketio.run() as programs call it: `python program.py`, with reloader, debugger and TLS: R37, R38.

It must not know the server's insides: programs are written to a folder, started, changed, and asked.
"""

import signal
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from one_thread_call import call
from ordered_clients import SimpleClient

PATIENCE_SECONDS = 60
PROGRAM = """
import os, sys
from flask import Flask
from python_server import SocketIO
import words

app = Flask(__name__)
socketio = SocketIO(app)
print("task asked for", flush=True)
socketio.start_background_task(lambda: print("task runs", flush=True))
print("serving process:", os.environ.get("WERKZEUG_RUN_MAIN"), flush=True)

@app.route("/")
def index():
    return words.GREETING

@app.route("/stop")
def stop():
    socketio.stop()
    return "stopping"

@app.route("/fail")
def fail():
    raise LookupError("a word to find")

@socketio.on("echo")
def echo(value):
    return [value, words.GREETING]

if __name__ == "__main__":
    socketio.run(app, port=0, OPTIONS)
    print("after run", flush=True)
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def program(options: str) -> Path:
        (tmp_path / "words.py").write_text("GREETING = 'good morning'\n")
        (tmp_path / "program.py").write_text(PROGRAM.replace("OPTIONS", options))
        return tmp_path

    return program


def get(url: str, context: ssl.SSLContext | None = None) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS, context=context) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ("debug=True", ("program.py",)),
        ("use_reloader=True", ("-m", "program")),
        ("use_reloader=True, reloader_options={'reloader_type': 'stat', 'interval': 0.2}", ("program.py",)),
    ],
)
def test_the_reloader_starts_the_program_anew(
    serve: Any, write: Callable[[str], Path], options: str, arguments: tuple[str, ...]
) -> None:
    """R37, R38, R55: pages and a WebSocket, before a change and after it."""
    folder = write(options)
    server = serve(folder, *arguments, program=True)
    assert get(server.url) == "good morning"
    address = server.url
    with SimpleClient() as client:
        client.connect(address, transports=["websocket"])
        assert client.call("echo", 1, timeout=PATIENCE_SECONDS) == [1, "good morning"]
    server.wait_for("task runs")
    (folder / "words.py").write_text("GREETING = 'good evening, all'\n")
    server.wait_for("words.py changed: the server restarts")
    server.wait_for("listening on", count=2)
    assert get(address) == "good evening, all"
    server.wait_for("task runs", count=2)
    # The watching process asks for its task as well, and never runs it.
    assert server.log.count("serving process: None") == 1
    assert server.log.count("serving process: true") == 2
    assert server.log.count("task asked for") == 3
    assert server.log.count("task runs") == 2


@pytest.mark.extended
def test_a_mistake_is_waited_out(serve: Any, write: Callable[[str], Path]) -> None:
    folder = write("use_reloader=True")
    server = serve(folder, "program.py", program=True)
    server.intended_exceptions_count = 1
    (folder / "words.py").write_text("GREETING = \n")
    server.wait_for("SyntaxError")
    server.wait_for("the next change of a file starts it again")
    (folder / "words.py").write_text("GREETING = 'as you were'\n")
    server.wait_for("listening on", count=2)
    assert get(server.url) == "as you were"


def test_a_watched_file_of_another_kind(serve: Any, write: Callable[[str], Path]) -> None:
    (extra := write("debug=True, extra_files=['settings.toml']") / "settings.toml").write_text("a = 1\n")
    server = serve(extra.parent, "program.py", program=True)
    extra.write_text("a = 2\n")
    server.wait_for("settings.toml changed: the server restarts")
    server.wait_for("listening on", count=2)


@pytest.mark.extended
@pytest.mark.parametrize("way", ["stop", "interrupt", "terminate"])
def test_a_reloaded_program_ends_as_any_other(serve: Any, write: Callable[[str], Path], way: str) -> None:
    server = serve(write("debug=True"), "program.py", program=True)
    if way == "stop":
        assert get(server.url + "/stop") == "stopping"
    else:
        server.signal(signal.SIGINT if way == "interrupt" else signal.SIGTERM)
    assert server.wait() == 0
    assert server.log.count("after run") == 1  # in the process that served, as with Werkzeug


@pytest.mark.extended
def test_no_server_outlives_its_reloader(serve: Any, write: Callable[[str], Path]) -> None:
    server = serve(write("debug=True"), "program.py", program=True)
    server.signal(signal.SIGKILL)
    server.wait_for("after run")  # said by the serving process, which nobody else has told to end
    server.intended_status = -signal.SIGKILL


def test_debug_brings_the_debugger_and_the_access_log(serve: Any, write: Callable[[str], Path]) -> None:
    """R37."""
    server = serve(write("debug=True"), "program.py", program=True)
    with pytest.raises(urllib.error.HTTPError) as failed:
        get(server.url + "/fail")
    with failed.value as answer:
        assert "a word to find" in answer.read().decode()
    server.intended_exceptions_count = 1
    server.wait_for('"GET /fail HTTP/1.1" 500')


def test_without_debug_nothing_is_watched_and_no_access_is_logged(
    serve: Any, write: Callable[[str], Path]
) -> None:
    server = serve(write("debug=True, use_reloader=False, log_output=False"), "program.py", program=True)
    assert get(server.url) == "good morning"
    assert server.log.count("serving process: None") == 1
    assert "GET /" not in server.log
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.log.count("after run") == 1


def test_reloader_options_that_do_not_exist(write: Callable[[str], Path]) -> None:
    import subprocess

    folder = write("use_reloader=True, reloader_options={'intervall': 1}")
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert "reloader_options has no option 'intervall': it has exclude_patterns, " in done.stderr


@pytest.mark.parametrize("way", ["certfile='c', keyfile='k'", "ssl_context=('c', 'k')"])
def test_tls_in_the_peers_words(serve: Any, write: Callable[[str], Path], way: str) -> None:
    folder, authority = write(way), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "c")
    certificate.private_key_pem.write_to_path(folder / "k")
    server = serve(folder, "program.py", program=True)
    assert server.url.startswith("https://")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert get(server.url, context) == "good morning"
    with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
        get(server.url)


def test_tls_asks_clients_for_a_certificate(serve: Any, write: Callable[[str], Path]) -> None:
    folder, authority = write("ssl_context=('c', 'k'), ca_certs='ca', cert_reqs=2"), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "c")
    certificate.private_key_pem.write_to_path(folder / "k")
    authority.cert_pem.write_to_path(folder / "ca")
    server = serve(folder, "program.py", program=True)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with pytest.raises((urllib.error.URLError, OSError)):
        get(server.url, context)
    authority.issue_cert("client.example").configure_cert(context)
    assert get(server.url, context) == "good morning"


OWN_CONTEXT = "ssl_context=(c := __import__('ssl').SSLContext(17), c.load_cert_chain('c', 'k'))[0]"


@pytest.mark.parametrize("way", ["ssl_context='adhoc'", OWN_CONTEXT])
def test_tls_by_a_context(serve: Any, write: Callable[[str], Path], way: str) -> None:
    """Made on the spot, or the program's own: pages and a WebSocket."""
    folder, authority = write(way), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "c")
    certificate.private_key_pem.write_to_path(folder / "k")
    server = serve(folder, "program.py", program=True)
    assert server.url.startswith("https://")
    context = ssl.create_default_context()
    if way == OWN_CONTEXT:
        authority.configure_trust(context)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert get(server.url, context) == "good morning"
    assert call(server.url, "echo", 1, context=context) == [[1, "good morning"]]


BELOW = """
from flask import Flask, request
from python_server import SocketIO

app = Flask(__name__)
socketio = SocketIO(app, debug=True, policy_server=False, message_queue='')

@socketio.on("below")
def below():
    eio_sid = socketio.server.manager.eio_sid_from_sid(request.sid, "/")
    session = socketio.server.eio.sockets[eio_sid]
    return [list(socketio.server.manager.rooms["/"]), session.upgraded, session.sid == eio_sid, request.sid]

if __name__ == "__main__":
    socketio.run(app, port=0, processes=1)
"""


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_below_socketio(serve: Any, tmp_path: Path, transport: str) -> None:
    """Rooms and sessions as programs look them up, and what the log says of words that it ignores."""
    (tmp_path / "program.py").write_text(BELOW)
    server = serve(tmp_path, "program.py", program=True)
    with SimpleClient() as client:
        client.connect(server.url, transports=[transport])
        rooms, upgraded, found, sid = client.call("below", timeout=PATIENCE_SECONDS)
    assert (rooms, upgraded, found) == ([None, sid], transport == "websocket", True)
    server.wait_for("SocketIO ignores the unknown keyword 'policy_server'")
    assert server.log.count("SocketIO ignores the unknown keyword 'debug'") == 1
    assert server.log.count("run() ignores processes") == 1
