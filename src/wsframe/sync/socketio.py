"""Socket.IO over a client's WebSocket, for the terminal: what is written for an event, what is printed.

It must not know arguments or outputs. The packets are `python_server`'s: the one file here that needs it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

from python_server.engineio.packet import EnginePacketType, decode_packet
from python_server.socketio.packet import Packet, PacketType, RefusalError, TextCodec

from .connection import ClientConnection
from .driver import Seconds, later
from .exceptions import ConnectionClosed, ConnectionClosedOK, WebSocketException


class SocketIOError(WebSocketException):
    """The server refuses the namespace, or speaks something else."""


def socketio_uri(uri: str) -> str:
    """The URI with what Engine.IO needs; without a path with the usual one."""
    parts = urlsplit(uri)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    path = "/socket.io/" if parts.path in ("", "/") else parts.path
    query = "&".join(filter(None, [parts.query, "EIO=4&transport=websocket"]))
    return urlunsplit((scheme, parts.netloc, path, query, parts.fragment))


class SocketIOTalk:
    """One `namespace` on an open `websocket`, which was opened at a `socketio_uri`."""

    def __init__(self, websocket: ClientConnection, namespace: str) -> None:
        self._websocket = websocket
        self._namespace = namespace
        self._codec = TextCodec()
        self._asked_count = 0
        self._packets = self._received()
        self._join_by: Seconds = None

    def connect(self, auth: object, timeout: Seconds) -> None:
        """Join the namespace within `timeout` seconds. Raises SocketIOError, and as `recv` does."""
        self._join_by = later(timeout)
        with suppress(ConnectionClosedOK):
            self._send(PacketType.CONNECT, auth, None)
        try:
            joined = any(packet.kind is PacketType.CONNECT for packet in self._packets)
        except TimeoutError:
            words = f"the server did not let us join {self._namespace} within {timeout} seconds"
            raise TimeoutError(words) from None
        self._join_by = None
        if not joined:
            raise SocketIOError(f"the server closed the connection before it let us join {self._namespace}")

    def emit(self, name: str, arguments: list[object]) -> None:
        """Send an event that asks for an acknowledgement."""
        self._asked_count += 1
        self._send(PacketType.EVENT, [name, *arguments], self._asked_count)

    def lines(self) -> Iterator[str]:
        """What is heard, "NAME JSON..." or "ack NUMBER JSON...", until the server ends it."""
        for packet in self._packets:
            if packet.kind is PacketType.DISCONNECT:
                return
            if packet.kind in (PacketType.EVENT, PacketType.ACK):
                words = packet.data if isinstance(packet.data, list) else []
                if packet.kind is PacketType.ACK:
                    words = ["ack", packet.id, *words]
                said = (json.dumps(word, ensure_ascii=False, default=bytes.hex) for word in words[1:])
                yield " ".join([str(words[0]), *said])

    def _send(self, kind: PacketType, data: object, number: int | None) -> None:
        for part in self._codec.prepare(kind, self._namespace, data, number).packets:
            self._websocket.send(part)

    def _received(self) -> Iterator[Packet]:
        """Packets of the namespace; heartbeats are answered here. Raises SocketIOError."""
        decoder = self._codec.decoder()
        with suppress(ConnectionClosedOK):
            while True:
                message = self._websocket.recv(
                    None if self._join_by is None else max(0.0, self._join_by - time.monotonic())
                )
                try:
                    kind, data = decode_packet(message)
                    packet = decoder.receive(data) if kind is EnginePacketType.MESSAGE else None
                except RefusalError as error:
                    raise SocketIOError(
                        f"the server refuses {self._namespace}: {error.packet.data}"
                    ) from None
                except ValueError as error:
                    raise SocketIOError(f"the server does not speak Socket.IO 5: {error}") from None
                if kind is EnginePacketType.PING:
                    with suppress(ConnectionClosed):  # `recv` says so, behind what came before
                        self._websocket.send(EnginePacketType.PONG + str(data))
                elif kind is EnginePacketType.CLOSE:
                    return
                if packet is not None and packet.namespace == self._namespace:
                    yield packet
