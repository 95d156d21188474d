"""websockets on uvloop: `websockets_server.py PORT [deflate-]echo|[deflate-]broadcast|tls`.
It must not know the load."""

import asyncio
import sys

import busy  # noqa: F401
import deflate_settings as deflate
import tls_files
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

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


def compression() -> ServerPerMessageDeflateFactory:
    settings = {"level": deflate.LEVEL, "memLevel": deflate.MEMORY_LEVEL}
    return ServerPerMessageDeflateFactory(
        server_no_context_takeover=True, client_no_context_takeover=True, compress_settings=settings
    )


async def main(port: int, job: str) -> None:
    handler = fan_out if job.endswith("broadcast") else echo
    options = {"ssl": tls_files.context()} if job == "tls" else {}
    options |= {"extensions": [compression()]} if job.startswith("deflate") else {}
    async with serve(
        handler, "127.0.0.1", port, compression=None, max_size=16 << 20, backlog=4096, **options
    ):
        await asyncio.Future()


uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
