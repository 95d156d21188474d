"""websockets on uvloop: `websockets_server.py PORT echo|broadcast|tls`.
Compression is off (the generator offers none); it must not know the load."""

import asyncio
import sys

import busy  # noqa: F401
import tls_files
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

members: set[ServerConnection] = set()


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def fan_out(connection: ServerConnection) -> None:
    members.add(connection)
    try:
        async for message in connection:
            broadcast(members, message)
    finally:
        members.discard(connection)


async def main(port: int, job: str) -> None:
    handler = fan_out if job == "broadcast" else echo
    options = {"ssl": tls_files.context()} if job == "tls" else {}
    async with serve(
        handler, "127.0.0.1", port, compression=None, max_size=16 << 20, backlog=4096, **options
    ):
        await asyncio.Future()


uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
