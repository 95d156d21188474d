"""A program that tests itself with the package's test client, and says what it got.

It must not know which server would run it.
"""

import sys

from flask import Flask
from flask_socketio import SocketIO, emit, send
from flask_socketio.test_client import SocketIOTestClient

app = Flask(__name__)
app.config["SECRET_KEY"] = "not a secret"
socketio = SocketIO(app)


@socketio.on("double")
def double(number):
    emit("doubled", 2 * number)
    send("sent")
    return number


client = SocketIOTestClient(app, socketio)
print("argv", sys.argv[1:])
print("ack", client.emit("double", 21, callback=True))
for event in client.get_received():
    print(event["name"], event["args"])
