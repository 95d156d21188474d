"""Class namespaces: their place in the look-up, their words, their errors; through the test client.

It must not know the hub.
"""

from typing import Any

import flask

from heard_events import names
from python_server import (
    Namespace,
    SocketIO,
)


def test_functions_come_before_classes_and_classes_before_the_class_of_all(app: flask.Flask) -> None:
    class Any_(Namespace):
        def on_x(self) -> str:
            return f"any in {flask.request.namespace}"  # type: ignore[attr-defined]

    class Own(Namespace):
        def on_x(self) -> str:
            return "own"

        def on_y(self) -> str:
            return "own y"

    socketio = SocketIO(app, namespaces="*")
    socketio.on_namespace(Any_("*"))
    socketio.on_namespace(Own("/own"))
    socketio.on("y", namespace="/own")(lambda: "function")
    client = socketio.test_client(app, namespace="/own")
    client.connect("/anything")
    assert client.emit("x", callback=True, namespace="/own") == "own"
    assert client.emit("y", callback=True, namespace="/own") == "function"
    assert client.emit("x", callback=True, namespace="/anything") == "any in /anything"


class Counter(Namespace):
    def on_connect(self, auth: Any) -> None:
        self.enter_room(flask.request.sid, "all")  # type: ignore[attr-defined]
        self.save_session(flask.request.sid, {"count": 0})  # type: ignore[attr-defined]

    def on_disconnect(self) -> None:
        self.emit("gone")

    def on_count(self, step: int) -> int:
        with self.session(flask.request.sid) as session:  # type: ignore[attr-defined]
            session["count"] += step
        self.emit("counted", session["count"], room="all", include_self=False)
        return int(session["count"])

    def on_fail(self) -> None:
        raise LookupError("nothing")

    def error(self, exc: Exception) -> str:
        return f"error: {exc}"


def test_a_class_namespace(app: flask.Flask, socketio: SocketIO) -> None:
    socketio.on_namespace(Counter("/counter"))
    first, second = (socketio.test_client(app, namespace="/counter") for _ in range(2))
    assert first.emit("count", 2, callback=True, namespace="/counter") == 2
    assert first.emit("count", 3, callback=True, namespace="/counter") == 5
    assert [item["args"] for item in second.get_received("/counter")] == [[2], [5]]
    assert first.emit("fail", callback=True, namespace="/counter") == "error: nothing"
    assert first.emit("unknown", callback=True, namespace="/counter") == []
    assert first.emit(7, callback=True, namespace="/counter") == []  # the protocol lets a name be a number
    first.disconnect("/counter")
    assert names(second, "/counter") == ["gone"]


def test_trigger_event_may_be_overloaded(app: flask.Flask, socketio: SocketIO) -> None:
    class Router(Namespace):
        def trigger_event(self, event: str, *args: Any) -> Any:
            if event in ("connect", "disconnect"):
                return None
            return [event, args[0] == flask.request.sid, *args[1:]]  # type: ignore[attr-defined]

    socketio.on_namespace(Router("/r"))
    client = socketio.test_client(app, namespace="/r")
    assert client.emit("any", 1, callback=True, namespace="/r") == ["any", True, 1]
