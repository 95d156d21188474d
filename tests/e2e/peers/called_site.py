"""A WSGI application that hands requests on to the server itself, in python-socketio's words.

It must not know which package is behind the import: the tests run it on both.
"""

from typing import Any

import socketio
from werkzeug.serving import run_simple

sio = socketio.Server()


def app(environ: Any, start_response: Any) -> Any:
    if environ["PATH_INFO"].startswith("/socket.io/"):
        if "forbidden" in environ["QUERY_STRING"]:
            start_response("403 Forbidden", [("Content-Length", "2")])
            return [b"no"]
        environ["shop.user"] = "somebody"
        return sio.handle_request(environ, start_response)
    start_response("200 OK", [("Content-Length", "6")])
    return [b"a page"]


@sio.event
def who(sid: str) -> Any:
    return sio.get_environ(sid)["shop.user"]


if __name__ == "__main__":
    run_simple("127.0.0.1", 0, app, threaded=True)
