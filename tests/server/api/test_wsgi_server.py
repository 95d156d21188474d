"""A server in this process: how it is addressed, started, stopped, and what it refuses.

It must not know what is served: one page is.
"""

import inspect
import io
import logging
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import trustme

from python_server import Settings, WSGIServer
from python_server.net.sockets import BindError
from python_server.observe import log


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "6")])
    return [b"a page"]


def asked(address: tuple[str, int]) -> bytes:
    host, port = address
    with urllib.request.urlopen(f"http://{host}:{port}/") as answer:
        return bytes(answer.read())


# In a process whose system has no other signals than these, as Windows.
FEW_SIGNALS = """
import signal
for name in dir(signal):
    if name.startswith("SIG") and name[3].isalpha() and name not in ("SIGTERM", "SIGINT"):
        delattr(signal, name)
from python_server import WSGIServer
with WSGIServer(("127.0.0.1", 0), print) as server:
    print("serves")
"""


def test_it_needs_no_signals() -> None:
    done = subprocess.run([sys.executable, "-c", FEW_SIGNALS], check=True, capture_output=True, cwd="/")
    assert done.stdout == b"serves\n"


@pytest.mark.parametrize("listener", [("127.0.0.1", 0), "127.0.0.1:0"])
def test_it_serves_between_start_and_stop(listener: Any) -> None:
    server = WSGIServer(listener, page)
    with pytest.raises(RuntimeError, match=r"not bound yet: call start\(\)"):
        server.address  # noqa: B018
    with pytest.raises(RuntimeError, match=r"not bound yet: call start\(\)"):
        server.url  # noqa: B018
    server.start()
    assert server.url == f"http://127.0.0.1:{server.server_port}"
    assert asked(server.address) == b"a page"
    with pytest.raises(RuntimeError, match="runs already"):
        server.start()
    server.stop()
    server.stop()  # once more does no harm
    with pytest.raises(OSError):  # noqa: PT011
        asked(server.address)
    with server:  # and it may be started again
        assert asked(server.address) == b"a page"


def test_a_bound_socket_is_the_servers_own_and_serves_once() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    server = WSGIServer(sock, page)
    with server:
        assert server.address == sock.getsockname()
        assert asked(server.address) == b"a page"
    assert sock.fileno() == -1
    with pytest.raises(BindError, match="cannot be started again on it"):
        server.start()


def test_a_server_that_cannot_start_keeps_no_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = WSGIServer(sock, page, settings=Settings(allowed_hosts="a b"))
        with pytest.raises(ValueError, match="a b"):
            server.start()
        assert sock.fileno() == -1


def test_it_may_serve_in_a_thread_of_the_callers() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    address = sock.getsockname()
    server = WSGIServer(sock, page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    assert asked(address) == b"a page"  # the socket listens: the request waits for the server if need be
    server.stop()
    thread.join()
    assert sock.fileno() == -1


@pytest.mark.parametrize(
    ("listener", "address"),
    [(80, ("", 80)), (":80", ("", 80)), ("[::1]:80", ("::1", 80)), (("::", "80"), ("::", 80))],
)
def test_how_a_listener_may_be_written(listener: Any, address: tuple[str, int]) -> None:
    assert WSGIServer(listener, page)._listener == address


@pytest.mark.parametrize(
    ("listener", "error"),
    [("localhost", ValueError), ("localhost:http", ValueError), (None, TypeError), (("a", 1, 2), TypeError)],
)
def test_what_no_listener_is(listener: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="listener must"):
        WSGIServer(listener, page)


def told(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    print("to the errors", file=environ["wsgi.errors"])
    body = f"{environ['wsgi.url_scheme']} {environ['SERVER_NAME']} {environ.get('shop')}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.mark.usefixtures("own_loggers")
def test_r39_gevents_arguments_are_taken_as_printed(caplog: Any) -> None:
    """R39: by place, in gevent's order; what stands in `environ` goes before what the request says."""
    printed = ["listener", "application", "backlog", "spawn", "log", "error_log", "handler_class", "environ"]
    assert list(inspect.signature(WSGIServer).parameters)[: len(printed)] == printed
    errors = io.StringIO()
    extra = {"wsgi.url_scheme": "https", "SERVER_NAME": "shop.example", "shop": 1}
    server = WSGIServer(("127.0.0.1", 0), told, 16, 100, None, errors, WebSocketHandler, extra)
    assert (server._settings.backlog_count, server._settings.connections_max_count) == (16, 100)
    assert caplog.messages == []
    with server:
        assert asked(server.address) == b"https shop.example 1"
        assert (server.server_host, server.server_port) == server.address
    assert errors.getvalue().startswith("to the errors\n")


class WebSocketHandler:
    """gevent-websocket's name."""


class Pool:
    """gevent's, as far as it says how many."""

    def __init__(self, size: int | None) -> None:
        self.size = size


class OwnHandler:
    """A program's own."""


def test_what_chooses_nothing_here_is_named(caplog: Any) -> None:
    WSGIServer(0, page, spawn=print, handler_class=OwnHandler, ssl_version=2)  # type: ignore[call-arg]
    said = " ".join(caplog.messages)
    for name in ("spawn=<built-in function print>", "handler_class OwnHandler", "keyword 'ssl_version'"):
        assert name in said


@pytest.mark.parametrize(
    ("spawn", "count"), [("default", None), (7, 7), (Pool(5), 5), (Pool(None), None), (None, None)]
)
def test_spawn_bounds_the_connections(spawn: Any, count: int | None) -> None:
    assert WSGIServer(0, page, spawn=spawn)._settings.connections_max_count == count


def test_a_pool_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        WSGIServer(0, page, spawn=Pool(0))
    with pytest.raises(TypeError, match="serves an application"):
        WSGIServer(0)
    with pytest.raises(TypeError, match="no str"):
        WSGIServer(0, "shop:app")  # type: ignore[arg-type]


def test_a_subclass_may_have_the_application() -> None:
    class Shop(WSGIServer):
        application = staticmethod(page)

    with Shop(("127.0.0.1", 0)) as server:
        assert asked(server.address) == b"a page"


@pytest.fixture
def own_loggers() -> Any:
    """Handlers that a test has put there are taken away."""
    with log.restoring():
        yield


class WriteOnly:
    """All that gevent asks of a log."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


@pytest.mark.usefixtures("own_loggers")
@pytest.mark.parametrize("make", [io.StringIO, WriteOnly])
def test_requests_are_logged_into_an_object_of_the_programs(make: Any) -> None:
    log = make()
    for _ in range(2):  # once each, though two servers were given it
        with WSGIServer(("127.0.0.1", 0), page, log=log) as server:
            asked(server.address)
    for handler in logging.getLogger("python_server.access").handlers:
        handler.flush()
    text = log.text if make is WriteOnly else log.getvalue()
    assert text.count('"GET / HTTP/1.1" 200') == 2


@pytest.mark.usefixtures("own_loggers")
def test_requests_and_errors_are_logged_by_loggers_of_the_programs(caplog: Any) -> None:
    def broken(environ: Any, start_response: Any) -> Any:
        raise LookupError("on purpose")

    requests, errors = logging.getLogger("shop.requests"), logging.getLogger("shop.errors")
    requests.setLevel("INFO")
    served = WSGIServer(("127.0.0.1", 0), broken, log=requests, error_log=errors)
    with served as server, pytest.raises(urllib.error.HTTPError) as failed:
        asked(server.address)
    failed.value.close()
    of = {name: [r for r in caplog.records if r.name == name] for name in ("shop.requests", "shop.errors")}
    assert '"GET / HTTP/1.1" 500' in of["shop.requests"][0].getMessage()
    assert any(r.exc_info and "on purpose" in str(r.exc_info[1]) for r in of["shop.errors"])


def test_no_log_is_none() -> None:
    settings = WSGIServer(0, page, None, "default", None, None, settings=Settings(access_log="-"))._settings
    assert (settings.access_log, settings.log_level) == (None, "critical")
    assert WSGIServer(0, page, Settings(access_log="x"))._settings.access_log == "x"


def test_it_is_started_closed_and_served_on(monkeypatch: pytest.MonkeyPatch) -> None:
    server = WSGIServer("127.0.0.1:5999", page)
    assert (server.address, server.started, server.closed) == (("127.0.0.1", 5999), False, True)
    server = WSGIServer(("127.0.0.1", 0), page)
    server.start()
    assert (server.started, server.closed) == (True, False)
    serves_on, join = threading.Event(), server._thread.join  # type: ignore[union-attr]
    monkeypatch.setattr(server._thread, "join", lambda: (serves_on.set(), join()))
    waiting = threading.Thread(target=server.serve_forever, args=(1,))
    waiting.start()
    assert serves_on.wait(60)  # a server that is closed before that would be started again
    assert asked(server.address) == b"a page"
    server.close()
    waiting.join()
    assert (server.started, server.closed) == (False, True)
    sock = socket.create_server(("127.0.0.1", 0))
    with sock:
        assert not WSGIServer(sock, page).closed
        assert WSGIServer(sock, page).server_port == sock.getsockname()[1]


def test_it_speaks_tls_with_files_or_a_context(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certfile, keyfile = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(certfile)
    issued.private_key_pem.write_to_path(keyfile)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certfile, keyfile)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    for words in (
        {"certfile": certfile, "keyfile": keyfile, "cert_reqs": ssl.CERT_NONE, "ciphers": None},
        {"ssl_context": context},
    ):
        with WSGIServer(("127.0.0.1", 0), page, **words) as server:
            url = f"https://localhost:{server.server_port}/"
            with urllib.request.urlopen(url, context=trusting) as answer:
                assert answer.read() == b"a page"


def test_a_socket_of_tls_is_no_listener() -> None:
    with socket.socket() as plain:
        wrapped = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(plain, server_hostname="x")
        with wrapped, pytest.raises(TypeError, match="a plain socket"):
            WSGIServer(wrapped, page)
