"""Socket.IO mounted on Flask, with rooms and a background task, in python-socketio's words.

It must not know which package is behind the import: the tests run it on both.
"""

from typing import Any

import flask
import socketio

async_mode = None
sio = socketio.Server(logger=False, async_mode=async_mode, engineio_logger=False, async_handlers=True)
app = flask.Flask(__name__)
app.wsgi_app = socketio.WSGIApp(sio, app.wsgi_app)  # type: ignore[method-assign]
thread = None


def background_thread() -> None:
    for count in range(1, 3):
        sio.sleep(0.01)
        sio.emit("my_response", {"data": "Server generated event", "count": count})


@app.route("/")
def index() -> str:
    global thread
    if thread is None:
        thread = sio.start_background_task(background_thread)
    return "a page"


@sio.event
def my_event(sid: str, message: Any) -> None:
    sio.emit("my_response", {"data": message["data"]}, room=sid)


@sio.event
def my_broadcast_event(sid: str, message: Any) -> None:
    sio.emit("my_response", {"data": message["data"]})


@sio.event
def join(sid: str, message: Any) -> list[str]:
    sio.enter_room(sid, message["room"])
    sio.emit("my_response", {"data": "Entered room: " + message["room"]}, room=sid)
    return sorted(set(sio.rooms(sid)) - {sid})


@sio.event
def leave(sid: str, message: Any) -> list[str]:
    sio.leave_room(sid, message["room"])
    return sorted(set(sio.rooms(sid)) - {sid})


@sio.event
def close(sid: str, message: Any) -> None:
    sio.emit("my_response", {"data": "Room " + message["room"] + " is closing."}, room=message["room"])
    sio.close_room(message["room"])


@sio.event
def my_room_event(sid: str, message: Any) -> tuple[str, int]:
    sio.emit("my_response", (message["data"], 1), message["room"])
    sio.send({"to": "the room"}, message["room"], None, None, None, None, True)
    return "said", 1


@sio.event
def below(sid: str, message: Any) -> list[Any]:
    eio_sid = sio.manager.eio_sid_from_sid(sid, "/")
    return [
        sio.manager.is_connected(sid, "/"),
        sio.manager.sid_from_eio_sid(eio_sid, "/") == sid,
        [name for name, _ in sio.manager.get_participants("/", sid)] == [sid],
        list(sio.manager.get_namespaces()),
        sio.environ[eio_sid]["REQUEST_METHOD"],
        sio.get_environ(sid) == sio.environ[eio_sid],
        eio_sid in sio.eio.sockets,
        type(sio.eio.create_queue()).__name__,
        sio.transport(sid),
        sio.async_mode,
    ]


@sio.event
def connect(sid: str, environ: Any, auth: Any) -> None:
    if auth == {"name": "nobody"}:
        raise socketio.exceptions.ConnectionRefusedError("go away", {"code": 1})
    with sio.session(sid) as session:
        session["auth"] = auth
    sio.emit("my_response", {"data": "Connected", "auth": auth}, room=sid)


@sio.event
def whoami(sid: str, message: Any) -> Any:
    return sio.get_session(sid)


@sio.event
def disconnect_request(sid: str, message: Any) -> None:
    sio.disconnect(sid)


@sio.event
def disconnect(sid: str, reason: str) -> None:
    # Which of the two depends on how fast a client goes away behind its last word.
    sio.emit("left", reason in (sio.reason.CLIENT_DISCONNECT, sio.reason.TRANSPORT_CLOSE))


if __name__ == "__main__":
    app.run(port=0, threaded=True)
