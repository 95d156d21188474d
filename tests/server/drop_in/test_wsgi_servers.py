"""gevent's and eventlet's own servers on ours: arguments, WebSockets, when they have nothing to do.

It must not know the modules that these words stand in.
"""

import io
import os
import signal
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from python_server.api import keywords
from python_server.drop_in import greenlets, wsgi_servers
from python_server.drop_in.wsgi_servers import (
    EventletWebSocket,
    PyWSGIHandler,
    PyWSGIServer,
    WebSocketHandler,
    WebSocketWSGI,
    listen,
    serve_eventlet,
    wrap_ssl,
)
from python_server.observe import log
from python_server.serve.serve import ON_START
from python_server.wsgi.environ import Environ, StartResponse

PATIENCE_SECONDS = 60
LOCAL = ("127.0.0.1", 0)


def page(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"a page by " + environ["wsgi.url_scheme"].encode()]


def page_of_shop(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(environ["shop"]).encode()]


def asked(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE_SECONDS) as answer:
        return bytes(answer.read())


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    """gevent's argument `log` chooses where the server's lines go, for the process."""
    with log.restoring():
        for logger in (log.LOGGER, log.ACCESS):
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel("INFO")
        yield


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What is called before a server serves."""
    lines: list[str] = []
    ON_START.clear()  # of a command line that another test had read
    ON_START.append(lambda: lines.append("told"))
    yield lines
    ON_START.clear()


@pytest.mark.parametrize("handler_class", [None, WebSocketHandler, PyWSGIHandler])
def test_gevents_server_between_start_and_stop(
    told: list[str], monkeypatch: pytest.MonkeyPatch, handler_class: type | None
) -> None:
    monkeypatch.setattr(wsgi_servers.log, "say", told.append)
    server = PyWSGIServer(LOCAL, page, backlog=5, spawn=7, log=None, handler_class=handler_class)
    server.start()
    assert asked(server.server_port) == b"a page by http"
    assert told == ["told", f"listening on http://127.0.0.1:{server.server_port}"]
    server.stop(1)


def test_gevents_arguments_are_those_of_our_server() -> None:
    lines = io.StringIO()
    server = PyWSGIServer(LOCAL, page_of_shop, log=lines, environ={"shop": "toys"}, spawn=1)
    assert server._settings.connections_max_count == 1
    server.start()
    assert asked(server.server_port) == b"toys"
    server.stop()
    for handler in log.ACCESS.handlers:
        handler.flush()
    assert "GET / HTTP/1.1" in lines.getvalue()


def test_what_it_does_not_know_names_the_place(tmp_path: Path) -> None:
    class Own(PyWSGIHandler):
        def log_request(self) -> None: ...
        def get_environ(self) -> None: ...

    refusal = r"handler_class=Own \(.*test_wsgi_servers\.py:\d+\) is not asked here for get_environ: "
    with pytest.raises(TypeError, match=refusal):
        PyWSGIServer(LOCAL, page, handler_class=Own)
    with pytest.raises(TypeError, match="origin_checker"):
        WebSocketWSGI.configured(origin_checker=print)


def test_a_handler_class_that_only_logs_stops_no_program(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keywords, "_IGNORED", set())  # others may have said it in this process

    class Silent(WebSocketHandler):
        def log_request(self) -> None: ...

    PyWSGIServer(LOCAL, page, handler_class=Silent, ssl_version=3).close()
    assert "handler_class Silent is not asked" in caplog.text
    assert "ignores the unknown keyword 'ssl_version'" in caplog.text


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    path = tmp_path / "both.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
    server = PyWSGIServer(LOCAL, page, log=None, certfile=str(path))
    server.start()
    context = __import__("ssl").create_default_context()
    authority.configure_trust(context)
    url = f"https://127.0.0.1:{server.server_port}/"
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS, context=context) as answer:
        assert answer.read() == b"a page by https"
    server.stop()


def term_once(server_is_there: Callable[[], object], number: int = signal.SIGTERM) -> None:
    """A signal to this process as soon as it answers."""

    def run() -> None:
        while True:
            try:
                server_is_there()
                break
            except OSError:
                time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=run, daemon=True).start()


@pytest.fixture
def default_term() -> Iterator[None]:
    former = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, former)


def test_serve_forever_ends_in_order_on_sigterm(default_term: None) -> None:
    server = PyWSGIServer(LOCAL, page, log=None)
    seen: list[bytes] = []

    def ask() -> None:
        if server._socket is None:
            raise OSError
        seen.append(asked(server.server_port))

    term_once(ask)
    server.serve_forever()
    assert seen == [b"a page by http"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ctrl_c_ends_gevents_server_by_an_exception_and_eventlets_in_silence(default_term: None) -> None:
    for serve, raised in (
        (lambda sock: PyWSGIServer(sock, page, log=None).serve_forever(), pytest.raises(KeyboardInterrupt)),
        (lambda sock: serve_eventlet(sock, page, log_output=False), nullcontext()),
    ):
        sock = listen(LOCAL)
        port = sock.getsockname()[1]
        term_once(partial(asked, port), signal.SIGINT)
        with raised:
            serve(sock)
        assert sock.fileno() == -1


def test_gevents_wait_waits_for_servers() -> None:
    greenlets.RUNNING.clear()  # what other tests have left to run
    server = PyWSGIServer(LOCAL, page, log=None)
    server.start()
    assert greenlets.wait(timeout=0.01) == []
    running = [*greenlets.RUNNING]  # the server may have stopped before it is waited for
    threading.Thread(target=server.stop).start()
    assert greenlets.wait(running, timeout=PATIENCE_SECONDS) == running != []
    assert greenlets.wait(timeout=PATIENCE_SECONDS) == []
    assert not server.started


@pytest.mark.parametrize("told_to_log", [{"log_output": False}, {}, {"log": io.StringIO()}])
def test_eventlets_server_serves_what_listen_gave(default_term: None, told_to_log: dict[str, Any]) -> None:
    sock = listen(LOCAL, reuse_port=True)
    port = sock.getsockname()[1]
    seen: list[bytes] = []
    term_once(lambda: seen.append(asked(port)))
    serve_eventlet(sock, page_of_shop, environ={"shop": "open"}, keepalive=True, **told_to_log)
    assert seen == [b"open"]
    assert "log" not in told_to_log or "GET / " in told_to_log["log"].getvalue()


def test_eventlets_server_behind_tls(default_term: None, tmp_path: Path) -> None:
    authority = trustme.CA()
    path = tmp_path / "both.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    sock = wrap_ssl(listen(LOCAL), certfile=str(path), keyfile=str(path), server_side=True)
    url = f"https://127.0.0.1:{sock.getsockname()[1]}/"
    seen: list[bytes] = []

    def ask() -> None:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS, context=trusting) as answer:
            seen.append(answer.read())

    term_once(ask)
    serve_eventlet(sock, page, log_output=False)
    assert seen == [b"a page by https"]


def test_listen_on_a_path(tmp_path: Path) -> None:
    listening = listen(str(tmp_path / "socket"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "socket"))
        connection, _ = listening.accept()
        client.sendall(b"bytes")
        assert connection.recv(5) == b"bytes"
        connection.close()
    listening.close()


def test_a_server_of_its_own_stands_by_under_a_command_line(
    monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    said: list[str] = []
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    monkeypatch.setattr(wsgi_servers.log, "say", said.append)
    server = PyWSGIServer(LOCAL, page)
    server.start()
    server.serve_forever()
    server.stop()
    assert told == []
    assert [line.partition(" (")[0] for line in said] == ["start()", "serve_forever()"]


@WebSocketWSGI.configured(supported_protocols=["words"])  # type: ignore[operator, untyped-decorator]
def echo(websocket: EventletWebSocket) -> None:
    websocket.send(f"{websocket.path} {websocket.protocol} {websocket.version} {websocket.origin}")
    while (message := websocket.wait()) is not None:
        if message == "end":
            return
        if message == "close":
            websocket.close()
        else:
            websocket.send(message)


def test_eventlets_websockets() -> None:
    server = PyWSGIServer(LOCAL, echo, log=None)
    server.start()
    url = f"ws://127.0.0.1:{server.server_port}/path"
    for last in ("end", "close"):
        with connect(url, subprotocols=["words"], origin="http://x", compression=None) as client:  # type: ignore[arg-type, list-item]
            assert client.recv(PATIENCE_SECONDS) == "/path words 13 http://x"
            client.send(b"\x00")
            assert client.recv(PATIENCE_SECONDS) == b"\x00"
            client.send(last)
            with pytest.raises(ConnectionClosed):
                client.recv(PATIENCE_SECONDS)
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        asked(server.server_port)
    refused.value.close()
    server.stop()
