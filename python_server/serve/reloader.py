"""Reloading: a parent that watches files and starts the program anew, on the same listening sockets.

Must not know: the application; only a child serves it, so nothing is served twice and no connection refused.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Final

from python_server.net.portability import UNIX, signals
from python_server.net.sockets import Socket
from python_server.net.threads import BackgroundThread
from python_server.observe import log
from python_server.serve.reloaded import RELOADER_VARIABLE, is_reloaded
from python_server.serve.serve import bind, set_up_logs
from python_server.settings import Settings
from python_server.workers.spawn import INHERITED_VARIABLE, start_again

CHILD_STOP_SECONDS: Final = 5.0
# Ctrl+C reaches the child as well: it is given this long before it is told once more.
CHILD_INTERRUPT_SECONDS: Final = 0.5
# Between two looks at the files, and at the child; Werkzeug's interval.
LOOK_SECONDS: Final = 1.0
# Programs ask with this word whether they are the one that serves, since Werkzeug sets it.
SERVING_VARIABLE: Final = "WERKZEUG_RUN_MAIN"
# Orders that the program itself understands, or says that it does not.
PASSED_ON: Final = (*signals(dict.fromkeys(("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU"))),)
IGNORED_FOLDERS: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


@dataclass(frozen=True, slots=True)
class Watched:
    """Which files are watched, and how.

    Attributes:
        folders: every Python file below them. files: of any kind. ignored: patterns of paths that are not.
        included: patterns of paths of other kinds that are watched too.
        interval_seconds: between two looks. polling: compare times even where the system could tell.
    """

    folders: Sequence[str]
    files: Sequence[str] = ()
    ignored: Sequence[str] = ()
    interval_seconds: float = LOOK_SECONDS
    polling: bool = False
    included: Sequence[str] = ()


def run_reloading(watched: Watched, settings: Settings) -> None:
    """Run this program in a child, and anew after every change, until SIGTERM, SIGINT or its own good end.

    The child knows by the inherited sockets that it is to serve. Raises BindError when the address cannot be
    listened on.
    """
    set_up_logs(settings)
    with bind(settings, {}) as listening:
        _run(watched, listening.sockets)


def reloads(asked: bool) -> bool:
    """Is this process to watch files, and a child of it to serve?"""
    if asked and not UNIX:
        log.warn("there is no reloader: it needs a UNIX system; after a change, start the server anew")
        return False
    return asked and not serves_here()


def serves_here() -> bool:
    """Is this the child, or a process without a reloader above it that was given its sockets?"""
    return INHERITED_VARIABLE in os.environ


def end_with_reloader() -> None:
    """In the child: stop in an orderly way when the reloader has gone without a word (kill -9)."""
    if is_reloaded():
        BackgroundThread(_watch_parent, "reloader's end", os.getppid())


def _watch_parent(process_id: int) -> None:
    while os.getppid() == process_id:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def folders_of_program() -> list[str]:
    """The folder of the program, and those of the modules it has imported from outside the installation."""
    installed = [os.path.realpath(path) for path in {sys.prefix, sys.base_prefix, sys.exec_prefix}]
    paths = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    folders = {Path(path).parent.resolve() for path in paths if isinstance(path, str) and path}
    folders.add(Path(sys.path[0] or os.curdir).resolve())
    outside = [
        folder
        for folder in sorted(folders)
        if not any(map(folder.is_relative_to, installed)) and "site-packages" not in str(folder)
    ]
    highest = [folder for folder in outside if not any(other in folder.parents for other in outside)]
    return [str(folder) for folder in highest] or [os.getcwd()]


def _run(watched: Watched, listening: Sequence[Socket]) -> None:
    def pass_on(number: int, frame: FrameType | None) -> None:
        if child is not None and child.poll() is None:
            child.send_signal(number)

    child: subprocess.Popen[bytes] | None = None
    told: subprocess.Popen[bytes] | None = None  # the child whose fault has been told of
    patience_seconds = 0.0
    try:
        # Once the child serves, somebody may edit a file or end this process.
        signal.signal(signal.SIGTERM, _interrupt)
        for number in PASSED_ON:
            signal.signal(number, pass_on)
        changes = _changes(watched)
        child = _start(listening)
        for changed in changes:
            if changed:
                shown = [os.path.relpath(path) for path in sorted(changed)[:3]]
                log.say(f"{', '.join(shown)} changed: the server restarts")
                _stop(child)
                child = _start(listening)
            elif child.poll() == 0:
                return  # it has stopped by itself
            elif child.poll() is not None and told is not child:
                told = child
                log.warn("the program has ended with a fault: the next change of a file starts it again")
    except KeyboardInterrupt as interrupt:
        patience_seconds = 0.0 if interrupt.args else CHILD_INTERRUPT_SECONDS
    finally:
        if child is not None:
            _stop(child, patience_seconds)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def _start(listening: Sequence[Socket]) -> subprocess.Popen[bytes]:
    marks = {SERVING_VARIABLE: "true", RELOADER_VARIABLE: str(os.getpid())}
    return start_again({**os.environ, **marks}, listening)


def _stop(child: subprocess.Popen[bytes], patience_seconds: float = 0.0) -> None:
    if not _ended(child, patience_seconds):
        child.send_signal(signal.SIGTERM)
        if not _ended(child, CHILD_STOP_SECONDS):
            child.kill()
            child.wait()


def _ended(child: subprocess.Popen[bytes], timeout_seconds: float) -> bool:
    try:
        child.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


# Watching


def _changes(watched: Watched) -> Iterator[set[str]]:
    """The paths that changed since the last look, or since this call; an empty set when nothing did."""
    known = _times(watched)
    places = {*watched.folders, *(os.path.dirname(os.path.realpath(path)) for path in watched.files)}
    try:
        import watchfiles
    except ImportError:
        return _polled(watched, known)
    if watched.polling or not all(map(os.path.isdir, places)):  # the system tells nothing of what is missing
        return _polled(watched, known)
    return _told(watchfiles, watched, places, known)


def _told(
    watchfiles: ModuleType, watched: Watched, places: set[str], known: dict[str, int]
) -> Iterator[set[str]]:
    """The system says what changes, once it is asked; times tell of what did before."""
    files = {os.path.realpath(path) for path in watched.files}
    usual = watchfiles.DefaultFilter()

    def wanted(change: object, path: str) -> bool:
        return path in files or (usual(change, path) and _is_wanted(watched, path))

    first: dict[str, int] | None = None  # as they were at the first look
    for changes in watchfiles.watch(
        *places,
        watch_filter=wanted,
        raise_interrupt=True,
        yield_on_timeout=True,
        rust_timeout=int(watched.interval_seconds * 1000),
    ):
        changed = {path for _, path in changes}
        if first is None:
            first = _times(watched)
            yield changed | _differing(known, first)
        else:
            yield {path for path in changed if _time(path) != first.get(path)}


def _polled(watched: Watched, known: dict[str, int]) -> Iterator[set[str]]:
    """The times of all files, compared."""
    while True:
        time.sleep(watched.interval_seconds)
        times = _times(watched)
        yield _differing(known, times)
        known = times


def _differing(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def _times(watched: Watched) -> dict[str, int]:
    times = {path: _time(path) for path in _paths(watched)}
    return {path: time for path, time in times.items() if time is not None}


def _time(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None  # it has gone, or not come yet


def _paths(watched: Watched) -> Iterator[str]:
    yield from watched.files
    for top in watched.folders:
        for folder, below, names in os.walk(top):
            below[:] = [name for name in below if name not in IGNORED_FOLDERS and not name.startswith(".")]
            for name in names:
                path = str(Path(folder, name))
                if _is_wanted(watched, path):
                    yield path


def _is_wanted(watched: Watched, path: str) -> bool:
    """Is a file below the folders one that is watched?"""

    def like(patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)

    return (path.endswith(".py") or like(watched.included)) and not like(watched.ignored)
