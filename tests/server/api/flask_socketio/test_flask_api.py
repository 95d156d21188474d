"""SocketIO's words: registration, look-up, refusals, errors, rooms, sending; through the test client.

It must not know the hub: what a handler sees and what a client receives is all there is.
"""

from collections.abc import Callable
from typing import Any

import flask
import pytest

import python_server
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

Client = Any


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> flask.Flask:
    monkeypatch.delenv("FLASK_RUN_FROM_CLI", raising=False)  # what loading an application leaves behind
    app = flask.Flask(__name__)
    app.secret_key = "a key for tests"
    return app


@pytest.fixture
def socketio(app: flask.Flask) -> SocketIO:
    return SocketIO(app, namespaces=["/", "/other"])


def names(client: Client, namespace: str | None = None) -> list[str]:
    return [item["name"] for item in client.get_received(namespace)]


def test_the_public_names_exist() -> None:
    for name in python_server.__all__:
        assert getattr(python_server, name) is not None


def test_handlers_registered_before_the_application_are_kept(app: flask.Flask) -> None:
    socketio = SocketIO()
    socketio.on_event("early", lambda: "kept")
    socketio.init_app(app, path="/ws")
    assert app.extensions["socketio"] is socketio
    assert socketio.test_client(app).emit("early", callback=True) == "kept"


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


# Look-up


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


def test_an_unknown_namespace_is_refused(app: flask.Flask, socketio: SocketIO) -> None:
    assert not socketio.test_client(app, namespace="/nowhere").is_connected("/nowhere")


def test_the_request_of_an_event(app: flask.Flask, socketio: SocketIO) -> None:
    seen: list[Any] = []

    def look(*args: Any) -> None:
        request: Any = flask.request
        seen.append((request.namespace, request.event, request.method, request.path))
        assert request.sid in rooms()

    socketio.on("look")(look)
    socketio.on("*", namespace="/other")(look)
    client = socketio.test_client(app)
    client.connect("/other")
    client.emit("look", 1, 2)
    client.emit("peek", 3, namespace="/other")
    assert seen == [
        ("/", {"message": "look", "args": (1, 2)}, "GET", "/socket.io"),
        ("/other", {"message": "*", "args": ("peek", 3)}, "GET", "/socket.io"),
    ]


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


# Signatures and refusals


@pytest.mark.parametrize(
    "handler", [lambda: None, lambda auth: None, lambda *args: None, lambda auth=None: None]
)
def test_connect_handlers_take_auth_or_nothing(
    app: flask.Flask, socketio: SocketIO, handler: Callable[..., Any]
) -> None:
    socketio.on("connect")(handler)
    assert socketio.test_client(app, auth={"a": 1}).is_connected()


def test_a_connect_handler_of_two_arguments_is_refused_at_once(socketio: SocketIO) -> None:
    with pytest.raises(TypeError, match="may take auth, or nothing"):
        socketio.on("connect")(lambda sid, environ: None)


def test_a_type_error_in_a_handler_does_not_call_it_twice(app: flask.Flask, socketio: SocketIO) -> None:
    calls: list[Any] = []

    @socketio.on("connect")
    def connect(auth: Any = None) -> None:
        calls.append(auth)
        raise TypeError("inside")

    with pytest.raises(TypeError, match="inside"):
        socketio.test_client(app, auth={"a": 1})
    assert calls == [{"a": 1}]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(), {"message": "Connection rejected by server"}),
        (ConnectionRefusedError("no"), {"message": "no"}),
        (ConnectionRefusedError("no", 1), {"message": "no", "data": 1}),
        (ConnectionRefusedError("no", 1, 2), {"message": "no", "data": [1, 2]}),
    ],
)
def test_what_a_refusal_says(error: ConnectionRefusedError, expected: dict[str, Any]) -> None:
    assert error.error_args == expected


def test_a_refusal_never_reaches_on_error(app: flask.Flask, socketio: SocketIO) -> None:
    heard: list[Any] = []
    socketio.on_error_default(heard.append)

    @socketio.on("connect")
    def connect() -> None:
        raise ConnectionRefusedError("unauthorized")

    assert not socketio.test_client(app).is_connected()
    assert heard == []


# Errors


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


def test_acks_call_back_in_a_context_of_the_emitter(app: flask.Flask, socketio: SocketIO) -> None:
    heard: list[Any] = []

    @socketio.on("ask")
    def ask() -> None:
        def answered(*values: Any) -> None:
            heard.append((flask.request.sid == asker, values))  # type: ignore[attr-defined]

        asker = flask.request.sid  # type: ignore[attr-defined]
        emit("question", callback=answered)

    client = socketio.test_client(app)
    client.emit("ask")
    client._server.sessions.on_message(client._session, "31[7,8]")
    assert heard == [(True, (7, 8))]


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


# What Flask-SocketIO has not


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


def test_a_rate_is_kept_or_the_client_leaves(app: flask.Flask, socketio: SocketIO) -> None:
    reasons: list[str] = []
    handled: list[int] = []
    socketio.on("disconnect")(lambda reason: reasons.append(reason))
    # The test client's clock goes one second on with each event.
    socketio.on("slow", rate_limit=(2, 4.0))(lambda number: handled.append(number))
    client = socketio.test_client(app)
    for number in range(10):
        if client.is_connected():
            client.emit("slow", number)
    assert reasons == ["rate limited"]
    assert handled == [0, 1, 2]
    closing = client.queue[-1]
    assert (closing["name"], closing["args"]) == (
        "closing",
        [{"reason": "rate limited", "detail": "more than 2 in 4 s"}],
    )


@pytest.mark.parametrize("rate", ["", "fast", "0/s", "5/", (1,), 7])
def test_a_rate_that_is_none_is_refused(socketio: SocketIO, rate: Any) -> None:
    with pytest.raises(ValueError, match="rate_limit is a text like"):
        socketio.on("e", rate_limit=rate)


def test_coroutine_handlers_run_in_the_same_context(app: flask.Flask, socketio: SocketIO) -> None:
    @socketio.on("later")
    async def later(value: int) -> int:
        emit("heard", value)
        flask.g.value = value
        return int(flask.g.value) + 1

    client = socketio.test_client(app)
    assert client.emit("later", 1, callback=True) == 2
    assert client.get_received()[0]["args"] == [1]
    with pytest.raises(TypeError, match="inline=True is for plain functions"):
        socketio.on("other", inline=True)(later)


# Class namespaces and the server's words


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


def test_only_namespaces_are_namespaces(socketio: SocketIO) -> None:
    with pytest.raises(ValueError, match="Not a namespace instance"):
        socketio.on_namespace(Namespace)  # type: ignore[arg-type]


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


def test_run_refuses_what_it_does_not_know(app: flask.Flask, socketio: SocketIO) -> None:
    with pytest.raises(TypeError, match=r"run\(\) has no option 'prot'"):
        socketio.run(app, prot=1)


def test_run_does_nothing_under_a_command_line(
    app: flask.Flask, socketio: SocketIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    socketio.run(app, port=1)  # would fail to listen, if it tried


def test_run_takes_the_peers_keywords_and_no_others(app: flask.Flask, socketio: SocketIO) -> None:
    with pytest.raises(ValueError, match="ssl_context is a pair"):
        socketio.run(app, allow_unsafe_werkzeug=True, log_output=True, ssl_context="adhoc")


@pytest.mark.parametrize("count", [0, -1, None, "3", 2.5, True])
def test_run_refuses_what_is_no_number_of_workers(app: flask.Flask, socketio: SocketIO, count: Any) -> None:
    with pytest.raises(ValueError, match=r"run\(workers=.*\): it is a number of processes, 1 or more"):
        socketio.run(app, workers=count)
