"""One worker's process as its supervisor sees it: started afresh, told, watched, ended.

Must not know: how many there are to be, or why one is started.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from python_server.net.link import Link, pair
from python_server.net.loop import Loop, Timer
from python_server.net.sockets import Socket
from python_server.net.states import StateEnum
from python_server.workers import link_messages
from python_server.workers.peers import MessageKind, Report
from python_server.workers.spawn import WORKER_VARIABLE, WorkerSlot, start_again


class Life(StateEnum):
    """The life of a worker."""

    STARTING = "SERVING", "DRAINING", "KILLED", "GONE"  # its process imports the application
    SERVING = "DRAINING", "KILLED", "GONE"
    DRAINING = "KILLED", "GONE"  # it takes nothing new and ends when what runs has ended
    KILLED = "GONE"  # told to end at once
    GONE = ()  # its process has ended


ALIVE: Final = frozenset({Life.STARTING, Life.SERVING, Life.DRAINING})


class WorkerProcess:
    """A worker's process, from its start to its end. Raises OSError when none can be started.

    Args:
        slot: without links; the new worker's two ends are made here and closed when it has them.
        others: joined with it, each by a link. listening: what it accepts on.
        heard: called with (child, kind, payload) for each word of it.
        replaces: the worker that is to drain once this one serves.
    """

    def __init__(
        self,
        loop: Loop,
        slot: WorkerSlot,
        others: Iterable[WorkerProcess],
        listening: Sequence[Socket],
        heard: Callable[[WorkerProcess, int, bytes], None],
        report: Report,
        replaces: WorkerProcess | None,
    ) -> None:
        self.index: int = slot.index
        self.row: int = slot.row
        self.together: bool = slot.together
        self.replaces = replaces
        self.life: Life = Life.STARTING
        self.deadline: Timer | None = None
        self.served_from: float = loop.now  # or, before it serves, alive from
        ours, slot.control = pair()
        ends: list[tuple[WorkerProcess, Socket]] = []
        try:
            for other in others:
                slot.siblings[other.index], end = pair()
                ends.append((other, end))
            environment = {**os.environ, WORKER_VARIABLE: slot.to_text()}
            environment.pop("NOTIFY_SOCKET", None)  # systemd hears the supervisor
            # A process group of its own: the terminal's Ctrl+C is for the supervisor, which passes it on.
            self._process = start_again(environment, listening, slot.descriptors(), process_group=0)
            for other, end in ends:
                other.tell(MessageKind.HELLO, link_messages.NewWorker(self.index), end.detach())
        except BaseException:
            ours.close()
            raise
        finally:
            for sock in (slot.control, *slot.siblings.values(), *(end for _, end in ends)):
                sock.close()
        self._link = Link(
            loop, ours, lambda kind, payload, _: heard(self, kind, payload), lambda: None, report
        )

    @property
    def name(self) -> str:
        """For the log."""
        return f"worker {self.index} (process {self._process.pid})"

    def tell(
        self, kind: MessageKind, word: msgspec.Struct | None = None, descriptor: int | None = None
    ) -> None:
        """The descriptor is closed here if the worker cannot get it."""
        sent = self._link.send(kind, link_messages.encode(word), descriptor=descriptor)
        if not sent and descriptor is not None:
            os.close(descriptor)

    def serves(self, now: float) -> None:
        """It has said that it serves."""
        self.move(Life.SERVING)
        self.served_from = now

    def drain(self, successor: int | None) -> None:
        """Ask it to end; `successor` goes on with what it holds, None: nobody goes on."""
        starting = self.life is Life.STARTING
        self.move(Life.DRAINING)
        if starting:  # it does not listen to us yet, and holds nothing
            self._process.send_signal(signal.SIGTERM)
        else:
            self.tell(MessageKind.DRAIN, link_messages.Drain(successor))

    def quit(self) -> None:
        """Ask it to cut off what runs; one that does not serve yet has nothing to cut."""
        if self.life is Life.STARTING:
            self.kill()
        elif self.life in ALIVE:
            self.move(Life.KILLED)
            self._process.send_signal(signal.SIGQUIT)

    def pass_on(self, number: int) -> None:
        """The supervisor got this signal; one that does not serve yet has no handler of it."""
        if self.life is Life.SERVING:
            self._process.send_signal(number)

    def kill(self) -> None:
        if self.life is not Life.KILLED:
            self.move(Life.KILLED)
        self._process.kill()

    def ended(self) -> int | None:
        """The exit code of a process that has ended, negative for a signal; None while it runs."""
        return self._process.poll()

    def reap(self) -> None:
        """When the process has ended: read what it still said, free everything."""
        self._process.wait()
        if self.deadline is not None:
            self.deadline.cancel()
        self._link.read_all()
        self._link.close()
        self.move(Life.GONE)

    def move(self, life: Life) -> None:
        self.life = self.life.to(life)


def exit_text(code: int) -> str:
    """ "exit code 1", "signal SIGKILL"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
