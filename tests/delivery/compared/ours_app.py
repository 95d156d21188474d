"""What is compared, under our server: each POST is told to everybody; RECOVERY=1 switches the recovery on.

It must not know clients, or how it is replaced.
"""

import os

import flask

from python_server import SocketIO

app = flask.Flask(__name__)
socketio = SocketIO(app, connection_state_recovery=os.environ["RECOVERY"] == "1")


@app.post("/say/<int:number>")
def say(number: int) -> str:
    socketio.emit("told", number)
    return "told"
