"""How handlers are registered and looked up: names, catch-alls, errors, presence; through the test client.

It must not know the hub.
"""

from typing import Any

import flask
import pytest

from python_server import (
    Namespace,
    Server,
    SocketIO,
    join_room,
    leave_room,
    room_members,
    update_meta,
)


def test_handlers_registered_before_the_application_are_kept(app: flask.Flask) -> None:
    socketio = SocketIO()
    socketio.on_event("early", lambda: "kept")
    socketio.init_app(app, path="/ws")
    assert app.extensions["socketio"] is socketio
    assert socketio.test_client(app).emit("early", callback=True) == "kept"


def test_the_documented_order_of_look_up(app: flask.Flask, socketio: SocketIO) -> None:
    socketio.on("exact")(lambda *args: ["exact", *args])
    socketio.on("*")(lambda *args: ["own star", *args])
    socketio.on("far", namespace="*")(lambda *args: ["far", *args])
    socketio.on("*", namespace="*")(lambda *args: ["star star", *args])
    client = socketio.test_client(app)
    client.connect("/other")
    ask = lambda event, namespace: client.emit(event, 1, callback=True, namespace=namespace)  # noqa: E731
    assert ask("exact", "/") == ["exact", 1]
    assert ask("far", "/") == ["own star", "far", 1]
    assert ask("far", "/other") == ["far", 1]
    assert ask("else", "/other") == ["star star", "else", 1]


def test_a_catch_all_does_not_get_connect_and_disconnect(app: flask.Flask, socketio: SocketIO) -> None:
    heard: list[str] = []
    socketio.on("*")(lambda name, *args: heard.append(name))
    client = socketio.test_client(app)
    client.emit("a")
    client.disconnect()
    assert heard == ["a"]


def test_an_unknown_namespace_is_refused(app: flask.Flask, socketio: SocketIO) -> None:
    assert not socketio.test_client(app, namespace="/nowhere").is_connected("/nowhere")


def test_event_takes_the_functions_name(app: flask.Flask, socketio: SocketIO) -> None:
    @socketio.event
    def plain() -> str:
        return "plain"

    @socketio.event(namespace="/other")
    def elsewhere() -> str:
        return "elsewhere"

    client = socketio.test_client(app)
    client.connect("/other")
    assert client.emit("plain", callback=True) == "plain"
    assert client.emit("elsewhere", callback=True, namespace="/other") == "elsewhere"


def test_decorators_give_back_the_function_and_stack(app: flask.Flask, socketio: SocketIO) -> None:
    @socketio.on("one")
    @socketio.on("two")
    def handler() -> str:
        return "both"

    assert handler() == "both"
    client = socketio.test_client(app)
    assert client.emit("one", callback=True) == client.emit("two", callback=True) == "both"


def test_errors_go_to_the_namespaces_handler_else_to_the_default(
    app: flask.Flask, socketio: SocketIO
) -> None:
    def fail() -> None:
        raise ValueError("broken")

    socketio.on("fail")(fail)
    socketio.on("fail", namespace="/other")(fail)
    socketio.on_error()(lambda error: ["own", str(error), flask.request.event["message"]])  # type: ignore[attr-defined]
    socketio.on_error_default(lambda error: ["default", str(error)])
    client = socketio.test_client(app)
    client.connect("/other")
    assert client.emit("fail", callback=True) == ["own", "broken", "fail"]
    assert client.emit("fail", callback=True, namespace="/other") == ["default", "broken"]


def test_an_error_handler_must_be_callable(socketio: SocketIO) -> None:
    with pytest.raises(ValueError, match="exception_handler must be callable"):
        socketio.on_error_default(None)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="exception_handler must be callable"):
        socketio.on_error("/other")("text")  # type: ignore[type-var]


def test_presence_is_told_in_order(app: flask.Flask, socketio: SocketIO) -> None:
    told: list[tuple[str, Any]] = []
    socketio.on_room_join()(lambda sid, room: told.append(("join", room)))
    socketio.on_room_leave()(lambda sid, room: told.append(("leave", room)))

    @socketio.on("move")
    def move() -> None:
        join_room("a")
        join_room("a")
        join_room("b")
        leave_room("a")

    client = socketio.test_client(app)
    client.emit("move")
    client.disconnect()
    assert told == [("join", "a"), ("join", "b"), ("leave", "a"), ("leave", "b")]


def test_presence_is_told_with_what_is_known_to_who_takes_it(app: flask.Flask, socketio: SocketIO) -> None:
    told: list[Any] = []
    socketio.on_room_join()(lambda sid, room: told.append(("join", room)))
    socketio.on_room_join()(lambda sid, room, meta: told.append(("join", room, meta)))
    socketio.on_room_update()(lambda sid, room, meta=None: told.append(("update", room, meta)))
    socketio.on_room_leave()(lambda *move: told.append(("leave", *move[1:])))

    @socketio.on("move")
    def move() -> list[Any]:
        join_room("a", meta={"name": "Ann"}, key="ann")
        join_room("b")
        update_meta("a", {"name": "Eve"})
        return [{**each, "sid": ""} for each in room_members("a", meta=True)]

    client = socketio.test_client(app)
    known = client.emit("move", callback=True)
    assert known == [{"sid": "", "key": "ann", "meta": {"name": "Eve"}}]
    client.disconnect()
    assert told == [
        ("join", "a"),
        ("join", "a", {"name": "Ann"}),
        ("join", "b"),
        ("join", "b", None),
        ("update", "a", {"name": "Eve"}),
        ("leave", "a", {"name": "Eve"}),
        ("leave", "b", None),
    ]


def test_before_event_may_drop_or_refuse(app: flask.Flask, socketio: SocketIO) -> None:
    handled: list[Any] = []
    socketio.on("a")(lambda value: handled.append(value))
    socketio.on_error()(lambda error: f"refused: {error}")

    @socketio.before_event
    def check(event: str, arguments: tuple[Any, ...]) -> Any:
        if arguments == ("bad",):
            raise ValueError(event)
        return arguments != ("dull",)

    client = socketio.test_client(app)
    assert client.emit("a", "bad", callback=True) == "refused: a"
    client.emit("a", "dull")
    client.emit("a", "good")
    assert handled == ["good"]


def test_only_namespaces_are_namespaces(socketio: SocketIO) -> None:
    with pytest.raises(ValueError, match="Not a namespace instance"):
        socketio.on_namespace(Namespace)  # type: ignore[arg-type]


def test_on_without_its_parentheses_is_refused(socketio: SocketIO) -> None:
    """It would register nothing, in silence."""

    def buy() -> None: ...

    for on in (socketio.on, socketio.server.on, Server().on):
        with pytest.raises(TypeError, match=r"name the event: @on\('buy'\) instead of @on, or @event"):
            on(buy)
