"""Servers for the client's tests: that of `websockets`, with and without TLS, and our own.

It must not know what a test asks of them.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from hand_made_server import KEY
from python_server import Resource, WebSocket, WebSocketApplication, WSGIServer
from wsframe import handshake

# The code of each connection to /tell that has ended.
CLOSED: queue.SimpleQueue[int | None] = queue.SimpleQueue()


def converse(websocket: ServerConnection) -> None:
    """What the path asks for."""
    word, _, rest = websocket.request.path.strip("/").partition("/")
    try:
        if websocket.request.path.startswith("/hang-up"):
            return
        if word == "close":
            code, _, reason = rest.partition("/")
            websocket.close(int(code), reason)
        elif word == "greet":
            for number in range(int(rest)):
                websocket.send(f"hello {number}")
        elif word == "count":
            for _ in range(int(rest)):
                websocket.send(websocket.recv())
        elif word == "binary":
            websocket.send(b"\x00\xff")
            websocket.send("text")
        elif word == "drop":
            websocket.socket.shutdown(2)
        elif word == "silent":
            for _ in websocket:
                pass
        elif word == "engine":  # Engine.IO and Socket.IO, by hand
            websocket.send('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}')
            assert websocket.recv() == "40"
            for packet in ('40{"sid":"b"}', '40{"sid":"b"}', '42["heard",1]', "2"):
                websocket.send(packet)
            assert {websocket.recv(), websocket.recv()} == {"3", '421["a"]'}
            websocket.send("1")
            websocket.recv()
        elif word == "engine-that-ends":  # its heartbeat comes too late to be answered
            websocket.send('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}')
            assert websocket.recv() == "40"
            websocket.protocol.send_text(b'40{"sid":"b"}')
            for packet in (b"2", b"2", b'42["last","\\ud800"]'):
                websocket.protocol.send_text(packet)
            websocket.close()  # all of it in one piece
        elif word == "headers":
            for name in ("Host", "Origin", "X-Test", "User-Agent", "Authorization"):
                websocket.send(f"{name}: {websocket.request.headers.get(name)}")
            websocket.send(websocket.request.path)
        else:
            for message in websocket:
                websocket.send(message)
    except ConnectionClosed:
        pass
    finally:
        if word == "tell":
            CLOSED.put(websocket.close_code)


def refuse(websocket: ServerConnection, request: Any) -> Any:
    if request.path == "/forbidden":
        return websocket.respond(HTTPStatus.FORBIDDEN, "not you\n")
    return None


def choose(websocket: ServerConnection, offered: Sequence[Any]) -> Any:
    return "chat.v2" if "chat.v2" in offered else None


@contextmanager
def running(**options: Any) -> Iterator[int]:
    """Its port."""
    server: Server = serve(
        converse, "127.0.0.1", 0, process_request=refuse, select_subprotocol=choose, **options
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def peer() -> Iterator[str]:
    """The URL of a server of `websockets`, without its last slash."""
    with running() as port:
        yield f"ws://127.0.0.1:{port}"


@pytest.fixture
def told_codes() -> queue.SimpleQueue[int | None]:
    """The code of each connection to /tell, once it has ended there."""
    return CLOSED


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    """Who signs the server's certificate, and the file to trust."""
    ca = trustme.CA()
    file = tmp_path_factory.mktemp("tls") / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return ca, file


@pytest.fixture(scope="session")
def tls_peer(authority: tuple[trustme.CA, Path]) -> Iterator[str]:
    """The same with TLS, for the name localhost alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority[0].issue_cert("localhost").configure_cert(context)
    with running(ssl=context) as port:
        yield f"wss://localhost:{port}"


class Echo(WebSocketApplication):
    """Our own server's echo."""

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        ws.send(message)


def nothing_else(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"nothing here"]


@pytest.fixture
def own_server() -> Iterator[str]:
    """The URL of our own server, without its last slash."""
    with WSGIServer(("127.0.0.1", 0), Resource({"/echo": Echo()}, nothing_else)) as server:
        yield server.url.replace("http", "ws", 1).rstrip("/")


@pytest.fixture
def fixed_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the answer may stand there before the question."""
    monkeypatch.setattr(handshake, "os", SimpleNamespace(urandom=lambda size: KEY[:size]))


@pytest.fixture
def pair(fixed_key: None) -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs
