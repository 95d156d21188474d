"""An application whose process gets no more threads when a client says so, and whose handlers wait or fail.

It must not know the tests. Its threads' stacks are large: an address space a little larger than what is
in use holds none.
"""

import gc
import logging
import resource
import threading

import flask

from python_server import SocketIO, call

MIB = 1024 * 1024
threading.stack_size(128 * MIB)

app = flask.Flask(__name__)
socketio = SocketIO(app)
log = logging.getLogger("python_server")
asked = threading.Semaphore(0)


def used_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


@app.route("/")
def index():
    return "served"


@socketio.on("no more threads", inline=True)
def no_more_threads():
    gc.collect()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used_bytes() + 96 * MIB, hard))


@socketio.on("threads again", inline=True)
def threads_again():
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


@socketio.on("echo")
def echo(data):
    return data


@socketio.on("await")
async def coroutine(data):
    return data


@socketio.on("ask me")
def ask_me():
    log.warning("a handler asks")
    return call("question", timeout=60)


@socketio.on("threads", inline=True)
def threads():
    return threading.active_count()
