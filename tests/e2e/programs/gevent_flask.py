"""Class namespaces under Flask-SocketIO in gevent mode, with a factory and a thread of its own.

It must not know which server runs it.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

import gevent  # noqa: E402
from flask import Flask, request  # noqa: E402
from flask_socketio import ConnectionRefusedError, Namespace, SocketIO, emit, join_room  # noqa: E402
from gevent.lock import BoundedSemaphore  # noqa: E402

socketio = SocketIO()
lock = BoundedSemaphore(1)
inside = 0


class Game(Namespace):
    def on_connect(self, auth=None):
        if not auth or auth.get("name") == "nobody":
            raise ConnectionRefusedError("who are you?", 7)

    def on_disconnect(self):
        pass

    def on_join(self, room):
        join_room(room)
        self.emit("joined", room, room=room)

    def on_move(self, step):
        global inside
        with lock:
            inside += 1
            gevent.sleep(0.005)
            inside -= 1
        emit("moved", {"step": step, "inside": inside, "sid": request.sid in self.rooms_of()})
        return step * 2

    def rooms_of(self):
        return socketio.server.rooms(request.sid, "/game")


def create_app():
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "not a secret"
    socketio.init_app(app, async_mode="gevent")
    socketio.on_namespace(Game("/game"))

    @app.route("/")
    def index():
        return str(inside)

    return app


app = create_app()

if __name__ == "__main__":
    socketio.run(app, port=int(os.environ["PORT"]))
