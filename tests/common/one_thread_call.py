"""A Socket.IO event and its acknowledgement over a WebSocket with TLS, read and written by one thread.

It must not know any server. python-socketio's client reads in one thread and writes in another, of one
SSLSocket, which CPython 3.11 does not guard: one call in some hundreds ends as if the server had left.
"""

import json
import ssl
from typing import Any

from ordered_clients import PATIENCE_SECONDS
from wsframe.sync import connect


def call(url: str, name: str, *arguments: object, context: ssl.SSLContext) -> list[Any]:
    """The arguments of its acknowledgement; `url`: the server's, with https."""
    address = url.replace("https:", "wss:") + "/socket.io/?EIO=4&transport=websocket"
    with connect(address, ssl=context, open_timeout=PATIENCE_SECONDS) as websocket:
        assert str(websocket.recv(PATIENCE_SECONDS)).startswith("0{")
        websocket.send("40")
        assert str(websocket.recv(PATIENCE_SECONDS)).startswith("40{")
        websocket.send("420" + json.dumps([name, *arguments]))
        answer = str(websocket.recv(PATIENCE_SECONDS))
    assert answer.startswith("430"), answer
    acknowledged: list[Any] = json.loads(answer.removeprefix("430"))
    return acknowledged
