"""What is compared, under Flask-SocketIO: `flask_site.py PORT MODE`; each POST is told to everybody.

It must not know clients, or how it is replaced.
"""

import logging
import sys

port, mode = sys.argv[1:]
if mode == "gevent":
    from gevent import monkey

    monkey.patch_all()

import flask  # noqa: E402
from flask_socketio import SocketIO  # noqa: E402

app = flask.Flask(__name__)
socketio = SocketIO(app, async_mode=mode)


@app.post("/say/<int:number>")
def say(number: int) -> str:
    socketio.emit("told", number)
    return "told"


logging.getLogger("werkzeug").setLevel(logging.ERROR)
socketio.run(app, port=int(port), **({"allow_unsafe_werkzeug": True} if mode == "threading" else {}))
