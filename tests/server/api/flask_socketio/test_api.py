"""SocketIO's words: registration, look-up, refusals, errors, rooms, sending; through the test client.

It must not know the hub: what a handler sees and what a client receives is all there is.
"""

import time
from collections.abc import Callable
from typing import Any

import flask
import pytest

import python_server
from heard_events import names
from python_server import (
    ConnectionRefusedError,
    Namespace,
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


def test_the_public_names_exist() -> None:
    for name in python_server.__all__:
        assert getattr(python_server, name) is not None


def test_a_factory_may_be_called_again() -> None:
    socketio = SocketIO()
    socketio.on_event("who", lambda: flask.current_app.name)

    def create_app(name: str) -> flask.Flask:
        app = flask.Flask(name)
        socketio.init_app(app)
        return app

    first = create_app("first")
    old = socketio.test_client(first)
    second = create_app("second")
    new = socketio.test_client(second)
    assert new.emit("who", callback=True) == "second"
    socketio.emit("hello")
    assert names(new) == ["hello"]
    assert names(old) == []


# Rooms


def test_rooms_are_joined_left_and_closed(app: flask.Flask, socketio: SocketIO) -> None:
    @socketio.on("enter")
    def enter(room: str) -> list[str]:
        join_room(room)
        return [name for name in rooms() if name != flask.request.sid]  # type: ignore[attr-defined]

    @socketio.on("leave")
    def leave(room: str) -> int:
        leave_room(room)
        return len(room_members(room))

    socketio.on("close")(close_room)
    first, second = socketio.test_client(app), socketio.test_client(app)
    assert first.emit("enter", "a", callback=True) == ["a"]
    second.emit("enter", "a")
    assert len(socketio.room_members("a")) == 2
    assert first.emit("leave", "a", callback=True) == 1
    first.emit("enter", "b")
    second.emit("close", "b")
    assert socketio.room_members("b") == []
    assert len(socketio.room_members()) == 2


def test_a_stranger_or_anothers_own_room_is_refused(app: flask.Flask, socketio: SocketIO) -> None:
    @socketio.on("enter")
    def enter(room: str, sid: str | None = None) -> str:
        try:
            join_room(room, sid=sid)
        except ValueError as error:
            return str(error)
        return "entered"

    first, _ = socketio.test_client(app), socketio.test_client(app)
    here, there = socketio.room_members()
    mine = first.emit("enter", "a", here, callback=True)
    assert mine == "entered"
    assert first.emit("enter", "a", "nobody", callback=True) == "sid is not connected to requested namespace"
    answers = {first.emit("enter", sid, callback=True) for sid in (here, there)}
    assert answers == {"entered", "cannot enter a sid room"}
    with pytest.raises(ValueError, match="cannot close a sid room"):
        socketio.close_room(there)


# Sending


def test_whom_emit_reaches(app: flask.Flask, socketio: SocketIO) -> None:
    @socketio.on("say")
    def say(options: dict[str, Any]) -> None:
        emit("said", **options)

    @socketio.on("sid")
    def sid() -> str:
        return str(flask.request.sid)  # type: ignore[attr-defined]

    first, second = socketio.test_client(app), socketio.test_client(app)
    their = second.emit("sid", callback=True)
    socketio.server.enter_room(their, "quiet")
    for options, expected in [
        ({}, (1, 0)),
        ({"broadcast": True}, (1, 1)),
        ({"broadcast": True, "include_self": False}, (0, 1)),
        ({"broadcast": True, "skip_sid": their}, (1, 0)),
        ({"broadcast": True, "skip_sid": [their]}, (1, 0)),
        ({"broadcast": True, "except_rooms": "quiet"}, (1, 0)),
        ({"broadcast": True, "volatile": True}, (1, 1)),
        ({"to": their}, (0, 1)),
        ({"room": [their, "nowhere"]}, (0, 1)),
        ({"to": []}, (0, 0)),
        ({"to": ""}, (0, 0)),
        ({"room": 0}, (0, 0)),
    ]:
        first.emit("say", options)
        assert (len(names(first)), len(names(second))) == expected, options


@pytest.mark.parametrize(
    ("given", "received"),
    [((), []), ((None,), []), ((1,), [1]), (((1, 2),), [1, 2]), (([1, 2],), [[1, 2]]), ((1, 2), [1, 2])],
)
def test_how_data_becomes_arguments(
    app: flask.Flask, socketio: SocketIO, given: tuple[Any, ...], received: list[Any]
) -> None:
    client = socketio.test_client(app)
    socketio.emit("e", *given)
    assert client.get_received()[0]["args"] == received


def test_call_asks_for_no_event_where_all_is_said(app: flask.Flask, socketio: SocketIO) -> None:
    socketio.test_client(app)
    with app.app_context(), pytest.raises(RuntimeError, match="would wait on the server's own thread"):
        call("e", namespace="/", to="nobody")  # it is asked, by the thread that it could not answer


def test_an_unknown_option_of_emit_raises(socketio: SocketIO) -> None:
    with pytest.raises(TypeError, match="emit has no option 'romm'"):
        socketio.emit("e", romm="a")


def test_data_that_is_not_json_raises_at_the_call(socketio: SocketIO) -> None:
    with pytest.raises(TypeError):
        socketio.emit("e", object())


@pytest.mark.parametrize(
    "function",
    [
        lambda: emit("e"),
        lambda: send("text"),
        lambda: call("e"),
        lambda: join_room("a"),
        lambda: leave_room("a"),
        lambda: rooms(),
        lambda: close_room("a"),
        lambda: disconnect(),
    ],
)
def test_without_a_client_the_functions_say_what_to_do(
    app: flask.Flask, socketio: SocketIO, function: Callable[[], Any]
) -> None:
    with app.test_request_context(), pytest.raises(RuntimeError, match="needs a current client"):
        function()


def test_call_without_an_addressee_and_without_a_server(app: flask.Flask, socketio: SocketIO) -> None:
    with pytest.raises(ValueError, match=r"Cannot use call\(\) to broadcast"):
        socketio.call("e")
    with pytest.raises(RuntimeError, match="no server runs yet"):
        socketio.call("e", to="somebody")


def test_disconnect_with_a_reason(app: flask.Flask, socketio: SocketIO) -> None:
    reasons: list[str] = []
    socketio.on("disconnect")(lambda reason: reasons.append(reason))
    socketio.on("leave")(lambda: disconnect(reason="you asked for it"))
    client = socketio.test_client(app)
    client.emit("leave")
    assert not client.is_connected()
    assert client.queue == [
        {
            "name": "closing",
            "args": [{"reason": "server namespace disconnect", "detail": "you asked for it"}],
            "namespace": "/",
        }
    ]
    assert reasons == ["server disconnect"]


def test_a_moment_that_has_passed_refuses_the_client_that_names_it(
    app: flask.Flask, socketio: SocketIO
) -> None:
    faults: list[Exception] = []

    @socketio.on("connect")
    def connect(auth: Any) -> None:
        try:
            socketio.expire(flask.request.sid, auth["exp"])  # type: ignore[attr-defined]
        except (TypeError, ValueError) as error:
            faults.append(error)
            raise ConnectionRefusedError(str(error)) from error

    for moment, is_connected in ((time.time() + 60, True), (1.0, False), ("1", False)):
        assert socketio.test_client(app, auth={"exp": moment}).is_connected() is is_connected
    assert [type(fault) for fault in faults] == [ValueError, TypeError]


# Class namespaces and the server's words


def test_the_servers_words(app: flask.Flask, socketio: SocketIO) -> None:
    server = socketio.server
    heard: list[Any] = []

    @server.on("raw")
    def raw(sid: str, value: int) -> int:
        heard.append(sid)
        return value * 2

    client = socketio.test_client(app, headers={"X-One": "1"})
    (sid,) = socketio.room_members()
    assert client.emit("raw", 4, callback=True) == 8
    assert heard == [sid]
    server.enter_room(sid, "a")
    assert set(server.rooms(sid)) == {sid, "a"}
    assert server.manager.get_participants("/", "a") == [(sid, client.eio_sid)]
    assert server.manager.is_connected(sid, "/")
    assert server.manager.sid_from_eio_sid(client.eio_sid, "/") == sid
    assert server.environ[client.eio_sid]["HTTP_X_ONE"] == "1"
    assert server.get_environ(sid) is server.environ[client.eio_sid]
    assert server.get_environ("nobody") is None
    with server.session(sid) as session:
        session["name"] = "ann"
    assert server.get_session(sid) == {"name": "ann"}
    server.emit("direct", {"a": 1}, to="a")
    server.leave_room(sid, "a")
    server.emit("missed", to="a")
    assert names(client) == ["direct"]
    with pytest.raises(KeyError, match="no client 'nobody'"):
        server.transport("nobody")
    server.disconnect(sid)
    assert not client.is_connected()


# Background tasks


def test_a_task_waits_for_the_server(app: flask.Flask, socketio: SocketIO) -> None:
    ran: list[int] = []
    task = socketio.start_background_task(ran.append, 1)
    with pytest.raises(RuntimeError, match="starts when the server does"):
        task.join()
    assert ran == []
    socketio.test_client(app)
    task.join()
    assert ran == [1]


def test_emits_before_the_server_are_kept_in_order(app: flask.Flask, socketio: SocketIO) -> None:
    socketio.emit("nobody hears it")
    client = socketio.test_client(app)
    socketio.emit("heard")
    assert names(client) == ["heard"]


def test_stop_without_a_server(socketio: SocketIO) -> None:
    with pytest.raises(RuntimeError, match="no server runs"):
        socketio.stop()


def test_a_factory_that_is_called_again_keeps_class_namespaces_and_flasks_json() -> None:
    socketio = SocketIO(json=flask.json)

    class Shop(Namespace):
        def on_who(self) -> None:
            self.emit("you", flask.current_app.name)

    socketio.on_namespace(Shop("/shop"))
    for name in ("first", "second"):
        app = flask.Flask(name)
        socketio.init_app(app)
        client = socketio.test_client(app, namespace="/shop")
        client.emit("who", namespace="/shop")
        assert [item["args"] for item in client.get_received("/shop")] == [[name]]


def test_a_message_is_the_event_message_or_json(app: flask.Flask, socketio: SocketIO) -> None:
    client = socketio.test_client(app)
    socketio.send("text")
    socketio.send({"a": 1}, json=True)
    assert names(client) == ["message", "json"]


def test_a_callback_outside_of_an_event_runs_in_the_clients_context(
    app: flask.Flask, socketio: SocketIO
) -> None:
    heard: list[Any] = []
    client = socketio.test_client(app)
    (sid,) = socketio.room_members()
    socketio.emit("question", to=sid, callback=lambda *values: heard.append((flask.request.sid, values)))  # type: ignore[attr-defined]
    client._server.sessions.on_message(client._session, "31[7]")
    assert heard == [(sid, (7,))]
