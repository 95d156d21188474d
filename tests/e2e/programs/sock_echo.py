"""flask-sock: raw WebSockets in Flask, with a blueprint-like list of routes.

It must not know which server runs it.
"""

import json
import os

from flask import Flask, request
from flask_sock import Sock

app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25}
sock = Sock(app)
listeners = []


@app.route("/")
def index():
    return "sock"


@sock.route("/echo")
def echo(ws):
    while True:
        data = ws.receive()
        if data == "close":
            break
        ws.send(data)


@sock.route("/upper/<name>")
def upper(ws, name):
    ws.send(json.dumps({"hello": name.upper(), "by": request.args.get("by")}))
    ws.close(1000, "enough")


@sock.route("/shout")
def shout(ws):
    listeners.append(ws)
    ws.send(f"{len(listeners)} listening")
    try:
        while True:
            text = ws.receive()
            for listener in listeners:
                listener.send(text + "!")
    finally:
        listeners.remove(ws)


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ.get("PORT", 5000)))
