"""Echoes over loopback: each peer's own echo server on asyncio and on uvloop, one generator for all of them.

It must not know a peer's server, and must not time anything: it tells the clock of the server's process.
"""

from __future__ import annotations

import functools
import importlib.util
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cases import Case, Peers, Task
from streams import KIB, MIB

from wsframe import Opcode, encode_frame

SERVER = Path(__file__).with_name("echo_server.py")
LOOPS = ("asyncio", "uvloop")
PEERS = ("wsframe", "picows", "websockets", "aiohttp")
SIZES = {"128 B": 128, "16 KiB": 16 * KIB, "1 MiB": MIB}
# Each has one message under way: so the server finds several of them in a turn of its loop.
CONNECTIONS_COUNT = 8
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PATIENCE_SECONDS = 60
SETTLE_SECONDS = 0.001


def tasks() -> Iterator[Task]:
    for loop in LOOPS:
        for words, nbytes in SIZES.items():
            yield Task(f"echo on {loop}, {words}", functools.partial(_cases, loop, nbytes))


def _cases(loop: str, nbytes: int, peers: Peers) -> Iterator[Case]:
    if importlib.util.find_spec(loop) is None:
        return
    payload = random.Random(1).randbytes(nbytes)
    for peer in PEERS:
        if peer in peers:
            echo = Echo.start(peer, loop, payload)
            yield Case(
                peer,
                CONNECTIONS_COUNT,
                CONNECTIONS_COUNT * nbytes,
                echo.turn,
                clock=echo.clock,
                close=echo.close,
            )


@dataclass(slots=True)
class Echo:
    """A server and its connections; `turn` sends a message on each of them and takes the answers."""

    server: subprocess.Popen[str]
    sockets: list[socket.socket]
    request: bytes
    answer: bytearray
    clock: Callable[[], float]

    @classmethod
    def start(cls, peer: str, loop: str, payload: bytes) -> Echo:
        server = subprocess.Popen(
            [sys.executable, str(SERVER), peer, loop],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        request = encode_frame(Opcode.BINARY, payload, b"\x37\xfa\x21\x3d")
        expected = encode_frame(Opcode.BINARY, payload)
        echo = cls(server, [], request, bytearray(len(expected)), cpu_clock_of(server.pid))
        try:
            echo.connect()
            echo.turn()
            if echo.answer != expected:
                raise RuntimeError(f"{peer} does not echo: its figure would mean nothing")
        except BaseException:
            echo.close()
            raise
        return echo

    def connect(self) -> None:
        assert self.server.stdout is not None
        port = int(self.server.stdout.readline())
        for _ in range(CONNECTIONS_COUNT):
            connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets.append(connection)
            connection.sendall(REQUEST)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                received = connection.recv(1)
                if not received:
                    raise RuntimeError("the server refuses the handshake")
                head += received

    def turn(self) -> None:
        request, answer = self.request, memoryview(self.answer)
        for connection in self.sockets:
            connection.sendall(request)
        for connection in self.sockets:
            missing = answer
            while missing:
                nbytes = connection.recv_into(missing)
                if not nbytes:
                    raise RuntimeError("the server has closed the connection")
                missing = missing[nbytes:]

    def close(self) -> None:
        for connection in self.sockets:
            connection.close()
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.close()
        self.server.stdout.close()
        self.server.wait()


def cpu_clock_of(pid: int) -> Callable[[], float]:
    """Seconds of CPU that a process has taken (Linux: clock_gettime(2) has the clock's number)."""
    number = (~pid << 3) | 2

    def clock() -> float:
        # While the process runs, the kernel counts by ticks of some milliseconds: let it fall asleep.
        time.sleep(SETTLE_SECONDS)
        return time.clock_gettime(number)

    return clock
