"""One peer's echo server in a process of its own: echo_server.py PEER asyncio|uvloop

It prints its port, and ends when its standard input does. It must not know the load.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    _, peer, loop = sys.argv
    serve = importlib.import_module(f"peers.{peer}_echo").serve
    run = asyncio.run if loop == "asyncio" else importlib.import_module(loop).run
    logging.disable()  # of connections that end without a close frame
    threading.Thread(target=end_with_input, daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    run(serve(listener))


if __name__ == "__main__":
    main()
