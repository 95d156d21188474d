"""Handlers that wait: 1,000 clients in `socketio.sleep(1)`, 200 in `time.sleep(1)`, each answered once.

It must not know the server's insides. Run: python bench/sleepers.py; the first goal is 3 s, the second too.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import websockets

APPS = Path(__file__).resolve().parents[1] / "tests" / "e2e" / "apps"
KINDS = {"sleep": 1_000, "block": 200}
SECONDS = 1.0


async def connect(url: str) -> websockets.ClientConnection:
    client = await websockets.connect(url, compression=None, max_size=None)
    await client.recv()
    await client.send("40")
    while not (await client.recv()).startswith("40"):
        pass
    return client


async def answered(client: websockets.ClientConnection, event: str) -> None:
    await client.send("420" + json.dumps([event, SECONDS]))
    while not (await client.recv()).startswith("430"):
        pass


async def measure(url: str) -> None:
    for event, count in KINDS.items():
        clients = [await connect(url) for _ in range(count)]
        began = time.perf_counter()
        await asyncio.gather(*(answered(client, event) for client in clients))
        elapsed = time.perf_counter() - began
        print(f"{count} clients, each {event} {SECONDS:g} s: all answered after {elapsed:.2f} s", flush=True)
        await asyncio.gather(*(client.close() for client in clients))


def main() -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "python_server", "flask_app:app", "--port", "0"],
        cwd=APPS,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert server.stderr is not None
    try:
        found = next(match for line in server.stderr if (match := re.search(r"http://(\S+:\d+)", line)))
        asyncio.run(measure(f"ws://{found[1]}/socket.io/?EIO=4&transport=websocket"))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
