"""What one thing costs a machine, and Redis: measured by commands of its own, here or in a kept record.

It must not know how many machines there are, or what they say.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from statistics import median
from typing import Any

from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.cluster.broker.foreign_messages import write_emit
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.packet import EVENT, TextCodec
from simulated_deployment import deployed
from simulated_servers import EVERYBODY, Member

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "docs" / "benchmarks" / "e2e.json"
SAMPLE_COUNT, ROUNDS_COUNT = 5_000, 5
MEMORY_ROUNDS = 3  # events of each machine
MEMORY_CLIENTS_COUNT = 20
OURS = "*/python_server/*"


def kept_samples() -> dict[str, float]:
    """Microseconds of a server's core, and KiB, out of the kept record of `make bench`."""
    record = json.loads(KEPT.read_text("utf-8"))

    def found(label: str, column: str, **chosen: str) -> float:
        columns = record[label]["columns"]
        places = {columns.index(name): value for name, value in chosen.items()}
        values = [
            run[columns.index(column)]
            for run in record[label]["runs"]
            if all(run[place] == value for place, value in places.items())
        ]
        return float(median(value for value in values if value is not None))

    nobody = {"room": "no member here", "column": "cpu_us_per_message"}
    return {
        "read_us": found("redis", server="ours", **nobody),
        "read_stream_us": found("redis", server="ours, streams", **nobody),
        "deliver_us": 1e6 / found("readme", "result.per_server_cpu_second", scenario="R8", server="ours"),
        "session_kib": found("readme", "result.kib_per_connection", scenario="IS", server="ours"),
    }


def publish_sample(pad: str) -> float:
    """Microseconds: an event is encoded for clients, and written for the broker."""
    codec, spent = TextCodec(), []
    for _ in range(ROUNDS_COUNT):
        began = time.process_time()
        for number in range(SAMPLE_COUNT):
            prepared = codec.prepare(EVENT, "/", ("said", "m1", number, pad))
            write_emit(Envelope("/", ("room",), (), prepared), "host.0", codec)
        spent.append(time.process_time() - began)
    return 1e6 * min(spent) / SAMPLE_COUNT


def redis_samples(rounds: int) -> dict[str, Any]:
    """What `python bench/redis_limit.py` measures, with a redis-server of its own."""
    command = [sys.executable, str(ROOT / "bench" / "redis_limit.py"), "--json", "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def memory_sample(count: int, streams: bool) -> dict[str, float]:
    """KiB that each of so many machines holds: alone with its broker; for a client in one room, of those of
    this simulator; for each other machine that has spoken; for each event that it has heard since."""

    def held() -> float:
        snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, OURS)])
        return sum(trace.size for trace in snapshot.traces) / 1024 / count

    tracemalloc.start()
    try:
        more = {"streams": streams, "recovery_seconds": 120.0 if streams else 0.0}
        with deployed(1, count, **more) as deployment:
            servers = [*deployment.servers.values()]
            alone = held()
            clients = [Member(server, keeps=False) for server in servers for _ in range(MEMORY_CLIENTS_COUNT)]
            deployment.settle()
            for client in clients:
                client.look()
                client.server.enter(client, EVERYBODY)
            deployment.settle()
            joined = held()
            for _ in servers:  # what was read last stays in the buffers of who reads
                servers[0].hub.emit(
                    "said", (servers[0].name, 0, "x" * 100), BroadcastOptions(rooms=(EVERYBODY,))
                )
            deployment.settle()
            after = [held()]
            for _ in range(MEMORY_ROUNDS):
                for server in servers:
                    server.hub.emit("said", (server.name, 0, "x" * 100), BroadcastOptions(rooms=(EVERYBODY,)))
                deployment.settle()
                after.append(held())
    finally:
        tracemalloc.stop()
    event = (after[-1] - after[1]) / (MEMORY_ROUNDS - 1) / count
    return {
        "machine_kib": alone,
        "client_kib": (joined - alone) / MEMORY_CLIENTS_COUNT,
        "event_kib": event,
        "peer_kib": (after[1] - after[0]) / count - event,
    }
