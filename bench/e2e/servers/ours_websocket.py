"""Our raw WebSockets: `python -m python_server ours_websocket:echo_inline`, and the other names below.
The echo is the one the bare command serves at /echo; it must not know the load."""

from collections.abc import Iterable
from typing import Any

import busy  # noqa: F401

from python_server import Resource, WebSocket, WebSocketApplication


class Echo(WebSocketApplication):
    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        ws.send(message)


class Broadcast(WebSocketApplication):
    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        self.broadcast(message)


class InlineEcho(Echo):
    inline = True


class InlineBroadcast(Broadcast):
    inline = True


class DeflatedEcho(InlineEcho):
    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        ws.send(message, compress=True)


echo_inline = Resource({"/": InlineEcho()})
echo_threads = Resource({"/": Echo()})
broadcast_inline = Resource({"/": InlineBroadcast()})
broadcast_threads = Resource({"/": Broadcast()})
echo_deflate = Resource({"/": DeflatedEcho()})
broadcast_deflate = Resource({"/": InlineBroadcast()})


def echo_blocking(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """gevent-websocket's words, a thread per client."""
    ws = environ["wsgi.websocket"]
    while (message := ws.receive()) is not None:
        ws.send(message)
    return []
