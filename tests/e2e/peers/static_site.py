"""A namespace as a class and files beside it, without a framework, in python-socketio's words.

It must not know which package is behind the import: the tests run it on both.
"""

from pathlib import Path
from typing import Any

import socketio
from werkzeug.serving import run_simple

HERE = Path(__file__).parent
sio = socketio.Server(None, False, "default", None, True, False, ["/", "/open"], ping_interval=(20, 1))
app = socketio.WSGIApp(
    sio,
    static_files={
        "/": {"content_type": "text/html", "filename": str(HERE / "notes.txt")},
        "/files": str(HERE),
        "/more/": f"{HERE}/",
        "": "notes.txt",
    },
    socketio_path="/events/",
)


class Shop(socketio.Namespace):
    def on_connect(self, sid: str, environ: Any) -> None:
        self.enter_room(sid, "shop")
        with self.session(sid) as session:
            session["bought"] = []

    def on_disconnect(self, sid: str) -> None:
        self.emit("left", room="shop")

    def on_buy(self, sid: str, what: str) -> list[str]:
        session = self.get_session(sid)
        session["bought"].append(what)
        self.save_session(sid, session)
        self.emit("sold", what, room="shop")
        self.send(what, "shop", None, None, "/shop")
        return list(session["bought"])

    def on_rooms(self, sid: str) -> list[str]:
        self.leave_room(sid, "shop")
        self.enter_room(sid, "other")
        self.close_room("other")
        return sorted(set(self.rooms(sid)) - {sid})

    def on_go(self, sid: str) -> None:
        self.disconnect(sid)


class Router(socketio.Namespace):
    def trigger_event(self, event: str, *args: Any) -> Any:
        if event in ("connect", "disconnect"):
            return None
        return [event, *args[1:]]


sio.register_namespace(Shop("/shop"))
sio.register_namespace(Router("/route"))


@sio.on("*", namespace="/open")
def anything(event: str, sid: str, *data: Any) -> Any:
    return event, *data


if __name__ == "__main__":
    run_simple("127.0.0.1", 0, app, threaded=True)
