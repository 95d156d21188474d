"""Math Duels: the Flask pages and Socket.IO events of a small game, wired to its rules.

It must not know how a duel is played: arena.py decides, this file reads the clock and sends.
"""

import os
import threading
import time
from typing import Any

from arena import Arena, Outcome, kind_of
from duel import MAX_NAME_CHARS, POINTS_RIGHT, POINTS_SPEED, Kind, Pace, Refused, clean_name
from flask import Flask, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from python_server import SocketIO, emit, join_room, leave_room

NAME_COOKIE = "duel_name"
NAME_COOKIE_SECONDS = 180 * 24 * 3600

# With it lobbies and events reach over many workers and machines: redis://host
BROKER = os.environ.get("DUEL_BROKER")

app = Flask(__name__)
socketio = SocketIO(app, message_queue=BROKER)


def pace_from_environment() -> Pace:
    """The usual pace, or a quicker one: DUEL_ROUNDS, DUEL_ROUND_SECONDS, DUEL_REVEAL_SECONDS."""
    usual = Pace()
    return Pace(
        rounds=int(os.environ.get("DUEL_ROUNDS", usual.rounds)),
        round_seconds=float(os.environ.get("DUEL_ROUND_SECONDS", usual.round_seconds)),
        reveal_seconds=float(os.environ.get("DUEL_REVEAL_SECONDS", usual.reveal_seconds)),
    )


PACE = pace_from_environment()
app.jinja_env.globals.update(pace=PACE, points_right=POINTS_RIGHT, points_speed=POINTS_SPEED)
if BROKER is None:
    arena = Arena(PACE)
    clock = time.monotonic
else:
    from shared import SharedLock

    arena = Arena(PACE, lock=lambda arena: SharedLock(arena, BROKER))
    clock = time.time  # the one that all machines have in common
# How long a referee sleeps at most: a round may have been started by another process.
SLEEP_SECONDS = None if BROKER is None else 0.25


# ---- the clock: one ordinary thread ends rounds and forgets empty seats


class Referee:
    """Sleeps until the arena's next deadline; `look_again` wakes it when a deadline may have moved."""

    def __init__(self) -> None:
        self._moved = threading.Event()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    def look_again(self) -> None:
        with self._start:  # started by the first player, so that importing this module starts nothing
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="referee", daemon=True)
                self._thread.start()
        self._moved.set()

    def _watch(self) -> None:
        while True:
            deadline = arena.next_deadline()
            waits = [SLEEP_SECONDS, None if deadline is None else max(0.0, deadline - clock())]
            self._moved.wait(min((seconds for seconds in waits if seconds is not None), default=None))
            self._moved.clear()
            deliver(arena.tick(clock()))


referee = Referee()


def deliver(outcome: Outcome) -> None:
    """Send what an outcome owes to others. Needs no request, so the referee may call it too."""
    for notice in outcome.notices:
        socketio.emit(notice.event, notice.payload, to=notice.to)


def settle(outcome: Outcome) -> dict[str, Any]:
    """Rooms first, then the events, then the reply: a joining player sees the lobby they joined."""
    for room, sid in outcome.exits:
        leave_room(room, sid=sid, namespace="/")
    if outcome.enter is not None:
        join_room(outcome.enter)
    deliver(outcome)
    referee.look_again()
    return outcome.reply


# ---- events; whatever a client sends, it gets an object with `ok` as the acknowledgement


@socketio.on("connect")
def on_connect() -> None:
    emit("hello", {"rounds": PACE.rounds, "round_seconds": PACE.round_seconds})


@socketio.on("join")
def on_join(payload: object = None, *_: object) -> dict[str, Any]:
    return settle(arena.join(request.sid, payload, clock()))  # type: ignore[attr-defined]


@socketio.on("start")
def on_start(*_: object) -> dict[str, Any]:
    return settle(arena.start(request.sid, clock()))  # type: ignore[attr-defined]


@socketio.on("answer")
def on_answer(payload: object = None, *_: object) -> dict[str, Any]:
    return settle(arena.answer(request.sid, payload, clock()))  # type: ignore[attr-defined]


@socketio.on("leave")
def on_leave(*_: object) -> dict[str, Any]:
    return settle(arena.leave(request.sid, clock()))  # type: ignore[attr-defined]


@socketio.on("disconnect")
def on_disconnect(*_: object) -> None:
    deliver(arena.dropped(request.sid, clock()))  # type: ignore[attr-defined]
    referee.look_again()


# ---- pages


@app.get("/")
def home() -> ResponseReturnValue:
    return render_template("home.html", name=remembered_name(), code="", error=None)


@app.post("/play")
def play() -> ResponseReturnValue:
    """The form of the first page: a name, perhaps a code, and the button that was pressed."""
    typed_name, typed_code = request.form.get("name", ""), request.form.get("code", "").strip().upper()
    try:
        name = clean_name(typed_name)
        if request.form.get("way") == "practice":
            target = url_for("practice", code=arena.free_code(Kind.PRACTICE))
        elif typed_code:
            if kind_of(typed_code) is not Kind.DUEL:
                raise Refused("code", "That is a practice code: it has one seat only.")
            target = url_for("duel", code=typed_code)
        else:
            target = url_for("duel", code=arena.free_code(Kind.DUEL))
    except Refused as error:
        page = render_template("home.html", name=typed_name[:MAX_NAME_CHARS], code=typed_code, error=error)
        return page, 400
    return remember_name(name, target)


@app.route("/duel/<code>", methods=["GET", "POST"])
def duel(code: str) -> ResponseReturnValue:
    return lobby_page(code, Kind.DUEL)


@app.route("/practice/<code>", methods=["GET", "POST"])
def practice(code: str) -> ResponseReturnValue:
    return lobby_page(code, Kind.PRACTICE)


def lobby_page(code: str, kind: Kind) -> ResponseReturnValue:
    """The lobby; for a visitor without a name, first a form that posts the name to this same address."""
    if code != code.upper():
        return redirect(url_for(kind.value, code=code.upper()))
    try:
        if kind_of(code) is not kind:
            abort(404)
    except Refused:
        abort(404)
    if request.method == "POST":
        try:
            return remember_name(clean_name(request.form.get("name", "")), request.path)
        except Refused as error:
            return render_template("name.html", code=code, name="", error=error), 400
    name = remembered_name()
    if not name:
        return render_template("name.html", code=code, name="", error=None)
    lobby = arena.view(code, clock())
    return render_template("lobby.html", code=code, kind=kind.value, name=name, lobby=lobby)


@app.errorhandler(404)
def missing(error: Exception) -> ResponseReturnValue:
    return render_template("missing.html"), 404


def remembered_name() -> str:
    try:
        return clean_name(request.cookies.get(NAME_COOKIE, ""))
    except Refused:
        return ""


def remember_name(name: str, target: str) -> ResponseReturnValue:
    response = redirect(target, code=303)
    response.set_cookie(NAME_COOKIE, name, max_age=NAME_COOKIE_SECONDS, httponly=True, samesite="Lax")
    return response


if __name__ == "__main__":
    socketio.run(app, host="127.0.0.1", port=8000)
