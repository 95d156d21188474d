"""gevent with gevent-websocket: `gevent_websocket_server.py PORT echo|broadcast|tls`.
One greenlet per client; it must not know the load."""

import sys
from collections.abc import Iterable
from typing import Any

import tls_files
from gevent import pywsgi
from geventwebsocket.handler import WebSocketHandler

members: set[Any] = set()


def echo(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    socket = environ["wsgi.websocket"]
    while (message := socket.receive()) is not None:
        socket.send(message, binary=not isinstance(message, str))
    return []


def fan_out(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    socket = environ["wsgi.websocket"]
    members.add(socket)
    try:
        while (message := socket.receive()) is not None:
            for member in list(members):
                member.send(message, binary=not isinstance(message, str))
    finally:
        members.discard(socket)
    return []


application = fan_out if sys.argv[2] == "broadcast" else echo
files = {"certfile": tls_files.CERTIFICATE, "keyfile": tls_files.KEY} if sys.argv[2] == "tls" else {}
server = pywsgi.WSGIServer(
    ("127.0.0.1", int(sys.argv[1])),
    application,
    handler_class=WebSocketHandler,
    log=None,
    backlog=4096,
    **files,
)
server.serve_forever()
