"""pydantic-socketio: events are validated by their handlers' annotations.

It must not know which server runs it.
"""

import os

from pydantic import BaseModel
from pydantic_socketio import Server, WSGIApp

sio = Server(async_mode="threading", cors_allowed_origins="*")
app = WSGIApp(sio)


class Message(BaseModel):
    text: str
    count: int = 1


@sio.register_emit("said")
class Said(BaseModel):
    text: str


@sio.event
def connect(sid, environ, auth: dict | None = None):
    sio.emit("welcome", {"auth": bool(auth)}, to=sid)


@sio.on("say")
def say(sid: str, message: Message) -> Message:
    sio.emit("said", Said(text=message.text * message.count), to=sid)
    return message


@sio.on("wrong")
def wrong(sid: str) -> str:
    try:
        sio.emit("said", {"no": "text"}, to=sid)
    except ValueError as error:
        return type(error).__name__
    return "sent"


@sio.on("strict")
def strict(sid: str, number: int) -> int:
    return number + 1


@sio.on("document")
def document(sid: str) -> list[str]:
    document = sio.asyncapi(title="Chat", version="1")
    return sorted(operation["summary"] for operation in document["operations"].values())


@sio.on("ask")
def ask(sid: str) -> int:
    return sio.call("question", to=sid, response_model=int, timeout=20)


if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(os.environ.get("PORT", 5000)), app, threaded=True)
