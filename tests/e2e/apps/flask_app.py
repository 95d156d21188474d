"""An application in the face's words for the end-to-end tests: order, overlap, waiting, limits.

It must not know the tests: each event does one thing.
"""

import gc
import threading
import time

import flask
from werkzeug.middleware.proxy_fix import ProxyFix

from python_server import Namespace, SocketIO, call, emit, join_room, room_members, rooms

app = flask.Flask(__name__)
socketio = SocketIO(app, connection_state_recovery=True, ping_interval=300)
started = socketio.start_background_task(lambda: state.update(task="ran"))
state: dict[str, str] = {}
socketio.emit("kept", "sent before the server ran")
gates = {"late": threading.Event()}


class Doorman:
    """Middleware that lets nobody in who says so."""

    def __init__(self, inner):
        self._inner = inner

    def __call__(self, environ, start_response):
        if "refuse" in environ.get("QUERY_STRING", ""):
            start_response("403 Forbidden", [("Content-Length", "18"), ("X-Doorman", "Otto")])
            return [b"not in these shoes"]
        if "stumble" in environ.get("QUERY_STRING", ""):
            raise RuntimeError("raised on purpose")
        return self._inner(environ, start_response)


app.wsgi_app = Doorman(ProxyFix(app.wsgi_app))


@socketio.on("slow first")
def slow_first(number):
    if number == 0:
        socketio.sleep(0.05)
    return number


@socketio.on("wait", ordered=False)
def wait(name):
    return gates.setdefault(name, threading.Event()).wait(60)


@socketio.on("open", ordered=False)
def open_gate(name):
    gates.setdefault(name, threading.Event()).set()


@socketio.on("inline", inline=True)
def inline(value):
    emit("heard", value)
    return threading.current_thread().name


@socketio.on("inline call", inline=True)
def inline_call():
    try:
        call("question")
    except RuntimeError as error:
        return str(error)
    return None


@socketio.on("inline sleep", inline=True)
def inline_sleep():
    try:
        socketio.sleep(1)
    except RuntimeError as error:
        return str(error)
    return None


@socketio.on("ask me")
def ask_me(question):
    return ["answered", call("question", question, timeout=60)]


@socketio.on("ask into silence")
def ask_into_silence():
    try:
        call("silence", timeout=0.05)
    except TimeoutError as error:
        return str(error)
    return None


@socketio.on("sleep")
def sleep(seconds):
    socketio.sleep(seconds)
    return "slept"


@socketio.on("block")
def block(seconds):
    time.sleep(seconds)
    return "blocked"


@socketio.on("later")
async def later(value):
    import asyncio

    await asyncio.sleep(0)
    flask.g.value = value
    emit("heard", flask.request.sid)
    return [flask.g.value, threading.current_thread().name]


@socketio.on("limited", rate_limit="5/10s")
def limited(number):
    return number


@socketio.on("address")
def address():
    return flask.request.remote_addr


@socketio.on("enter")
def enter(room):
    join_room(room)
    return [room in rooms(), len(room_members(room))]


@socketio.on("task")
def task():
    started.join()
    return state.get("task")


@socketio.on("from a thread")
def from_a_thread():
    sid = flask.request.sid
    socketio.start_background_task(lambda: [socketio.emit("numbered", n, to=sid) for n in range(100)])


@socketio.on("fail")
def fail():
    raise RuntimeError("raised on purpose")


@socketio.on("disconnect")
def left(reason):
    socketio.emit("left", [reason, flask.request.sid])


class Shy(Namespace):
    def on_connect(self):
        try:
            self.call("question", sid=flask.request.sid)
        except RuntimeError as error:
            emit("told", str(error))


socketio.on_namespace(Shy("/shy"))


@app.route("/stop", methods=["POST"])
def stop():
    socketio.stop()
    return "stopping"


@app.route("/collector")
def collector():
    """Does it run, and does it look through the application?"""
    looks_at_it = any(each is app for each in gc.get_objects())
    return {"runs": gc.isenabled(), "looks": looks_at_it, "old": gc.get_threshold()[2]}


@socketio.on("flood")
def flood():
    """More than a client that does not read may have waiting, in pieces of half a MiB."""
    sid = flask.request.sid
    for _ in range(128):
        socketio.emit("heavy", "x" * 524_288, to=sid)


async_gate = threading.Event()
in_wait = []


@socketio.on("wait async")
async def wait_async(number):
    import asyncio

    flask.g.number = number
    in_wait.append(number)
    emit("in wait", number)
    while not async_gate.is_set():
        await asyncio.sleep(0.05)
    return [flask.g.number, flask.request.sid, threading.current_thread().name]


@socketio.on("wait async beside", ordered=False)
async def wait_async_beside(number):
    return await wait_async(number)


@socketio.on("count threads")
def count_threads():
    return [len(in_wait), threading.active_count()]


@socketio.on("open async gate", ordered=False)
def open_async_gate():
    async_gate.set()


@socketio.on("ask async")
async def ask_async(question):
    import asyncio

    said = []
    for wait in (lambda: call("question", question), lambda: socketio.sleep(1)):
        try:
            wait()
        except RuntimeError as error:
            said.append(str(error))
    return [*said, await asyncio.to_thread(call, "question", question)]


@socketio.on("fail async")
async def fail_async():
    raise RuntimeError("raised on purpose")


@socketio.on_error("/async")
def answer_for(error):
    return ["on_error", str(error), flask.request.sid]


@app.teardown_request
def count_teardown(error):
    state["teardowns"] = state.get("teardowns", 0) + 1
    state["teardown thread"] = threading.current_thread().name


@socketio.on("teardowns")
def teardowns():
    return [state["teardowns"], state["teardown thread"]]


class Async(Namespace):
    async def on_connect(self, auth):
        import asyncio

        await asyncio.sleep(0)
        if (auth or {}).get("stay") is False:
            return False
        emit("told", "welcome")
        return None

    async def on_double(self, value):
        import asyncio

        await asyncio.sleep(0)
        return value * 2

    async def on_fail(self):
        raise RuntimeError("of a method")


socketio.on_namespace(Async("/async"))
