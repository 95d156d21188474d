"""The Flask context of an event: `g`, teardown, sessions, signals; the cheap way and the public way alike.

It must not know rooms or sending: the context is all there is.
"""

from typing import Any

import flask
import pytest
from flask.signals import appcontext_popped, appcontext_pushed, appcontext_tearing_down, request_tearing_down

from python_server import SocketIO
from python_server.api.flask_socketio.context import EventContexts


@pytest.fixture
def app() -> flask.Flask:
    app = flask.Flask(__name__)
    app.secret_key = "a key for tests"
    app.add_url_rule("/page/<int:number>", "page", lambda number: str(number))
    return app


@pytest.fixture(params=[True, False], ids=["fast", "public"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Every test runs both ways: the second is the oracle of the first."""
    original = EventContexts.__init__

    def chosen(self: EventContexts, app: flask.Flask, manage_session: bool) -> None:
        original(self, app, manage_session, request.param)

    monkeypatch.setattr(EventContexts, "__init__", chosen)
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def socketio(app: flask.Flask, way: bool) -> SocketIO:
    return SocketIO(app)


def test_the_cheap_way_is_taken_where_it_is_known(app: flask.Flask) -> None:
    class Own(flask.Flask):
        def request_context(self, environ: Any) -> Any:
            return super().request_context(environ)

    assert EventContexts(app, True).fast
    assert not EventContexts(Own(__name__), True).fast


def test_g_is_fresh_and_torn_down_once_per_event(app: flask.Flask, socketio: SocketIO) -> None:
    told: list[Any] = []
    app.teardown_request(lambda error: told.append(("request", flask.g.get("value"), error)))
    app.teardown_appcontext(lambda error: told.append(("app", flask.g.get("value"), error)))

    @socketio.on("set")
    def set_value(value: int) -> bool:
        fresh = "value" not in flask.g
        flask.g.value = value
        return fresh

    client = socketio.test_client(app)
    assert client.emit("set", 1, callback=True) is True
    assert client.emit("set", 2, callback=True) is True
    assert told == [("request", 1, None), ("app", 1, None), ("request", 2, None), ("app", 2, None)]


def test_teardown_is_told_the_exception(app: flask.Flask, socketio: SocketIO) -> None:
    told: list[Any] = []
    app.teardown_request(lambda error: told.append(error))
    app.teardown_appcontext(lambda error: told.append(error))

    @socketio.on("fail")
    def fail() -> None:
        raise LookupError("broken")

    client = socketio.test_client(app)
    with pytest.raises(LookupError):
        client.emit("fail")
    assert [str(error) for error in told] == ["broken", "broken"]


def test_before_and_after_request_do_not_run(app: flask.Flask, socketio: SocketIO) -> None:
    ran: list[int] = []
    app.before_request(lambda: ran.append(1))
    app.after_request(lambda response: ran.append(2) or response)
    socketio.on("e")(lambda: "done")
    assert socketio.test_client(app).emit("e", callback=True) == "done"
    assert ran == []


def test_signals_are_sent(app: flask.Flask, socketio: SocketIO) -> None:
    names: list[str] = []
    kinds = {
        "pushed": appcontext_pushed,
        "request": request_tearing_down,
        "app": appcontext_tearing_down,
        "popped": appcontext_popped,
    }
    receivers = {name: (lambda sender, name=name, **rest: names.append(name)) for name in kinds}
    for name, signal in kinds.items():
        signal.connect(receivers[name], app)
    socketio.on("e")(lambda: None)
    socketio.test_client(app).emit("e")
    assert names == ["pushed", "request", "app", "popped"]


def test_an_active_context_is_shared_as_flask_does(app: flask.Flask, socketio: SocketIO) -> None:
    socketio.on("e")(lambda: flask.g.get("outer"))
    client = socketio.test_client(app)
    with app.app_context():
        flask.g.outer = 5
        assert client.emit("e", callback=True) == 5


def test_urls_can_be_built(app: flask.Flask, socketio: SocketIO) -> None:
    socketio.on("url")(lambda: flask.url_for("page", number=3, _external=True))
    assert socketio.test_client(app).emit("url", callback=True) == "http://localhost/page/3"


def test_the_request_is_the_handshakes(app: flask.Flask, socketio: SocketIO) -> None:
    @socketio.on("look")
    def look() -> list[Any]:
        request = flask.request
        return [request.args["a"], request.headers["X-B"], request.cookies.get("c"), request.endpoint]

    client = socketio.test_client(app, query_string="?a=1", headers={"X-B": "2", "Cookie": "c=3"})
    assert client.emit("look", callback=True) == ["1", "2", "3", None]
    assert client.emit("look", callback=True) == ["1", "2", "3", None]


def test_what_an_event_writes_on_its_request_does_not_stay(app: flask.Flask, socketio: SocketIO) -> None:
    @socketio.on("mark")
    def mark() -> bool:
        request: Any = flask.request
        marked = hasattr(request, "marked")
        request.marked = True
        return marked

    client = socketio.test_client(app)
    assert client.emit("mark", callback=True) is False
    assert client.emit("mark", callback=True) is False


# Sessions


def test_a_managed_session_is_the_clients_own(app: flask.Flask, socketio: SocketIO) -> None:
    @app.route("/login/<name>")
    def login(name: str) -> str:
        flask.session["name"] = name
        return ""

    @app.route("/me")
    def me() -> str:
        return str(flask.session.get("name"))

    @socketio.on("rename")
    def rename(name: str) -> str:
        former = flask.session.get("name", "")
        flask.session["name"] = name
        return str(former)

    browser = app.test_client()
    browser.get("/login/ann")
    client = socketio.test_client(app, flask_test_client=browser)
    assert client.emit("rename", "bea", callback=True) == "ann"
    assert client.emit("rename", "cleo", callback=True) == "bea"
    assert browser.get("/me").text == "ann"
    assert socketio.test_client(app).emit("rename", "x", callback=True) == ""


def test_a_managed_session_is_shared_by_the_clients_namespaces(app: flask.Flask, way: bool) -> None:
    socketio = SocketIO(app, namespaces=["/", "/b"])
    socketio.on("put")(lambda value: flask.session.__setitem__("value", value))
    socketio.on("get", namespace="/b")(lambda: flask.session.get("value"))
    client = socketio.test_client(app)
    client.connect("/b")
    client.emit("put", 5)
    assert client.emit("get", callback=True, namespace="/b") == 5


def test_an_unmanaged_cookie_session_begins_anew_with_each_event(app: flask.Flask, way: bool) -> None:
    socketio = SocketIO(app, manage_session=False)

    @socketio.on("count")
    def count() -> int:
        flask.session["count"] = flask.session.get("count", 0) + 1
        return int(flask.session["count"])

    client = socketio.test_client(app)
    assert client.emit("count", callback=True) == 1
    assert client.emit("count", callback=True) == 1


def test_a_session_without_a_key_can_be_read_but_not_written(app: flask.Flask, way: bool) -> None:
    app.secret_key = None
    socketio = SocketIO(app, manage_session=False)
    socketio.on("read")(lambda: flask.session.get("x", "nothing"))
    client = socketio.test_client(app)
    assert client.emit("read", callback=True) == "nothing"
