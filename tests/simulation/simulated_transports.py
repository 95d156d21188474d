"""Engine.IO's transports on the client's side: polling, a WebSocket, and the upgrade of one to the other.

It must not know Socket.IO, or which worker answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol

from simulated_network import Network, Wire
from wsframe import Close, Connection, ProtocolError, Role, State

SEPARATOR = "\x1e"
UPGRADE_HEAD = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
PROBE_PAUSE_SECONDS = 0.1


class Hears(Protocol):
    """Port: whose transport it is."""

    def packet(self, text: str) -> None: ...
    def dropped(self) -> None: ...


class HearsSwitch(Hears, Protocol):
    """Port: who has a transport that may become a WebSocket."""

    def upgraded(self) -> None: ...


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

    def forget(self) -> None:
        """Its client looks for another way, and its wire is silent: nothing comes any more."""

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

    def __init__(self, network: Network, path: str, upgrades: bool, client: HearsSwitch) -> None:
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
            return
        self._post()
        if body == "6":  # in no time it would be told so without end
            self._network.loop.call_later(PROBE_PAUSE_SECONDS, self._poll_on)
        else:
            self._poll()

    def _poll_on(self) -> None:
        if not self._probed and not self._closed:
            self._poll()

    def probe_answered(self) -> None:
        self._probed = True
        self._switch()

    def _switch(self) -> None:
        """Once nothing is under way over polling."""
        if self._polls.busy or self._posts.busy or self._upgraded:
            return
        assert self._upgrade is not None
        self._upgraded = True
        self._client.upgraded()
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

    def forget(self) -> None:
        """Its client looks for another way, and its wires are silent: it makes no new one."""
        self._closed = True

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
