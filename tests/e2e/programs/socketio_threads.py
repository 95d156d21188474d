"""python-socketio without Flask: WSGIApp with static files, classes, sessions, a task.

It must not know which server runs it.
"""

import os

import socketio

sio = socketio.Server(async_mode="threading", cors_allowed_origins="*", logger=False, engineio_logger=False)
app = socketio.WSGIApp(sio, static_files={"/": "static_page.html", "/files": "."})


class Chat(socketio.Namespace):
    def on_connect(self, sid, environ, auth):
        if auth and auth.get("banned"):
            raise socketio.exceptions.ConnectionRefusedError("banned", 7)
        self.save_session(sid, {"name": (auth or {}).get("name", "?")})
        self.enter_room(sid, "users")

    def on_disconnect(self, sid, reason):
        self.emit(
            "left",
            {"reason": reason, "environ": sio.get_environ(sid, "/chat")["REQUEST_METHOD"]},
            room="users",
            skip_sid=sid,
        )

    def on_say(self, sid, text):
        with self.session(sid) as session:
            session["said"] = session.get("said", 0) + 1
            self.emit("said", {"name": session["name"], "text": text, "count": session["said"]}, room="users")

    def on_rooms(self, sid):
        return [room if room != sid else "own" for room in sorted(self.rooms(sid), key=len)]

    def on_ask(self, sid, question):
        return self.call("question", question, to=sid, timeout=20)

    def on_kick(self, sid):
        self.close_room("users")
        self.disconnect(sid)


sio.register_namespace(Chat("/chat"))


@sio.event
def connect(sid, environ):
    sio.start_background_task(count, sid)


def count(sid):
    for number in range(3):
        sio.sleep(0.01)
        sio.emit("count", number, to=sid)


@sio.on("*")
def any_event(event, sid, data):
    return event, data


@sio.event
def message(sid, data):
    sio.send({"back": data}, to=sid)


@sio.on("transport")
def transport(sid):
    return sio.transport(sid)


if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(os.environ.get("PORT", 5000)), app, threaded=True)
