"""When a program's handlers run one at a time: it was written for greenlets, and nobody has said otherwise.

Must not know: modules that are replaced, how a turn is handed on.
"""

from __future__ import annotations

import sys
import time
from functools import lru_cache, wraps
from typing import Final

from python_server.drop_in.importing import caller, place_of
from python_server.net.threads import WORKER, blocking, on_main_thread
from python_server.net.turn import PROGRAM, Turn
from python_server.observe import log

GREEN_MODES: Final = ("eventlet", "gevent", "gevent_uwsgi")


class _Chosen:
    """What the command line says: may handlers take turns at all?"""

    turns = False


CHOSEN: Final = _Chosen()


def need_turns() -> None:
    """The program counts on greenlets: from here on its handlers, tasks and requests run one at a time.

    The main thread has the first turn: what it imports and spawns is in place before anything else runs.
    """
    if not CHOSEN.turns or PROGRAM.turn is not None:
        return
    CHOSEN.turns = False
    if on_main_thread():
        PROGRAM.turn = Turn(_tell_of_loss)
        PROGRAM.turn.join()
    else:
        warn_once("the program comes to greenlets too late: handlers run side by side")


def let_others_run_in_sleep() -> bool:
    """`time.sleep` gives the turn back from here on, as where greenlets were patched in. False: no turns."""
    plain = time.sleep
    if PROGRAM.turn is None or hasattr(plain, "__wrapped__"):
        return PROGRAM.turn is not None

    @wraps(plain)
    def sleep(seconds: float) -> None:
        if WORKER.turn is None:
            plain(seconds)
            return
        with blocking():
            plain(seconds)

    vars(time)["sleep"] = sleep
    return True


def _tell_of_loss(thread_id: int) -> None:
    frame = sys._current_frames().get(thread_id)
    if frame is not None:
        warn_once(
            "it waits without giving others their turn: the next handler runs beside it; wait by "
            "socketio.sleep(), or by eventlet's or gevent's words",
            place_of(frame),
        )


def warn_once(sentence: str, place: str = "") -> None:
    """A line of the log, once for each place of the program: the one told, or that of the caller."""
    _warn(place or place_of(caller()), sentence)


@lru_cache(maxsize=256)
def _warn(place: str, sentence: str) -> bool:
    log.warn(f"drop-in: {place}: {sentence}")
    return True
