"""Our Socket.IO without Flask: `python -m python_server ours_events:app`, or `ours_events:inline_app`.
The same events as ours_socketio.py in python-socketio's words; it must not know the load."""

from collections.abc import Callable, Iterable
from typing import Any

from python_server import Server, WSGIApp


def not_found(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


def make(inline: bool) -> WSGIApp:
    """With handlers in worker threads, or on the server's own thread."""
    server = Server()

    @server.on("echo", inline=inline)
    def echo(sid: str, message: Any) -> None:
        server.emit("echo", message, to=sid)

    @server.on("echo_ack", inline=inline)
    def echo_ack(sid: str, message: Any) -> Any:
        return message

    @server.on("join", inline=inline)
    def join(sid: str) -> str:
        server.enter_room(sid, "players")
        return "joined"

    @server.on("say", inline=inline)
    def say(sid: str, message: Any) -> None:
        server.emit("news", message, to="players")

    return WSGIApp(server, not_found)


app = make(inline=False)
inline_app = make(inline=True)
