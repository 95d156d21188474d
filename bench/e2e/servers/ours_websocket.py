"""Our raw WebSockets: `ours_websocket.py PORT echo|broadcast inline|threads`.
The echo that `python -m python_server` serves, with room for 4 MiB messages; it must not know the load."""

import sys
from dataclasses import replace

from python_server.server import Site
from python_server.settings import Settings
from python_server.supervisor import serve
from python_server.websocket_api import WebSocket, WebSocketApplication, broadcast
from python_server.welcome import page

port, job = int(sys.argv[1]), sys.argv[2]


class Echo(WebSocketApplication):
    inline = sys.argv[3] == "inline"

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        ws.send(message)


class Broadcast(Echo):
    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        broadcast(self.connections, message)


settings = Settings()
settings = replace(
    settings,
    port=port,
    access_log=False,
    websocket=replace(settings.websocket, max_message_bytes=16 << 20),
)
serve(Site(page, websockets={"/": Broadcast() if job == "broadcast" else Echo()}), settings)
