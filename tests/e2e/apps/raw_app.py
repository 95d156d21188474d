"""Raw WebSockets in all three faces, for test_raw_websockets.py.

It must not know the tests.
"""

import json
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

import simple_websocket

from python_server import Resource, WebSocket, WebSocketApplication, WebSocketError


class Chat(WebSocketApplication):
    """Says hello, broadcasts what it hears, tells who left; in worker threads."""

    subprotocols = ("chat.v2", "chat.v1")
    allowed_origins = ("http://friend.example",)

    def on_open(self, ws: WebSocket) -> None:
        ws.context = threading.current_thread().name
        ws.send(json.dumps({"hello": self.connection_count, "protocol": ws.protocol, "path": ws.path}))

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        if message == "fail":
            raise RuntimeError("raised on purpose")
        if message == "leave":
            ws.close(4001, "as you wish")
        elif message == "empty the room":
            self.close_all(1001, "closing time")
        elif message == "to the others":
            self.broadcast("somebody spoke", exclude=[ws])
        else:
            self.broadcast(message)

    def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
        self.broadcast(f"left {code} {reason}")


class InlineChat(Chat):
    """The same on the loop's own thread."""

    inline = True


class Silent(WebSocketApplication):
    """Never speaks; its clients are pinged."""

    allowed_origins = "*"
    ping_interval_seconds = 0.2
    ping_timeout_seconds = 0.2


class Limited(WebSocketApplication):
    """Never speaks, and hears short messages only."""

    allowed_origins = "*"
    max_message_bytes = 100


def blocking(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """gevent-websocket's words: an echo that counts, refuses strangers, and closes on request."""
    ws = environ["wsgi.websocket"]
    if environ["QUERY_STRING"] == "stranger":
        start_response("401 Unauthorized", [("Content-Type", "text/plain"), ("Content-Length", "3")])
        return [b"no\n"]
    ws.subprotocols = ("echo",)
    while True:
        message = ws.receive()
        if message is None:
            break
        if message == "bye":
            ws.close(4002, b"bye")
            continue
        if message == "fail":
            raise RuntimeError("raised on purpose")
        if message == "facts":
            message = json.dumps([ws.path, ws.origin, ws.version, ws.protocol, ws.closed])
        ws.send(message)
    assert ws.closed
    try:
        ws.send("too late")
    except WebSocketError:
        pass
    else:
        raise AssertionError("sending on a closed WebSocket must fail")
    return []


def simple(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """An unmodified simple-websocket program; with ?ping it uses the socket's descriptor as well."""
    ping = 60.0 if environ["QUERY_STRING"] == "ping" else None
    ws = simple_websocket.Server.accept(environ, ping_interval=ping)
    try:
        while True:
            ws.send(ws.receive())
    except simple_websocket.ConnectionClosed:
        pass
    return []


def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/blocking" and "wsgi.websocket" in environ:
        return blocking(environ, start_response)
    if path == "/simple" and "wsgi.websocket" in environ:
        return simple(environ, start_response)
    body = f"plain {path}, {threading.active_count()} threads\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


app = Resource(
    {"/chat": Chat(), "/inline": InlineChat(), "/silent": Silent(), re.compile(r"/limited/\d+"): Limited()},
    site,
)
