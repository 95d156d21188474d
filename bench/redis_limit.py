"""What one Redis forwards to so many machines: `python bench/redis_limit.py` prints it (--json: as JSON).

It must not know the server: sockets read what machines would read. The time of redis-server's processor is
counted, so that what the readers cost here, on the same cores, does not matter.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import hiredis

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "common"))
from own_ports import port_of_its_own

CHANNEL = b"limit"
READERS = (1, 10, 100, 1_000)
TOGETHER = (1, 50)  # messages that come to Redis at once
PAYLOADS_BYTES = (150, 1_000)
DELIVERIES_COUNT = 40_000  # of one case, at least
TURNS_MIN_COUNT, MESSAGES_MAX_COUNT = 20, 5_000
MEASURED = ("cpu_us_per_message", "cpu_us_per_delivery", "bytes_per_delivery", "deliveries_per_second")
# As machines read a stream: python_server/socketio/cluster/broker/stream_reader.py.
READ = (b"XREAD", b"COUNT", b"100", b"BLOCK", b"1000", b"STREAMS", CHANNEL)
# As it is added to: connections.py.
ADD = (b"XADD", CHANNEL, b"MAXLEN", b"~", b"100000", b"*", b"data")


def packed(*words: bytes) -> bytes:
    return hiredis.pack_command(words)


class Redis:
    """A redis-server without persistence."""

    def __init__(self) -> None:
        self.port = port_of_its_own()
        self.process = subprocess.Popen(
            [
                "redis-server",
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ],
            stdout=subprocess.DEVNULL,
        )

    def connect(self) -> socket.socket:
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), 20)
            except ConnectionRefusedError:
                if self.process.poll() is not None:
                    raise SystemExit("redis-server does not start") from None
                time.sleep(0.02)

    def cpu_seconds(self) -> float:
        """Of its main thread, which does all of this; the others have nothing to write to disk."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9

    def version(self) -> str:
        said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True)
        return said.stdout.split("v=")[1].split()[0]


@contextmanager
def redis_server() -> Iterator[Redis]:
    redis = Redis()
    try:
        yield redis
    finally:
        redis.process.terminate()
        redis.process.wait()


class Reader:
    """One machine's connection: a subscriber, or whoever reads the stream."""

    def __init__(self, redis: Redis, streams: bool) -> None:
        self.socket = redis.connect()
        self.socket.setblocking(False)
        self.count = self.bytes_count = 0
        self._streams = streams
        self._resp = hiredis.Reader()
        self._id = b"0-0"
        if streams:
            self._ask()
        else:
            self.socket.send(packed(b"SUBSCRIBE", CHANNEL))
            self.count = -1  # the answer to that

    def _ask(self) -> None:
        again = packed(b"XRANGE", CHANNEL, self._id, self._id)
        self.socket.send(packed(*READ, self._id) + again)

    def take(self) -> None:
        """What has come."""
        data = self.socket.recv(1 << 20)
        if not data:
            raise SystemExit("Redis has ended a connection that it found too slow")
        self.bytes_count += len(data)
        self._resp.feed(data)
        while (answer := self._resp.gets()) is not False:
            if not self._streams:
                self.count += 1
            elif answer is None:  # nothing came for so long; what stands behind is there at once
                self._ask()
            elif answer and isinstance(answer[0][1][0], list):
                entries = answer[0][1]
                self.count += len(entries)
                self._id = entries[-1][0]
                self._ask()


def measure(
    redis: Redis, streams: bool, readers_count: int, together: int, size_bytes: int
) -> dict[str, Any]:
    """One case: everybody has read what was said together, then the next is said."""
    speaker = redis.connect()
    speaker.sendall(packed(b"DEL", CHANNEL))
    speaker.recv(64)
    readers = [Reader(redis, streams) for _ in range(readers_count)]
    selector = selectors.DefaultSelector()
    for reader in readers:
        selector.register(reader.socket, selectors.EVENT_READ, reader)
    command = packed(*ADD, b"x" * size_bytes) if streams else packed(b"PUBLISH", CHANNEL, b"x" * size_bytes)
    resp = hiredis.Reader()

    def say(count: int) -> None:
        """And wait until each reader has got it."""
        due = readers[0].count + count
        assert all(reader.count == readers[0].count for reader in readers)
        speaker.sendall(command * count)
        answered = 0
        while answered < count:
            resp.feed(speaker.recv(1 << 16))
            while resp.gets() is not False:
                answered += 1
        waiting = len(readers)
        while waiting:
            for key, _ in selector.select(20):
                before = key.data.count
                key.data.take()
                waiting -= before < due <= key.data.count

    while any(reader.count < 0 for reader in readers):
        for key, _ in selector.select(20):
            key.data.take()
    say(together)
    turns = max(TURNS_MIN_COUNT, DELIVERIES_COUNT // (readers_count * together))
    turns = min(turns, MESSAGES_MAX_COUNT // together)
    cpu, began = redis.cpu_seconds(), time.monotonic()
    bytes_before = sum(reader.bytes_count for reader in readers)
    for _ in range(turns):
        say(together)
    seconds, cpu = time.monotonic() - began, redis.cpu_seconds() - cpu
    read_bytes = sum(reader.bytes_count for reader in readers) - bytes_before
    for reader in readers:
        reader.socket.close()
    speaker.close()
    messages = turns * together
    deliveries = messages * readers_count
    return {
        "kind": "stream" if streams else "channel",
        "readers": readers_count,
        "together": together,
        "payload_bytes": size_bytes,
        "messages": messages,
        "cpu_us_per_message": round(1e6 * cpu / messages, 2),
        "cpu_us_per_delivery": round(1e6 * cpu / deliveries, 3),
        "bytes_per_delivery": round(read_bytes / deliveries, 1),
        "deliveries_per_second": round(deliveries / seconds),
    }


def line(rows: list[dict[str, Any]], **chosen: Any) -> tuple[float, float]:
    """Microseconds of Redis for each message, and for each of its deliveries beside: the least squares."""
    found = [row for row in rows if all(row[name] == value for name, value in chosen.items())]
    xs, ys = [row["readers"] for row in found], [row["cpu_us_per_message"] for row in found]
    # Each case by its share: a line through the large ones alone would make the small ones cost less than 0.
    weights = [1 / y**2 if y else 0 for y in ys]
    total = sum(weights)
    x, y = (sum(w * v for w, v in zip(weights, each, strict=True)) / total for each in (xs, ys))
    slope = sum(w * (a - x) * (b - y) for w, a, b in zip(weights, xs, ys, strict=True))
    slope /= sum(w * (a - x) ** 2 for w, a in zip(weights, xs, strict=True))
    return y - slope * x, slope


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--readers", default=",".join(map(str, READERS)), help="numbers of readers")
    given = parser.parse_args()
    numbers = [int(each) for each in given.readers.split(",")]
    cases = [
        (streams, readers, together, size)
        for streams in (False, True)
        for size in PAYLOADS_BYTES
        for together in TOGETHER
        for readers in numbers
    ]
    with redis_server() as redis:
        runs = [[measure(redis, *case) for case in cases] for _ in range(given.rounds)]
        version = redis.version()
    rows = [
        {**same[0], **{name: median(each[name] for each in same) for name in same[0] if name in MEASURED}}
        for same in zip(*runs, strict=True)
    ]
    if given.json:
        print(json.dumps({"version": version, "rounds": given.rounds, "rows": rows}))
        return
    print(f"Redis {version}, {given.rounds} rounds, medians")
    print("| kind | readers | said together | bytes | Redis' CPU, us per delivery | deliveries/s here |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        names = (
            "kind",
            "readers",
            "together",
            "payload_bytes",
            "cpu_us_per_delivery",
            "deliveries_per_second",
        )
        print("| " + " | ".join(str(row[name]) for name in names) + " |")
    for kind in ("channel", "stream"):
        for size in PAYLOADS_BYTES:
            for together in TOGETHER:
                base, slope = line(rows, kind=kind, together=together, payload_bytes=size)
                print(f"{kind}, {size} bytes, {together} together: {base:.1f} us + {slope:.2f} us x readers")


if __name__ == "__main__":
    main()
