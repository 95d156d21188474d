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


@app.get("/say/<room>/<text>")
def say(room: str, text: str) -> str:
    socketio.emit("said", text, to=room)
    return str(os.getpid())


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


@app.get("/threads")
def threads() -> str:
    return str(sum("threads" in thread.name for thread in threading.enumerate()))
