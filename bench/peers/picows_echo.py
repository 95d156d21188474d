"""picows' echo server: a listener in Python that sends back the frame's payload without a copy of its own.

It must not know the load.
"""

from __future__ import annotations

import socket

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class Echo(WSListener):  # type: ignore[misc]
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


def listener_of(request: WSUpgradeRequest) -> WSListener:
    return Echo()


async def serve(listener: socket.socket) -> None:
    server = await ws_create_server(listener_of, sock=listener)
    await server.serve_forever()
