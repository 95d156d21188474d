"""picows on uvloop: `picows_server.py PORT echo|broadcast|tls`.
Written as its documentation writes an echo server; it must not know the load."""

import sys

import busy  # noqa: F401
import picows
import tls_files
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest

members: set[WSTransport] = set()


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Broadcast(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        members.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        members.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        for member in members:
            member.send(frame.msg_type, payload)


async def main(port: int, job: str) -> None:
    listener = Broadcast if job == "broadcast" else Echo

    def choose(request: WSUpgradeRequest) -> WSListener:
        return listener()

    context = tls_files.context() if job == "tls" else None
    server = await picows.ws_create_server(choose, "127.0.0.1", port, backlog=4096, ssl=context)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
