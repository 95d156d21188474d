"""The application of the wire tests: it says what it was called with, and nothing else.

It must not know which packets the tests send, or why.
"""

import json
import os
import sys
from collections import defaultdict
from typing import Any

from flask import Flask, request

from python_server import ConnectionRefusedError, SocketIO, disconnect, emit

app = Flask(__name__)


def allow(environ: dict[str, Any]) -> bool | str:
    """What the request asks for in its own header."""
    if environ.get("HTTP_X_VERDICT") == "raise":
        raise RuntimeError("raised on purpose")
    return {"": True, "no": False}.get(environ.get("HTTP_X_VERDICT", ""), "not on Sundays")


options = {"cors_allowed_origins": ["http://friend.test"], "allow_request": allow}
socketio = SocketIO(app, **{**options, **json.loads(os.environ.get("WIRE_OPTIONS", "{}"))})
calls: dict[str, list[str]] = defaultdict(list)  # of each client


def run(name: str) -> None:
    calls[request.sid].append(name)  # type: ignore[attr-defined]


@socketio.on("connect")
def on_connect(auth: Any = None) -> None:
    run("connect")
    emit("welcome", {"auth": auth})
    if isinstance(auth, dict) and auth.get("token") == "wrong":
        raise ConnectionRefusedError("no entry", {"code": 7})


@socketio.on("disconnect")
def on_disconnect(reason: str) -> None:
    run("disconnect")
    sys.stdout.write(f"{request.sid} is gone: {reason}\n")  # type: ignore[attr-defined]


@socketio.on("leave")
def on_leave() -> None:
    disconnect()


@socketio.on("echo")
def on_echo(*arguments: Any) -> tuple[Any, ...]:
    run("echo")
    emit("echoed", arguments)
    return arguments


@socketio.on("ask")
def on_ask(question: Any) -> None:
    emit("question", question, callback=lambda *values: emit("answered", values))


@socketio.on("nothing")
def on_nothing() -> None:
    """Its ack carries no value."""


@socketio.on("number")
def on_number(text: str) -> str:
    """Send the float that `text` names; what it cannot be sent as."""
    try:
        emit("numbered", [float(text)])
    except ValueError as error:
        return type(error).__name__
    return "sent"


@socketio.on("flood")
def on_flood(count: int) -> None:
    for number in range(count):
        emit("flooded", (number, b"\x00\xff"))


@socketio.on("connect", namespace="/shop")
def on_shop() -> None:
    emit("opened", request.namespace)  # type: ignore[attr-defined]


@socketio.on("buy", namespace="/shop")
def on_buy(what: str) -> str:
    return what


@app.get("/calls")
def called() -> Any:
    """What has run for that client."""
    return {"calls": calls[request.args["sid"]]}
