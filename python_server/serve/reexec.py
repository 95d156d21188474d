"""New code for a server of one process: a child tries it, then the process executes itself, sockets kept.

Must not know: protocols, other signals than SIGHUP, how an application is loaded: a command that can check
itself does that.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from itertools import chain
from types import FrameType
from typing import IO, Final

from python_server.net.sockets import Listening, Socket
from python_server.net.states import StateEnum
from python_server.net.system import CallLater
from python_server.net.systemd import LISTEN_VARIABLES
from python_server.net.threads import BackgroundThread, on_main_thread
from python_server.observe import log
from python_server.workers.spawn import INHERITED_VARIABLE, own_command

CHECK_VARIABLE: Final = "WSFRAME_CHECK_CONFIG"
# What a command that checks itself writes once the application is loaded. Its exit status alone proves
# nothing: a module may end the process with 0, and an application that ignores SIGCHLD hides each status.
GOOD: Final = "The configuration is good."
# JSON: the process that has executed itself, the UNIX paths that it removes at its end, and the same with the
# descriptors of what it listens on for others than clients, by name.
REEXEC_VARIABLE: Final = "WSFRAME_REEXEC"
CLIENTS: Final = ""  # the name of what clients connect to
# An application that takes longer to load is not served; gunicorn waits 30 s for a worker's first sign.
CHECK_MAX_SECONDS: Final = 60.0
# What a check has loaded has this long for its exit handlers; threads that do not end are not waited for.
CHECK_EXIT_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.05
SAID_MAX_BYTES: Final = 4096


class ReexecState(StateEnum):
    LOADING = "SERVING", "ASKED", "STOPPED"
    SERVING = "CHECKING", "STOPPED"
    CHECKING = "SERVING", "ASKED", "ENDING", "STOPPED"  # a child loads the new code
    ASKED = "CHECKING", "STOPPED"  # the signal has come meanwhile: the code is to be tried once more
    ENDING = ("STOPPED",)  # what runs may end; then the process executes itself
    STOPPED = ()  # it was told to stop


class Reexec:
    """Made before the application is loaded: its exit handler then runs after all of the application's."""

    def __init__(self) -> None:
        self._folder = _folder(os.environ)
        self._environment = dict(os.environ)
        for name in (*LISTEN_VARIABLES, INHERITED_VARIABLE):
            self._environment.pop(name, None)
        self._state = ReexecState.LOADING
        self._listening: dict[str, Listening] = {}
        self._kept: dict[str, list[Socket]] = {}
        self._paths: dict[str, list[tuple[str, int]]] = {}
        self._process_id = os.getpid()
        self._child: subprocess.Popen[bytes] | None = None
        atexit.register(self._execute)
        if on_main_thread():
            signal.signal(signal.SIGHUP, self.note)

    @property
    def ending(self) -> bool:
        """Does this process end to execute itself?"""
        return self._state is ReexecState.ENDING

    def keep(self, name: str, listening: Listening) -> None:
        """Connections wait in the system's queue while nobody accepts; the new code asks for the name."""
        self._listening[name] = listening
        self._kept[name] = [sock.dup() for sock in listening.sockets]

    def note(self, number: int, frame: FrameType | None) -> None:
        """SIGHUP before this process serves, or when it no longer does: by itself it would end it."""
        if self._state is ReexecState.LOADING:
            self._state = self._state.to(ReexecState.ASKED)

    def loaded(self) -> bool:
        """This process serves, and SIGHUP is an order. Did it come before?"""
        if self._state is ReexecState.LOADING:
            self._state = self._state.to(ReexecState.SERVING)
        return self._state is ReexecState.ASKED

    def begin(self, call_later: CallLater, stop: Callable[[], object], refused: Callable[[], object]) -> None:
        """Loop's thread: try the code that is there now; while it is being tried: once more after that.

        Args:
            stop: called if it loads: the worker is to end in order. refused: called if it does not.
        """
        if self._state is ReexecState.CHECKING:
            self._state = self._state.to(ReexecState.ASKED)
        if self._state not in (ReexecState.SERVING, ReexecState.ASKED) or self._child is not None:
            return
        self._state = self._state.to(ReexecState.CHECKING)
        try:
            said = tempfile.TemporaryFile()  # noqa: SIM115  # until the check has ended
        except OSError as error:
            self._refuse(f"the check needs a temporary file: {error}", refused)
            return
        try:
            child = self._child = self._try_new_code(said)
        except OSError as error:
            said.close()
            self._refuse(f"cannot start {error.filename or sys.executable}: {error.strerror}", refused)
            return
        looks_left = int(CHECK_MAX_SECONDS / LOOK_SECONDS)

        def look() -> None:
            nonlocal looks_left
            looks_left -= 1
            text = _end_of(said)
            good = GOOD in text
            if good:
                looks_left = min(looks_left, int(CHECK_EXIT_SECONDS / LOOK_SECONDS))
            status = child.poll()
            if status is None and looks_left > 0 and self._child is child:
                call_later(LOOK_SECONDS, look)
                return
            self._end_check()
            said.close()
            if self._state is ReexecState.ASKED:
                self.begin(call_later, stop, refused)
            elif self._state is ReexecState.CHECKING and good:
                self._end(stop)
            elif self._state is ReexecState.CHECKING:
                self._refuse(_fault(status, text), refused)

        call_later(LOOK_SECONDS, look)

    def _try_new_code(self, said: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            own_command(),
            env={**self._environment, CHECK_VARIABLE: "true", "PYTHONUNBUFFERED": "1"},
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # what the new code starts ends with the check
        )

    def _end_check(self) -> None:
        """The child, and what it has started: a second copy of what the application runs beside itself."""
        child, self._child = self._child, None
        if child is not None:
            with suppress(ProcessLookupError, PermissionError):  # macOS: all that is left are zombies
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def _refuse(self, reason: str, refused: Callable[[], object]) -> None:
        self._state = self._state.to(ReexecState.SERVING)
        log.warn(f"the new code is not loaded, the old code goes on: {reason}")
        refused()

    def give_up(self) -> None:
        """Loop's thread: this process is told to stop."""
        if self._state is ReexecState.STOPPED:
            return
        if self.ending:
            for name, paths in self._paths.items():
                self._listening[name].paths += paths
        self._state = self._state.to(ReexecState.STOPPED)
        self._end_check()

    def _end(self, stop: Callable[[], object]) -> None:
        log.say("the new code loads: this process serves it once running requests and handlers have finished")
        self._state = self._state.to(ReexecState.ENDING)
        for name, listening in self._listening.items():
            self._paths[name], listening.paths[:] = listening.paths[:], []
        stop()

    def served(self, timeout_seconds: float) -> None:
        """Main thread: nothing is served any more; threads and exit handlers of the application may end."""
        if self.ending:
            # While Python starts as well: the code is loaded after that.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            BackgroundThread(self._cut_off, "end of the old code", timeout_seconds)

    def _cut_off(self, timeout_seconds: float) -> None:
        time.sleep(timeout_seconds)
        log.warn(
            f"threads or exit handlers of the application still run after {timeout_seconds:g} s: they are "
            "cut off, and the new code is served; start such threads with daemon=True (--timeout-graceful)"
        )
        self._execute()

    def _execute(self) -> None:
        """At the very end of the process; a child that the application has forked is not meant."""
        if os.getpid() != self._process_id:
            return
        self._end_check()
        if not self.ending:
            return
        for sock in chain.from_iterable(self._kept.values()):
            sock.set_inheritable(True)
        numbers = {name: [sock.fileno() for sock in sockets] for name, sockets in self._kept.items()}
        clients = ",".join(map(str, numbers.pop(CLIENTS)))
        paths = self._paths.pop(CLIENTS)
        beside = {name: [numbers[name], self._paths[name]] for name in numbers}
        place = json.dumps({"process": self._process_id, "paths": paths, "beside": beside})
        environment = {**self._environment, INHERITED_VARIABLE: clients, REEXEC_VARIABLE: place}
        log.flush()
        try:
            os.chdir(self._folder)
            os.execve(sys.executable, own_command(), environment)
        except OSError as error:
            log.warn(f"cannot start {error.filename or sys.executable}: {error.strerror}; this process ends")
            log.flush()
            os._exit(1)


def inherited_from_itself(environment: MutableMapping[str, str]) -> dict[str, Listening]:
    """What this process listened on before it executed itself, by name, out of the environment."""
    values = json.loads(environment.get(REEXEC_VARIABLE, "{}"))
    if values.get("process") != os.getpid():
        return {}
    del environment[REEXEC_VARIABLE]
    clients = [environment.pop(INHERITED_VARIABLE).split(","), values["paths"]]
    found = {}
    for name, (numbers, paths) in {CLIENTS: clients, **values.get("beside", {})}.items():
        sockets = [Socket(fileno=int(number)) for number in numbers]
        for sock in sockets:
            sock.setblocking(False)  # a copy of one that does not know it would make both block
            sock.set_inheritable(False)
        found[name] = Listening(sockets, [(path, inode) for path, inode in paths])
    return found


def _folder(environment: Mapping[str, str]) -> str:
    """The current folder, by the name that the shell gave it: behind a link a new release may stand later."""
    named, real = environment.get("PWD", ""), os.getcwd()
    with suppress(OSError):
        if os.path.samefile(named, real):
            return named
    return real


def _end_of(said: IO[bytes]) -> str:
    """The end of what a child has said; where it goes on writing stays as it is."""
    size = os.fstat(said.fileno()).st_size
    return os.pread(said.fileno(), SAID_MAX_BYTES, max(0, size - SAID_MAX_BYTES)).decode("utf-8", "replace")


def _fault(status: int | None, text: str) -> str:
    """What is wrong with new code: the last line that it has written, if it has ended."""
    if status is None:
        return f"it did not load within {CHECK_MAX_SECONDS:g} s"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if status and lines:
        return lines[-1]
    # A status of 0 is its own, or that of an application which ignores SIGCHLD.
    return f"its process ended with status {status} before it was loaded{': ' + lines[-1] if lines else ''}"
