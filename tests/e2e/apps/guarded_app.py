"""Middleware around everything that carries sessions and WebSockets: `raw`, `sessions` and `engine`.

It must not know the tests: it lets in who has the token, and says so in the environ.
"""

from collections.abc import Callable, Iterable
from typing import Any

from python_server import EngineServer, Resource, Server, WebSocket, WebSocketApplication, WSGIApp


class Guard:
    """Lets in who has the token, and marks whom it let in."""

    def __init__(self, application: Any) -> None:
        self.wsgi_app = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_X_TOKEN") != "secret":
            start_response("401 Unauthorized", [("Content-Type", "text/plain"), ("X-Doorman", "Otto")])
            return [b"no token"]
        environ["guard.name"] = "Otto"
        answer: Iterable[bytes] = self.wsgi_app(environ, start_response)
        return answer


class Echo(WebSocketApplication):
    """Open to every page: the guard alone decides."""

    allowed_origins = "*"

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        ws.send(message)


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]


socketio_server = Server(cors_allowed_origins="*")
engine_server = EngineServer(cors_allowed_origins="*")


@socketio_server.on("connect")
def joined(sid: str, environ: dict[str, Any]) -> None:
    socketio_server.emit("guard", environ.get("guard.name"), to=sid)


@engine_server.on("connect")
def opened(sid: str, environ: dict[str, Any]) -> None:
    engine_server.send(sid, str(environ.get("guard.name")))


raw = Guard(Resource({"/echo": Echo()}, page))
sessions = Guard(WSGIApp(socketio_server, page))
engine = Guard(WSGIApp(engine_server, page))
# What stands outermost carries WebSockets too, and the guard is around the sessions alone.
both = Resource({"/echo": Echo()}, sessions)
