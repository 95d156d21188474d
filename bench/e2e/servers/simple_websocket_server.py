"""simple-websocket in threads: `simple_websocket_server.py PORT echo|tls`.
Served by Werkzeug's threaded server, as its documentation does; it must not know the load."""

import logging
import sys
from collections.abc import Iterable
from typing import Any

import tls_files
from simple_websocket import ConnectionClosed, Server
from werkzeug.serving import run_simple


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    socket = Server.accept(environ, max_message_size=16 << 20)
    try:
        while True:
            socket.send(socket.receive())
    except ConnectionClosed:
        pass
    return []


logging.getLogger("werkzeug").setLevel(logging.ERROR)
context = tls_files.context() if sys.argv[2] == "tls" else None
run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=True, ssl_context=context)
