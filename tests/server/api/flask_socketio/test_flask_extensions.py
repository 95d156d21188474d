"""Real extensions of Flask in events: Flask-SQLAlchemy, Flask-Login, Flask-Session.

It must not know the context's making: the extensions rely on Flask's promises, and that is the test.
"""

from pathlib import Path
from typing import Any

import flask
import pytest

from python_server import ConnectionRefusedError, SocketIO, emit

EVENTS_COUNT = 10_000


@pytest.fixture
def app() -> flask.Flask:
    app = flask.Flask(__name__)
    app.secret_key = "a key for tests"
    return app


@pytest.mark.extended
def test_sqlalchemy_leaks_no_connection_over_ten_thousand_events(app: flask.Flask, tmp_path: Path) -> None:
    flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'events.db'}"
    # Two connections, no overflow: the third that is not given back would fail the test.
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 1}
    db = flask_sqlalchemy.SQLAlchemy(app)

    class Note(db.Model):  # type: ignore[name-defined,misc]
        id = db.Column(db.Integer, primary_key=True)
        text = db.Column(db.String)

    socketio = SocketIO(app)

    @socketio.on("read")
    def read() -> int:
        return int(db.session.query(Note).count())

    @socketio.on("write")
    def write(text: str) -> None:
        db.session.add(Note(text=text))
        db.session.commit()

    @socketio.on("break")
    def break_off(text: str) -> None:
        db.session.add(Note(text=text))
        db.session.flush()
        raise LookupError("before the commit")

    with app.app_context():
        db.create_all()
        engine = db.engine
    client = socketio.test_client(app)
    client.emit("write", "kept")
    with pytest.raises(LookupError):
        client.emit("break", "rolled back")
    for _ in range(EVENTS_COUNT):
        client.emit("read")
    assert client.emit("read", callback=True) == 1
    assert engine.pool.checkedout() == 0
    engine.dispose()


def test_login_knows_the_user_of_the_cookie(app: flask.Flask) -> None:
    flask_login = pytest.importorskip("flask_login")
    manager = flask_login.LoginManager(app)

    class User(flask_login.UserMixin):  # type: ignore[name-defined,misc]
        def __init__(self, name: str) -> None:
            self.id = name

    manager.user_loader(User)

    @app.route("/login")
    def login() -> str:
        flask_login.login_user(User("ann"))
        return ""

    socketio = SocketIO(app)

    @socketio.on("connect")
    def connect() -> None:
        if not flask_login.current_user.is_authenticated:
            raise ConnectionRefusedError("log in first")

    @socketio.on("who")
    def who() -> str:
        return str(flask_login.current_user.id)

    browser = app.test_client()
    assert not socketio.test_client(app, flask_test_client=browser).is_connected()
    browser.get("/login")
    client = socketio.test_client(app, flask_test_client=browser)
    assert client.emit("who", callback=True) == "ann"
    assert client.emit("who", callback=True) == "ann"


def test_server_side_sessions_are_shared_with_routes(app: flask.Flask, tmp_path: Path) -> None:
    pytest.importorskip("flask_session")
    from cachelib import FileSystemCache
    from flask_session import Session

    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(str(tmp_path)))
    Session(app)

    @app.route("/put/<value>")
    def put(value: str) -> str:
        flask.session["value"] = value
        return ""

    @app.route("/get")
    def get() -> str:
        return str(flask.session.get("value"))

    socketio = SocketIO(app, manage_session=False)

    @socketio.on("swap")
    def swap(value: str) -> Any:
        former = flask.session.get("value")
        flask.session["value"] = value
        emit("swapped")
        return former

    browser = app.test_client()
    browser.get("/put/one")
    client = socketio.test_client(app, flask_test_client=browser)
    assert client.emit("swap", "two", callback=True) == "one"
    assert browser.get("/get").text == "two"
    browser.get("/put/three")
    assert client.emit("swap", "four", callback=True) == "three"
