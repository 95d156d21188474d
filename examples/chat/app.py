"""Chat: rooms, who is in them, private messages.

It must not know the server: it runs on Flask-SocketIO too, with the import and the
page's <script> changed.
"""

from flask import Flask, render_template, request

from python_server import ConnectionRefusedError, SocketIO, emit, join_room, leave_room

ROOMS = ("Kitchen", "Garden", "Workshop")
NAME_MAX_LENGTH = 24
TEXT_MAX_LENGTH = 500

app = Flask(__name__)
socketio = SocketIO(app)
people: dict[str, dict[str, str]] = {}  # sid -> {"name", "room"}


@app.route("/")
def index():
    return render_template("chat.html", rooms=ROOMS)


@socketio.on("connect")
def connect(auth):
    name = str((auth or {}).get("name", "")).strip()[:NAME_MAX_LENGTH]
    if not name:
        raise ConnectionRefusedError("Please choose a name.")
    if any(person["name"] == name for person in list(people.values())):
        raise ConnectionRefusedError(f"{name} is here already. Choose another name.")
    people[request.sid] = {"name": name, "room": ""}


@socketio.on("enter")
def enter(room):
    if room not in ROOMS:
        return {"error": "There is no such room."}
    me = people[request.sid]
    leave()
    me["room"] = room
    join_room(room)
    emit("note", f"{me['name']} came in.", to=room, include_self=False)
    tell_who(room)
    return {"room": room}


@socketio.on("say")
def say(text):
    me, text = people[request.sid], str(text).strip()[:TEXT_MAX_LENGTH]
    if not me["room"] or not text:
        return {"error": "Enter a room and write something."}
    emit("said", {"name": me["name"], "text": text}, to=me["room"])
    return {"sent": True}


@socketio.on("whisper")
def whisper(name, text):
    """A private message: every client is alone in a room of its own sid."""
    me, text = people[request.sid], str(text).strip()[:TEXT_MAX_LENGTH]
    for sid, person in list(people.items()):
        if person["name"] == name and text:
            emit("whispered", {"from": me["name"], "to": name, "text": text}, to=[sid, request.sid])
            return {"sent": True}
    return {"error": f"{name} has left."}


@socketio.on("disconnect")
def disconnect():
    leave()
    people.pop(request.sid, None)


def leave():
    me = people.get(request.sid)
    if me and me["room"]:
        room, me["room"] = me["room"], ""
        leave_room(room)
        emit("note", f"{me['name']} went out.", to=room)
        tell_who(room)


def tell_who(room):
    names = sorted(person["name"] for person in list(people.values()) if person["room"] == room)
    emit("who", names, to=room)


if __name__ == "__main__":
    socketio.run(app, allow_unsafe_werkzeug=True)
