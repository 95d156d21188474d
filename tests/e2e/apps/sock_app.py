"""An unmodified flask-sock program, as its own documentation would write it.

It must not know which server runs it.
"""

from typing import Any

from flask import Flask
from flask_sock import Sock

app = Flask(__name__)
sock = Sock(app)


@app.route("/")
def index() -> str:
    return "plain"


@sock.route("/echo")
def echo(ws: Any) -> None:
    while True:
        data = ws.receive()
        if data == "bye":
            ws.close(4003, "bye")
        ws.send(data)
