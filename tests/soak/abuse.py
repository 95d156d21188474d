"""Bad traffic: each kind of conversation again and again, at a bounded rate, until standard input is closed.

It must not know what is measured meanwhile. Usage: abuse.py CONFIG. A conversation ends with a word: how the
server has ended it. What is no right end (a page for a malformed request, a connection that stays) is a
finding.
"""

import asyncio
import base64
import json
import random
import socket
import ssl
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MALFORMED = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x00\x01\x02\x03\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
    b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
    b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\n0\r\n\r\n",
    b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\n",
    b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: 1\r\n" % number for number in range(120)) + b"\r\n",
    b"GET /socket.io/?EIO=4&transport=carrier-pigeon HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /socket.io/?EIO=4&transport=polling&sid=nobody HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
]


def frame(opcode: int, payload: bytes = b"", *, head: int = 0x80, masked: bool = True) -> bytes:
    """RFC 6455 5.2, with any bits in front of the opcode."""
    size = len(payload)
    length = struct.pack("!BQ", 127, size) if size > 0xFFFF else struct.pack("!BH", 126, size)
    if size < 126:
        length = bytes([size])
    if not masked:
        return bytes([head | opcode]) + length + payload
    return bytes([head | opcode, length[0] | 0x80]) + length[1:] + bytes(4) + payload  # the mask is zeros


# Each behind a handshake, and refused by a close frame or by the end of the connection.
BAD_FRAMES = [
    frame(TEXT, b"unmasked", masked=False),
    frame(TEXT, b"rsv", head=0xC0),
    frame(3, b"reserved"),
    frame(TEXT, b"\xff\xfe"),
    frame(PING, b"p" * 126),
    frame(PING, b"cut", head=0x00),
    frame(CLOSE, struct.pack("!H", 1005)),
    frame(CLOSE, b"x"),
    frame(0, b"a continuation of nothing"),
    frame(TEXT, b"one", head=0x00) + frame(TEXT, b"two"),
    bytes([0x81, 0xFF]) + struct.pack("!Q", 1 << 63) + bytes(4),
]
BAD_PACKETS = [
    "42{",
    "4",
    "49",
    '42["a"',
    '42/nowhere,["a"]',
    "4599-[]",
    '451-["a",{"_placeholder":true,"num":7}]',
    "42" + "[" * 3_000,
    '42999999999999999999999999["a"]',
    "43[]",
    "6",
    "2probe",
    "40/unknown,",
    "44{}",
]


GREETINGS = [b"\x16\x03\x01\x02\x00\x01\x00", b"\x16\x03\x01\x00\x05hello", b"GET / HTTP/1.0\r\n\r\n"]


class Finding(Exception):
    """The server did what it should not."""


class Wire:
    """One connection to one of the machines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def head(self) -> tuple[int, bytes]:
        """The status and the head; (0, b"") when the server has closed without a word."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return 0, b""
        return int(head.split(b" ", 2)[1]), head

    async def end(self) -> int:
        """Reads to the end of the connection; how many bytes came."""
        count = 0
        while piece := await self.reader.read(65_536):
            count += len(piece)
        return count

    def reset(self) -> None:
        """Left with RST, as a machine leaves that was switched off and on."""
        sock = self.writer.get_extra_info("socket")
        if self.writer.transport.is_closing():  # the server was first
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def websocket(self, path: str) -> None:
        key = base64.b64encode(random.randbytes(16)).decode()
        await self.send(
            f"GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        status, _ = await self.head()
        if status == 0:
            raise ConnectionResetError("it left during the handshake")
        if status != 101:
            raise Finding(f"handshake at {path}: {status}")

    async def joined(self) -> None:
        """A Socket.IO client over a WebSocket."""
        await self.websocket("/socket.io/?EIO=4&transport=websocket")
        await self.send(frame(TEXT, b"40"))
        await self.reader.readuntil(b"40{")


class Abuser:
    """One task: conversations of one kind with machines by lot."""

    def __init__(self, config: dict[str, Any], kind: str, number: int) -> None:
        self.random = random.Random(f"{config['seed']} {kind} {number}")
        self.patience_seconds: float = config["patience_seconds"]
        self.machines = config["machines"]
        self.contexts = {
            each["name"]: ssl.create_default_context(cafile=each["ca"]) if each["ca"] else None
            for each in self.machines
        }

    async def open(self, *, plain: bool = False) -> Wire:
        machine = self.random.choice(self.machines)
        context = None if plain else self.contexts[machine["name"]]
        return Wire(*await asyncio.open_connection(machine["host"], machine["port"], ssl=context))

    async def malformed_http(self, wire: Wire) -> str:
        await wire.send(self.random.choice(MALFORMED))
        status, head = await wire.head()
        if status and not 400 <= status < 600:
            raise Finding(f"a malformed request got {status}: {head!r}")
        await wire.end()
        return str(status)

    async def malformed_frames(self, wire: Wire) -> str:
        await wire.websocket(self.random.choice(["/blocking", "/socket.io/?EIO=4&transport=websocket"]))
        await wire.send(self.random.choice(BAD_FRAMES))
        await wire.end()
        return "closed"

    async def malformed_packets(self, wire: Wire) -> str:
        await wire.joined()
        await wire.send(frame(TEXT, self.random.choice(BAD_PACKETS).encode()), frame(TEXT, b'420["echo",1]'))
        await wire.send(frame(CLOSE))
        await wire.end()
        return "closed"

    async def oversized(self, wire: Wire) -> str:
        which = self.random.randrange(3)
        if which == 0:
            await wire.websocket("/blocking")
            await wire.send(frame(BINARY, bytes(1_100_000)))
        elif which == 1:
            await wire.joined()
            await wire.send(frame(TEXT, b'42["echo","' + b"x" * 250_000 + b'"]'))
        else:
            await wire.send(
                b"POST /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: a\r\n"
                b"Content-Length: 9000000\r\n\r\n" + bytes(100_000)
            )
        await wire.end()
        return "refused"

    async def session_flood(self, wire: Wire) -> str:
        """Sessions that nobody ever asks for again."""
        for _ in range(30):
            await wire.send(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n")
            status, head = await wire.head()
            if status != 200:
                return str(status)
            await wire.reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
        return "left"

    async def rapid_connects(self, wire: Wire) -> str:
        for _ in range(self.random.randrange(10)):
            other = await self.open(plain=self.random.random() < 0.5)
            other.reset() if self.random.random() < 0.5 else other.writer.close()
        wire.reset()
        return "left"

    async def broken_handshakes(self, wire: Wire) -> str:
        """To plain and TLS ports alike: garbage, a cut greeting, plain text."""
        wire.reset()
        other = await self.open(plain=True)
        try:
            greetings = [
                b"\x16\x03\x01\x02\x00\x01\x00",
                b"\x16\x03\x01\x00\x05hello",
                b"GET / HTTP/1.0\r\n\r\n",
            ]
            await other.send(self.random.choice(greetings))
            if self.random.random() < 0.5:
                other.reset()
                return "left"
            await other.end()
        finally:
            other.writer.close()
        return "closed"

    async def slow_reader(self, wire: Wire) -> str:
        """4 MB asked for, and a few bytes of them read."""
        await wire.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        for _ in range(5):
            await wire.reader.read(2_000)
            await asyncio.sleep(0.5)
        wire.reset()
        return "left"

    async def deaf_client(self, wire: Wire) -> str:
        """A Socket.IO client that asks for 10 MB and reads none of it: cut at --limit-unsent."""
        await wire.joined()
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await wire.send(*(frame(TEXT, b'42%d["heavy"]' % number) for number in range(200)))
        for _ in range(4):
            await asyncio.sleep(0.5)
        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await wire.end()
        return "cut"

    async def half_open(self, wire: Wire) -> str:
        """A Socket.IO client that answers no ping: the server finds out by itself."""
        await wire.joined()
        await wire.end()
        return "found"

    async def stalled_request(self, wire: Wire) -> str:
        """A request that stops in the middle: 408, or closed."""
        await wire.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        status, _ = await wire.head()
        if status not in (0, 408):
            raise Finding(f"half a body got {status}")
        await wire.end()
        return str(status)

    async def slowloris(self, wire: Wire) -> str:
        """A head that comes byte by byte and never ends."""
        await wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        reading = asyncio.create_task(wire.head())
        while not reading.done():
            await wire.send(b"y")
            await asyncio.wait([reading], timeout=0.3)
        status, _ = await reading
        if status not in (0, 408):
            raise Finding(f"a head without an end got {status}")
        return str(status)

    async def ping_flood(self, wire: Wire) -> str:
        await wire.websocket("/blocking")
        pings = b"".join(frame(self.random.choice([PING, PONG]), b"%d" % number) for number in range(500))
        for _ in range(4):
            await wire.send(pings)
            await asyncio.sleep(0.05)
        await wire.send(frame(CLOSE, struct.pack("!H", 1000)))
        await wire.end()
        return "closed"

    async def event_flood(self, wire: Wire) -> str:
        """More events at once than may wait for a thread, and gone before they are answered."""
        await wire.joined()
        await wire.send(b"".join(frame(TEXT, b'42%d["echo",1]' % number) for number in range(1_000)))
        if self.random.random() < 0.5:
            wire.reset()
            return "left"
        await wire.send(frame(CLOSE, struct.pack("!H", 1000)))
        await wire.end()
        return "closed"

    async def failing_handler(self, wire: Wire) -> str:
        """An exception in the application, which costs its client nothing."""
        await wire.joined()
        await wire.send(frame(TEXT, b'42["fail"]'), frame(TEXT, b'427["echo",1]'))
        await wire.reader.readuntil(b"437[1]")
        return "served"

    async def wrong_upgrade(self, wire: Wire) -> str:
        """A second transport for a session that is not there, or has one."""
        await wire.joined()
        other = await self.open()
        try:
            await other.websocket("/socket.io/?EIO=4&transport=websocket&sid=nobody")
        except Finding:
            return "refused"  # 400 is the right answer
        finally:
            other.writer.close()
        raise Finding("a WebSocket for an unknown session was let in")

    async def one(self, kind: str) -> str:
        """A conversation from its first byte to its end."""
        wire = await self.open()
        try:
            async with asyncio.timeout(self.patience_seconds):
                return str(await getattr(self, kind)(wire))
        except TimeoutError:
            raise Finding(f"it did not end within {self.patience_seconds:g} s") from None
        finally:
            wire.writer.transport.abort()


# How many at once, and how many seconds one pauses between two.
KINDS: dict[str, tuple[int, float]] = {
    "malformed_http": (1, 0.15),
    "malformed_frames": (1, 0.3),
    "malformed_packets": (1, 0.3),
    "oversized": (1, 0.8),
    "session_flood": (1, 1.0),
    "rapid_connects": (1, 0.5),
    "broken_handshakes": (1, 0.3),
    "slow_reader": (2, 0.5),
    "deaf_client": (1, 2.0),
    "half_open": (3, 0.5),
    "stalled_request": (3, 0.5),
    "slowloris": (3, 0.5),
    "ping_flood": (1, 1.0),
    "event_flood": (1, 1.0),
    "failing_handler": (1, 2.0),
    "wrong_upgrade": (1, 1.0),
}


async def again_and_again(abuser: Abuser, kind: str, outcomes: Counter[str], findings: list[Any]) -> None:
    while True:
        try:
            outcomes[await abuser.one(kind)] += 1
        except (OSError, EOFError):  # reset, refused for a moment, or a worker that was killed
            outcomes["connection lost"] += 1
        except Finding as finding:
            outcomes["finding"] += 1
            findings.append([time.time(), kind, str(finding)])
        await asyncio.sleep(KINDS[kind][1] * abuser.random.uniform(0.5, 1.5))


async def abuse(config: dict[str, Any]) -> None:
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    findings: list[Any] = []
    tasks = [
        asyncio.create_task(again_and_again(Abuser(config, kind, number), kind, outcomes[kind], findings))
        for kind, (count, _) in KINDS.items()
        for number in range(count)
    ]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    broken = [repr(task.exception()) for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    Path(config["report"]).write_text(
        json.dumps({"outcomes": outcomes, "findings": findings, "broken": broken})
    )


if __name__ == "__main__":
    asyncio.run(abuse(json.loads(Path(sys.argv[1]).read_text())))
