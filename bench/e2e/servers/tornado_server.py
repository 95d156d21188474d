"""tornado on its asyncio loop: `tornado_server.py PORT echo|broadcast|tls`.
Messages go back with the opcode they came with; it must not know the load."""

import asyncio
import sys

import tls_files
from tornado.httpserver import HTTPServer
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler

members: set[WebSocketHandler] = set()


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


class Broadcast(WebSocketHandler):
    def open(self) -> None:
        members.add(self)

    def on_close(self) -> None:
        members.discard(self)

    def on_message(self, message: str | bytes) -> None:
        for member in members:
            try:
                member.write_message(message, binary=isinstance(message, bytes))
            except WebSocketClosedError:
                pass


async def main(port: int, job: str) -> None:
    handler = Broadcast if job == "broadcast" else Echo
    application = Application([("/", handler)], websocket_max_message_size=16 << 20)
    context = tls_files.context() if job == "tls" else None
    HTTPServer(application, ssl_options=context).listen(port, "127.0.0.1", backlog=4096)
    await asyncio.Future()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
