"""Lines that ask something of the Socket.IO servers of a process (control/commands.py).

It must not know how a line came.
"""

import json
from typing import Any

import pytest

from python_server.control.commands import ControlCommands
from python_server.socketio.broadcast import BroadcastOptions


class Hub:
    """Writes down what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.asked.append((name, *arguments))


class Room:
    def __init__(self, *paths: str) -> None:
        self.refusals: list[Any] = []
        self.hubs: Any = {path: Hub() for path in paths}
        self.commands = ControlCommands(
            self.hubs, lambda: {"clients": 3}, lambda *said: self.refusals.append(said)
        )

    def obey(self, **fields: Any) -> Any:
        return json.loads(self.commands.obey(json.dumps(fields).encode()))


EVERYWHERE = BroadcastOptions("/", None, ())
DONE = {
    "emit": ({"method": "emit", "event": "e", "data": [1, 2]}, ("emit", "e", (1, 2), EVERYWHERE)),
    "emit to a room": (
        {
            "method": "emit",
            "event": "e",
            "data": {"a": 1},
            "namespace": "/n",
            "room": ["r", 5],
            "skip_sid": "s",
            "volatile": True,
        },
        ("emit", "e", ({"a": 1},), BroadcastOptions("/n", ("r", 5), ("s",), volatile=True)),
    ),
    "disconnect": (
        {"method": "disconnect", "sid": "s", "detail": "why"},
        ("disconnect", "/", "s", "why"),
    ),
    "expire": ({"method": "expire", "sid": "s", "at": 5}, ("expire", "/", "s", 5.0)),
    "enter": ({"method": "enter_room", "sid": "s", "room": "r", "namespace": "/n"}, ("join", "/n", "s", "r")),
    "leave": ({"method": "leave_room", "sid": "s", "room": 5}, ("leave", "/", "s", 5)),
    "close": ({"method": "close_room", "room": "r"}, ("close_room", "/", "r")),
}


@pytest.mark.parametrize(("fields", "asked"), DONE.values(), ids=DONE)
def test_what_is_done(fields: dict[str, Any], asked: tuple[Any, ...]) -> None:
    room = Room("/socket.io/")
    assert room.obey(**fields) == {"ok": True}
    assert room.hubs["/socket.io/"].asked == [asked]
    assert room.refusals == []


REFUSED = {
    "an event without a text as its name": (
        {"method": "emit", "event": 5, "data": []},
        "an event's name is a string",
    ),
    "a question": (
        {"method": "callback", "sid": "s", "id": 1, "host_id": "x"},
        "callback cannot be asked for here",
    ),
    "an unknown word": ({"method": "eval"}, "unknown method 'eval'"),
    "no client": ({"method": "disconnect"}, "disconnect names no client"),
    "two rooms": ({"method": "close_room", "room": ["a", "b"]}, "close_room names no room"),
    "status and more": ({"method": "status", "x": 1}, "unknown method 'status'"),
}


@pytest.mark.parametrize(("fields", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(fields: dict[str, Any], words: str) -> None:
    room = Room("/socket.io/")
    answer = room.obey(**fields)
    assert answer == {"error": f"foreign message: {words}"}
    assert room.refusals == [("control line", f"a line on the control socket was refused: {answer['error']}")]
    assert room.hubs["/socket.io/"].asked == []


@pytest.mark.parametrize(
    "line", [b"", b"\xff", b'"status"', b'{"method":"status"', b'"status" \xff', b'["status"]']
)
def test_what_is_no_line(line: bytes) -> None:
    room = Room("/socket.io/")
    assert "error" in json.loads(room.commands.obey(line))
    assert len(room.refusals) == 1


def test_figures_need_no_server() -> None:
    room = Room()
    assert room.obey(method="status") == {"ok": True, "figures": {"clients": 3}}
    long = b'{"method":"status"}' + b" " * 1000
    assert "error" in json.loads(room.commands.obey(long)), "a longer line is no status"


CLOSE = {"method": "close_room", "room": "r"}


def test_which_server_is_asked() -> None:
    assert Room().obey(**CLOSE)["error"].endswith("no Socket.IO server runs here that could send it")
    room = Room("/a/", "/b/")
    assert room.obey(**CLOSE)["error"].endswith("several servers run here, name the path: /a/, /b/")
    assert room.obey(**CLOSE, path="c")["error"].endswith("no Socket.IO server at 'c': /a/, /b/")
    for path in ("b", "/b", "/b/", "b/"):
        assert room.obey(**CLOSE, path=path) == {"ok": True}
    assert [len(hub.asked) for hub in room.hubs.values()] == [0, 4]
