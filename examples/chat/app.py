"""Chat: rooms, who is in them, what was said last, who is typing, private messages.

It must not know the server: it runs on Flask-SocketIO too, with the import and the
page's <script> changed.
"""

import os
import sqlite3
import time

from flask import Flask, render_template, request

from python_server import ConnectionRefusedError, SocketIO, emit, join_room, leave_room

ROOMS = ("Kitchen", "Garden", "Workshop")
NAME_MAX_LENGTH = 24
TEXT_MAX_LENGTH = 500
HISTORY_COUNT = 50

app = Flask(__name__)
socketio = SocketIO(app)

# Who is here and what was said last: in memory for one worker, in a file for several, a new one for each run:
#     CHAT_STORE=$(mktemp) wsframe serve app:app --workers 4
store = sqlite3.connect(
    os.environ.get("CHAT_STORE", ":memory:"), isolation_level=None, check_same_thread=False
)
store.executescript(
    """
    PRAGMA synchronous = OFF;
    CREATE TABLE IF NOT EXISTS people (sid TEXT, name TEXT UNIQUE COLLATE NOCASE, key TEXT, room TEXT);
    CREATE TABLE IF NOT EXISTS said (id INTEGER PRIMARY KEY, room TEXT, name TEXT, text TEXT, at REAL);
    """
)


@app.route("/")
def index():
    return render_template("chat.html", rooms=ROOMS)


@socketio.on("connect")
def connect(auth):
    auth = auth if isinstance(auth, dict) else {}
    name, key = str(auth.get("name", "")).strip()[:NAME_MAX_LENGTH], str(auth.get("key", ""))[:64]
    if not name:
        raise ConnectionRefusedError("Please choose a name.")
    # Who lost the connection may be back before the server has missed them: only their page knows the key.
    moved = "UPDATE people SET sid = ? WHERE name = ? AND key = ? AND key != ''"
    if not store.execute(moved, (request.sid, name, key)).rowcount:
        try:
            store.execute("INSERT INTO people VALUES (?, ?, ?, '')", (request.sid, name, key))
        except sqlite3.IntegrityError:
            raise ConnectionRefusedError(f"{name} is here already. Choose another name.") from None


@socketio.on("enter")
def enter(room):
    name, room_before = me()
    if room not in ROOMS or not name:
        return {"error": "There is no such room."}
    if room != room_before:
        leave()
        store.execute("UPDATE people SET room = ? WHERE sid = ?", (room, request.sid))
        emit("note", f"{name} came in.", to=room)
    join_room(room)
    tell_who(room)
    return {"room": room, "history": history(room)}


@socketio.on("say")
def say(text):
    (name, room), text = me(), str(text).strip()[:TEXT_MAX_LENGTH]
    if not room or not text:
        return {"error": "Enter a room and write something."}
    emit("said", remember(room, name, text), to=room)
    return {"sent": True}


@socketio.on("typing")
def typing():
    """A page says it now and then while somebody writes; those who hear it let the notice end by itself."""
    name, room = me()
    if room:
        emit("typing", name, to=room, include_self=False)


@socketio.on("whisper")
def whisper(name, text):
    """A private message: every client is alone in a room of its own sid."""
    (sender, _), text = me(), str(text).strip()[:TEXT_MAX_LENGTH]
    if not sender or not text:
        return {"error": "Write something."}
    found = store.execute("SELECT sid, name FROM people WHERE name = ?", (str(name),)).fetchone()
    if not found:
        return {"error": f"{name} has left."}
    message = {"from": sender, "to": found[1], "text": text, "at": time.time()}
    emit("whispered", message, to=[found[0], request.sid])
    return {"sent": True}


@socketio.on("disconnect")
def disconnect():
    leave()
    store.execute("DELETE FROM people WHERE sid = ?", (request.sid,))


def me():
    """Name and room of who sent the event; both are empty when their page has come back with another sid."""
    found = store.execute("SELECT name, room FROM people WHERE sid = ?", (request.sid,))
    return found.fetchone() or ("", "")


def leave():
    name, room = me()
    if room:
        store.execute("UPDATE people SET room = '' WHERE sid = ?", (request.sid,))
        leave_room(room)
        emit("note", f"{name} went out.", to=room)
        tell_who(room)


def tell_who(room):
    names = store.execute("SELECT name FROM people WHERE room = ? ORDER BY name", (room,))
    emit("who", [name for (name,) in names.fetchall()], to=room)


def remember(room, name, text):
    """The message as it is sent; only the last ones of a room are kept."""
    at = time.time()
    said = store.execute(
        "INSERT INTO said (room, name, text, at) VALUES (?, ?, ?, ?) RETURNING id", (room, name, text, at)
    ).fetchone()  # `lastrowid` may be another thread's
    oldest = "SELECT id FROM said WHERE room = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
    store.execute(f"DELETE FROM said WHERE room = ? AND id <= ({oldest})", (room, room, HISTORY_COUNT))
    return {"id": said[0], "name": name, "text": text, "at": at}


def history(room):
    said = store.execute("SELECT id, name, text, at FROM said WHERE room = ? ORDER BY id", (room,))
    return [dict(zip(("id", "name", "text", "at"), row, strict=True)) for row in said.fetchall()]


if __name__ == "__main__":
    socketio.run(app, allow_unsafe_werkzeug=True)
