"""Engine.IO alone, for clients of version 3 too: every message back as it came.

It must not know which client or transport is calling.
"""

from python_server import EngineServer, WSGIApp

engine = EngineServer(allow_eio3=True, ping_interval=1, ping_timeout=300)


@engine.on("message")
def on_message(sid: str, data: str | bytes) -> None:
    engine.send(sid, data)


app = WSGIApp(engine)
