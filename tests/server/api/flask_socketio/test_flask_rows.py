"""The same program on both packages, row by row of the face: what it sees must be the same.

It must not know either package's insides: names, answers, errors and attributes that programs use.
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import flask
import pytest

from python_server.api.keywords import SocketIOKeywords, names_of
from python_server.api.options import ASYNC_MODES, read_server_options
from python_server.engineio.cors import OriginRules
from python_server.socketio.cluster.broker.url import FLASK_CHANNEL

PACKAGES = ["python_server", "flask_socketio"]


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("FLASK_RUN_FROM_CLI", raising=False)
    return pytest.importorskip(request.param)


@pytest.fixture
def app() -> flask.Flask:
    app = flask.Flask(__name__)
    app.secret_key = "a key for tests"
    return app


def make(package: Any, app: flask.Flask | None = None, **options: Any) -> Any:
    return package.SocketIO(app, **{"async_mode": "threading", **options})


def test_r31_an_application_given_at_once_or_later(package: Any, app: flask.Flask) -> None:
    at_once = make(package, app)
    assert app.extensions["socketio"] is at_once
    later = make(package, None, path="/later")
    later.on_event("early", lambda: "kept")
    second = flask.Flask("second")
    later.init_app(second)
    assert second.extensions["socketio"] is later
    assert later.test_client(second).emit("early", callback=True) == "kept"


@pytest.mark.parametrize("option", ["path", "resource"])
def test_r32_init_app_swaps_the_applications_wsgi_app(package: Any, app: flask.Flask, option: str) -> None:
    plain = app.wsgi_app
    socketio = make(package)
    socketio.init_app(app, manage_session=False, **{option: "/ws"})
    assert app.wsgi_app is socketio.sockio_mw
    assert app.wsgi_app != plain
    assert socketio.manage_session is False
    assert socketio.async_mode == "threading"
    app.add_url_rule("/page", "page", lambda: "still served")
    assert app.test_client().get("/page").text == "still served"


def test_r33_r34_the_options_and_defaults_of_the_peers() -> None:
    """Read from the installed python-socketio and python-engineio, not from a list."""
    ours = read_server_options("SocketIO", SocketIOKeywords, {}, FLASK_CHANNEL)
    values = {
        "ping_interval": ours.engine.ping_interval_seconds,
        "ping_timeout": ours.engine.ping_timeout_seconds,
        "max_http_buffer_size": ours.engine.max_payload_bytes,
        "allow_upgrades": ours.engine.allow_upgrades,
        "http_compression": ours.engine.http_compression,
        "compression_threshold": ours.engine.compression_threshold_bytes,
        "cookie": ours.engine.cookie,
        "cors_allowed_origins": ours.engine.cors_allowed_origins,
        "cors_credentials": OriginRules(
            ours.engine.cors_allowed_origins, ours.engine.cors_credentials
        ).credentials,
        "always_connect": ours.configuration.always_connect,
    }
    checked = set()
    for library in ("engineio", "socketio"):
        server = importlib.import_module(library).base_server.BaseServer
        for name, parameter in inspect.signature(server.__init__).parameters.items():
            if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD or name == "self":
                continue
            assert name in names_of(SocketIOKeywords), f"{library}.Server takes {name}"
            if name in values:
                checked.add(name)
                assert values[name] == parameter.default, name
    assert checked == set(values)
    assert ours.engine.transports == ("polling", "websocket")
    assert ours.namespaces is None


def test_r35_r51_the_mode(package: Any) -> None:
    """Ours is deterministic: threads, whatever is installed; an unknown mode raises on both."""
    with pytest.raises(ValueError, match="Invalid async_mode"):
        package.SocketIO(flask.Flask(__name__), async_mode="unheard of")
    if package.__name__ == "python_server":
        for mode in ASYNC_MODES:
            assert package.SocketIO(flask.Flask(__name__), async_mode=mode).async_mode == "threading"


def test_r52_the_environ_is_a_dict_that_can_be_kept(package: Any, app: flask.Flask) -> None:
    socketio = make(package, app)
    kept: list[Any] = []
    socketio.on_event("look", lambda: kept.append(flask.request.environ))
    client = socketio.test_client(app, headers={"X-One": "1"}, query_string="?a=1")
    client.emit("look")
    client.emit("look")
    first, second = kept
    assert type(first) is dict
    assert {**first}["flask.app"] is app
    assert (first["HTTP_X_ONE"], second["QUERY_STRING"]) == ("1", "a=1")


def registered(package: Any, socketio: Any) -> None:
    @socketio.on("on")
    @socketio.on("on again", namespace="/far")
    def on(value: int) -> int:
        return value + 1

    @socketio.event
    def event(value: int) -> int:
        return value + 2

    @socketio.event(namespace="/far")
    def far_event(value: int) -> int:
        return value + 3

    @socketio.on("*")
    def star(name: str, value: int) -> list[Any]:
        return ["star", name, value]

    class Shop(package.Namespace):  # type: ignore[misc, name-defined]
        def on_buy(self, what: str) -> list[Any]:
            return [what, self.namespace]

    assert on(1) == 2
    assert event(1) == 3
    socketio.on_event("on_event", lambda value: value + 4, namespace="/far")
    socketio.on_namespace(Shop("/shop"))


@pytest.mark.parametrize("early", [True, False], ids=["before init_app", "after"])
def test_r53_every_way_to_register(package: Any, app: flask.Flask, early: bool) -> None:
    socketio = make(package)
    if early:
        registered(package, socketio)
        socketio.init_app(app)
    else:
        socketio.init_app(app)
        registered(package, socketio)
    client = socketio.test_client(app)
    for namespace in ("/far", "/shop"):
        client.connect(namespace)
    ask: Callable[..., Any] = lambda *event, namespace="/": client.emit(  # noqa: E731
        *event, callback=True, namespace=namespace
    )
    assert ask("on", 1) == 2
    assert ask("on again", 1, namespace="/far") == 2
    assert ask("event", 1) == 3
    assert ask("far_event", 1, namespace="/far") == 4
    assert ask("on_event", 1, namespace="/far") == 5
    assert ask("anything", 1) == ["star", "anything", 1]
    assert ask("buy", "tea", namespace="/shop") == ["tea", "/shop"]


def test_r53_error_handlers(package: Any, app: flask.Flask) -> None:
    socketio = make(package, app)
    seen: list[Any] = []

    @socketio.on_error("/far")
    def far(error: Exception) -> str:
        seen.append(flask.request.event["message"])  # type: ignore[attr-defined]
        return f"far: {error}"

    @socketio.on_error_default
    def default(error: Exception) -> str:
        return f"default: {error}"

    socketio.on_event("fail", lambda: {}["a"])
    socketio.on_event("fail", lambda: {}["a"], namespace="/far")
    client = socketio.test_client(app)
    client.connect("/far")
    assert client.emit("fail", callback=True) == "default: 'a'"
    assert client.emit("fail", callback=True, namespace="/far") == "far: 'a'"
    assert seen == ["fail"]
    assert set(socketio.exception_handlers) == {"/far"}
    assert socketio.default_exception_handler is default
    for register in (socketio.on_error(), socketio.on_error_default):
        with pytest.raises(ValueError, match="exception_handler must be callable"):
            register("not a function")
    with pytest.raises(ValueError, match=r"Not a namespace instance\."):
        socketio.on_namespace("nor this")


def test_r56_a_handler_runs_in_a_context_of_the_handshake(package: Any, app: flask.Flask) -> None:
    socketio = make(package, app)
    seen: list[Any] = []
    torn: list[str] = []
    app.teardown_request(lambda error: torn.append("request"))
    app.teardown_appcontext(lambda error: torn.append("app"))

    @socketio.on("connect")
    def connect(auth: Any) -> None:
        flask.session["name"] = auth["name"]

    @socketio.on("look")
    def look(*args: Any) -> Any:
        request: Any = flask.request
        fresh = not hasattr(flask.g, "mark")
        flask.g.mark = True
        seen.append((request.namespace, request.event, request.args["a"], request.headers["X-One"]))
        return [fresh, flask.session["name"], flask.current_app.name, request.sid in package.rooms()]

    @socketio.on("disconnect")
    def disconnect(reason: str) -> None:
        seen.append((reason, flask.request.event["message"], flask.session["name"]))  # type: ignore[attr-defined]

    client = socketio.test_client(app, headers={"X-One": "1"}, query_string="?a=1", auth={"name": "ann"})
    torn.clear()
    for _ in range(2):
        assert client.emit("look", 1, [2], callback=True) == [True, "ann", app.name, True]
    assert torn == ["request", "app"] * 2
    client.disconnect()
    assert seen[0] == ("/", {"message": "look", "args": (1, [2])}, "1", "1")
    assert seen[-1] == ("client disconnect", "disconnect", "ann")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), {"message": "Connection rejected by server"}),
        (("no",), {"message": "no"}),
        (("no", 1), {"message": "no", "data": 1}),
        (("no", 1, 2), {"message": "no", "data": [1, 2]}),
    ],
)
def test_r56_refusals(package: Any, app: flask.Flask, arguments: tuple[Any, ...], error: Any) -> None:
    socketio = make(package, app)

    @socketio.on("connect")
    def connect() -> None:
        raise package.ConnectionRefusedError(*arguments)

    assert not socketio.test_client(app).is_connected()
    plain = dict(package.ConnectionRefusedError(*arguments).error_args) if arguments else error
    assert {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()} == error


def test_r56_emits_of_a_handler(package: Any, app: flask.Flask) -> None:
    socketio = make(package, app)

    @socketio.on("spread")
    def spread() -> None:
        package.emit("me", 1)
        package.emit("all", (1, [2]), broadcast=True)
        package.emit("others", {"a": b"\x00"}, broadcast=True, include_self=False)
        package.join_room("red")
        package.emit("room", to="red")
        package.leave_room("red")
        package.emit("left", to="red")
        package.send("text")
        package.send({"a": 1}, json=True)

    first, second = socketio.test_client(app), socketio.test_client(app)
    first.emit("spread")
    assert [(item["name"], item["args"]) for item in first.get_received()] == [
        ("me", [1]),
        ("all", [1, [2]]),
        ("room", []),
        ("message", "text"),
        ("json", {"a": 1}),
    ]
    assert [(item["name"], item["args"]) for item in second.get_received()] == [
        ("all", [1, [2]]),
        ("others", [{"a": b"\x00"}]),
    ]


def test_the_attributes_that_programs_use(package: Any, app: flask.Flask) -> None:
    socketio = make(package, app)
    for name in ("server", "server_options", "handlers", "namespace_handlers", "manage_session", "reason"):
        assert hasattr(socketio, name), name
    for name in (
        "enter_room",
        "rooms",
        "save_session",
        "session",
        "get_environ",
        "transport",
        "emit",
        "call",
    ):
        assert callable(getattr(socketio.server, name)), name
    assert callable(socketio.server.manager.get_participants)
    reasons = [name for name in vars(socketio.reason) if name.isupper()]
    assert {name: getattr(socketio.reason, name) for name in reasons} == {
        "CLIENT_DISCONNECT": "client disconnect",
        "SERVER_DISCONNECT": "server disconnect",
        "PING_TIMEOUT": "ping timeout",
        "TRANSPORT_CLOSE": "transport close",
        "TRANSPORT_ERROR": "transport error",
    }
