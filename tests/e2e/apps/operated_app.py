"""A server for an operator's commands: its handlers are slow, or hold up the loop, as a client says.

It must not know which command is tried.
"""

import os
import time

from python_server import Server, WSGIApp

server = Server(cors_allowed_origins="*")
app = WSGIApp(server)


@server.on("join")
def join(sid: str, room: str) -> str:
    server.enter_room(sid, room)
    return "done"


@server.on("work")
def work(sid: str, seconds: float) -> str:
    time.sleep(seconds)
    return "done"


@server.on("hold", inline=True)
def hold(sid: str, path: str) -> None:
    """The loop stands still until there is a file."""
    while not os.path.exists(path):
        time.sleep(0.01)
