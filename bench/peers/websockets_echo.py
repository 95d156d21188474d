"""websockets' echo server: a coroutine per connection that iterates over messages.

It must not know the load, and sends no pings: the generator would not answer them.
"""

from __future__ import annotations

import socket

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def serve(listener: socket.socket) -> None:
    async with serve_websockets(echo, sock=listener, ping_interval=None) as server:
        await server.serve_forever()
