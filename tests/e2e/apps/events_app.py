"""One Socket.IO event that answers with what it was given.

It must not know how it is reached.
"""

from flask import Flask

from python_server import SocketIO

app = Flask(__name__)
socketio = SocketIO(app)


@socketio.on("echo")
def echo(data: str) -> str:
    return data
