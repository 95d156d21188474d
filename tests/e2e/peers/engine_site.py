"""Engine.IO alone, in python-engineio's words.

It must not know which package is behind the import: the tests run it on both.
"""

from typing import Any

import engineio
from werkzeug.serving import run_simple

eio = engineio.Server(
    "threading", 25, 20, 1_000_000, logger=False, cors_credentials=True, monitor_clients=True
)


def page(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Length", "6")])
    return [b"a page"]


app = engineio.WSGIApp(eio, page)


@eio.on("connect")
def connect(sid: str, environ: Any) -> None:
    with eio.session(sid) as session:
        session["query"] = "EIO=4" in environ["QUERY_STRING"]
    eio.send(sid, {"welcome": [1]})


@eio.on("message")
def message(sid: str, data: Any) -> None:
    eio.send(sid, data)
    if data == "who":
        eio.send(sid, [eio.transport(sid), eio.get_session(sid), eio.async_mode, sid in eio.sockets])


if __name__ == "__main__":
    run_simple("127.0.0.1", 0, app, threaded=True)
