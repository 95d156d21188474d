"""Socket.IO clients on a told machine: polling, WebSocket and the upgrade, recovery, events, acks.

It must not know which worker serves it, or what is done to the server.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from invariants import EVERYBODY, Ledger, Life
from simulated_network import Network, Wire
from wsframe import Close, Connection, ProtocolError, Role, State

SEPARATOR = "\x1e"
UPGRADE_HEAD = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
ROOMS = ("red", "blue")
SPEAK_SECONDS = 0.7
CONNECT_SECONDS = 25.0  # for the whole way into the namespace


class Hears(Protocol):
    """Port: whose transport it is."""

    def packet(self, text: str) -> None: ...
    def dropped(self) -> None: ...


def head(method: str, sid: str, transport: str, more: str = "", length: int = 0) -> bytes:
    query = f"&sid={sid}" if sid else ""
    fields = more or f"Content-Length: {length}\r\n" * (method == "POST")
    target = f"/socket.io/?EIO=4&transport={transport}{query}"
    return f"{method} {target} HTTP/1.1\r\nHost: here\r\n{fields}\r\n".encode()


class WebSocket:
    """Engine.IO packets over one WebSocket."""

    def __init__(self, network: Network, path: str, sid: str, client: Hears) -> None:
        self._client = client
        self._frames = Connection(Role.CLIENT)
        self._head: bytes | None = b""
        self._waiting: list[str] = []
        self.wire = Wire(network, path, self._received, client.dropped)
        self.wire.send(head("GET", sid, "websocket", UPGRADE_HEAD))

    def send(self, packet: str) -> None:
        if self._head is not None:
            self._waiting.append(packet)
            return
        if self._frames.state is not State.OPEN:  # the close frame came behind what this answers
            return
        self._frames.send_text(packet)
        self._flush()

    def _flush(self) -> None:
        if data := self._frames.data_to_send():
            self.wire.send(bytes(data))

    def _received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            first, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            if not first.startswith(b"HTTP/1.1 101 "):
                self.close()
                self._client.dropped()
                return
            self._head = None
            for packet in self._waiting:
                self._frames.send_text(packet)
        for event in self._frames.receive_data(data) if data else []:
            if isinstance(event, ProtocolError):
                raise AssertionError(f"a frame that is none: {data[:80]!r}") from event
            if isinstance(event, Close):
                self.close()
                self._client.dropped()
                return
            if isinstance(event, str):
                self._client.packet(event)
            if not self.wire.open:
                return
        self._flush()

    def close(self) -> None:
        self.wire.close()


class Request:
    """One HTTP exchange after the other on a connection that is kept where the server keeps it."""

    def __init__(self, network: Network, path: str, failed: Callable[[], None]) -> None:
        self._network = network
        self._path = path
        self._failed = failed
        self._answered: Callable[[int, str], None] | None = None
        self._data = b""
        self.wire: Wire | None = None

    @property
    def busy(self) -> bool:
        return self._answered is not None

    def ask(self, data: bytes, answered: Callable[[int, str], None]) -> None:
        self._answered = answered
        if self.wire is None:
            self._data = b""
            self.wire = Wire(self._network, self._path, self._received, self._lost)
        self.wire.send(data)

    def _lost(self) -> None:
        self.wire = None
        if self._answered is not None:
            self._answered = None
            self._failed()

    def _received(self, data: bytes) -> None:
        self._data += data
        top, found, rest = self._data.partition(b"\r\n\r\n")
        if not found or self._answered is None:
            return
        fields = top.lower().split(b"\r\n")
        length = next(int(field[15:]) for field in fields if field.startswith(b"content-length:"))
        if len(rest) < length:
            return
        self._data = rest[length:]
        answered, self._answered = self._answered, None
        if b"connection: close" in fields:
            self.close()
        answered(int(top[9:12]), rest[:length].decode())

    def close(self) -> None:
        self._answered = None
        if self.wire is not None:
            self.wire.close()
            self.wire = None


class Polling:
    """Engine.IO packets over requests, and the way to a WebSocket."""

    def __init__(self, network: Network, path: str, upgrades: bool, client: Hears) -> None:
        self._network = network
        self._path = path
        self._client = client
        self._upgrades = upgrades
        self._sid = ""
        self._queue: list[str] = []
        self._polls = Request(network, path, self._dropped)
        self._posts = Request(network, path, self._dropped)
        self._upgrade: WebSocket | None = None
        self._probed = False
        self._upgraded = False
        self._closed = False
        self._poll()

    @property
    def wires(self) -> list[Wire]:
        found = [self._polls.wire, self._posts.wire, None if self._upgrade is None else self._upgrade.wire]
        return [wire for wire in found if wire is not None]

    def send(self, packet: str) -> None:
        if self._upgraded:
            assert self._upgrade is not None
            self._upgrade.send(packet)
        else:
            self._queue.append(packet)
            self._post()

    def _poll(self) -> None:
        self._polls.ask(head("GET", self._sid, "polling"), self._polled)

    def _post(self) -> None:
        if self._queue and self._sid and not self._posts.busy and not self._probed and not self._closed:
            body = SEPARATOR.join(self._queue).encode()
            self._queue.clear()
            self._posts.ask(head("POST", self._sid, "polling", length=len(body)) + body, self._posted)

    def _posted(self, status: int, body: str) -> None:
        if status != 200:
            self._dropped()
        elif self._probed:
            self._switch()
        else:
            self._post()

    def _polled(self, status: int, body: str) -> None:
        if status != 200:
            self._dropped()
            return
        for packet in body.split(SEPARATOR):
            if packet[0] == "0":
                self._sid = json.loads(packet[1:])["sid"]
            if packet[0] == "1":
                self._dropped()
                return
            self._client.packet(packet)
            if self._closed:
                return
        if self._upgrades:
            self._upgrades = False
            self._upgrade = WebSocket(self._network, self._path, self._sid, Probe(self))
            self._upgrade.send("2probe")
        if self._probed:
            self._switch()
        else:
            self._poll()
            self._post()

    def probe_answered(self) -> None:
        self._probed = True
        self._switch()

    def _switch(self) -> None:
        """Once nothing is under way over polling."""
        if self._polls.busy or self._posts.busy or self._upgraded:
            return
        assert self._upgrade is not None
        self._upgraded = True
        self._upgrade.send("5")
        for packet in self._queue:
            self._upgrade.send(packet)
        self._queue.clear()
        self._polls.close()
        self._posts.close()

    def upgrade_lost(self) -> None:
        """Before the switch polling goes on, as in the official client."""
        if self._upgraded or self._probed:
            self._dropped()
        else:
            self._upgrade = None

    def heard(self, packet: str) -> None:
        self._client.packet(packet)

    def _dropped(self) -> None:
        if not self._closed:
            self.close()
            self._client.dropped()

    def close(self) -> None:
        self._closed = True
        self._polls.close()
        self._posts.close()
        if self._upgrade is not None:
            self._upgrade.close()


class Probe:
    """What the WebSocket of an upgrade tells the session that it may carry (the Hears port)."""

    def __init__(self, polling: Polling) -> None:
        self._polling = polling

    def packet(self, text: str) -> None:
        if text == "3probe":
            self._polling.probe_answered()
        else:
            self._polling.heard(text)

    def dropped(self) -> None:
        self._polling.upgrade_lost()


class Client:
    """Comes back whenever it is lost, and keeps count.

    Args:
        kind: "websocket", "polling" or "upgrade".

    Attributes:
        life: since it was last told that it is a new one; None before it has ever been in.
        joined: it is in the namespace now. recovers: it asks for what it missed.
    """

    def __init__(self, name: str, kind: str, network: Network, host: str, path: str, ledger: Ledger) -> None:
        self.name = name
        self._host = host
        self._kind = kind
        self._network = network
        self._path = path
        self._ledger = ledger
        self._random = network.machine.random
        self._pid: str | None = None
        self._offset: str | None = None
        self._connection = 0
        self._lives = 0
        self._numbers = 0
        self._asked: dict[int, tuple[str, Any]] = {}
        self._transport: WebSocket | Polling | None = None
        self._sends: deque[str] = deque()
        self.life: Life | None = None
        self.joined = False
        self.away = False  # it stays away for a while
        self.ended = False
        self._connect()

    def note(self, *words: object) -> None:
        self._ledger.note(self._network.machine.now, self.name, *words)

    # The connection

    def _connect(self) -> None:
        if self.ended or self._transport is not None:
            return
        self.away = False
        self._connection += 1
        self.note("connects", self._connection)
        if self._kind == "websocket":
            self._transport = WebSocket(self._network, self._path, "", self)
        else:
            self._transport = Polling(self._network, self._path, self._kind == "upgrade", self)
        number = self._connection
        self._network.loop.call_later(CONNECT_SECONDS, lambda: self._give_up(number))

    def _give_up(self, number: int) -> None:
        if number == self._connection and not self.joined and self._transport is not None:
            self._ledger.happened["given up"] += 1
            self._transport.close()
            self.dropped()

    @property
    def wires(self) -> list[Wire]:
        transport = self._transport
        if transport is None:
            return []
        return [transport.wire] if isinstance(transport, WebSocket) else transport.wires

    def cut(self, away_seconds: float = 0.0) -> None:
        """The client's side notices at once, the server whenever it does."""
        if self._transport is not None:
            self._transport.close()
            self.dropped(away_seconds)

    def fall_silent(self) -> None:
        """Neither side is told; the client looks for another way."""
        for wire in self.wires:
            wire.silence()
            self._network.loop.call_later(60.0, wire.close)
        if self._transport is not None:
            self.dropped()

    def leave(self) -> None:
        """For good, with a goodbye."""
        self.ended = True
        if self.joined:
            self._packet("41")
        if self._transport is not None:
            transport, self._transport = self._transport, None
            self._network.loop.call_later(2.0, transport.close)

    def dropped(self, away_seconds: float = 0.0) -> None:
        self._transport = None
        self.joined = False
        self.note("dropped")
        self._asked.clear()
        if not self.ended:
            self.away = away_seconds > 0
            pause = away_seconds or self._random.random() * 1.2
            self._network.loop.call_later(pause, self._connect)

    def _packet(self, text: str) -> None:
        if self._transport is not None:
            self._transport.send(text)

    # What comes

    def packet(self, text: str) -> None:
        if self.ended:
            return
        if text[0] == "0":
            # Chance says whether one that saw nothing asks with a pid alone.
            auth = {} if self._pid is None else {"pid": self._pid, "offset": self._offset}
            auth = {name: value for name, value in auth.items() if value is not None}
            self._packet("40" + json.dumps({"name": self.name, **auth}))
        elif text == "2":
            self._packet("3")
        elif text[:2] == "40":
            self._in(json.loads(text[2:]))
        elif text[:2] == "41":
            self.note("sent out")
            self._ledger.happened["sent out"] += 1
            self.cut()
        elif text[:2] == "42":
            self._event(text[2:])
        elif text[:2] == "43":
            ack, _, values = text[2:].partition("[")
            self._acknowledged(int(ack), json.loads("[" + values))
        elif text[:2] == "44":
            self._ledger.broken.append(f"refused: {self.name}: {text}")

    def _in(self, told: dict[str, str]) -> None:
        recovered = told.get("pid") is not None and told.get("pid") == self._pid
        if self._pid is not None:
            self._ledger.happened["recovered" if recovered else "not recovered"] += 1
        self._pid = told.get("pid")
        if not recovered:
            self._lives += 1
            self._offset = None
            self.life = Life(self.name, self._lives, self._host)
            self.life.maybe.add(EVERYBODY)
            self.life.held[EVERYBODY] = self._ledger.next_place()
        self.joined = True
        self.note("in", "recovered" if recovered else "new", self._lives)
        number = self._connection
        self._network.loop.call_later(self._random.random() * SPEAK_SECONDS, lambda: self._speak(number))

    def _event(self, text: str) -> None:
        ack, _, rest = text.partition("[")
        event, *values = json.loads("[" + rest)
        if self._pid is not None and values and isinstance(values[-1], str) and not ack:
            self._offset = values.pop()
        if event == "said":
            origin, serial, room, _ = values
            self.note("got", origin, serial, room)
            if self.life is not None:
                self._ledger.receive(self.life, origin, serial, room)
        elif event == "question":
            self.note("asked", *values)
            self._packet(f"43{ack}[{values[0]}]")

    # What it says

    def _speak(self, number: int) -> None:
        """As long as this connection lasts."""
        if number != self._connection or not self.joined or self._network.calm:
            return
        for _ in range(self._random.choice((1, 1, 2, 5))):
            self._say_something()
        self._network.loop.call_later(self._random.random() * 2 * SPEAK_SECONDS, lambda: self._speak(number))

    def _say_something(self) -> None:
        kind = self._random.choice(("say",) * 8 + ("join", "leave", "ask"))
        room = self._random.choice(ROOMS)
        if kind == "say":
            self.say(self._random.choice((EVERYBODY, EVERYBODY, *ROOMS)))
        elif kind == "ask":
            self._emit("ask", self.name, self._numbers)
        elif self.life is not None and not any(asked == room for _, asked in self._asked.values()):
            if kind == "join":
                self.life.maybe.add(room)
            else:
                self.life.held.pop(room, None)
            self._emit(kind, self.name, room)

    def say(self, room: str) -> None:
        pad = self._random.choice((0, 0, 0, 0, 10, 300, 20_000))
        self._emit("say", self.name, self._connection, self._numbers, room, "x" * pad)

    def _emit(self, event: str, *values: object) -> None:
        number, self._numbers = self._numbers, self._numbers + 1
        self._asked[number] = (event, values[1])
        self.note(event, number)
        self._packet(f"42{number}" + json.dumps([event, *values]))

    def _acknowledged(self, number: int, values: list[Any]) -> None:
        event, room = self._asked.pop(number, ("", None))
        self.note("acknowledged", number, *values)
        if event == "say":
            self._ledger.acknowledge(self.name, number, values[0])
        elif event and self.life is not None and room is not None:
            if event == "join":
                self.life.held.setdefault(room, self._ledger.next_place())
            elif event == "leave":
                self.life.maybe.discard(room)
                self.life.left[room] = self._ledger.next_place()
