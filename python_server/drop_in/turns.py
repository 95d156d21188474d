"""When a program's handlers run one at a time: it was written for greenlets, and nobody has said otherwise.

Must not know: modules that are replaced, how a turn is handed on.
"""

from __future__ import annotations

import sys
from typing import Final

from python_server.drop_in.importing import place_of, warn_once
from python_server.drop_in.library_waits import let_others_run
from python_server.net.forks import call_in_children
from python_server.net.threads import WORKER, on_main_thread
from python_server.net.turn import PROGRAM, Turn

GREEN_MODES: Final = ("eventlet", "gevent", "gevent_uwsgi")


class _Chosen:
    """What the command line says: may handlers take turns at all?"""

    turns = False
    began = False  # they do, in this process or the one that it was forked from


CHOSEN: Final = _Chosen()


def need_turns() -> None:
    """The program counts on greenlets: from here on its handlers, tasks and requests run one at a time.

    The main thread has the first turn: what it imports and spawns is in place before anything else runs.
    """
    if not CHOSEN.turns or PROGRAM.turn is not None:
        return
    CHOSEN.turns = False
    if on_main_thread():
        _begin_turns()
        let_others_run()
    else:
        warn_once("the program comes to greenlets too late: handlers run side by side")


def _begin_turns() -> None:
    CHOSEN.began = True
    PROGRAM.turn = Turn(_tell_of_loss)
    PROGRAM.turn.join()
    call_in_children(_leave_turns)


def _leave_turns() -> None:
    """In a forked child: those it would wait for are not there."""
    PROGRAM.turn = WORKER.turn = None


def begin_again() -> None:
    """Main thread of a worker that was forked after the program was loaded: it has turns of its own."""
    if CHOSEN.began and PROGRAM.turn is None:
        _begin_turns()


def _tell_of_loss(thread_id: int) -> None:
    frame = sys._current_frames().get(thread_id)
    if frame is not None:
        warn_once(
            "it waits without giving others their turn: the next handler runs beside it; wait by "
            "socketio.sleep(), or by eventlet's or gevent's words",
            place_of(frame),
        )
