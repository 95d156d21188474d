"""What is served when no application is named: a page with a live echo and the number of connections.

Must not know: sockets, sessions; it is an ordinary application of the public API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.resources import files

from python_server.serve.mounts import Site
from python_server.websocket.application import PageOrigins, WebSocket, WebSocketApplication
from python_server.wsgi.environ import Environ, StartResponse
from wsframe import IMPLEMENTATION


class Echo(WebSocketApplication):
    """Every message back: same opcode, same payload."""

    inline = True
    allowed_origins: PageOrigins = "*"

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def on_open(self, ws: WebSocket) -> None:
        self._changed()

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        ws.send(message)

    def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
        self._changed()


class EchoConnections(WebSocketApplication):
    """Tells each page how many echo connections are open, whenever the number changes."""

    inline = True

    def __init__(self) -> None:
        self.echo: Echo = Echo(self.changed)

    def on_open(self, ws: WebSocket) -> None:
        ws.send(str(self.echo.connection_count))

    def changed(self) -> None:
        self.broadcast(str(self.echo.connection_count))


def page(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The WSGI application behind the page."""
    html = files("python_server.command").joinpath("welcome.html").read_text("utf-8")
    status, kind, text = {
        "/": ("200 OK", "html", html.replace("{{codec}}", IMPLEMENTATION)),
        "/echo": ("426 Upgrade Required", "plain", "This path speaks WebSocket only.\n"),
    }.get(environ["PATH_INFO"], ("404 Not Found", "plain", "There is nothing here.\n"))
    body = text.encode()
    headers = [("Content-Type", f"text/{kind}; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


def site() -> Site:
    """The page at `/`, the echo at `/echo`, the counter at `/connections`."""
    connections = EchoConnections()
    return Site(page, websockets={"/echo": connections.echo, "/connections": connections})
