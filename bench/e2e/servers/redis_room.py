"""One room fed by Redis: `redis_room:app` on ours, `redis_room.py PORT threading|asgi [hiredis]`.
REDIS_URL names the server; messages come from outside, so it must not emit anything itself."""

import os
import sys
from typing import Any

URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
CHANNEL = "bench"


def flask_app(package: Any, **options: Any) -> tuple[Any, Any]:
    """The same program on either package: Flask-SocketIO's own words."""
    from flask import Flask

    app = Flask(__name__)
    socketio = package.SocketIO(app, message_queue=URL, channel=CHANNEL, **options)

    @socketio.on("join")
    def join() -> str:
        package.join_room("players")
        return "joined"

    return app, socketio


def serve_asgi(port: int) -> None:
    import socketio
    import uvicorn

    manager = socketio.AsyncRedisManager(URL, channel=CHANNEL)
    server = socketio.AsyncServer(async_mode="asgi", client_manager=manager)

    @server.on("join")
    async def join(sid: str) -> str:
        await server.enter_room(sid, "players")
        return "joined"

    uvicorn.run(
        socketio.ASGIApp(server),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        log_level="warning",
        ws_per_message_deflate=False,
    )


if __name__ == "__main__" and "hiredis" not in sys.argv:
    sys.modules["hiredis"] = None  # type: ignore[assignment]  # as if it were not installed

if __name__ != "__main__":
    import python_server

    app, _ = flask_app(python_server)
elif sys.argv[2] == "asgi":
    serve_asgi(int(sys.argv[1]))
else:
    import flask_socketio

    _, served = flask_app(flask_socketio, async_mode="threading")
    served.run(_, host="127.0.0.1", port=int(sys.argv[1]), allow_unsafe_werkzeug=True)
