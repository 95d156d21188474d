"""python-socketio's and python-engineio's words on the hub (api/python_socketio.py, api/python_engineio.py).

It must not know sockets; the same servers behind real ones stand in tests/e2e/wire/test_server_api.py.
"""

from typing import Any

import pytest

from python_server.api.python_engineio import EngineServer
from python_server.api.python_socketio import Server, WSGIApp
from served_server import Served


def test_unknown_options_and_values() -> None:
    for build in (
        lambda: Server(connection_state_recovery={"max": 1}),
        lambda: EngineServer(serializer="x"),
        lambda: WSGIApp(Server(), None, socketio_paht="x"),
        lambda: Server().on("a", print, inlien=True),
        lambda: Server().on("connect", print, inline=True),
        lambda: EngineServer().on("message", print, inline=True),
    ):
        with pytest.raises(TypeError):
            build()
    with pytest.raises(ValueError, match="serializer"):
        Server(serializer="pickle")
    with pytest.raises(ValueError, match="events"):
        EngineServer().on("event", print)


def test_a_coroutine_is_refused_at_registration(served: Served) -> None:
    async def later(sid: str) -> None: ...

    with pytest.raises(TypeError, match="later is an async def: this server runs plain functions"):
        served.server.on("later", later)


@pytest.mark.parametrize("takes_most", [True, False])
def test_handlers_get_as_much_as_they_take(served: Served, takes_most: bool) -> None:
    got: list[Any] = []
    if takes_most:
        served.server.on("connect", lambda sid, environ, auth: got.append((environ["QUERY_STRING"], auth)))
        served.server.on("disconnect", lambda sid, reason: got.append(reason))
    else:
        served.server.on("connect", lambda sid, environ: got.append(environ["QUERY_STRING"]))
        served.server.on("disconnect", lambda sid: got.append("gone"))
    peer = served.peer()
    peer.join(auth={"k": 1})
    peer.say("1")
    assert got == ([("a=1", {"k": 1}), "client disconnect"] if takes_most else ["a=1", "gone"])


def test_an_inline_handler_waits_for_no_thread(served: Served) -> None:
    got: list[int] = []
    served.server.on("quick", lambda sid, value: got.append(value), inline=True)
    served.server.on("slow", lambda sid, value: got.append(value))
    peer = served.peer()
    peer.join()
    peer.say('2["quick",1]', '2["slow",2]', run=False)
    assert got == [1]
    served.world.run()
    assert got == [1, 2]


def test_the_catch_all_gets_the_name_first_and_no_reserved_ones(served: Served) -> None:
    got: list[Any] = []
    served.server.on("*", lambda event, sid, *values: got.append((event, values)))
    peer = served.peer()
    peer.join()
    peer.say('2["made up",1]', "1")
    assert got == [("made up", (1,))]


def test_recovery_can_be_asked_for(world: Any) -> None:
    served = Served(world, connection_state_recovery={"max_disconnection_duration": 5, "max_bytes": 10})
    peer = served.peer()
    peer.join()
    assert set(peer.names) == {"sid", "pid"}


def test_the_wsgi_app_passes_on_what_is_not_its_own() -> None:
    def page(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"page"]

    answers: list[str] = []
    app = WSGIApp(EngineServer(), WSGIApp(Server(), page))
    for path in ("/", "/socket.io/", "/engine.io/"):
        body = b"".join(app({"PATH_INFO": path}, lambda status, headers: answers.append(status)))
        assert (body == b"page") is (path == "/")
    assert [status[:3] for status in answers] == ["200", "501", "501"]
    assert [mount.path for mount in app.wsframe_mounts] == ["/engine.io/"]
