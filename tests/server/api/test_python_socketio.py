"""python-socketio's and python-engineio's words on the hub (api/python_socketio.py, api/python_engineio.py).

It must not know sockets; the same servers behind real ones stand in tests/e2e/wire/test_server_api.py.
"""

import json
from typing import Any

import pytest

from python_server.api.python_engineio import EngineServer
from python_server.api.python_socketio import Namespace, Server, WSGIApp
from python_server.engineio.session import DisconnectReason, Session
from python_server.http1.parser import Request
from python_server.net.backlog import HARD_BYTES, HARD_COUNT, SOFT_BYTES, SOFT_COUNT

REQUEST = Request("GET", "/?a=1", "/", "a=1", (1, 1), [])


class Served:
    """A Server whose clients are the world's peers."""

    def __init__(self, world: Any, **options: Any) -> None:
        self.server = Server(**options)
        self.world = world
        world.serve(self.server.mount("/socket.io/").hub)

    def peer(self) -> Any:
        peer = self.world.peer(None)
        peer.session.request = REQUEST
        return peer


@pytest.fixture
def served(world: Any) -> Served:
    return Served(world)


def test_unknown_options_and_values() -> None:
    for build in (
        lambda: Server(ping_intervall=1),
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


def test_a_namespace_as_a_class(served: Served) -> None:
    class Shop(Namespace):
        def on_connect(self, sid: str, environ: Any) -> None:
            self.emit("opened", (1, 2), to=sid)

        def on_buy(self, sid: str, what: str) -> str:
            return f"bought {what}"

    served.server.register_namespace(Shop("/shop"))
    peer = served.peer()
    peer.say("0/shop,")
    peer.say('2/shop,7["buy","tea"]')
    assert peer.heard()[1:] == ['2/shop,["opened",1,2]', '3/shop,7["bought tea"]']


def test_emit_with_rooms_skips_and_a_callback(served: Served) -> None:
    peers = [served.peer() for _ in range(3)]
    sids = [peer.join() for peer in peers]
    for sid in sids[:2]:
        served.server.enter_room(sid, "red")
    served.server.emit("to red", None, room="red", skip_sid=sids[0])
    served.server.emit("but red", [1], except_rooms="red")
    got: list[Any] = []
    served.server.emit("q", to=sids[0], callback=lambda *values: got.append(values))
    served.world.run()
    (question,) = peers[0].heard()
    peers[0].say("3" + question[1 : question.index("[")] + '["a",2]')
    assert [peers[1].heard(), peers[2].heard()] == [['2["to red"]'], ['2["but red",[1]]']]
    assert got == [("a", 2)]


def test_rooms_cannot_be_those_of_other_clients(served: Served) -> None:
    first, second = (served.peer().join() for _ in range(2))
    with pytest.raises(ValueError, match="sid room"):
        served.server.enter_room(first, second)
    with pytest.raises(ValueError, match="sid room"):
        served.server.close_room(first)
    with pytest.raises(ValueError, match="not connected"):
        served.server.enter_room("nobody", "red")


def test_sessions_are_a_dictionary_per_client(served: Served) -> None:
    first, second = (served.peer().join() for _ in range(2))
    with served.server.session(first) as session:
        session["n"] = 1
    served.server.save_session(second, {"n": 2})
    assert [served.server.get_session(sid)["n"] for sid in (first, second)] == [1, 2]
    assert served.server.transport(first) == "websocket"
    environ = served.server.get_environ(first)
    assert environ is not None
    assert environ["QUERY_STRING"] == "a=1"
    assert served.server.get_environ("nobody") is None
    with pytest.raises(KeyError):
        served.server.get_session("nobody")


def test_recovery_can_be_asked_for(world: Any) -> None:
    served = Served(world, connection_state_recovery={"max_disconnection_duration": 5, "max_bytes": 10})
    peer = served.peer()
    peer.join()
    assert set(peer.names) == {"sid", "pid"}


def test_call_needs_an_addressee(served: Served) -> None:
    with pytest.raises(ValueError, match="one client"):
        served.server.call("q")


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


class Engine:
    """An EngineServer and one client of it."""

    def __init__(self, world: Any, **handlers: Any) -> None:
        self.world = world
        self.server = EngineServer()
        for event, function in handlers.items():
            self.server.on(event, function)
        self.server.attach(world.services)
        self.session = Session(
            "S", self.server, REQUEST, lambda session, on: None, lambda session: None, 1000
        )
        self.link = world.make_link()
        self.session.open_websocket(self.link)
        self.server.session_opened(self.session)
        world.run()


def test_engine_messages_come_and_go(world: Any) -> None:
    got: list[Any] = []
    engine = Engine(world, message=lambda sid, data: engine.server.send(sid, data), disconnect=got.append)
    engine.session.receive("4true")
    engine.session.receive(b"\x01")
    world.run()
    assert engine.link.messages == ["4true", b"\x01"]
    engine.session.end(DisconnectReason.PING_TIMEOUT)
    engine.server.send("S", "nobody hears this")
    world.run()
    assert got == ["S"]
    assert engine.server._sessions == {}


@pytest.mark.parametrize("refuse", [lambda sid, environ: False, lambda sid, environ: 1 / 0])
def test_an_engine_connect_handler_that_refuses_ends_the_session(world: Any, refuse: Any) -> None:
    assert Engine(world, connect=refuse).link.closed


def test_an_engine_session_is_a_dictionary(world: Any) -> None:
    engine = Engine(world)
    with engine.server.session("S") as session:
        session["n"] = 1
    assert engine.server.get_session("S") == {"n": 1}
    assert engine.server.transport("S") == "websocket"
    engine.server.disconnect()
    world.run()
    assert engine.link.closed


@pytest.mark.parametrize(("count", "size"), [(SOFT_COUNT, 1), (8, SOFT_BYTES // 8)])
def test_an_engines_client_is_paused_by_number_and_by_bytes(world: Any, count: int, size: int) -> None:
    got: list[int] = []
    engine = Engine(world, message=lambda sid, data: got.append(len(data)))
    for _ in range(count):
        assert not engine.link.paused
        engine.session.receive("4" + "x" * size)
    assert engine.link.paused
    world.run()
    assert not engine.link.paused
    assert got == [size] * count


@pytest.mark.parametrize(("count", "size"), [(HARD_COUNT, 1), (64, HARD_BYTES // 64)])
def test_an_engines_client_that_cannot_be_paused_is_sent_away(world: Any, count: int, size: int) -> None:
    engine = Engine(world)
    for _ in range(count):
        assert not engine.link.closed
        engine.session.receive("4" + "x" * size)
    engine.session.receive("4")
    assert engine.link.closed


def test_an_engine_before_it_serves() -> None:
    with pytest.raises(RuntimeError, match="no server runs"):
        EngineServer().send("S", json.dumps(1))


def test_below_the_server_stand_a_manager_and_environs(served: Served) -> None:
    first, second = served.peer(), served.peer()
    sid, other = first.join(), second.join()
    server = served.server
    server.enter_room(sid, "red")
    eio_sid = first.session.sid
    assert server.manager.get_participants("/", "red") == [(sid, eio_sid)]
    assert set(server.manager.get_rooms(sid, "/")) == {sid, "red"}
    assert server.manager.is_connected(other, "/")
    assert not server.manager.is_connected("nobody", "/")
    assert server.manager.sid_from_eio_sid("nobody", "/") is None
    assert server.environ[eio_sid]["QUERY_STRING"] == "a=1"
    with pytest.raises(KeyError):
        server.environ["nobody"]
