"""SocketIOTestClient: events of an application, run on the real hub without a network.

It must not know the hub: an application in Flask-SocketIO's words is all there is.
"""

from typing import Any

import flask
import pytest

from python_server import ConnectionRefusedError, Namespace, SocketIO, emit, join_room, send


@pytest.fixture
def app() -> flask.Flask:
    app = flask.Flask(__name__)
    app.secret_key = "a key for tests"
    return app


@pytest.fixture
def socketio(app: flask.Flask) -> SocketIO:
    return SocketIO(app)


def test_an_event_is_answered_and_received(app: flask.Flask, socketio: SocketIO) -> None:
    @socketio.on("add")
    def add(left: int, right: int) -> int:
        emit("sum", {"value": left + right})
        return left + right

    client = socketio.test_client(app)
    assert client.is_connected()
    assert client.emit("add", 2, 3, callback=True) == 5
    assert client.get_received() == [{"name": "sum", "args": [{"value": 5}], "namespace": "/"}]
    assert client.get_received() == []


def test_without_an_application_nothing_is_tested(app: flask.Flask) -> None:
    socketio = SocketIO()
    with pytest.raises(RuntimeError, match=r"needs an application: call init_app\(app\) first"):
        socketio.test_client(app)
    socketio.init_app(app)
    assert socketio.test_client(app).is_connected()


def test_a_call_names_the_test_client_as_its_reason(app: flask.Flask, socketio: SocketIO) -> None:
    @socketio.on("ask")
    def ask(data: Any) -> None:
        socketio.call("question", to=flask.request.sid)  # type: ignore[attr-defined]

    with pytest.raises(RuntimeError, match="of a test client every handler runs there"):
        socketio.test_client(app).emit("ask", 1)


def test_message_and_json_are_bare(app: flask.Flask, socketio: SocketIO) -> None:
    socketio.on("message")(lambda text: send(text.upper()))
    socketio.on("json")(lambda data: send(data, json=True))
    client = socketio.test_client(app)
    client.send("hello")
    client.send({"a": [1]}, json=True)
    assert client.get_received() == [
        {"name": "message", "args": "HELLO", "namespace": "/"},
        {"name": "json", "args": {"a": [1]}, "namespace": "/"},
    ]


def test_binary_travels_as_bytes(app: flask.Flask, socketio: SocketIO) -> None:
    socketio.on("blob")(lambda data: emit("blob", data))
    client = socketio.test_client(app)
    client.emit("blob", {"raw": b"\x00\x01"})
    assert client.get_received()[0]["args"] == [{"raw": b"\x00\x01"}]


def test_acks_of_none_one_and_many(app: flask.Flask, socketio: SocketIO) -> None:
    answers: list[Any] = [None, "one", ("two", 2)]
    socketio.on("next")(lambda: answers.pop(0))
    client = socketio.test_client(app)
    assert client.emit("next", callback=True) == []
    assert client.emit("next", callback=True) == "one"
    assert client.emit("next", callback=True) == ["two", 2]


@pytest.mark.parametrize("serializer", ["default", "msgpack"])
def test_a_refused_client_is_told_why(
    app: flask.Flask, serializer: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It was cut off for a bad packet, the server's own refusal, and the log said so."""
    socketio = SocketIO(app, serializer=serializer)

    @socketio.on("connect", namespace="/shop")
    def connect(auth: Any) -> None:
        raise ConnectionRefusedError("closed", {"until": 8})

    client = socketio.test_client(app)
    assert (client.is_connected(), client.connect_error) == (True, None)
    client.connect("/shop")
    assert client.connect_error == {"message": "closed", "data": {"until": 8}}
    assert (client.is_connected("/shop"), client.is_connected()) == (False, True)
    assert caplog.records == []
    socketio.on("connect")(lambda: False)
    refused = socketio.test_client(app)
    assert not refused.is_connected()
    assert refused.connect_error == {"message": "Connection rejected by server"}
    assert caplog.records == []


def test_a_refused_client_is_not_connected(app: flask.Flask, socketio: SocketIO) -> None:
    socketio.on("connect")(lambda auth: auth == {"token": "good"})
    refused = socketio.test_client(app, auth={"token": "bad"})
    assert not refused.is_connected()
    with pytest.raises(RuntimeError, match="not connected"):
        refused.emit("anything")
    assert socketio.test_client(app, auth={"token": "good"}).is_connected()


def test_a_disconnected_client_says_so(app: flask.Flask, socketio: SocketIO) -> None:
    reasons: list[str] = []
    socketio.on("disconnect")(reasons.append)
    client = socketio.test_client(app)
    client.disconnect()
    assert reasons == ["client disconnect"]
    for ask in (client.disconnect, client.get_received, lambda: client.emit("x")):
        with pytest.raises(RuntimeError, match="not connected"):
            ask()
    client.connect()
    assert client.is_connected()


def test_several_clients_and_rooms(app: flask.Flask, socketio: SocketIO) -> None:
    @socketio.on("enter")
    def enter(room: str) -> None:
        join_room(room)
        emit("news", f"somebody entered {room}", to=room, include_self=False)

    first, second, third = (socketio.test_client(app) for _ in range(3))
    first.emit("enter", "a")
    second.emit("enter", "a")
    third.emit("enter", "b")
    assert [item["args"] for item in first.get_received()] == [["somebody entered a"]]
    assert second.get_received() == third.get_received() == []
    socketio.emit("all", 1)
    assert all(client.get_received()[0]["name"] == "all" for client in (first, second, third))


def test_namespaces_are_joined_apart(app: flask.Flask, socketio: SocketIO) -> None:
    class Shop(Namespace):
        def on_buy(self, what: str) -> str:
            return f"sold {what}"

    socketio.on_namespace(Shop("/shop"))
    client = socketio.test_client(app)
    assert not client.is_connected("/shop")
    client.connect("/shop")
    assert client.emit("buy", "tea", callback=True, namespace="/shop") == "sold tea"
    client.disconnect("/shop")
    assert client.is_connected()


def test_the_handshake_carries_query_headers_and_cookies(app: flask.Flask, socketio: SocketIO) -> None:
    seen: dict[str, Any] = {}

    @app.route("/login")
    def login() -> str:
        flask.session["user"] = "ann"
        return ""

    @socketio.on("connect")
    def connect() -> None:
        seen["room"] = flask.request.args["room"]
        seen["agent"] = flask.request.headers["X-Agent"]
        seen["user"] = flask.session["user"]

    browser = app.test_client()
    browser.get("/login")
    socketio.test_client(app, query_string="?room=7", headers={"X-Agent": "tests"}, flask_test_client=browser)
    assert seen == {"room": "7", "agent": "tests", "user": "ann"}


def test_a_handlers_fault_fails_the_test_that_sent_the_event(app: flask.Flask, socketio: SocketIO) -> None:
    @socketio.on("divide")
    def divide(by: int) -> float:
        return 1 / by

    client = socketio.test_client(app)
    with pytest.raises(ZeroDivisionError):
        client.emit("divide", 0)
    assert client.emit("divide", 2, callback=True) == 0.5


def test_a_background_task_is_heard(app: flask.Flask, socketio: SocketIO) -> None:
    client = socketio.test_client(app)
    socketio.start_background_task(socketio.emit, "tick", 1).join()
    assert client.get_received()[0]["args"] == [1]
