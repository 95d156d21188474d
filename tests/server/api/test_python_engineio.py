"""python-engineio's server: messages, sessions, clients that are paused or sent away.

It must not know sockets.
"""

import json
from typing import Any

import pytest

from python_server.api.python_engineio import EngineServer
from python_server.engineio.session import DisconnectReason, Session
from python_server.http1.parser import Request
from python_server.net.client_backlog import HARD_BYTES, HARD_COUNT, SOFT_BYTES, SOFT_COUNT

REQUEST = Request("GET", "/?a=1", "/", "a=1", (1, 1), [])


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


def test_handlers_are_registered_by_name_or_by_event(world: Any) -> None:
    server = EngineServer()

    @server.event
    def message(sid: str, data: Any) -> None: ...

    @server.on("connect")
    def somebody(sid: str, environ: Any) -> None: ...

    assert server._handlers == {"message": message, "connect": somebody}
    with pytest.raises(ValueError, match="connect, message and disconnect"):
        server.on("chat", message)
    ran: list[int] = []
    server.start_background_task(ran.append, 1).join()
    server.sleep()
    assert ran == [1]
