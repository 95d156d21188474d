"""Every kind of handler, each raising what no handler should: SystemExit, KeyboardInterrupt and their like.

It must not know the tests.
"""

import asyncio
import re
from typing import Any

import flask

from python_server import Namespace, Resource, SocketIO, WebSocketApplication, emit


class Own(BaseException):
    """Of an application's own, as some libraries have for their time-outs."""


KINDS = {kind.__name__: kind for kind in (SystemExit, KeyboardInterrupt, GeneratorExit, Own)}


def leave(kind):
    raise KINDS[kind](3)


app = flask.Flask(__name__)
socketio = SocketIO(app)


class Guarded(Namespace):
    """Whose connect handler raises; it has an error handler, which is asked for exceptions alone."""

    def on_connect(self, auth):
        leave(auth["kind"])

    def error(self, error):
        return "handled"


socketio.on_namespace(Guarded("/guarded"))


@app.route("/<kind>")
def page(kind):
    leave(kind)


@app.route("/stream/<kind>")
def stream(kind):
    def pieces():
        yield b"first"
        leave(kind)

    return pieces(), {"Content-Type": "text/plain"}


@socketio.on("echo")
def echo(data):
    return data


@socketio.on("thread")
def in_a_thread(kind):
    leave(kind)


@socketio.on("inline", inline=True)
def inline(kind):
    leave(kind)


@socketio.on("free", ordered=False)
def free(kind):
    leave(kind)


@socketio.on("coroutine")
async def coroutine(kind):
    await asyncio.sleep(0)
    leave(kind)


@socketio.on("await")
async def awaited(data):
    await asyncio.sleep(0)
    return data


@socketio.on("callback")
def callback(kind):
    emit("question", callback=lambda *answer: leave(kind))


@socketio.on("background")
def background(kind):
    socketio.start_background_task(leave, kind)


@socketio.on("disconnect", namespace="/left")
def left():
    leave("SystemExit")


@socketio.on("connect", namespace="/left")
def came():
    return None


class Chat(WebSocketApplication):
    """In a thread."""

    def on_open(self, ws: Any) -> None:
        if ws.path.count("/") == 2:
            leave(ws.path.rpartition("/")[2])

    def on_message(self, ws: Any, message: str | bytes) -> None:
        if message in KINDS:
            leave(message)
        ws.send(message)


class InlineChat(Chat):
    """On the loop's own thread."""

    inline = True


def blocking(environ, start_response):
    ws = environ["wsgi.websocket"]
    while (message := ws.receive()) is not None:
        if message in KINDS:
            leave(message)
        ws.send(message)
    return []


def site(environ, start_response):
    if environ["PATH_INFO"] == "/blocking":
        return blocking(environ, start_response)
    return app(environ, start_response)


sockets = Resource({re.compile(r"/thread(/\w+)?"): Chat(), re.compile(r"/inline(/\w+)?"): InlineChat()}, site)
