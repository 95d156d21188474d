"""aiohttp on uvloop: `aiohttp_server.py PORT [deflate-]echo|[deflate-]broadcast|tls`.
A broadcast is encoded once per member, as its API has it; deflate has level 1. It must not know the load."""

import asyncio
import sys

import busy  # noqa: F401
import tls_files
import uvloop
from aiohttp import WSMsgType, web

DEFLATE = sys.argv[2].startswith("deflate")
members: set[web.WebSocketResponse] = set()


async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(max_msg_size=16 << 20, compress=DEFLATE)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


async def fan_out(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(max_msg_size=16 << 20, compress=DEFLATE)
    await socket.prepare(request)
    members.add(socket)
    try:
        async for message in socket:
            for member in members:
                if message.type is WSMsgType.TEXT:
                    await member.send_str(message.data)
                else:
                    await member.send_bytes(message.data)
    finally:
        members.discard(socket)
    return socket


async def main(port: int, job: str) -> None:
    application = web.Application()
    application.router.add_get("/", fan_out if job.endswith("broadcast") else echo)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    context = tls_files.context() if job == "tls" else None
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096, ssl_context=context).start()
    await asyncio.Future()


uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
