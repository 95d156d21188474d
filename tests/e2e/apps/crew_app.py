"""One Flask-SocketIO application for tests of many workers: every worker does what any client asks of it.

It must not know how many workers there are; `where` says which one it is.
"""

import os
import threading
import time
from typing import Any

import flask

from python_server import Namespace, SocketIO, close_room, emit, join_room, leave_room, rooms, update_meta

app = flask.Flask(__name__)
socketio = SocketIO(app, cors_allowed_origins="*", namespaces=["/", "/quiet"])
moves: list[tuple[str, str, Any]] = []
moved = threading.Condition()
PATIENCE_SECONDS = 60.0


@socketio.on("where")
def where() -> int:
    return os.getpid()


@socketio.on("join")
def join(room: Any, sid: str | None = None) -> str:
    try:
        join_room(room, sid=sid)
    except ValueError as error:
        return str(error)
    return "done"


@socketio.on("leave")
def leave(room: Any, sid: str | None = None) -> None:
    leave_room(room, sid=sid)


@socketio.on("close room")
def close(room: Any) -> None:
    close_room(room)


@socketio.on("say")
def say(data: Any, to: Any = None, options: dict[str, Any] | None = None) -> None:
    emit("said", data, to=to, broadcast=True, **(options or {}))


@socketio.on("say many")
def say_many(name: str, count: int, to: Any) -> None:
    for number in range(count):
        emit("said", [name, number], to=to, broadcast=True)


@socketio.on("ask")
def ask(sid: str, data: Any) -> Any:
    """The one client's answer."""
    try:
        return socketio.call("question", data, to=sid, timeout=60)
    except TimeoutError as error:
        return {"error": str(error)}


@socketio.on("ask room")
def ask_room(room: Any, timeout: float) -> Any:
    answers = socketio.server.call_room("question", "all", to=room, timeout=timeout)
    return {"values": answers.values, "missing": answers.missing_count}


@socketio.on("ask with callbacks")
def ask_with_callbacks(room: Any) -> None:
    """Each ack is told to who asked, in whose context the callback runs."""
    emit("question", "all", to=room, broadcast=True, callback=lambda *values: emit("answered", values))


@socketio.on("members")
def members(room: Any = None) -> list[str]:
    return sorted(socketio.room_members(room))


@socketio.on("participants")
def participants(room: Any = None) -> list[str]:
    return sorted(sid for sid, _ in socketio.server.manager.get_participants("/", room))


@socketio.on("rooms")
def rooms_of(sid: str | None = None) -> list[Any]:
    return sorted(map(str, rooms(sid)))


@socketio.on("kick")
def kick(sid: str, reason: str | None = None) -> None:
    socketio.disconnect(sid, reason=reason)


@socketio.on("expire")
def expire(sid: str, seconds: float) -> None:
    socketio.expire(sid, time.time() + seconds)


@socketio.on("join as")
def join_as(room: str, meta: dict[str, Any], key: str | None = None, sid: str | None = None) -> str:
    try:
        join_room(room, sid=sid, meta=meta, key=key)
    except ValueError as error:
        return str(error)
    return "done"


@socketio.on("update")
def update(room: str, meta: dict[str, Any], sid: str | None = None) -> None:
    update_meta(room, meta, sid=sid)


@socketio.on("who")
def who(room: str) -> list[Any]:
    return sorted(([each["key"], each["meta"]] for each in socketio.room_members(room, meta=True)), key=str)


def tell(kind: str, room: Any, meta: Any) -> None:
    """Whoever watches the room, which nobody is told of by a second worker."""
    if meta is not None:
        socketio.emit("said", [kind, meta["name"]], to=f"watchers of {room}")


@socketio.on_room_update()
def changed(sid: str, room: Any, meta: Any) -> None:
    tell("update", room, meta)


@socketio.on_room_join()
def joined(sid: str, room: Any, meta: Any) -> None:
    tell("join", room, meta)


@socketio.on_room_leave()
def left(sid: str, room: Any, meta: Any) -> None:
    tell("leave", room, meta)


@socketio.on_room_join()
def came(sid: str, room: Any) -> None:
    with moved:
        moves.append(("join", sid, room))
        moved.notify_all()


@socketio.on_room_leave()
def went(sid: str, room: Any) -> None:
    with moved:
        moves.append(("leave", sid, room))
        moved.notify_all()


@socketio.on("moves")
def told_moves(room: str, count: int) -> list[Any]:
    """Of this worker's clients, once there are so many: they are told in a thread of their own."""

    def found() -> list[Any]:
        return [move for move in moves if move[2] == room]

    with moved:
        moved.wait_for(lambda: len(found()) >= count, PATIENCE_SECONDS)
        return found()


class Quiet(Namespace):
    def on_say(self, data: Any) -> None:
        self.emit("said", data)


socketio.on_namespace(Quiet("/quiet"))
