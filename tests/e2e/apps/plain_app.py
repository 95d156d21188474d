"""Socket.IO and Engine.IO on a plain WSGI application, without Flask: python-socketio's words.

It must not know which client or test is calling.
"""

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from python_server import EngineServer, Server, WSGIApp
from python_server.api.python_socketio import Namespace

socketio = Server(
    serializer=os.environ.get("SERIALIZER", "default"),
    connection_state_recovery=json.loads(os.environ.get("RECOVERY", "true")),
    namespaces=["/", "/open"],
    cookie="io",
)
engine = EngineServer(ping_interval=5)


def page(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"plain"]


app = WSGIApp(engine, WSGIApp(socketio, page))


@socketio.event
def connect(sid: str, environ: dict[str, Any], auth: Any) -> bool | None:
    if isinstance(auth, dict) and auth.get("token") == "wrong":
        return False
    with socketio.session(sid) as session:
        session["name"] = (auth or {}).get("name")
        session["agent"] = environ.get("HTTP_USER_AGENT", "")
    return None


@socketio.event
def disconnect(sid: str, reason: str) -> None:
    sys.stdout.write(f"{sid} is gone: {reason}\n")


@socketio.on("who")
def who(sid: str) -> dict[str, Any]:
    return {
        "name": socketio.get_session(sid)["name"],
        "rooms": sorted(socketio.rooms(sid)),
        "transport": socketio.transport(sid),
    }


@socketio.event
def enter(sid: str, room: str) -> bool:
    socketio.enter_room(sid, room)
    return True


@socketio.event
def say(sid: str, room: str, *what: Any) -> None:
    socketio.emit("said", what, room=room, skip_sid=sid)


@socketio.event
def murmur(sid: str, room: str, *what: Any) -> None:
    socketio.emit("said", what, room=room, skip_sid=sid, volatile=True)


@socketio.event
def leave(sid: str) -> None:
    socketio.disconnect(sid)


@socketio.event
def ask(sid: str, question: str) -> Any:
    return socketio.call("question", question, to=sid, timeout=60)


@socketio.event
def survey(sid: str, room: str) -> list[Any]:
    answers = socketio.call_room("question", "all", to=room, timeout=60)
    return [sorted(value[0] for value in answers.values), answers.missing_count]


@socketio.event
def echo(sid: str, *values: Any) -> list[Any]:
    return list(values)


@socketio.on("*")
def anything(event: str, sid: str, *values: Any) -> list[Any]:
    return [event, *values]


class Shop(Namespace):
    """A namespace as a class."""

    def on_connect(self, sid: str, environ: dict[str, Any]) -> None:
        self.emit("opened", sid, to=sid)

    def on_buy(self, sid: str, what: str) -> str:
        return f"bought {what}"


socketio.register_namespace(Shop("/shop"))


@engine.on("connect")
def engine_connect(sid: str, environ: dict[str, Any]) -> bool:
    return "refuse" not in environ["QUERY_STRING"]


@engine.on("message")
def engine_message(sid: str, data: str | bytes) -> None:
    if data != "leave at once":
        engine.send(sid, data)
    if data in ("bye", "leave at once"):
        engine.disconnect(sid)


@engine.on("disconnect")
def engine_disconnect(sid: str, reason: str) -> None:
    sys.stdout.write(f"{sid} is gone: {reason}\n")
