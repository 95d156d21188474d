"""uvicorn on uvloop with its websockets implementation: `uvicorn_server.py PORT [deflate-]echo|tls`.
A bare ASGI application; its deflate is that of zlib: level 6, 15 window bits. It must not know the load."""

import sys
from typing import Any

import tls_files
import uvicorn


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": event.get("bytes"), "text": event.get("text")})


tls = sys.argv[2] == "tls"
uvicorn.run(
    application,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    loop="uvloop",
    ws="websockets",
    ws_per_message_deflate=sys.argv[2].startswith("deflate"),
    lifespan="off",
    log_level="warning",
    ssl_certfile=tls_files.CERTIFICATE if tls else None,
    ssl_keyfile=tls_files.KEY if tls else None,
)
