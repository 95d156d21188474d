"""A chat over raw WebSockets under gevent's pywsgi with gevent-websocket.

It must not know which server runs it.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

import gevent  # noqa: E402
from gevent.event import AsyncResult, Event  # noqa: E402
from gevent.pool import Pool  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402
from gevent.queue import Queue  # noqa: E402
from geventwebsocket import WebSocketError  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402

clients = set()
words: Queue = Queue()
first = AsyncResult()
began = Event()


def deliver():
    for word in words:
        began.set()
        for client in list(clients):
            client.send(word)


def application(environ, start_response):
    socket = environ.get("wsgi.websocket")
    if socket is None:
        jobs = [gevent.spawn(lambda n=n: n * n) for n in range(4)]
        gevent.joinall(jobs, timeout=5)
        squares = Pool(2).map(lambda n: n + 1, [job.value for job in jobs])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{squares} {first.get(timeout=5)} {began.wait(5)}".encode()]
    clients.add(socket)
    try:
        while True:
            message = socket.receive()
            if message is None:
                break
            if not first.ready():
                first.set(message)
            words.put(message)
    except WebSocketError:
        pass
    finally:
        clients.discard(socket)
    return []


if __name__ == "__main__":
    gevent.spawn(deliver)
    server = WSGIServer(("127.0.0.1", int(os.environ["PORT"])), application, handler_class=WebSocketHandler)
    server.serve_forever()
