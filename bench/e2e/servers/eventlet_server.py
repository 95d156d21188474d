"""eventlet with its own WebSocket module: `eventlet_server.py PORT echo`.
One green thread per client; it must not know the load."""

import sys

import eventlet
from eventlet import websocket, wsgi


def echo(socket: websocket.WebSocket) -> None:
    while (message := socket.wait()) is not None:
        socket.send(message)


listener = eventlet.listen(("127.0.0.1", int(sys.argv[1])), backlog=4096)
application = websocket.WebSocketWSGI(echo, max_frame_length=16 << 20)
wsgi.server(listener, application, log_output=False, max_size=20000)
