"""The served application of the soak: it writes down each numbered event, and has what abusers aim at.

It must not know how many clients, workers or machines there are. SOAK_PLANT names faults for a run to find.
"""

import ctypes
import os
import sys
import threading
import time
from typing import Any

import flask

from python_server import SocketIO, emit

app = flask.Flask(__name__)
socketio = SocketIO(
    app,
    cors_allowed_origins="*",
    message_queue=os.environ["SOAK_BROKER"],
    connection_state_recovery={"max_disconnection_duration": 60},
    ping_interval=10,
    ping_timeout=10,
    connect_timeout=10,
    max_http_buffer_size=200_000,
    max_queued_bytes=1_000_000,
)
# One write for each line, so a killed process leaves whole lines.
noted = os.open(f"{os.environ['SOAK_FOLDER']}/told.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
PLANTS = os.environ["SOAK_PLANT"].split(",")
PIECE = "x" * 50_000
kept: list[Any] = []


class Mallinfo2(ctypes.Structure):
    """glibc's `struct mallinfo2`; of all its arenas."""

    words = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(word, ctypes.c_size_t) for word in words.split()]


def note_what_lives() -> None:
    """Every five seconds what is in use, without what the allocator keeps free: a leak without fragmentation.

    Python's own small blocks are no part of malloc's; 100 bytes is about their mean.
    """
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Mallinfo2
    with open(f"{os.environ['SOAK_FOLDER']}/live.{os.getpid()}", "w", buffering=1) as file:
        while True:
            found = mallinfo2()
            used = found.uordblks + found.hblkhd + 100 * sys.getallocatedblocks()
            file.write(f"{time.time():.1f} {os.getpid()} {used // 1024}\n")
            time.sleep(5)


threading.Thread(target=note_what_lives, daemon=True).start()


def planted(who: str, number: int) -> bool:
    """Whether the event is to be lost; the other faults are done here, each at some numbers."""
    turn = number % 40
    if "memory" in PLANTS:
        kept.append(b"x" * (200_000 + number))
    if "descriptor" in PLANTS and turn == 1:
        kept.append(os.pipe())
    if "thread" in PLANTS and turn == 2:
        threading.Thread(target=time.sleep, args=(3_600,), daemon=True).start()
    if "traceback" in PLANTS and turn == 3:
        raise LookupError(f"{who} {number}")
    if "double" in PLANTS and turn == 4:
        emit("told", (who, number), broadcast=True)
    return "loss" in PLANTS and turn == 5


@socketio.on("tell")
def tell(who: str, number: int) -> int:
    """Written down, told to everybody, and then acknowledged."""
    if planted(who, number):
        return number
    os.write(noted, f"{who} {number}\n".encode())
    if not ("silence" in PLANTS and number % 40 == 6):
        emit("told", (who, number), broadcast=True)
    return number


@socketio.on("heavy")
def heavy() -> str:
    """An answer, not an emit: what many of them push out of the recovery's log is no loss of the server's."""
    return PIECE


@socketio.on("echo")
def echo(data: Any) -> Any:
    return data


@socketio.on("fail")
def fail() -> None:
    raise RuntimeError("raised on purpose")


@app.get("/")
def page() -> str:
    return "hello"


@app.get("/long")
def long() -> Any:
    return flask.Response((PIECE for _ in range(80)), mimetype="text/plain")


@app.post("/upload")
def upload() -> str:
    return str(sum(len(piece) for piece in iter(lambda: flask.request.stream.read(65_536), b"")))


@app.route("/blocking", websocket=True)
def blocking() -> Any:
    """A WebSocket that holds a thread, echoing."""
    websocket = flask.request.environ.get("wsgi.websocket")
    if websocket is None:
        return "a WebSocket is wanted", 400
    while (message := websocket.receive()) is not None:
        websocket.send(message)
    return ""
