"""Our server under Flask: `python -m python_server ours_socketio:app`, or `ours_socketio:inline_app`.
The same application as flask_socketio_server.py; it must not know the load."""

from typing import Any

from flask import Flask, request

from python_server import SocketIO, emit, join_room, leave_room


def make(inline: bool) -> Flask:
    """With handlers in worker threads, or on the server's own thread."""
    app = Flask(__name__)
    socketio = SocketIO(app)

    @socketio.on("echo", inline=inline)
    def echo(message: Any) -> None:
        emit("echo", message)

    @socketio.on("echo_ack", inline=inline)
    def echo_ack(message: Any) -> Any:
        return message

    @socketio.on("join", inline=inline)
    def join() -> str:
        join_room("players")
        return "joined"

    @socketio.on("say", inline=inline)
    def say(message: Any) -> None:
        emit("news", message, to="players")

    # Who is in every room, and how many there are: the visits go to rooms that exist.
    filled: dict[str, Any] = {"sid": "", "rooms": 1}

    @socketio.on("fill")
    def fill(count: int) -> str:
        filled.update(sid=request.sid, rooms=count)  # type: ignore[attr-defined]
        for number in range(count):
            join_room(f"room {number}")
        return "filled"

    @socketio.on("visit", inline=inline)
    def visit(message: Any) -> None:
        room = f"room {message['number'] * 97 % filled['rooms']}"
        join_room(room)
        emit("news", message, to=room, skip_sid=filled["sid"])
        leave_room(room)

    return app


app = make(inline=False)
inline_app = make(inline=True)
