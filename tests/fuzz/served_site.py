"""What the fuzzed server serves: every face once, behind a middleware that asks for a token.

It must not raise by itself, whatever a client says: what is logged with a traceback is then the server's
fault, or somebody has come past the middleware. `python -m python_server served_site:app` serves it too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from python_server import Resource, Server, WebSocket, WebSocketApplication
from python_server.api.python_engineio import EngineServer
from python_server.api.python_socketio import WSGIApp

MESSAGE_MAX_COUNT = 2_000  # of what is sent back
NAMESPACES = ("/", "/chat", "/open/7")
STREAMED = b"0123456789" * 500


class PastTheMiddleware(AssertionError):
    """A client is served whom the middleware has not let in."""


class PlantedFailure(Exception):
    """What a handler raises that was asked to."""


class Guard:
    """Whoever says the token is let in."""

    def __init__(self, wsgi_app: Callable[..., Iterable[bytes]]) -> None:
        self.wsgi_app = wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("HTTP_X_TOKEN") != "good":
            start_response("403 Forbidden", [("Content-Length", "7")])
            return [b"refused"]
        environ["guard.passed"] = True
        return self.wsgi_app(environ, start_response)


def check_passed(environ: dict[str, Any]) -> None:
    if not environ.get("guard.passed"):
        raise PastTheMiddleware(f"{environ.get('QUERY_STRING')!r}")


class Echo(WebSocketApplication):
    def __init__(self, *, inline: bool) -> None:
        self.inline = inline  # type: ignore[misc]

    def on_open(self, ws: WebSocket) -> None:
        if ws.header("x-token") != "good":
            raise PastTheMiddleware(ws.query)

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        if message[:3] in ("all", b"all") and not self.inline:  # on the loop nothing waits for who is behind
            self.broadcast(message)
        else:
            ws.send(message[:MESSAGE_MAX_COUNT])


def add_handlers(server: Server, namespace: str) -> None:
    """Handlers that take anything."""

    @server.on("connect", namespace=namespace)
    def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        check_passed(environ)

    @server.on("say", namespace=namespace)
    def say(sid: str, *values: Any) -> None:
        server.emit("said", values[:3], room="all", namespace=namespace)

    @server.on("echo", namespace=namespace)
    def echo(sid: str, *values: Any) -> tuple[Any, ...]:
        return values

    @server.on("inline", namespace=namespace, inline=True)
    def inline(sid: str, *values: Any) -> Any:
        return values[:1]

    @server.on("join", namespace=namespace)
    def join(sid: str, room: Any = "all", *more: Any) -> int:
        try:
            server.enter_room(sid, "all" if not isinstance(room, str) else room, namespace)
            return len(server.rooms(sid, namespace))
        except (ValueError, TypeError):  # it has gone, or names a client's own room
            return -1

    @server.on("leave", namespace=namespace)
    def leave(sid: str, *more: Any) -> None:
        server.leave_room(sid, "all", namespace)

    @server.on("ask", namespace=namespace)
    def ask(sid: str, *values: Any) -> None:
        server.emit("asked", values[:1], to=sid, namespace=namespace, callback=lambda *answer: None)

    if "FUZZ_FAILS" in os.environ:  # only where somebody tells these from all other faults

        @server.on("fail", namespace=namespace)
        def fail(sid: str, *values: Any) -> None:
            raise PlantedFailure("asked for " + "x" * 500)

    @server.on("*", namespace=namespace)
    def other(event: str, sid: str, *values: Any) -> Any:
        return event


def page(read_body: Callable[[dict[str, Any]], bytes]) -> Callable[..., Iterable[bytes]]:
    """The application below everything. `read_body`: how it reads what a request brings."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/stream":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return (STREAMED for _ in range(8))
        if path == "/empty":
            start_response("204 No Content", [])
            return []
        body = {
            "/": lambda: b"hello",
            "/page": lambda: b"a page",
            "/big": lambda: bytes(300_000),
            "/echo": lambda: read_body(environ),
            "/who": lambda: f"{environ['REMOTE_ADDR']} {environ['wsgi.url_scheme']}".encode(),
        }.get(path)
        said = b"there is nothing" if body is None else body()
        status = "404 Not Found" if body is None else "200 OK"
        start_response(status, [("Content-Length", str(len(said)))])
        return [said]

    return application


def read_all(environ: dict[str, Any]) -> bytes:
    """As applications do."""
    return bytes(environ["wsgi.input"].read())


def read_what_is_there(environ: dict[str, Any]) -> bytes:
    """Nothing of a body that has not come whole: a thread of the told machine cannot wait for its client."""
    queue = getattr(getattr(environ["wsgi.input"], "raw", None), "_queue", None)
    return read_all(environ) if queue is not None and queue._ended and queue._broken is None else b""


def make_application(read_body: Callable[[dict[str, Any]], bytes]) -> Guard:
    """All of it, new."""
    text = Server(namespaces="*", allow_eio3=True, connection_state_recovery=True)
    packed = Server(serializer="msgpack", namespaces="*")
    for server in (text, packed):
        for namespace in NAMESPACES:
            add_handlers(server, namespace)
    engine = EngineServer()

    @engine.on("connect")
    def connect(sid: str, environ: dict[str, Any]) -> None:
        check_passed(environ)

    @engine.on("message")
    def message(sid: str, data: str | bytes) -> None:
        engine.send(sid, data[:MESSAGE_MAX_COUNT])

    below: Any = WSGIApp(engine, page(read_body))
    below = WSGIApp(packed, below, socketio_path="msgpack")
    below = WSGIApp(text, below)
    return Guard(Resource({"/event": Echo(inline=False), "/inline": Echo(inline=True)}, below))


def __getattr__(name: str) -> Any:
    """`app`, for a server of its own process."""
    if name != "app":
        raise AttributeError(name)
    globals()["app"] = application = make_application(read_all)
    return application
