"""Clients that come and go, and what is left of them in the process.

It must not know how they leave, or who counts.
"""

import gc
import json
import sys
from collections import Counter
from collections.abc import Iterable
from threading import Condition
from typing import Any

from python_server import Server, WSGIApp

socketio = Server(connection_state_recovery={"max_disconnection_duration": 0.001})
gone_count = 0
gone = Condition()
PATIENCE_SECONDS = 60.0


@socketio.event
def connect(sid: str, environ: dict[str, Any]) -> None:
    socketio.enter_room(sid, "all of them")


@socketio.event
def disconnect(sid: str, reason: str) -> None:
    global gone_count
    with gone:
        gone_count += 1
        gone.notify_all()


@socketio.event
def ask(sid: str) -> None:
    socketio.emit("question", to=sid, callback=print)


@socketio.event
def take(sid: str, data: bytes) -> None:
    """Never called: its packet stays unfinished."""


def left(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """GET /left/N: once N clients have gone, the process's objects by type, and its blocks of any kind."""
    count = int(environ["PATH_INFO"].rpartition("/")[2])
    with gone:
        gone.wait_for(lambda: gone_count >= count, PATIENCE_SECONDS)
    gc.collect()
    names = Counter(type(item).__name__ for item in gc.get_objects())
    left_over = {"gone": gone_count, "objects": names, "blocks": sys.getallocatedblocks()}
    body = json.dumps(left_over).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


app = WSGIApp(socketio, left)
