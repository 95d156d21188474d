"""The large sizes of the abuse tests, against a running server: figures on standard output, no verdict.

It must not start or stop anything: docs/limits.md says how the server is started.
"""

import argparse
import json
import resource
import socket
import time
from pathlib import Path

HOST = "127.0.0.1"
CHUNK = bytes(1 << 20)
# Uploads that stop: behind their first byte, behind more than is collected ahead, before a 100 Continue.
STALLING = (
    b"Content-Length: 60000\r\n\r\nx",
    b"Content-Length: 99999\r\n\r\n" + bytes(70_000),
    b"Content-Length: 60000\r\nExpect: 100-continue\r\n\r\n",
)


def memory_kib(pid: int | None, entry: str) -> int:
    if pid is None:
        return 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{entry}:"):
            return int(line.split()[1])
    raise LookupError(entry)


def ask(port: int, path: str) -> bytes:
    with socket.create_connection((HOST, port), timeout=30) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := client.recv(65_536):
            answer += piece
    return answer.partition(b"\r\n\r\n")[2]


def upload(port: int, size: int) -> str:
    with socket.create_connection((HOST, port), timeout=60) as client:
        client.sendall(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(CHUNK)):
            client.sendall(CHUNK)
        return client.recv(65_536).decode().rpartition("\r\n")[2] + " bytes counted by the application"


def download(port: int, size: int) -> str:
    got = 0
    buffer = bytearray(1 << 20)
    with socket.create_connection((HOST, port), timeout=60) as client:
        client.sendall(f"GET /download?{size} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        while count := client.recv_into(buffer):
            got += count
    return f"{got} bytes with their framing"


def dribble(port: int, clients_count: int, uploads_count: int, pid: int | None) -> str:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ask(port, "/hello")
    before = json.loads(ask(port, "/state"))
    memory_before = memory_kib(pid, "VmRSS")
    held = []
    for index in range(clients_count):
        client = socket.create_connection((HOST, port), timeout=30)
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        held.append(client)
        if not index % 100:
            ask(port, "/hello")
    per_client = (memory_kib(pid, "VmRSS") - memory_before) / max(clients_count, 1)
    after = json.loads(ask(port, "/state"))
    for index in range(uploads_count):
        client = socket.create_connection((HOST, port), timeout=30)
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\n" + STALLING[index % len(STALLING)])
        held.append(client)
    slowest = 0.0
    for index in range(200):
        held[index % clients_count].sendall(b"y")
        begun = time.perf_counter()
        assert ask(port, "/hello") == b"hello"
        slowest = max(slowest, time.perf_counter() - begun)
    for client in held:
        client.close()
    return (
        f"threads {before['threads']} -> {after['threads']}; {per_client:.2f} KiB per client; "
        f"slowest of 200 ordinary requests {slowest * 1000:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("upload", "download", "dribble"))
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--pid", type=int, help="of the server, for its memory")
    parser.add_argument("--gibibytes", type=float, default=1.0)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--uploads", type=int, default=200)
    arguments = parser.parse_args()
    size = int(arguments.gibibytes * (1 << 30))
    ask(arguments.port, "/hello")
    peak = memory_kib(arguments.pid, "VmHWM")
    begun = time.perf_counter()
    if arguments.what == "dribble":
        print(dribble(arguments.port, arguments.clients, arguments.uploads, arguments.pid))
    else:
        print({"upload": upload, "download": download}[arguments.what](arguments.port, size))
    seconds = time.perf_counter() - begun
    extra_kib = memory_kib(arguments.pid, "VmHWM") - peak
    print(f"{seconds:.1f} s; peak memory grew by {extra_kib / 1024:.1f} MiB")


if __name__ == "__main__":
    main()
