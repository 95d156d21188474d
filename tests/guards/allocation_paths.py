"""Prints, as JSON, the allocations of one message on its way through the real server: run by guards.py.

It must not know bounds. A path's figure is a slope: the difference between many messages and few. The client
here allocates nothing per message.
"""

import ctypes
import gc
import json
import socket
import sys
from collections.abc import Callable
from typing import Any, Self

from flask import Flask

from python_server import Resource, SocketIO, WebSocket, WebSocketApplication, WSGIServer, emit, join_room
from wsframe import Opcode, encode_frame

MASK = b"\1\2\3\4"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MESSAGES_COUNT = 100
MEMBERS_COUNT = 80
counter = ctypes.PyDLL(sys.argv[1])
counter.counting_end.restype = ctypes.c_long


def counted(work: Callable[[int], None], times: int) -> int:
    """Allocations of `work(times)`, everything warmed up before and no collection meanwhile."""
    gc.collect()
    gc.disable()
    counter.counting_begin()
    work(times)
    total: int = counter.counting_end()
    gc.enable()
    return total


def slope(work: Callable[[int], None], times: int = MESSAGES_COUNT) -> float:
    """Allocations per message; the least of some looks: a timer or a clock's tick can only add."""
    work(times)
    looks = [(counted(work, 2 * times) - counted(work, times)) / times for _ in range(8)]
    return round(min(looks), 2)


class Client:
    """A raw WebSocket; it sends prepared frames and takes answers of a known length."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray(65_536)
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.take_until(b"\r\n\r\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def take_until(self, end: bytes) -> None:
        got = b""
        while end not in got:
            piece = self.socket.recv(4096)
            if not piece:
                raise SystemExit(f"the server closed after {got!r}")
            got += piece

    def say(self, text: str) -> None:
        self.socket.sendall(encode_frame(Opcode.TEXT, text, MASK))

    def take(self, length: int) -> None:
        while length:
            length -= self.socket.recv_into(self.buffer, length)

    def exchange(self, frame: bytes, answer_bytes: int) -> Callable[[int], None]:
        def work(times: int) -> None:
            for _ in range(times):
                self.socket.send(frame)
                self.take(answer_bytes)

        return work


class Echo(WebSocketApplication):
    inline = True

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        ws.send(message)


class ToAll(WebSocketApplication):
    inline = True

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        self.broadcast(message)


def flask_app(inline: bool) -> Flask:
    app = Flask(__name__)
    socketio = SocketIO(app)

    @socketio.on("echo", inline=inline)
    def echo(message: Any) -> None:
        emit("echo", message)

    @socketio.on("join")
    def join() -> str:
        join_room("all")
        return "joined"

    @socketio.on("say", inline=inline)
    def say(message: Any) -> None:
        emit("news", message, to="all")

    return app


def joined(port: int) -> Client:
    client = Client(port, "/socket.io/?EIO=4&transport=websocket")
    client.say("40")
    client.take_until(b"40{")
    client.say('420["join"]')
    client.take_until(b"430[")
    return client


def websocket_paths() -> dict[str, float]:
    with WSGIServer(("127.0.0.1", 0), Resource({"/echo": Echo(), "/all": ToAll()})) as server:
        port = server.address[1]
        frame = encode_frame(Opcode.BINARY, bytes(128), MASK)
        answer_bytes = len(encode_frame(Opcode.BINARY, bytes(128)))
        with Client(port, "/echo") as client:
            echo = slope(client.exchange(frame, answer_bytes))
        members = [Client(port, "/all") for _ in range(MEMBERS_COUNT)]
        return {
            "inline WebSocket echo of 128 B": echo,
            "recipient of a WebSocket broadcast of 128 B": recipients(members, frame, answer_bytes),
        }


def recipients(members: list[Client], frame: bytes, answer_bytes: int) -> float:
    """Broadcasts to all against broadcasts to half: what one more recipient costs."""

    def shout(times: int) -> None:
        for _ in range(times):
            members[0].socket.send(frame)
            for member in members:
                member.take(answer_bytes)

    to_all = slope(shout, 10)
    half = len(members) // 2
    while len(members) > half:
        members.pop().socket.close()
    to_half = slope(shout, 10)
    while members:
        members.pop().socket.close()
    return round((to_all - to_half) / half, 2)


def socketio_paths() -> dict[str, float]:
    frame = encode_frame(Opcode.TEXT, '42["echo",{"number":7,"player":"Ada"}]', MASK)
    answer_bytes = len(encode_frame(Opcode.TEXT, '42["echo",{"number":7,"player":"Ada"}]'))
    found = {}
    for name, inline in (("inline", True), ("in a thread", False)):
        served = WSGIServer(("127.0.0.1", 0), flask_app(inline))
        with served as server, joined(server.address[1]) as client:
            found[f"Socket.IO event with Flask's context, {name}"] = slope(
                client.exchange(frame, answer_bytes)
            )
    with WSGIServer(("127.0.0.1", 0), flask_app(True)) as server:
        members = [joined(server.address[1]) for _ in range(MEMBERS_COUNT)]
        say = encode_frame(Opcode.TEXT, '42["say",{"number":7,"player":"Ada"}]', MASK)
        found["recipient of a Socket.IO room"] = recipients(members, say, answer_bytes)
    return found


print(json.dumps(websocket_paths() | socketio_paths()))
