"""The connections of a light client: HTTP requests one after the other, and a WebSocket of Engine.IO packets.

They must not know Socket.IO, or why they are cut.
"""

import asyncio
import os
import socket
import struct
from base64 import b64encode
from collections.abc import Callable

import wsframe

RESET = struct.pack("ii", 1, 0)
READ_BYTES = 1 << 16
PATH = "/socket.io/?EIO=4&transport="


class Cut(ConnectionError):
    """The connection has ended, or said what ends it."""


class Wire:
    """One TCP connection, which can be cut in several ways."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, host: str, port: int) -> "Wire":
        return cls(*await asyncio.open_connection(host, port))

    def stop_reading(self) -> None:
        """What the server sends stays on the way."""
        if not self.writer.transport.is_closing():
            self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def cut(self, reset: bool, partial: bytes = b"") -> None:
        """With a FIN or a RST; `partial` is sent before it."""
        transport = self.writer.transport
        if partial and not transport.is_closing():
            transport.write(partial)
        raw: socket.socket | None = transport.get_extra_info("socket")
        if reset and raw is not None and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        transport.abort()

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the fields of a response."""
        try:
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except asyncio.IncompleteReadError as error:
            raise Cut("the response did not come") from error
        fields = (line.partition(":") for line in lines if line)
        return int(first.split()[1]), {name.lower(): text.strip() for name, _, text in fields}


class PollingConnection:
    """One request at a time, on a connection that is opened when it is needed."""

    partial = b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: her"

    def __init__(self, host: str, port: int) -> None:
        self._place = (host, port)
        self.wire: Wire | None = None

    async def ask(self, method: str, query: str, body: str = "") -> str:
        """The body of the answer.

        Raises:
            Cut: the answer is an error, or does not come.
        """
        if self.wire is None:
            self.wire = await Wire.open(*self._place)
        wire, data = self.wire, body.encode()
        head = f"{method} {PATH}polling{query} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(data)}\r\n\r\n"
        wire.writer.write(head.encode() + data)
        status, fields = await wire.head()
        try:
            answer = (await wire.reader.readexactly(int(fields["content-length"]))).decode()
        except asyncio.IncompleteReadError as error:
            raise Cut("the answer did not come") from error
        if fields.get("connection", "").lower() == "close":
            wire.writer.close()
            self.wire = None
        if status != 200:
            raise Cut(f"{status}: {answer}")
        return answer


class WebSocketConnection:
    """Engine.IO packets, each a text message."""

    partial = b"\x81\xfe\x00\x80\0\0"  # of a frame

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._codec = wsframe.Connection(wsframe.Role.CLIENT)
        self._is_closed = False  # by the server; packets that came before it were handed out

    @classmethod
    async def open(
        cls, host: str, port: int, query: str, opened: Callable[[Wire], None]
    ) -> "WebSocketConnection":
        """`opened` is told of the TCP connection at once: the handshake may be cut as well."""
        wire = await Wire.open(host, port)
        opened(wire)
        key = b64encode(os.urandom(16)).decode()
        wire.writer.write(
            f"GET {PATH}websocket{query} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        status, _ = await wire.head()
        if status != 101:
            raise Cut(f"status {status} instead of a WebSocket")
        return cls(wire)

    def send(self, packets: list[str]) -> None:
        for packet in packets:
            self._codec.send_text(packet)
        self.wire.writer.write(self._codec.data_to_send())

    async def receive(self) -> list[str]:
        """The next packets.

        Raises:
            Cut: it has ended.
        """
        if self._is_closed:
            raise Cut("closed behind its last packets")
        data = await self.wire.reader.read(READ_BYTES)
        if not data:
            raise Cut("end of file")
        messages = self._codec.receive_data(data)
        if self._codec.attention:
            others = [each for each in messages if type(each) is not str]
            if not all(isinstance(each, wsframe.Close) for each in others):
                raise AssertionError(f"not of Engine.IO: {others}")
            self._is_closed = bool(others)
            if not (messages := [each for each in messages if type(each) is str]):
                raise Cut(f"{others}")
        return messages  # type: ignore[return-value]
