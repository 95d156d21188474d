"""What the server tells an application of a request, as JSON; a WebSocket that echoes at /echo.

It must not know how it is reached.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from python_server import Resource, WebSocket, WebSocketApplication

KEYS = (
    "REMOTE_ADDR",
    "SERVER_NAME",
    "SERVER_PORT",
    "SCRIPT_NAME",
    "PATH_INFO",
    "HTTP_HOST",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_FORWARDED",
    "wsgi.url_scheme",
)


class Echo(WebSocketApplication):
    """Same origin only, as every route is by default."""

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        ws.send(message)


def show(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = json.dumps({key: environ.get(key) for key in KEYS}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


app = Resource({"/echo": Echo()}, show)
