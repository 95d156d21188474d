"""Threads that compute without end beside a server, as many as BENCH_BUSY_THREADS says: `import busy`.
They run plain Python as a handler would; they must not know the server, and change none of its settings."""

import os
import threading


def compute() -> None:
    total = 0
    while True:
        for number in range(1_000):
            total = (total + number * number) % 1_000_003


for _ in range(int(os.environ.get("BENCH_BUSY_THREADS", "0"))):
    threading.Thread(target=compute, daemon=True).start()
