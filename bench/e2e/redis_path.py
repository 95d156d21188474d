"""What a message from Redis costs a server: `python3 bench/e2e/redis_path.py` writes redis.json.
Messages are python-socketio's JSON, published from outside; the publisher must not know who listens."""

import argparse
import json
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from statistics import median
from typing import Any

import environment
import processes
import run

MESSAGES_COUNT = 50_000
CHANNEL = "bench"
PIPELINE_COUNT = 200
_OURS = ("{python}", "-m", "python_server", "--port", "{port}", "--no-access-log", "redis_room:app")
# redis-py reads with hiredis where it is installed. Ours brings it, a plain install of the peers does not.
STREAMS = "ours, streams"
SERVERS = {
    "ours": _OURS,
    STREAMS: _OURS,
    "python-socketio": ("{python}", "redis_room.py", "{port}", "asgi"),
    "flask-socketio-threading": ("{python}", "redis_room.py", "{port}", "threading"),
    "the same with hiredis": ("{python}", "redis_room.py", "{port}", "threading", "hiredis"),
}
# Where the messages go: to a room with one local client, or to one that nobody here is in.
ROOMS = {"one member here": "players", "no member here": "elsewhere"}
HELLO = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@contextmanager
def redis_server() -> Iterator[int]:
    """On the generator's core, without persistence."""
    port = processes.free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(processes.pinned(processes.GENERATOR_CORE, command), stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def _publish(to: socket.socket, room: str, count: int, event: str, stream: bool) -> None:
    """So many envelopes in python-socketio's form, pipelined; the answers are read as they come."""
    for start in range(0, count, PIPELINE_COUNT):
        numbers = range(start, min(start + PIPELINE_COUNT, count))
        to.sendall(b"".join(_command(room, event, number, stream) for number in numbers))
        lines = 0
        while lines < len(numbers) * (2 if stream else 1):  # an entry's id has its length before it
            lines += to.recv(65_536).count(b"\r\n")


def _command(room: str, event: str, number: int, stream: bool) -> bytes:
    envelope = {
        "method": "emit",
        "event": event,
        "data": {"number": number, "player": "Ada"},
        "namespace": "/",
        "room": room,
        "skip_sid": None,
        "callback": None,
        "host_id": "bench",
    }
    added = [b"XADD", CHANNEL.encode(), b"MAXLEN", b"~", b"100000", b"*", b"data"]
    words = [*(added if stream else [b"PUBLISH", CHANNEL.encode()]), json.dumps(envelope).encode()]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _say(client: socket.socket, text: str) -> None:
    mask = b"\1\2\3\4"
    data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(text.encode()))
    client.sendall(bytes((0x81, 0x80 | len(data))) + mask + data)


def _take_until(client: socket.socket, end: bytes, times: int = 1) -> int:
    """Bytes taken until `end` came so often."""
    tail, taken, seen = b"", 0, 0
    while seen < times:
        piece = client.recv(262_144)
        if not piece:
            raise processes.RunFailed("the server closed the connection")
        taken += len(piece)
        seen += (tail + piece).count(end)
        tail = (tail + piece)[-len(end) + 1 :]
    return taken


def _wait_for_subscription(client: socket.socket, publisher: socket.socket, stream: bool) -> None:
    """Until what is published arrives; then some messages more, so that everything is warm."""
    deadline = time.monotonic() + 20
    while not select.select([client], [], [], 0.05)[0]:
        if time.monotonic() > deadline:
            raise processes.RunFailed("nothing published reaches the client")
        _publish(publisher, "players", 1, "ready", stream)
    _publish(publisher, "players", 200, "warm", stream)
    _take_until(client, b'["warm"', 200)


def measure(command: tuple[str, ...], room: str, stream: bool) -> dict[str, Any]:
    """One run: messages/s and server-CPU microseconds per message, from first publish to last arrival."""
    with redis_server() as redis_port:
        port = processes.free_port()
        scheme = "redis+streams" if stream else "redis"
        environ = {"REDIS_URL": f"{scheme}://127.0.0.1:{redis_port}/0", "PYTHONPATH": ""}
        words = [run._fill(word, port) for word in command]
        with processes.running_server(words, port, environment.SERVERS_FOLDER, environ, run.LOG) as pids:
            client = socket.create_connection(("127.0.0.1", port), 20)
            publisher = socket.create_connection(("127.0.0.1", redis_port), 20)
            with closing(client), closing(publisher):
                client.sendall(HELLO.encode())
                _take_until(client, b"0{")
                _say(client, "40")
                _take_until(client, b"40{")
                _say(client, '420["join"]')
                _take_until(client, b"430[")
                _wait_for_subscription(client, publisher, stream)
                busy, began = processes.cpu_seconds(pids), time.monotonic()
                _publish(publisher, ROOMS[room], MESSAGES_COUNT, "news", stream)
                _publish(publisher, "players", 1, "last", stream)
                if ROOMS[room] == "players":
                    _take_until(client, b'["news"', MESSAGES_COUNT)
                else:
                    _take_until(client, b'["last"')
                seconds, cpu = time.monotonic() - began, processes.cpu_seconds(pids) - busy
    return {
        "per_second": round(MESSAGES_COUNT / seconds, 1),
        "cpu_us_per_message": round(1e6 * cpu / MESSAGES_COUNT, 2),
    }


def table(runs: list[dict[str, Any]]) -> list[str]:
    lines = ["| room | server | messages/s | server CPU us per message | x the cheapest peer | failed |"]
    lines.append("|---|---|---:|---:|---:|---|")
    for room in ROOMS:
        costs = [
            _middle(runs, room, peer, "cpu_us_per_message") for peer in SERVERS if SERVERS[peer] != _OURS
        ]
        theirs = min((cost for cost in costs if cost), default=None)
        for server in SERVERS:
            cost = _middle(runs, room, server, "cpu_us_per_message")
            errors = [
                run["error"]
                for run in runs
                if (run["room"], run["server"]) == (room, server) and "error" in run
            ]
            if cost is None:
                lines.append(f"| {room} | {server} | | | | {errors[0] if errors else ''} |")
                continue
            ratio = f"{cost / theirs:.2f}" if theirs else ""
            rate = _middle(runs, room, server, "per_second")
            failed = f"{len(errors)}x: {errors[0]}" if errors else ""
            lines.append(f"| {room} | {server} | {rate:,.0f} | {cost:.1f} | {ratio} | {failed} |")
    return lines


def _middle(runs: list[dict[str, Any]], room: str, server: str, key: str) -> float | None:
    found = [run[key] for run in runs if (run["room"], run["server"]) == (room, server) and key in run]
    return median(found) if found else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is not installed")
    environment.BUILD.mkdir(parents=True, exist_ok=True)
    runs: list[dict[str, Any]] = []
    for number in range(1, arguments.rounds + 1):
        for room in ROOMS:
            for server, command in SERVERS.items():
                found: dict[str, Any] = {"round": number, "room": room, "server": server}
                try:
                    found |= measure(command, room, server == STREAMS)
                except (processes.RunFailed, OSError) as failure:
                    found["error"] = str(failure).replace(str(environment.ROOT), ".")
                runs.append(found)
                print(found, flush=True)
    record = {
        "label": "redis",
        "command": " ".join(["python3", "bench/e2e/redis_path.py", *sys.argv[1:]]),
        "commit": environment.commit(),
        "ended": run._utc(),
        "machine": environment.machine(),
        "versions": {
            name: environment.versions().get(name)
            for name in ("python-socketio", "Flask-SocketIO", "redis", "hiredis")
        },
        "runs": runs,
    }
    run.RESULTS.mkdir(parents=True, exist_ok=True)
    path = run.RESULTS / "redis.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(table(runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
