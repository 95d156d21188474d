"""Raw WebSockets of gevent-websocket in Flask: `request.environ["wsgi.websocket"]`.

It must not know which server runs it.
"""

import os

from flask import Flask, request
from gevent import pywsgi
from geventwebsocket import WebSocketError
from geventwebsocket.handler import WebSocketHandler

app = Flask(__name__)
sockets = set()


@app.route("/")
def index():
    return "sockets"


@app.route("/echo", websocket=True)
def echo():
    ws = request.environ.get("wsgi.websocket")
    if not ws:
        return "Expected WebSocket", 400
    while not ws.closed:
        message = ws.receive()
        if message is None:
            break
        ws.send(message)
    return ""


@app.route("/chat", websocket=True)
def chat():
    ws = request.environ["wsgi.websocket"]
    sockets.add(ws)
    ws.send(str(len(sockets)))
    while True:
        try:
            message = ws.receive()
        except WebSocketError:
            break
        if message is None:
            break
        for other in sockets:
            other.send(message.title())
    sockets.discard(ws)
    return ""


if __name__ == "__main__":
    server = pywsgi.WSGIServer(
        ("127.0.0.1", int(os.environ.get("PORT", 5000))), app, handler_class=WebSocketHandler, log=None
    )
    server.serve_forever()
