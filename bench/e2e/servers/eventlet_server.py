"""eventlet with its own WebSocket module: `eventlet_server.py PORT echo|tls`.
One green thread per client; it must not know the load."""

import sys

import eventlet
import tls_files
from eventlet import websocket, wsgi


def echo(socket: websocket.WebSocket) -> None:
    while (message := socket.wait()) is not None:
        socket.send(message)


listener = eventlet.listen(("127.0.0.1", int(sys.argv[1])), backlog=4096)
if sys.argv[2] == "tls":
    listener = eventlet.wrap_ssl(
        listener, certfile=tls_files.CERTIFICATE, keyfile=tls_files.KEY, server_side=True
    )
application = websocket.WebSocketWSGI(echo, max_frame_length=16 << 20)
wsgi.server(listener, application, log_output=False, max_size=20000)
