"""The Socket.IO client for browsers from real servers: each way to mount one, workers, pages that use it.

It must not know how it is served: it asks over TCP, and looks at pages.
"""

import gzip
import http.client
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, expect

from python_server.serve.client_release import VERSION

HERE = Path(__file__).resolve().parent
PATIENCE_MS = 60_000
REFUSES_ALL = """
def guarded(app):
    def guard(environ, start_response):
        start_response("403 Forbidden", [("Content-Length", "0")])
        return [b""]
    guard.wsgi_app = app
    return guard
"""
PROGRAMS = {
    "flask": "import flask, python_server\napp = flask.Flask(__name__)\npython_server.SocketIO(app)\n",
    "server": "from python_server import Server, WSGIApp\napp = WSGIApp(Server())\n",
    "path": "from python_server import Server, WSGIApp\napp = WSGIApp(Server(), socketio_path='chat/live')\n",
    "twice": (
        "from python_server import EngineServer, Server, WSGIApp\n"
        "inner = WSGIApp(Server(serve_client=False), WSGIApp(EngineServer()), socketio_path='b')\n"
        "app = WSGIApp(Server(), inner, socketio_path='a')\n"
    ),
    "called": (
        "from python_server import Server\nserver = Server()\n"
        "def app(environ, start_response):\n    return server.handle_request(environ, start_response)\n"
    ),
    "guarded": (
        f"from python_server import Server, WSGIApp\n{REFUSES_ALL}\napp = guarded(WSGIApp(Server()))\n"
    ),
    "dropped_in": (
        "import flask, flask_socketio\napp = flask.Flask(__name__)\nflask_socketio.SocketIO(app)\n"
    ),
}
ROWS: list[Any] = [
    # program, options, path, status
    ("flask", [], "/socket.io/socket.io.js", 200),
    ("server", [], "/socket.io/socket.io.js", 200),
    ("path", [], "/chat/live/socket.io.js", 200),
    ("path", [], "/socket.io/socket.io.js", 404),
    ("twice", [], "/a/socket.io.js", 200),
    ("twice", [], "/b/socket.io.js", 400),
    ("twice", [], "/engine.io/socket.io.js", 400),
    ("called", [], "/socket.io/socket.io.js", 200),
    ("guarded", [], "/socket.io/socket.io.js", 200),
    ("guarded", [], "/socket.io/?EIO=4&transport=polling", 403),
    ("dropped_in", ["--drop-in"], "/socket.io/socket.io.js", 200),
    ("flask", ["--root-path", "/shop"], "/shop/socket.io/socket.io.js", 200),
    ("flask", ["--allowed-hosts", "shop.example"], "/socket.io/socket.io.js", 400),
]


def ask(url: str, *targets: str, **fields: str) -> list[tuple[int, dict[str, str], bytes]]:
    """The answers to GETs over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=60)
    answers = []
    for target in targets:
        connection.request(
            "GET", target, headers={name.replace("_", "-"): text for name, text in fields.items()}
        )
        response = connection.getresponse()
        answers.append((response.status, dict(response.headers), response.read()))
    connection.close()
    return answers


@pytest.fixture(scope="module")
def start(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """start(program, *options): its address; each is started once."""
    folder = tmp_path_factory.mktemp("programs")
    started: dict[tuple[str, ...], str] = {}

    def begin(name: str, *options: str) -> str:
        (folder / f"{name}_app.py").write_text(PROGRAMS[name])
        if (name, *options) not in started:
            started[name, *options] = serve(folder, f"{name}_app:app", *options).url
        return started[name, *options]

    return begin


@pytest.mark.parametrize(("program", "options", "path", "status"), ROWS)
def test_whoever_mounts_a_server_serves_the_client(
    start: Callable[..., str], page_client: None, program: str, options: list[str], path: str, status: int
) -> None:
    ((found, fields, body),) = ask(start(program, *options), path)
    assert found == status
    if status == 200:
        assert f"Socket.IO v{VERSION}".encode() in body[:200]
        assert fields["ETag"] == f'"{VERSION}"'


def test_any_worker_has_it_whatever_session_is_named(start: Callable[..., str], page_client: None) -> None:
    """No request for a file is handed on: a session's name in the query decides nothing."""
    url = start("flask", "--workers", "2")
    opened = ask(url, "/socket.io/?EIO=4&transport=polling")[0][2].decode()
    sid = re.findall(r'"sid":"([^"]+)"', opened)[0]
    names = (sid, f"1{sid[1:]}", f"2{sid[1:]}", "")
    targets = [f"/socket.io/socket.io.js?EIO=4&transport=polling&sid={name}" for name in names]
    for _ in range(4):
        for status, fields, body in ask(url, *targets, Accept_Encoding="gzip"):
            assert (status, fields["Content-Encoding"]) == (200, "gzip")
            assert gzip.decompress(body).endswith(b"socket.io.js.map\n")


PAGES = {
    "socket.io.js": '<script src="/socket.io/socket.io.js"></script><script>go(io)</script>',
    "socket.io.min.js": '<script src="/socket.io/socket.io.min.js"></script><script>go(io)</script>',
    "socket.io.esm.min.js": (
        '<script type="module">import { io } from "/socket.io/socket.io.esm.min.js"; go(io)</script>'
    ),
    "socket.io.msgpack.min.js": (
        '<script src="/socket.io/socket.io.msgpack.min.js"></script><script>go(io)</script>'
    ),
}
CLIENT_APP = """
import flask, os, python_server
app = flask.Flask(__name__)
socketio = python_server.SocketIO(app, serializer=os.environ["SERIALIZER"])
socketio.on("twice")(lambda number: 2 * number)
GO = '<script>function go(io) { const socket = io(); socket.emit("twice", 21, (value) => {' \\
     'document.querySelector("b").textContent = value; }); }</script>'
@app.get("/<name>")
def page(name):
    # No script but our own and those that stand in the page: as strict as a page can be that uses the client.
    policy = {"Content-Security-Policy": "default-src 'self' 'unsafe-inline'"}
    return "<!doctype html><link rel=icon href=data:,><b></b>" + GO + PAGES[name], policy
PAGES = %r
"""


@pytest.mark.needs_browser
@pytest.mark.parametrize("script", PAGES)
def test_each_script_connects_a_page(
    serve: Callable[..., Any],
    new_context: Callable[..., BrowserContext],
    page_client: None,
    tmp_path: Path,
    script: str,
) -> None:
    (tmp_path / "app.py").write_text(CLIENT_APP % PAGES)
    serializer = "msgpack" if "msgpack" in script else "default"
    url = serve(tmp_path, "app:app", env={"SERIALIZER": serializer}).url
    page = new_context().new_page()
    answers: list[tuple[str, int]] = []
    page.on("response", lambda answer: answers.append((urlsplit(answer.url).path, answer.status)))
    page.goto(f"{url}/{script}")
    expect(page.locator("b")).to_have_text("42", timeout=PATIENCE_MS)
    assert (f"/socket.io/{script}", 200) in answers
    page.context.close()
