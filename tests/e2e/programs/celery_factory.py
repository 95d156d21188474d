"""An application factory with a blueprint and Celery, whose tasks speak through a message queue.

It must not know which server runs it. No worker is needed: the tasks run where they are asked for.
"""

import os

from celery import Celery
from flask import Blueprint, Flask, current_app, jsonify
from flask_socketio import SocketIO, join_room

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")

socketio = SocketIO()
celery = Celery(__name__, broker="memory://", backend="cache+memory://")
main = Blueprint("main", __name__)


class Config:
    SECRET_KEY = "top secret"
    SOCKETIO_MESSAGE_QUEUE = REDIS_URL
    CELERY = {"task_always_eager": True}


def create_app(config=Config, main=True):
    app = Flask(__name__)
    app.config.from_object(config)
    celery.conf.update(app.config["CELERY"])
    if main:
        # Initialize socketio server and attach it to the message queue, so
        # that everything works even when there are multiple servers or
        # additional processes such as Celery workers wanting to access Socket.IO
        socketio.init_app(app, message_queue=app.config["SOCKETIO_MESSAGE_QUEUE"])
    else:
        # Initialize socketio to emit events through through the message queue.
        # Note that since Celery does not use eventlet, we have to be explicit
        # in setting the async mode to not use it.
        socketio.init_app(None, message_queue=app.config["SOCKETIO_MESSAGE_QUEUE"], async_mode="threading")
    from celery_factory import main as blueprint

    app.register_blueprint(blueprint)
    return app


@celery.task
def long_task(steps, client):
    local_socketio = SocketIO(message_queue=REDIS_URL)
    for step in range(steps):
        local_socketio.emit("progress", {"done": step + 1, "of": steps}, to=client)
    local_socketio.emit(event="finished", data={"result": steps * 21}, room=client)
    return steps * 21


@main.route("/task/<client>", methods=["POST"])
def start_task(client):
    task = long_task.delay(2, client)
    return jsonify({"status": task.state, "result": task.result, "app": current_app.name}), 202


@socketio.on("status")
def status(name):
    join_room(name)
    return "watching " + name


@socketio.on("run")
def run_task(name):
    long_task.apply_async(args=[1, name])


if __name__ == "__main__":
    import celery_factory  # the module that tasks and routes know, not __main__

    app = celery_factory.create_app()
    celery_factory.socketio.run(app, port=int(os.environ.get("PORT", 5000)))
