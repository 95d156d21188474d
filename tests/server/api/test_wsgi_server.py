"""A server in this process: how it is addressed, started, stopped, and what it refuses.

It must not know what is served: one page is.
"""

import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from python_server import WSGIServer
from python_server.net.sockets import BindError


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
with WSGIServer(("127.0.0.1", 0), None) as server:
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
    server.start()
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
