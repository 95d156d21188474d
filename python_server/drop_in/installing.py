"""What `--drop-in` does before the application comes: looks if it is too late, puts the table in place.

Must not know: what stands in for what, how handlers take turns.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

from python_server.api import event_checks
from python_server.drop_in.importing import Replacer
from python_server.drop_in.modules import HOMES, MODULES, PACKAGES
from python_server.drop_in.turns import CHOSEN, need_turns
from python_server.net.monkey_patch import patched_by
from python_server.net.turn import PROGRAM
from python_server.observe import log
from python_server.serve.loading import ApplicationError
from python_server.serve.serve import ON_START


def install(*, parallel: bool) -> None:
    """From here on the names of the table are found before the real ones.

    Args:
        parallel: handlers never take turns.

    Raises:
        ApplicationError: the real ones are here already, or have patched the process.
    """
    reasons = [f"{name} has patched the process" for name in patched_by()]
    reasons += [f"{name} is imported" for name in PACKAGES if name in sys.modules]
    if reasons:
        raise ApplicationError(
            f"--drop-in comes too late: {', '.join(reasons)}; start the server by its own command, "
            "without a wrapper or a sitecustomize that does this [drop-in-too-late]"
        )
    CHOSEN.turns = not parallel
    event_checks.CHOSEN.checks = False  # what the program annotates has never been more than a remark
    replacer = Replacer(PACKAGES, MODULES, HOMES, need_turns, {})
    sys.meta_path.insert(0, replacer)
    ON_START.append(lambda: say_replaced(replacer))


def say_replaced(replacer: Replacer) -> None:
    """One line of the log: what the application has imported, and what it got."""
    what = [f"{name} ({place}) is {PACKAGES[name].by}" for name, place in replacer.seen.items()]
    if PROGRAM.turn is not None:
        what.append("handlers run one at a time, as greenlets did (--drop-in-parallel lifts it)")
    log.say(f"drop-in: {'; '.join(what) or 'nothing was replaced: the application imports none of them'}")


def say_what_drop_in_gains() -> None:
    """One line of the log, where a stock server of Socket.IO answers the events."""
    stock = sys.modules.get("flask_socketio") or sys.modules.get("socketio.server")
    if stock is not None:
        log.say(
            f"{stock.__name__.partition('.')[0]} answers the events itself, with threads for each client: "
            "--drop-in puts python_server's own in its place, which holds none for idle ones"
        )


def run_script(path: str, arguments: Sequence[str]) -> None:
    """Run a program that starts the server itself, as `python path arguments...` would.

    Raises:
        ApplicationError: there is no such file.
    """
    if not os.path.isfile(path):
        raise ApplicationError(f"there is no file {path}")
    sys.argv = [path, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    runpy.run_path(path, run_name="__main__")
