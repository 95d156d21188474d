"""One plain application for machines that share a stream; its URL and channel come in the environment.

It must not know how many machines or workers there are.
"""

import os
from collections.abc import Iterable
from typing import Any

from python_server import Server, WSGIApp

socketio = Server(
    message_queue=os.environ["BROKER"], channel=os.environ["CHANNEL"], connection_state_recovery=True
)


def page(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


app = WSGIApp(socketio, page)


@socketio.event
def where(sid: str) -> int:
    return os.getpid()


@socketio.event
def enter(sid: str, room: str) -> bool:
    socketio.enter_room(sid, room)
    return True


@socketio.event
def keep(sid: str, value: Any) -> bool:
    with socketio.session(sid) as session:
        session["kept"] = value
    return True


@socketio.event
def kept(sid: str) -> Any:
    return [sid, socketio.get_session(sid).get("kept"), sorted(socketio.rooms(sid))]


@socketio.event
def tell(sid: str, room: str | None, *words: Any) -> bool:
    socketio.emit("told", words, room=room)
    return True
