"""Socket.IO in a program that serves itself, in gevent's and python-socketio's words.

It must not know which packages are behind the imports: the tests run it on both.
"""

import sys
from typing import Any

import socketio
from gevent.pywsgi import WSGIServer

sio = socketio.Server(async_mode="gevent")


def page(environ: Any, start_response: Any) -> Any:
    body = f"{environ['shop']} {environ['wsgi.url_scheme']}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@sio.event
def connect(sid: str, environ: Any) -> None:
    sio.emit("hello", environ["shop"], to=sid)


@sio.event
def later(sid: str, what: Any) -> None:
    def tell() -> None:
        sio.sleep(0.01)
        sio.emit("told", what, to=sid)

    sio.start_background_task(tell)


if __name__ == "__main__":
    words = {"shop": "ours", "wsgi.url_scheme": "https"}
    app = socketio.WSGIApp(sio, page)
    server = WSGIServer(("127.0.0.1", 0), app, 100, 200, sys.stdout, "default", None, words)
    server.start()
    sys.stdout.write(f"serving at http://{server.server_host}:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever(stop_timeout=1)
