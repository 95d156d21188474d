"""A raw WebSocket and a page under `eventlet.wsgi.server`.

It must not know which server runs it.
"""

import os

import eventlet
from eventlet import wsgi
from eventlet.queue import LightQueue
from eventlet.websocket import WebSocketWSGI

seen: LightQueue = LightQueue()
pool = eventlet.GreenPool(4)


@WebSocketWSGI
def echo(ws):
    seen.put(ws.path)
    while True:
        message = ws.wait()
        if message is None:
            break
        ws.send("".join(pool.imap(str.upper, message)))


def application(environ, start_response):
    if environ["PATH_INFO"] == "/echo":
        return echo(environ, start_response)
    with eventlet.Timeout(0.05, False):
        eventlet.sleep(30)
    paths = [seen.get() for _ in range(seen.qsize())]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(paths).encode()]


if __name__ == "__main__":
    wsgi.server(eventlet.listen(("127.0.0.1", int(os.environ["PORT"]))), application)
