"""Workshop: two class namespaces on one connection, every request answered by an acknowledgement.

It must not know the server: it runs on Flask-SocketIO too, with the import and the
page's <script> changed.
"""

from flask import Flask, render_template, request

from python_server import Namespace, SocketIO, emit

app = Flask(__name__)
socketio = SocketIO(app)


class Board(Namespace):
    """A list of jobs that everybody shares."""

    def __init__(self, namespace):
        super().__init__(namespace)
        self.jobs = []

    def on_connect(self, auth=None):
        emit("jobs", self.jobs)

    def on_add(self, text):
        text = str(text).strip()[:80]
        if not text:
            return {"error": "A job needs a name."}
        if any(job["text"] == text for job in self.jobs):
            return {"error": f"{text} is on the board already."}
        self.jobs.append({"id": len(self.jobs) + 1, "text": text, "done": False})
        self.emit("jobs", self.jobs)
        return {"id": self.jobs[-1]["id"]}

    def on_finish(self, number):
        for job in self.jobs:
            if job["id"] == number:
                job["done"] = True
                self.emit("jobs", self.jobs)
                return {"finished": number}
        return {"error": "There is no such job."}


class Bell(Namespace):
    """A bell: the ringer hears how often it was rung, everybody else hears it."""

    def __init__(self, namespace):
        super().__init__(namespace)
        self.rung_count = 0

    def on_ring(self):
        self.rung_count += 1
        emit("rang", self.rung_count, broadcast=True, include_self=False)
        return self.rung_count, request.namespace

    def on_disconnect(self):
        self.emit("quiet")


@app.route("/")
def index():
    return render_template("workshop.html")


socketio.on_namespace(Board("/board"))
socketio.on_namespace(Bell("/bell"))

if __name__ == "__main__":
    socketio.run(app, allow_unsafe_werkzeug=True)
