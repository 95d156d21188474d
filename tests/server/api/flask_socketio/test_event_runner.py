"""What a handler is called with, may answer, and how it refuses; through the test client.

It must not know the hub.
"""

import builtins
import functools
from collections.abc import Callable
from typing import Any

import flask
import pytest

from python_server import (
    ConnectionRefusedError,
    Namespace,
    SocketIO,
    emit,
    rooms,
)


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


def test_a_type_error_in_a_handler_does_not_call_it_twice(
    app: flask.Flask, socketio: SocketIO, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Any] = []

    @socketio.on("connect")
    def connect(auth: Any = None) -> None:
        calls.append(auth)
        raise TypeError("inside")

    with pytest.raises(TypeError, match="inside"):
        socketio.test_client(app, auth={"a": 1})
    assert calls == [{"a": 1}]
    assert "connect handler connect raised TypeError when it was given the client's auth" in caplog.text


@pytest.mark.parametrize("event", ["connect", "other"])
def test_a_type_error_that_no_second_call_would_help_is_not_told(
    app: flask.Flask, socketio: SocketIO, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    def needs_auth(auth: Any) -> None:
        raise TypeError("inside")

    def other(value: Any = None) -> None:
        raise TypeError("inside")

    socketio.on_event(event, needs_auth if event == "connect" else other)
    with pytest.raises(TypeError, match="inside"):
        socketio.test_client(app, auth={"a": 1}).emit("other", 1)
    assert "would call it again" not in caplog.text


def test_a_decorator_that_keeps_the_signature_gets_no_auth_for_a_handler_that_takes_none(
    app: flask.Flask, socketio: SocketIO, caplog: pytest.LogCaptureFixture
) -> None:
    def connect() -> None: ...

    @functools.wraps(connect)
    def kept(*args: Any) -> None:
        connect(*args)

    def logged(*args: Any) -> None:
        connect(*args)

    socketio.on_event("connect", kept)
    assert socketio.test_client(app, auth={"a": 1}).is_connected()
    socketio.on_event("connect", logged)
    with pytest.raises(TypeError, match="takes 0 positional arguments"):
        socketio.test_client(app, auth={"a": 1})
    assert "connect handler logged raised TypeError" in caplog.text


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
    with pytest.raises(TypeError, match="inline=True needs a plain function"):
        socketio.on("other", inline=True)(later)


class Shop(Namespace):
    def on_connect(self, auth: Any) -> None:
        if auth == "refuse":
            raise ConnectionRefusedError("closed")

    def on_disconnect(self) -> None:
        told.append("left")

    async def on_later(self, value: int) -> int:
        return value + 1

    def on_fail(self) -> None:
        raise LookupError("nothing")


class Polite(Shop):
    def error(self, exc: Exception) -> str:
        return f"sorry: {exc}"


told: list[Any] = []


def test_a_class_namespaces_methods_are_handlers(app: flask.Flask, socketio: SocketIO) -> None:
    told.clear()
    socketio.on_namespace(Polite("/shop"))
    assert not socketio.test_client(app, namespace="/shop", auth="refuse").is_connected("/shop")
    client = socketio.test_client(app, namespace="/shop")
    assert client.emit("later", 1, callback=True, namespace="/shop") == 2
    assert client.emit("fail", callback=True, namespace="/shop") == "sorry: nothing"
    client.disconnect("/shop")
    assert told == ["left"]


def test_without_an_error_handler_the_fault_is_the_programs(app: flask.Flask, socketio: SocketIO) -> None:
    socketio.on_namespace(Shop("/shop"))
    client = socketio.test_client(app, namespace="/shop")
    with pytest.raises(LookupError, match="nothing"):
        client.emit("fail", namespace="/shop")


def test_a_refused_connection_of_the_standard_library_is_a_refusal_when_connecting_alone(
    app: flask.Flask, socketio: SocketIO
) -> None:
    def refuse(*args: Any) -> None:
        raise builtins.ConnectionRefusedError("the database says no")

    socketio.on_error_default(lambda error: f"error: {error}")
    socketio.on("connect", namespace="/other")(refuse)
    socketio.on("ask")(refuse)
    client = socketio.test_client(app)
    assert client.emit("ask", callback=True) == "error: the database says no"
    client.connect("/other")
    assert not client.is_connected("/other")


@pytest.mark.parametrize(
    ("event", "function", "options", "words"),
    [
        ("e", 7, {}, "a handler is a function, not int"),
        ("connect", lambda: None, {"inline": True}, "connect is always a client's own turn"),
        ("disconnect", lambda: None, {"ordered": False}, "disconnect is always a client's own turn"),
        ("disconnect", lambda a, b: None, {}, "may take"),
    ],
)
def test_what_is_no_handler(socketio: SocketIO, event: str, function: Any, options: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        socketio.on(event, **options)(function)


def test_what_stands_before_events_sees_the_names_that_a_catch_all_gets(
    app: flask.Flask, socketio: SocketIO
) -> None:
    seen: list[Any] = []
    handled: list[Any] = []
    socketio.before_event(lambda event, arguments: seen.append((event, arguments)))
    socketio.on("*")(lambda *arguments: handled.append(arguments))
    client = socketio.test_client(app)
    client.emit("any", 1)
    assert seen == [("any", (1,))]
    assert handled == [("any", 1)]


def test_a_disconnect_handler_takes_the_reason_or_nothing(app: flask.Flask, socketio: SocketIO) -> None:
    told.clear()
    socketio.on("disconnect")(lambda: told.append("nothing"))
    socketio.on("disconnect", namespace="/other")(told.append)
    client = socketio.test_client(app)
    client.connect("/other")
    client.disconnect("/other")
    client.disconnect()
    assert told == ["client disconnect", "nothing"]
