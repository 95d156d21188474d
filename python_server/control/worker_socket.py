"""A worker's own control socket: threads of its own answer there, also while the loop stands still.

Must not know: what a line asks for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from python_server.control.server import Report, bind_control
from python_server.net.forks import call_in_children, leave_children_alone
from python_server.net.sockets import Socket, connect_unix
from python_server.net.threads import BackgroundThread, Event

# One that is slower is no command of ours.
ASKER_SECONDS: Final = 1.0
LINE_MAX_BYTES: Final = 1000
# Each has a thread, while it waits for a loop that stands still; the next ones wait in the queue.
ASKERS_MAX_COUNT: Final = 8
# Out of descriptors: before it tries again.
AGAIN_SECONDS: Final = 0.5


class WorkerSocket:
    """Open from its construction on; made and closed by the loop's thread.

    Args:
        control: the path of the server's control socket. answer: called by the thread; what it raises is
            reported.

    Raises:
        BindError: the path, with the process id behind it, cannot be listened on.
    """

    def __init__(
        self, control: str, answer: Callable[[bytes], bytes], report: Report, *, own_folder: bool
    ) -> None:
        self._path = f"{control}.{os.getpid()}"
        self._answer = answer
        self._report = report
        self._listening = bind_control(self._path, own_folder=own_folder)
        self._sock = self._listening.sockets[0]
        self._sock.setblocking(True)
        self._closed = Event()
        self._askers: set[Socket] = set()
        call_in_children(self._sock.close)
        self._thread = BackgroundThread(self._serve, "control")

    def close(self) -> None:
        """Nothing is answered any more."""
        self._closed.set()
        leave_children_alone(self._sock.close)
        with suppress(OSError):  # wakes the thread, on every system
            connect_unix(self._path, ASKER_SECONDS).close()
        self._thread.join(ASKER_SECONDS)
        self._listening.close()

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._sock.accept()
            except OSError:
                self._closed.wait(AGAIN_SECONDS)
            else:
                self._begin(connection)

    def _begin(self, connection: Socket) -> None:
        self._askers.add(connection)
        if len(self._askers) <= ASKERS_MAX_COUNT:
            with suppress(RuntimeError):  # no more threads can be had
                BackgroundThread(self._hear, "control", connection)
                return
        self._hear(connection)

    def _hear(self, connection: Socket) -> None:
        with suppress(OSError), connection:
            self._answer_line(connection)
        self._askers.discard(connection)

    def _answer_line(self, connection: Socket) -> None:
        connection.settimeout(ASKER_SECONDS)
        with connection.makefile("rb") as lines:
            line = lines.readline(LINE_MAX_BYTES)
        if line.endswith(b"\n") and not self._closed.is_set():
            try:
                answer = self._answer(line)
            except Exception as error:
                self._report("control socket", error)
                answer = b'{"error":"internal error, see the log"}'
            connection.sendall(answer + b"\n")
