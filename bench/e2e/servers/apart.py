"""Several servers of ours on one port, one process each: `python apart.py COUNT PORT OPTIONS APPLICATION`.
What processes on one core cost that know nothing of each other; it must not know the load."""

import signal
import subprocess
import sys
from types import FrameType


def main() -> None:
    count, port, *words = sys.argv[1:]
    options = ["--port", port, "--reuse-port", "--no-access-log", *words]
    command = [sys.executable, "-m", "python_server", *options]
    servers = [subprocess.Popen(command) for _ in range(int(count))]

    def end(number: int, frame: FrameType | None) -> None:
        for server in servers:
            server.terminate()

    signal.signal(signal.SIGTERM, end)
    for server in servers:
        server.wait()


if __name__ == "__main__":
    main()
