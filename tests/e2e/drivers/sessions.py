"""How much memory a Socket.IO session costs, and how fast thousands of parked polls are answered by one loop.

It must not know the server's insides: it opens sessions, and reads /proc and the clock.

    python tests/e2e/drivers/sessions.py [--sessions 5000] [--way polling|websocket]

Needs as many descriptors twice over as there are sessions (ulimit -n). The server is a child process.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

APPS = Path(__file__).resolve().parents[1] / "apps"
BATCH_COUNT = 200
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def memory_bytes(process: int) -> int:
    """Private resident memory: what the process would give back by ending."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text("ascii")
    return sum(int(kib) * 1024 for kib in re.findall(r"^Private_\w+: +(\d+) kB", text, re.M))


def unread_bytes(port: int) -> int:
    """What clients have sent to `port` and the server has not read yet."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    queues = [row[4] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"]
    return sum(int(queue.partition(":")[2], 16) for queue in queues)


def threads_count(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/task"))


class Client:
    """One connection, and on it one session."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sid = ""

    async def open(self, way: str) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        if way == "websocket":
            await self.request("GET", "transport=websocket", fields=UPGRADE, head_only=True)
            await self.frame()
            self.send_frame(b"40")
            await self.frame()
            return
        answer = await self.request("GET", "transport=polling")
        self.sid = json.loads(answer[1:])["sid"]
        await self.request("POST", f"transport=polling&sid={self.sid}", b"40")
        await self.request("GET", f"transport=polling&sid={self.sid}")

    def write(self, method: str, query: str, body: bytes = b"", fields: str = "") -> None:
        head = f"{method} /socket.io/?EIO=4&{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}"
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.writer.write(f"{head}{length}\r\n".encode() + body)

    async def read(self, head_only: bool = False) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")), head
        if head_only:
            return b""
        length = re.search(rb"content-length: (\d+)", head, re.I)
        assert length is not None, head
        return await self.reader.readexactly(int(length[1]))

    async def request(
        self, method: str, query: str, body: bytes = b"", fields: str = "", head_only: bool = False
    ) -> bytes:
        self.write(method, query, body, fields)
        return await self.read(head_only)

    async def frame(self) -> bytes:
        head = await self.reader.readexactly(2)
        length = head[1] & 127
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
        return await self.reader.readexactly(length)

    def send_frame(self, payload: bytes) -> None:
        self.writer.write(bytes([0x81, 0x80 | len(payload)]) + bytes(4) + payload)


async def measure(port: int, process: int, sessions_count: int, way: str) -> None:
    clients = [Client(port) for _ in range(sessions_count)]
    await clients[0].open(way)
    before = memory_bytes(process)
    for start in range(1, sessions_count, BATCH_COUNT):
        await asyncio.gather(*(client.open(way) for client in clients[start : start + BATCH_COUNT]))
    print(f"{sessions_count} sessions over {way}, {threads_count(process)} threads in the server")
    cost = (memory_bytes(process) - before) / (sessions_count - 1)
    print(f"memory per session, its connection included: {cost:.0f} bytes")
    if way != "polling":
        return
    for client in clients:
        client.write("GET", f"transport=polling&sid={client.sid}")
        await client.writer.drain()
    while unread_bytes(port):
        await asyncio.sleep(0)  # until the server has read, and parked, every poll
    cost = (memory_bytes(process) - before) / (sessions_count - 1)
    print(f"with its poll parked: {cost:.0f} bytes, {threads_count(process)} threads in the server")
    started = time.perf_counter()
    caller = Client(port)
    caller.reader, caller.writer = await asyncio.open_connection("127.0.0.1", port)
    caller.writer.write(b"GET /shout HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    await caller.read()
    answers = await asyncio.gather(*(client.read() for client in clients))
    assert all(answer == b'42["shouted"]' for answer in answers), set(answers)
    seconds = time.perf_counter() - started
    print(f"one broadcast answered all {sessions_count} parked polls in {seconds:.3f} s")


@contextmanager
def serving(application: str) -> Iterator[tuple[int, int]]:
    """A server process: its port and its process id."""
    command = [sys.executable, "-m", "python_server", application, "--host", "127.0.0.1", "--port", "0"]
    server = subprocess.Popen(command, cwd=APPS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout is not None
    try:
        for line in server.stdout:
            address = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if address:
                # The access log must not fill the pipe while we measure.
                threading.Thread(target=server.stdout.read, daemon=True).start()
                yield int(address[1]), server.pid
                break
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--way", choices=["polling", "websocket"], default="polling")
    options = parser.parse_args()
    with serving("sessions_app:app") as (port, process):
        asyncio.run(measure(port, process, options.sessions, options.way))


if __name__ == "__main__":
    main()
