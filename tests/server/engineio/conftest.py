"""An engine on a clock of its own, with exchanges and transports that keep what is written to them.

It must not know sockets, threads or the time of day.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from python_server.connection.websocket_channel import WebSocketChannel, WebSocketServices
from python_server.engineio.server import Engine, EngineOptions
from python_server.engineio.session_ids import SessionIds
from python_server.http1.parser import Request
from python_server.net.backpressure import Backpressure
from python_server.settings import WebSocketSettings
from told_time import Clock, Timer
from wsframe import Close, Decoder, Opcode, Role, encode_frame

VECTORS = Path(__file__).parents[2] / "vectors"


class Deadline:
    """The loop's, on our clock."""

    def __init__(self, clock: Clock, function: Callable[[], Any]) -> None:
        self.clock, self.function = clock, function
        self.timer: Timer | None = None

    def set(self, seconds: float) -> None:
        self.clear()
        self.timer = self.clock.call_later(seconds, self.function)

    def clear(self) -> None:
        if self.timer is not None:
            self.timer.cancel()

    cancel = clear


class Transport:
    peer = local = ("127.0.0.1", 1)
    blocked = False

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed: str | None = None
        self.pauses = 0

    def write(self, data: Any) -> None:
        self.written += data

    @property
    def reading(self) -> bool:
        return not self.pauses

    def pause_reading(self, reasons: int, paused: bool) -> None:
        self.pauses = self.pauses | reasons if paused else self.pauses & ~reasons

    def set_handler(self, handler: Any) -> None:
        self.handler = handler

    def close(self, abort: str | None = None) -> None:
        if self.closed is None:
            self.closed = abort or "closed"


class ClientSocket:
    """The client's end of one accepted WebSocket."""

    def __init__(self, channel: WebSocketChannel, transport: Transport) -> None:
        self.channel, self.transport = channel, transport
        self.decoder = Decoder(Role.CLIENT)

    def send(self, *messages: str | bytes) -> None:
        """All messages in one piece."""
        data = b"".join(
            encode_frame(Opcode.TEXT if isinstance(item, str) else Opcode.BINARY, item, mask=b"mask")
            for item in messages
        )
        self.channel.data_received(bytearray(data), len(data))

    def received(self) -> list[Any]:
        """Messages since the last call; "closed" for a close frame."""
        data = bytes(self.transport.written)
        self.transport.written.clear()
        return ["closed" if isinstance(event, Close) else event for event in self.decoder.receive(data)]

    def lose(self) -> None:
        self.channel.connection_lost("reset")


class Exchange:
    """A request whose answer is kept."""

    def __init__(self, request: Request, services: WebSocketServices) -> None:
        self.request = request
        self.context: Any = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.keep_alive = True
        self.aborted = ""
        self.websocket: ClientSocket | None = None
        self.given_away = False

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def code(self) -> int:
        return int(json.loads(self.body)["code"])

    def respond(self, status: int | str, headers: list[tuple[str, str]], body: bytes = b"") -> None:
        assert not self.status, "answered twice"
        self.status = int(str(status)[:3])
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    def give_away(self, make: Callable[[Any, bytes], Any]) -> None:
        assert not self.status
        self.given_away = True
        make(Transport(), b"")

    def refuse_keep_alive(self) -> None:
        self.keep_alive = False

    def send_continue(self) -> None:
        pass

    def abort(self, reason: str) -> None:
        self.aborted = reason

    def upgrade(self, headers: list[tuple[str, str]], make: Callable[[Any, bytes], Any]) -> None:
        assert not self.status
        self.status = 101
        self.headers = {name.lower(): value for name, value in headers}
        transport = Transport()
        self.websocket = ClientSocket(make(transport, b""), transport)


class Listener:
    """A session handler that keeps what it hears."""

    def __init__(self) -> None:
        self.opened: list[Any] = []
        self.messages: list[str | bytes] = []
        self.closed: list[str] = []
        self.on_message_do: Callable[[Any, Any], None] = lambda session, data: None

    def session_opened(self, session: Any) -> None:
        self.opened.append(session)

    def on_message(self, session: Any, data: str | bytes) -> None:
        self.messages.append(data)
        self.on_message_do(session, data)

    def session_closed(self, session: Any, reason: str) -> None:
        self.closed.append(str(reason))


class World:
    """An engine and its clients."""

    def __init__(
        self,
        *,
        names: SessionIds | None = None,
        homes: Any = None,
        admit: Any = None,
        session_limits: Any = None,
        call_soon: Any = None,
        **options: Any,
    ) -> None:
        self.clock = Clock()
        self.heard = Listener()
        self.complaints: list[str] = []
        self.services = WebSocketServices(
            settings=WebSocketSettings(),
            closing_max_bytes=4_000_000,
            send_timeout_seconds=60.0,
            backpressure=Backpressure({}, monotonic),
            deflate=None,
            deadline=lambda function: Deadline(self.clock, function),
            began=lambda channel: None,
            ended=lambda channel: None,
            call_soon=lambda function: self.clock.call_later(0.0, function),
        )
        self.engine = Engine(
            self.heard,
            EngineOptions(**options),
            self.clock.call_later,
            call_soon or partial(self.clock.call_later, 0.0),
            lambda: self.clock.now,
            self.services,
            lambda kind, sentence: self.complaints.append(sentence),
            names,
            homes,
            admit,
            session_limits,
        )

    def request(
        self,
        method: str = "GET",
        query: str = "EIO=4&transport=polling",
        body: bytes | None = None,
        handed: bool = False,
        scheme: str = "http",
        **fields: str,
    ) -> Exchange:
        """A request; its body, if any, at once."""
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        upgrade = "websocket" if "sec-websocket-key" in fields else ""
        request = Request(
            method,
            "/engine.io/?" + query,
            "/engine.io/",
            query,
            (1, 1),
            list(fields.items()),
            body_length=0 if body is None else len(body),
            upgrade=upgrade,
            authority="example.org",
            fields=fields,
            handed=handed,
            scheme=scheme,
        )
        exchange = Exchange(request, self.services)
        self.engine.request_received(exchange)  # type: ignore[arg-type]
        if body is not None:
            self.engine.body_received(exchange, body)  # type: ignore[arg-type]
            self.engine.body_ended(exchange)  # type: ignore[arg-type]
        return exchange

    def open(self) -> str:
        """A polling session's sid."""
        exchange = self.request()
        assert exchange.status == 200
        return str(json.loads(exchange.text[1:])["sid"])

    def get(self, sid: str, **fields: str) -> Exchange:
        return self.request("GET", f"EIO=4&transport=polling&sid={sid}", **fields)

    def post(self, sid: str, body: str | bytes, **fields: str) -> Exchange:
        body = body.encode() if isinstance(body, str) else body
        return self.request("POST", f"EIO=4&transport=polling&sid={sid}", body, **fields)

    def websocket(self, sid: str = "") -> ClientSocket:
        exchange = self.ask_for_websocket(sid)
        assert exchange.websocket is not None, exchange.body
        return exchange.websocket

    def ask_for_websocket(self, sid: str = "") -> Exchange:
        return self.request(
            query="EIO=4&transport=websocket" + (f"&sid={sid}" if sid else ""),
            host="example.org",
            connection="Upgrade",
            upgrade="websocket",
            sec_websocket_version="13",
            sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==",
        )

    def upgraded(self) -> tuple[str, ClientSocket]:
        sid = self.open()
        websocket = self.websocket(sid)
        websocket.send("2probe", "5")
        assert websocket.received() == ["3probe"]
        return sid, websocket


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def make_world() -> type[World]:
    return World


@pytest.fixture(scope="session")
def vectors() -> Any:
    return json.loads((VECTORS / "engineio.json").read_text("utf-8"))
