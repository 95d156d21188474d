"""python-socketio's ASGI server on uvicorn and uvloop: `python_socketio_server.py PORT`.
It must not know the load."""

import sys
from typing import Any

import socketio
import uvicorn

server = socketio.AsyncServer(async_mode="asgi")


@server.on("echo")
async def echo(sid: str, message: Any) -> None:
    await server.emit("echo", message, to=sid)


@server.on("echo_ack")
async def echo_ack(sid: str, message: Any) -> Any:
    return message


@server.on("join")
async def join(sid: str) -> str:
    await server.enter_room(sid, "players")
    return "joined"


@server.on("say")
async def say(sid: str, message: Any) -> None:
    await server.emit("news", message, room="players")


uvicorn.run(
    socketio.ASGIApp(server),
    host="127.0.0.1",
    port=int(sys.argv[1]),
    loop="uvloop",
    lifespan="off",
    log_level="warning",
    ws_per_message_deflate=False,
    timeout_keep_alive=75,
)
