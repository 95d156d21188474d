"""All of it configured from the environment, as programs for containers are.

It must not know which server runs it.
"""

import os

from flask import Flask, jsonify
from flask_socketio import SocketIO


class Config:
    SECRET_KEY = os.getenv("SECRET_KEY", "dev")
    DEBUG = os.getenv("FLASK_DEBUG", "0") == "1"
    CORS = os.getenv("CORS_ORIGINS", "http://localhost:5173,https://app.example.com").split(",")


app = Flask(__name__)
app.config.from_object(Config)
app.config.from_prefixed_env()
socketio = SocketIO(
    app,
    cors_allowed_origins=Config.CORS,
    async_mode=os.getenv("ASYNC_MODE") or None,
    ping_timeout=int(os.getenv("PING_TIMEOUT", "60")),
    ping_interval=int(os.getenv("PING_INTERVAL", "25")),
    max_http_buffer_size=int(os.getenv("MAX_BUFFER", "1000000")),
    path=os.getenv("SOCKET_PATH", "/ws/socket.io"),
    logger=Config.DEBUG,
    engineio_logger=Config.DEBUG,
    always_connect=True,
    transports=["websocket", "polling"],
    cookie=None,
    http_compression=True,
)


@app.route("/health")
def health():
    return jsonify(status="ok", debug=app.debug)


@socketio.on("ping me")
def ping_me():
    return "pong"


@socketio.on("*")
def catch_all(event, *args):
    return {"event": event, "args": list(args)}


if __name__ == "__main__":
    socketio.run(
        app,
        host=os.getenv("HOST", "127.0.0.1"),
        port=int(os.getenv("PORT", "5000")),
        debug=Config.DEBUG,
        use_reloader=False,
        log_output=False,
        allow_unsafe_werkzeug=True,
    )
