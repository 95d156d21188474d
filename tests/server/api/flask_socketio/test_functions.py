"""emit, send, call and the words for rooms, as handlers use them (functions.py).

It must not know what SocketIO does with them: a test client looks at what came.
"""

from typing import Any

import pytest
from flask import Flask, request

from python_server import (
    SocketIO,
    call,
    close_room,
    disconnect,
    emit,
    join_room,
    leave_room,
    room_members,
    rooms,
    send,
)


def said(client: Any) -> list[tuple[str, Any]]:
    return [(item["name"], item["args"]) for item in client.get_received()]


def test_whom_emit_and_send_reach(app: Flask, socketio: SocketIO) -> None:
    @socketio.event
    def speak() -> None:
        emit("mine", 1)
        emit("all", 2, broadcast=True)
        emit("others", 3, broadcast=True, include_self=False)
        send("text")
        send({"a": 1}, json=True)

    first, second = socketio.test_client(app), socketio.test_client(app)
    first.emit("speak")
    assert said(first) == [("mine", [1]), ("all", [2]), ("message", "text"), ("json", {"a": 1})]
    assert said(second) == [("all", [2]), ("others", [3])]


def test_rooms_of_the_current_client_and_of_another(app: Flask, socketio: SocketIO) -> None:
    sids: list[str] = []

    @socketio.on("connect")
    def connect() -> None:
        sids.append(request.sid)  # type: ignore[attr-defined]

    @socketio.event
    def move() -> tuple[Any, ...]:
        join_room("red")
        join_room("red", sid=sids[1])
        both, own = sorted(room_members("red")), rooms()
        leave_room("red")
        rest = room_members("red")
        close_room("red")
        return both, sorted(own), rest, room_members("red"), len(room_members())

    client = socketio.test_client(app)
    socketio.test_client(app)
    assert client.emit("move", callback=True) == [
        sorted(sids),
        sorted([sids[0], "red"]),
        [sids[1]],
        [],
        2,
    ]


def test_a_client_is_sent_away(app: Flask, socketio: SocketIO) -> None:
    @socketio.event
    def leave() -> None:
        disconnect(reason="enough")

    client = socketio.test_client(app)
    client.emit("leave")
    assert client.is_connected() is False


def test_call_asks_the_current_client(
    app: Flask, socketio: SocketIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(socketio.server, "call", lambda *arguments: asked.append(arguments) or "yes")

    @socketio.event
    def ask() -> Any:
        return call("sure?", "tea", timeout=10), request.sid  # type: ignore[attr-defined]

    answer, sid = socketio.test_client(app).emit("ask", callback=True)
    assert answer == "yes"
    assert asked == [("sure?", ("tea",), sid, None, "/", 10)]


@pytest.mark.parametrize("function", [lambda: emit("e"), lambda: rooms(), lambda: join_room("red")])
def test_outside_a_handler_there_is_no_current_client(app: Flask, function: Any) -> None:
    with app.test_request_context(), pytest.raises(RuntimeError, match="needs a current client"):
        function()
