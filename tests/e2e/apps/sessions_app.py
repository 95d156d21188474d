"""The smallest application with sessions: nothing of its own in them, and one broadcast on request.

It must not know who measures it.
"""

from collections.abc import Iterable
from typing import Any

from python_server import Server, WSGIApp

socketio = Server(ping_interval=300)


def shout(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    socketio.emit("shouted")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


app = WSGIApp(socketio, shout)
