"""A server's end of a connection that a test writes by hand: its answer to a handshake, its frames.

It must not know what a test does with it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from wsframe import Opcode, Role, encode_frame, handshake
from wsframe.connection import Connection
from wsframe.sync import ClientConnection, connect

KEY = b"0123456789abcdef"
SOON = 0.001  # of a peer that has stopped: as good as an hour
LONG = 60.0


def answer(**other: str) -> bytes:
    accept = handshake.request("/", "h").key  # with `fixed_key` it is always the same
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": handshake.accept_key(accept),
        **other,
    }
    lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def opened(ours: socket.socket, **options: Any) -> ClientConnection:
    options = {"close_timeout": SOON, "open_timeout": LONG, "compression": None} | options
    return connect("ws://h/", sock=ours, **options)


FRAMES = {
    "text": encode_frame(Opcode.TEXT, "Grüße"),
    "126": encode_frame(Opcode.BINARY, bytes(126)),
    "127": encode_frame(Opcode.BINARY, bytes(65_536))[:20],
    "fragments": encode_frame(Opcode.TEXT, "a", fin=False) + encode_frame(Opcode.CONTINUATION, "b"),
    "ping": encode_frame(Opcode.PING, b"12"),
    "close": encode_frame(Opcode.CLOSE, b"\x03\xe8bye"),
}


class Answering(threading.Thread):
    """A server in a thread: what it answers to each event is the test's."""

    def __init__(self, theirs: socket.socket, react: Callable[[Connection, Any], None]) -> None:
        super().__init__()
        self.theirs = theirs
        self.react = react

    def run(self) -> None:
        while b"\r\n\r\n" not in self.theirs.recv(65_536):
            pass
        self.theirs.sendall(answer())
        server = Connection(Role.SERVER)
        with suppress(OSError):
            while data := self.theirs.recv(65_536):
                for event in server.receive_data(data):
                    self.react(server, event)
                self.theirs.sendall(server.data_to_send())
        self.theirs.close()


def what_came(theirs: socket.socket) -> list[Any]:
    """What the client has sent behind its request, once it has ended TCP."""
    data = b""
    while piece := theirs.recv(65_536):
        data += piece
    return list(Connection(Role.SERVER).receive_data(data.partition(b"\r\n\r\n")[2]))


def accepted(listener: socket.socket) -> socket.socket:
    """The next connection, its handshake answered whatever its key is."""
    theirs, _ = listener.accept()
    data = b""
    while b"\r\n\r\n" not in data:
        data += theirs.recv(65_536)
    key = next(line for line in data.decode().splitlines() if line.startswith("Sec-WebSocket-Key: "))
    theirs.sendall(answer(**{"Sec-WebSocket-Accept": handshake.accept_key(key.partition(": ")[2])}))
    return theirs
