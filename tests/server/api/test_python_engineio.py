"""python-engineio's server: messages, sessions, clients that are paused or sent away.

It must not know sockets.
"""

import json
from typing import Any

import engineio
import pytest

from python_server.api import python_engineio
from python_server.api.python_engineio import EngineServer, Server
from python_server.engineio.options import EngineOptions
from python_server.engineio.session import DisconnectReason, Session
from python_server.http1.parser import Request
from python_server.net.client_backlog import HARD_BYTES, HARD_COUNT, SOFT_BYTES, SOFT_COUNT
from python_server.socketio.client import ConnectionRefused

REQUEST = Request("GET", "/?a=1", "/", "a=1", (1, 1), [])


def refuse(error: Exception) -> None:
    raise error


class Engine:
    """An EngineServer and one client of it."""

    def __init__(
        self,
        world: Any,
        options: Any = None,
        server_class: type[EngineServer] = EngineServer,
        **handlers: Any,
    ) -> None:
        self.world = world
        self.server = server_class(**(options or {}))
        for event, function in handlers.items():
            self.server.on(event, function)
        self.server.attach(world.services)
        self.session = Session(
            "S", self.server, REQUEST, lambda session, on: None, lambda session, reason: None, 1000
        )
        self.link = world.make_link()
        self.session.open_websocket(self.link)
        self.server.session_opened(self.session)
        world.run()


def test_engine_messages_come_and_go(world: Any) -> None:
    got: list[Any] = []
    engine = Engine(world, message=lambda sid, data: engine.server.send(sid, data), disconnect=got.append)
    engine.session.receive("4to be")
    engine.session.receive(b"\x01")
    world.run()
    assert engine.link.messages == ["4to be", b"\x01"]
    engine.session.end(DisconnectReason.PING_TIMEOUT)
    engine.server.send("S", "nobody hears this")
    world.run()
    assert got == ["S"]
    assert engine.server._sessions == {}


# Text of a message, what python-engineio makes of it, and the text that this is sent back as.
VALUES = [
    ('{"a":[1]}', {"a": [1]}, '{"a":[1]}'),
    ("[]", [], "[]"),
    ('"text"', "text", "text"),
    ("12", "12", "12"),
    ("-1.5", -1.5, "-1.5"),
    ("true", True, "True"),
    ("null", None, ""),
    ("{broken", "{broken", "{broken"),
    ("", "", ""),
]


@pytest.mark.parametrize(("text", "value", "back"), VALUES)
def test_messages_are_read_and_written_as_the_peer_does(world: Any, text: str, value: Any, back: str) -> None:
    packet = engineio.packet.Packet(encoded_packet=f"4{text}")
    assert packet.data == value
    assert engineio.packet.Packet(4, value).encode() == f"4{back}"
    got: list[Any] = []
    engine = Engine(
        world,
        server_class=Server,
        message=lambda sid, data: (got.append(data), engine.server.send(sid, data)),
    )
    engine.session.receive(f"4{text}")
    world.run()
    assert (got, engine.link.messages) == ([value], [f"4{back}"])


@pytest.mark.parametrize("text", ['{"a":1}', "true", "null", "12"])
def test_a_message_is_the_text_that_was_sent(world: Any, text: str) -> None:
    got: list[Any] = []
    engine = Engine(world, message=lambda sid, data: got.append(data))
    engine.session.receive(f"4{text}")
    world.run()
    assert got == [text]


def test_a_json_module_of_ones_own(world: Any) -> None:
    class Shouting:
        @staticmethod
        def dumps(value: Any) -> str:
            return json.dumps(value).upper()

        @staticmethod
        def loads(text: str) -> Any:
            return json.loads(text.lower())

    engine = Engine(
        world,
        {"json": Shouting},
        server_class=Server,
        message=lambda sid, data: engine.server.send(sid, data),
    )
    engine.session.receive('4{"A":1}')
    engine.server.send("S", {"b": 2})
    world.run()
    assert engine.link.messages == ['4{"B": 2}', '4{"A": 1}']


def test_packets_of_the_peers_class_encode_themselves(world: Any) -> None:
    engine = Engine(world)
    engine.server.send_packet("S", engineio.packet.Packet(engineio.packet.MESSAGE, {"a": 1}))
    engine.server.send_packet("S", engineio.packet.Packet(engineio.packet.MESSAGE, b"\x01"))
    engine.server.send_packet("S", engineio.packet.Packet(engineio.packet.NOOP))
    engine.server.send("S", bytearray(b"\x02"))
    world.run()
    assert engine.link.messages == ['4{"a":1}', b"\x01", "6", b"\x02"]


def test_the_peers_arguments_are_taken_by_place(caplog: Any) -> None:
    places = ["eventlet", (2, 1), 7, 99, False, False, 5, "io", ["https://a"], True, True, json, False, True]
    options = EngineServer(*places, "polling").mount("/").options
    assert (options.ping_interval_seconds, options.ping_timeout_seconds, options.max_payload_bytes) == (
        2,
        8,
        99,
    )
    assert (options.allow_upgrades, options.http_compression, options.compression_threshold_bytes) == (
        False,
        False,
        5,
    )
    assert (options.cookie, options.cors_allowed_origins, options.cors_credentials, options.transports) == (
        "io",
        ["https://a"],
        True,
        ("polling",),
    )
    assert EngineServer().mount("/").options == EngineOptions()
    assert caplog.messages == []


def test_what_is_unknown_is_named_once_and_what_cannot_be_is_refused(caplog: Any) -> None:
    for _ in range(2):
        EngineServer(ping_timeuot=1, upgrade_timeout=3)  # type: ignore[call-arg]
    assert caplog.messages == [
        "EngineServer ignores the unknown keyword 'ping_timeuot': did you mean 'ping_timeout'?"
    ]
    with pytest.raises(ValueError, match="Invalid async_mode specified"):
        EngineServer("asyncio")
    with pytest.raises(ValueError, match="json is a module"):
        EngineServer(json=1)


def test_what_programs_take_of_the_peers_server() -> None:
    server = EngineServer()
    assert {name for name in dir(engineio.Server) if name[0] != "_"} - set(dir(server)) <= {
        "compression_methods",
        "event_names",
        "sequence_number",
        "valid_transports",
    }
    assert set(server.async_modes()) == set(engineio.Server().async_modes())
    assert (server.async_mode, server.is_asyncio_based()) == ("threading", False)
    assert server.reason.PING_TIMEOUT == "ping timeout"
    queue = server.create_queue(maxsize=1)
    with pytest.raises(server.get_queue_empty_exception()):
        queue.get(block=False)
    event = server.create_event()
    event.set()
    assert event.wait(0)
    assert server.generate_id() != server.generate_id()
    assert issubclass(python_engineio.Server, EngineServer)
    server.shutdown()


@pytest.mark.parametrize(
    "refuse",
    [
        lambda sid, environ: False,
        lambda sid, environ: "go away",
        lambda sid, environ: 1 / 0,
        lambda sid, environ: refuse(ConnectionRefused("no")),
    ],
)
def test_an_engine_connect_handler_that_refuses_ends_the_session(world: Any, refuse: Any) -> None:
    assert Engine(world, connect=refuse).link.closed


def test_an_engine_session_is_a_dictionary(world: Any) -> None:
    engine = Engine(world)
    with engine.server.session("S") as session:
        session["n"] = 1
    assert engine.server.get_session("S") == {"n": 1}
    assert engine.server.transport("S") == "websocket"
    assert engine.server.sockets["S"].upgraded
    assert EngineServer().sockets == {}
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
