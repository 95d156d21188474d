"""New code for a server of one process: a child tries it, then the process executes itself, sockets kept.

Must not know: protocols, signals, how an application is loaded; a command that can check itself does that.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, MutableMapping
from typing import IO, Final

from python_server.net.sockets import Listening, Socket
from python_server.net.states import StateEnum
from python_server.net.system import CallLater
from python_server.net.systemd import LISTEN_VARIABLES
from python_server.observe import log
from python_server.workers.spawn import INHERITED_VARIABLE

CHECK_VARIABLE: Final = "WSFRAME_CHECK_CONFIG"
# JSON: the process that has executed itself, and the UNIX paths that it removes at its end.
REEXEC_VARIABLE: Final = "WSFRAME_REEXEC"
# An application that takes longer to load is not served; gunicorn waits 30 s for a worker's first sign.
CHECK_MAX_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.05
SAID_MAX_BYTES: Final = 4096


class ReexecState(StateEnum):
    SERVING = "CHECKING"
    CHECKING = "SERVING", "ENDING"  # a child loads the new code
    ENDING = "SERVING"  # what runs may end; then the process executes itself, unless it is told to stop


class Reexec:
    """Made before the application is loaded: its exit handler then runs after all of the application's."""

    def __init__(self) -> None:
        self._folder = os.getcwd()
        self._environment = dict(os.environ)
        for name in (*LISTEN_VARIABLES, INHERITED_VARIABLE):
            self._environment.pop(name, None)
        self._state = ReexecState.SERVING
        self._listening = Listening()
        self._kept: list[Socket] = []
        self._paths: list[tuple[str, int]] = []
        self._process_id = os.getpid()
        atexit.register(self._execute)

    @property
    def ending(self) -> bool:
        """Does this process end to execute itself?"""
        return self._state is ReexecState.ENDING

    def keep(self, listening: Listening) -> None:
        """Connections wait in the system's queue while nobody accepts."""
        self._listening = listening
        self._kept = [sock.dup() for sock in listening.sockets]

    def begin(self, call_later: CallLater, stop: Callable[[], object], refused: Callable[[], object]) -> None:
        """Loop's thread: try the code that is there now.

        Args:
            stop: called if it loads: the worker is to end in order. refused: called if it does not.
        """
        if self._state is not ReexecState.SERVING:
            return
        with tempfile.TemporaryFile() as file:
            said: IO[bytes] = os.fdopen(os.dup(file.fileno()), "rb")
            try:
                child = self._try_new_code(file)
            except OSError as error:
                said.close()
                log.warn(f"the code is not reloaded: {sys.executable} cannot be started: {error.strerror}")
                refused()
                return
        self._state = self._state.to(ReexecState.CHECKING)
        looks_left = int(CHECK_MAX_SECONDS / LOOK_SECONDS)

        def look() -> None:
            nonlocal looks_left
            status = child.poll()
            if status is None:
                looks_left -= 1
                if not looks_left:
                    child.kill()
                call_later(LOOK_SECONDS, look)
                return
            if status == 0:
                self._end(stop)
            else:
                self._state = self._state.to(ReexecState.SERVING)
                late = f"it did not load within {CHECK_MAX_SECONDS:g} s"
                reason = _end_of(said) if looks_left > 0 else late
                log.warn(f"the code is not reloaded, the new one does not load: {reason}")
                refused()
            said.close()

        call_later(LOOK_SECONDS, look)

    def _try_new_code(self, said: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            env={**self._environment, CHECK_VARIABLE: "true"},
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )

    def give_up(self) -> None:
        """Loop's thread: it is told to stop."""
        if self.ending:
            self._state = self._state.to(ReexecState.SERVING)
            self._listening.paths += self._paths

    def _end(self, stop: Callable[[], object]) -> None:
        log.say("the new code loads: this process serves it once running requests and handlers have finished")
        self._state = self._state.to(ReexecState.ENDING)
        self._paths, self._listening.paths[:] = self._listening.paths[:], []
        stop()

    def _execute(self) -> None:
        """At the very end of the process; a child that the application has forked is not meant."""
        if not self.ending or os.getpid() != self._process_id:
            return
        for sock in self._kept:
            sock.set_inheritable(True)
        numbers = ",".join(str(sock.fileno()) for sock in self._kept)
        place = json.dumps({"process": self._process_id, "paths": self._paths})
        environment = {**self._environment, INHERITED_VARIABLE: numbers, REEXEC_VARIABLE: place}
        log.flush()
        try:
            os.chdir(self._folder)
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
        except OSError as error:
            log.warn(f"cannot execute {sys.executable}: {error.strerror}")
            log.flush()
            os._exit(1)


def inherited_from_itself(environment: MutableMapping[str, str]) -> Listening | None:
    """The sockets of this process before it executed itself, out of the environment; None if it has not."""
    values = json.loads(environment.get(REEXEC_VARIABLE, "{}"))
    if values.get("process") != os.getpid():
        return None
    del environment[REEXEC_VARIABLE]
    numbers = environment.pop(INHERITED_VARIABLE).split(",")
    sockets = [Socket(fileno=int(number)) for number in numbers]
    for sock in sockets:
        sock.setblocking(False)  # a copy of one that does not know it would make both block
        sock.set_inheritable(False)
    return Listening(sockets, [(path, inode) for path, inode in values["paths"]])


def _end_of(said: IO[bytes]) -> str:
    """The last line of what a child has said."""
    said.seek(max(0, said.seek(0, os.SEEK_END) - SAID_MAX_BYTES))
    lines = said.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")
