"""A program with its own test suite, written with the package's test client: `python with_suite.py test`.

It must not know which server runs it.
"""

import os
import sys
import unittest

from flask import Flask, request, session
from flask_socketio import Namespace, SocketIO, SocketIOTestClient, disconnect, emit, join_room, send

app = Flask(__name__)
app.config["SECRET_KEY"] = "secret"
socketio = SocketIO(app)
disconnected = None


@socketio.on("connect")
def on_connect(auth):
    if request.args.get("fail"):
        return False
    send("connected")
    send({"auth": auth or {}}, json=True)


@socketio.on("disconnect")
def on_disconnect(reason):
    global disconnected
    disconnected = "/"


@socketio.on("message")
def message(message):
    send(message)
    if message not in "test noackargs":
        return message


@socketio.on("my event")
def my_event(data):
    emit("my response", data, broadcast=data.get("all", False))
    return data["a"] * 2


@socketio.on("room")
def room(name):
    join_room(name)
    session["room"] = name
    emit("in", name, room=name)


@socketio.on("leave me")
def leave_me():
    disconnect()


@socketio.on("boom")
def boom():
    raise AssertionError("a fault of the handler")


class Lobby(Namespace):
    def on_connect(self):
        send("lobby")

    def on_bytes(self, data):
        emit("bytes", data[::-1])
        return data


socketio.on_namespace(Lobby("/lobby"))


class TestProgram(unittest.TestCase):
    def test_connect(self):
        client = socketio.test_client(app, auth={"foo": "bar"})
        received = client.get_received()
        self.assertEqual([packet["args"] for packet in received], ["connected", {"auth": {"foo": "bar"}}])
        self.assertTrue(client.is_connected())
        client.disconnect()
        self.assertFalse(client.is_connected())
        self.assertEqual(disconnected, "/")

    def test_refused(self):
        client = socketio.test_client(app, query_string="?fail=1")
        self.assertFalse(client.is_connected())

    def test_send(self):
        client1, client2 = socketio.test_client(app), socketio.test_client(app)
        client1.get_received(), client2.get_received()
        self.assertEqual(client1.send("hi", callback=True), "hi")
        self.assertEqual(client1.get_received()[0]["args"], "hi")
        self.assertEqual(client2.get_received(), [])

    def test_emit(self):
        client1, client2 = socketio.test_client(app), SocketIOTestClient(app, socketio)
        client1.get_received(), client2.get_received()
        self.assertEqual(client1.emit("my event", {"a": 21, "all": True}, callback=True), 42)
        for client in (client1, client2):
            (packet,) = client.get_received()
            self.assertEqual(packet["name"], "my response")
            self.assertEqual(packet["args"][0]["a"], 21)
            self.assertEqual(packet["namespace"], "/")

    def test_rooms(self):
        client1, client2 = socketio.test_client(app), socketio.test_client(app)
        client1.get_received(), client2.get_received()
        client1.emit("room", "one")
        client2.emit("room", "one")
        self.assertEqual(len(client1.get_received()), 2)
        self.assertEqual(len(client2.get_received()), 1)

    def test_sent_away(self):
        client = socketio.test_client(app)
        client.emit("leave me")
        self.assertFalse(client.is_connected())

    def test_namespace(self):
        client = socketio.test_client(app, namespace="/lobby")
        self.assertEqual(client.get_received("/lobby")[0]["args"], "lobby")
        self.assertEqual(client.emit("bytes", b"abc", callback=True, namespace="/lobby"), b"abc")
        self.assertEqual(client.get_received("/lobby")[0]["args"][0], b"cba")

    def test_fault(self):
        client = socketio.test_client(app)
        with self.assertRaises(AssertionError):
            client.emit("boom")

    def test_http_session(self):
        flask_client = app.test_client()
        client = socketio.test_client(app, flask_test_client=flask_client)
        self.assertTrue(client.is_connected())
        self.assertTrue(client.eio_sid)


if __name__ == "__main__":
    if sys.argv[1:] == ["test"]:
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(TestProgram)
        result = unittest.TextTestRunner(stream=open(os.devnull, "w")).run(suite)
        print(result.testsRun, "tests", result.errors + result.failures)
    else:
        socketio.run(app, port=int(os.environ.get("PORT", 5000)))
