"""WSGIApp: what it mounts and where, what is answered beside it; a server that the application calls itself.

It must not know sockets; e2e/test_python_socketio_programs.py has the same behind real ones.
"""

from pathlib import Path
from typing import Any

import pytest

from python_server import WSGIApp
from python_server.api.python_engineio import EngineServer
from python_server.api.python_socketio import Middleware, Server
from python_server.connection.arrival import KEY, Arrival
from python_server.serve.called_servers import UNMOUNTED
from python_server.serve.mounts import find_site


def page(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"page"]


def asked(application: Any, path: str, **environ: Any) -> tuple[str, bytes]:
    statuses: list[str] = []
    answer = application({"PATH_INFO": path, **environ}, lambda status, headers: statuses.append(status))
    body = b"".join(answer)
    getattr(answer, "close", str)()
    return statuses[0], body


@pytest.mark.parametrize(
    ("build", "path"),
    [
        (lambda: WSGIApp(Server()), "/socket.io/"),
        (lambda: WSGIApp(EngineServer()), "/engine.io/"),
        (lambda: WSGIApp(Server(), page, None, "events"), "/events/"),
        (lambda: WSGIApp(socketio_app=Server(), wsgi_app=page, socketio_path="/a/b/"), "/a/b/"),
        (lambda: WSGIApp(engineio_app=EngineServer(), engineio_path="x"), "/x/"),
        (lambda: WSGIApp(Server(), path="y"), "/y/"),
        (lambda: Middleware(Server(), page, "z"), "/z/"),
    ],
)
def test_where_a_server_is_mounted(build: Any, path: str) -> None:
    (mount,) = find_site(build()).mounts
    assert (mount.path, mount.holder) == (path, None)


def test_who_mounts_nothing_is_told() -> None:
    with pytest.raises(TypeError, match="mounts a Server or an EngineServer"):
        WSGIApp()
    with pytest.raises(TypeError, match="socketio_paht"):
        WSGIApp(Server(), None, socketio_paht="x")  # type: ignore[call-arg]


def test_the_wsgi_app_passes_on_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("file")
    files = {"/files": str(tmp_path)}
    app = WSGIApp(EngineServer(), WSGIApp(Server(), page, files))
    assert asked(app, "/") == ("200 OK", b"page")
    assert asked(app, "/files/a.txt") == ("200 OK", b"file")
    assert asked(app, "/files/b.txt") == ("200 OK", b"page")
    for path in ("/socket.io/", "/engine.io/"):
        assert asked(app, path)[0] == "501 Not Implemented"
    assert [mount.path for mount in find_site(app).mounts] == ["/engine.io/", "/socket.io/"]
    alone = WSGIApp(Server(), None, files)
    assert asked(alone, "/files/a.txt") == ("200 OK", b"file")
    assert asked(alone, "/files/../a.txt") == ("404 Not Found", b"Not Found")


def test_a_subclass_may_say_that_there_is_nothing() -> None:
    class Polite(WSGIApp):
        def not_found(self, start_response: Any) -> list[bytes]:
            start_response("404 Sorry", [])
            return [b"sorry"]

    assert asked(Polite(Server()), "/x") == ("404 Sorry", b"sorry")


@pytest.mark.parametrize(("make", "path"), [(Server, "/socket.io/"), (EngineServer, "/engine.io/")])
def test_a_server_that_is_called_lets_handshakes_in(make: Any, path: str) -> None:
    server = make()

    def application(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"].startswith(path):
            return server.handle_request(environ, start_response)
        return page(environ, start_response)

    for _ in range(2):  # a server may be started again
        (mount,) = find_site(application).mounts
        assert (mount.path, mount.holder) == (path, server)
    arrival = Arrival(server)
    assert asked(application, path, **{KEY: arrival})[0] == "200 OK"
    assert arrival.environ is not None
    assert asked(application, path) == (
        "501 Not Implemented",
        b"its Socket.IO events need the server they came with: run `gunicorn -k python_server.GunicornWorker "
        b"module:app` or `python -m python_server module:app` [other-server]\n",
    )
    status, body = asked(application, path, SERVER_SOFTWARE="python_server/1")
    assert status == "501 Not Implemented"
    assert b"mount it with WSGIApp(server, application, socketio_path=...)" in body
    WSGIApp(server, path="/elsewhere")
    assert find_site(application).mounts == []


def test_of_several_servers_at_one_path_none_is_called() -> None:
    first, second = Server(), Server()
    assert find_site(page).mounts == []
    _, body = asked(first.handle_request, "/socket.io/", SERVER_SOFTWARE="python_server/1")
    assert b"for several servers, mount it with WSGIApp" in body
    app = WSGIApp(first)
    assert [mount.server for mount in find_site(app).mounts] == [first.mount("/").server]
    assert second in UNMOUNTED
