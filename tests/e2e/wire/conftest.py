"""A client of raw bytes: HTTP requests and WebSocket frames on plain sockets, packets as they are written.

It must not know any rule: the tests say what to send and what must come.
"""

import base64
import io
import json
import socket
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from wsframe import Close, Connection, Role

APPS = Path(__file__).parents[1] / "apps"
WAIT_SECONDS = 60.0
QUERY = "EIO=4&transport="
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def code(self) -> int:
        return int(json.loads(self.body)["code"])


class Request:
    """One request on a connection of its own; the answer is read when it is asked for."""

    def __init__(
        self, port: int, method: str, target: str, body: bytes | None, fields: dict[str, str]
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_SECONDS)
        fields = {"Host": f"127.0.0.1:{port}", "Connection": "close"} | fields
        if body is not None:
            fields["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.socket.sendall(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + (body or b""))

    def answer(self) -> Answer:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(65536)
            assert piece, f"no answer: {data!r}"
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
        length = int(headers.get("content-length", 0))
        while len(body) < length:
            piece = self.socket.recv(65536)
            assert piece, "the body is short"
            body += piece
        self.rest = body[length:]
        return Answer(int(first.split()[1]), headers, body[:length])

    def at_end(self) -> bool:
        """Does the server close the connection now?"""
        return self.socket.recv(1) == b""

    def close(self) -> None:
        self.socket.close()


class RawWebSocket:
    """Frames after a 101."""

    way = "websocket"

    def __init__(self, request: Request, headers: dict[str, str]) -> None:
        self.request, self.headers, leftover = request, headers, request.rest
        self.connection = Connection(Role.CLIENT, max_message_bytes=10_000_000)
        self.events: deque[Any] = deque(self.connection.receive_data(leftover) if leftover else ())
        self.close_code: int | None = None

    def send(self, *packets: str | bytes) -> None:
        """All in one segment."""
        for packet in packets:
            if isinstance(packet, str):
                self.connection.send_text(packet)
            else:
                self.connection.send_binary(packet)
        self.request.socket.sendall(self.connection.data_to_send())

    def next(self) -> str | bytes:
        """The next packet; pings are answered and not shown."""
        while True:
            packet = self.next_raw()
            assert packet is not None, "the WebSocket ended"
            if packet != "2":
                return packet
            self.send("3")

    def next_raw(self) -> Any:
        """The next message; None at the end."""
        while True:
            while self.events:
                event = self.events.popleft()
                if isinstance(event, str | bytes):
                    return event
                if isinstance(event, Close):
                    self.close_code = event.code
                    return None
            try:
                data = self.request.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.events += self.connection.receive_data(data)

    def raw_frames(self) -> Iterator[tuple[int, bytes]]:
        """First byte and payload of every frame below 64 KiB, as it stands on the wire."""
        file = self.request.socket.makefile("rb")
        data = io.BytesIO(self.request.rest)

        def read(count: int) -> bytes:
            start = data.read(count)
            return start + file.read(count - len(start))

        while True:
            first, length = read(2)
            yield first, read(int.from_bytes(read(2)) if length == 126 else length)

    def ended(self) -> bool:
        """Nothing but what is listed here may come before the end."""
        while (packet := self.next_raw()) is not None:
            assert packet == "2", packet
        return True

    def close(self) -> None:
        self.request.close()


class Polling:
    """A session over requests."""

    way = "polling"

    def __init__(self, wire: "Wire", sid: str) -> None:
        self.wire, self.sid = wire, sid
        self.packets: deque[str | bytes] = deque()

    def send(self, *packets: str | bytes) -> None:
        body = "\x1e".join(
            item if isinstance(item, str) else "b" + base64.b64encode(item).decode() for item in packets
        )
        self.posted = self.wire.post(self.sid, body)

    def next(self) -> str | bytes:
        """The next packet; pings are answered and not shown."""
        while (packet := self.next_raw()) == "2":
            self.send("3")
        return packet

    def next_raw(self) -> str | bytes:
        while not self.packets:
            answer = self.wire.poll(self.sid).answer()
            assert answer.status == 200, answer
            for item in answer.text.split("\x1e"):
                self.packets.append(base64.b64decode(item[1:]) if item[0] == "b" else item)
        return self.packets.popleft()

    def ended(self) -> bool:
        assert not self.packets
        answer = self.wire.poll(self.sid).answer()
        if answer.status == 200:
            assert answer.text in ("1", "6"), answer
            answer = self.wire.poll(self.sid).answer()
        return answer.status == 400 and answer.code == 1

    def close(self) -> None:
        """Nothing is open between two requests."""


class Wire:
    """One server process, spoken to in bytes."""

    def __init__(self, server: Any, path: str = "/socket.io/") -> None:
        self.server, self.path = server, path
        self.port = int(server.url.rpartition(":")[2])
        self.opened: list[Any] = []

    def request(
        self, method: str, query: str, body: bytes | None = None, path: str | None = None, **fields: str
    ) -> Request:
        path = path or self.path
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        request = Request(self.port, method, f"{path}?{query}" if query else path, body, named)
        self.opened.append(request)
        return request

    def get(self, query: str, **fields: str) -> Answer:
        return self.request("GET", query, **fields).answer()

    def poll(self, sid: str, **fields: str) -> Request:
        return self.request("GET", f"{QUERY}polling&sid={sid}", **fields)

    def post(self, sid: str, body: str | bytes, **fields: str) -> Answer:
        body = body.encode() if isinstance(body, str) else body
        return self.request("POST", f"{QUERY}polling&sid={sid}", body, **fields).answer()

    def handshake(self, **fields: str) -> dict[str, Any]:
        answer = self.get(QUERY + "polling", **fields)
        assert answer.status == 200, answer
        assert answer.text[0] == "0"
        opened: dict[str, Any] = json.loads(answer.text[1:])
        return opened

    def upgrade(self, sid: str = "", query: str = QUERY + "websocket", **fields: str) -> Any:
        """A WebSocket, or the answer that refused it."""
        query += f"&sid={sid}" if sid else ""
        request = self.request("GET", query, **(UPGRADE | fields))
        answer = request.answer()
        return RawWebSocket(request, answer.headers) if answer.status == 101 else answer

    def session(self, way: str) -> Any:
        """An open session on either transport; its handshake packet is in `opened`."""
        if way == "polling":
            return Polling(self, self.handshake()["sid"])
        websocket = self.upgrade()
        websocket.sid = json.loads(websocket.next()[1:])["sid"]
        return websocket

    def joined(self, way: str) -> Any:
        """A session that has joined the default namespace."""
        session = self.session(way)
        session.send("40")
        reply = str(session.next())
        assert reply.startswith('40{"sid":"')
        session.name = json.loads(reply[2:])["sid"]  # what other clients may know it by
        assert session.next() == '42["welcome",{"auth":null}]'
        return session

    def wait_gone(self, session: Any, reason: str) -> None:
        """Until the disconnect handler has run for a session that had joined, with this reason."""
        self.server.wait_for(f"{session.name} is gone: {reason}\n")

    def calls(self, session: Any) -> list[str]:
        """Which handlers have run for a session that had joined."""
        answer = self.request("GET", f"sid={session.name}", path="/calls").answer()
        done: list[str] = json.loads(answer.body)["calls"]
        return done

    def close(self) -> None:
        for item in self.opened:
            item.close()


@pytest.fixture(scope="module")
def server(serve: Callable[..., Any]) -> Any:
    return serve(APPS, "wire_app:app")


@pytest.fixture(scope="module")
def small_server(serve: Callable[..., Any]) -> Any:
    """A server of small messages that pings often, and waits for pongs as long as a busy machine needs."""
    options = {"ping_interval": 0.3, "ping_timeout": 60, "max_http_buffer_size": 1000}
    return serve(APPS, "wire_app:app", env={"WIRE_OPTIONS": json.dumps(options)})


@pytest.fixture(scope="module")
def hasty_server(serve: Callable[..., Any]) -> Any:
    """One that pings often and does not wait for a minute, but for a test that is a little late."""
    options = {"ping_interval": 0.3, "ping_timeout": 5.7, "max_http_buffer_size": 1000}
    return serve(APPS, "wire_app:app", env={"WIRE_OPTIONS": json.dumps(options)})


@pytest.fixture
def open_wire() -> Iterator[Callable[..., Wire]]:
    """open_wire(server, path): a client of a server; what it opened is closed at the end."""
    wires: list[Wire] = []

    def open_one(server: Any, path: str = "/socket.io/") -> Wire:
        wires.append(Wire(server, path))
        return wires[-1]

    yield open_one
    for wire in wires:
        wire.close()


@pytest.fixture
def start(serve: Callable[..., Any], open_wire: Callable[..., Wire]) -> Callable[..., Wire]:
    """start(option=..., arguments=[...]): a server of its own with those options of SocketIO."""

    def start_one(arguments: tuple[str, ...] = (), **options: Any) -> Wire:
        return open_wire(serve(APPS, "wire_app:app", *arguments, env={"WIRE_OPTIONS": json.dumps(options)}))

    return start_one


@pytest.fixture(scope="module")
def engine_server(serve: Callable[..., Any]) -> Any:
    """A server with an EngineServer under /engine.io/ and a Server that brings clients back."""
    return serve(APPS, "plain_app:app")


@pytest.fixture
def engine(open_wire: Callable[..., Wire], engine_server: Any) -> Wire:
    """Engine.IO alone: what is said comes back."""
    return open_wire(engine_server, "/engine.io/")


@pytest.fixture
def wire(open_wire: Callable[..., Wire], server: Any) -> Wire:
    return open_wire(server)


@pytest.fixture
def hasty(open_wire: Callable[..., Wire], hasty_server: Any) -> Wire:
    return open_wire(hasty_server)


@pytest.fixture
def small(open_wire: Callable[..., Wire], small_server: Any) -> Wire:
    return open_wire(small_server)


@pytest.fixture(params=["polling", "websocket"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)
