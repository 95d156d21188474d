"""Files in pieces, and bytes inside of other things.

It must not know which server runs it.
"""

import base64
import hashlib
import os
import tempfile

from flask import Flask, request
from flask_socketio import SocketIO, emit

app = Flask(__name__)
app.config["UPLOAD_FOLDER"] = tempfile.mkdtemp()
socketio = SocketIO(app, max_http_buffer_size=10 * 1024 * 1024)
uploads = {}


@socketio.on("start-transfer")
def start_transfer(filename, size):
    uploads[request.sid] = {"name": os.path.basename(filename), "size": size, "parts": []}
    return {"ok": True, "chunk": 4}


@socketio.on("write-chunk")
def write_chunk(offset, data):
    parts = uploads[request.sid]["parts"]
    if offset != sum(map(len, parts)):
        return False
    parts.append(data)
    emit("progress", {"bytes": sum(map(len, parts))})
    return True


@socketio.on("finish")
def finish():
    upload = uploads.pop(request.sid)
    path = os.path.join(app.config["UPLOAD_FOLDER"], upload["name"])
    with open(path, "wb") as file:
        file.writelines(upload["parts"])
    content = open(path, "rb").read()
    os.remove(path)
    emit("stored", {"name": upload["name"], "sha": hashlib.sha1(content).hexdigest()[:12], "data": content})


@socketio.on("image")
def image(data_url):
    header, encoded = data_url.split(",", 1)
    emit("image", {"type": header, "data": base64.b64decode(encoded)})


@socketio.on("nested")
def nested(value):
    return {"first": value["list"][0], "all": value, "type": type(value["list"][0]).__name__}


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
