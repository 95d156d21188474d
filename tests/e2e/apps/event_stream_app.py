"""Rooms and generators as streams of server-sent events, and somebody who speaks in the rooms.

It must not know who listens.
"""

import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask

from python_server import SocketIO

app = flask.Flask(__name__)
options: dict[str, Any] = {}
if "BROKER" in os.environ:
    options = {"message_queue": os.environ["BROKER"], "channel": os.environ["CHANNEL"]}
socketio = SocketIO(
    app,
    connection_state_recovery=True,
    cors_allowed_origins=["https://shop.example"],
    **options,
)

PAGE = """<!doctype html><script>
const heard = [], opened = [];
const source = new EventSource("/listen/red");
source.onopen = () => opened.push(1);
for (const name of ["said", "hole"])
  source.addEventListener(name, (event) => heard.push([name, ...[].concat(JSON.parse(event.data))]));
</script>"""


@app.get("/page")
def page() -> str:
    return PAGE


@app.get("/listen/<room>")
def listen(room: str) -> Any:
    if room == "private" and flask.request.headers.get("Authorization") != "Bearer right":
        flask.abort(401)
    return socketio.stream(room, event=flask.request.args.get("event"))


@app.get("/own-head")
def own_head() -> Any:
    response = socketio.stream("red")
    response.status_code = int(flask.request.args.get("status", "201"))
    response.set_cookie("known", "yes")
    response.headers["Access-Control-Allow-Origin"] = "https://own.example"
    return response


@app.get("/raises-later")
def raises_later() -> Any:
    socketio.stream("red")
    raise RuntimeError("raised on purpose")


@app.get("/close/<room>")
def close(room: str) -> str:
    socketio.close_room(room)
    return "closed"


@app.get("/say/<room>/<text>")
def say(room: str, text: str) -> str:
    socketio.emit("said", text, to=room)
    return str(os.getpid())


@app.get("/flood/<room>/<int:count>")
def flood(room: str, count: int) -> str:
    for _ in range(count):
        socketio.emit("said", "x" * 1_000_000, to=room)
    return ""


@app.get("/open")
def opened() -> str:
    streams = socketio._hub.streams
    return str(streams.count if streams else 0)


@app.get("/count/<int:count>")
def count(count: int) -> Any:
    return socketio.stream({"number": number} for number in range(count))


@app.get("/fail")
def fail() -> Any:
    def values() -> Iterator[str]:
        yield "first"
        raise RuntimeError("raised on purpose")

    return socketio.stream(values(), event="token")


@app.get("/endless")
def endless() -> Any:
    """Notes how far it has come, and that it was closed."""
    note = Path(os.environ["NOTES"]) / "endless"

    def values() -> Iterator[str]:
        try:
            for number in itertools.count():
                note.write_text(str(number))
                yield "x" * 10_000
        finally:
            note.write_text("closed")

    return socketio.stream(flask.stream_with_context(values()))


class PassingOn:
    """Middleware that looks at every piece of an answer; below /joined it joins them."""

    def __init__(self, application: Any) -> None:
        self.application = application

    def __call__(self, environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"].startswith("/joined/"):
            environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/joined")
            return [b"".join(self.application(environ, start_response))]
        return self.pieces(self.application(environ, start_response))

    @staticmethod
    def pieces(result: Any) -> Iterator[bytes]:
        try:
            for piece in result:
                assert isinstance(piece, bytes)
                yield piece
        finally:
            result.close()


app.wsgi_app = PassingOn(app.wsgi_app)  # type: ignore[method-assign]


@app.get("/threads")
def threads() -> str:
    return str(sum("threads" in thread.name for thread in threading.enumerate()))
