"""The supervisor: how many workers there are to be, which are replaced or killed, and when all end.

Must not know: the application, what is served, or what workers say to each other.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from python_server.net.loop import Deadline, Loop, Timer
from python_server.net.scoreboard import WORKERS_MAX_COUNT, Scoreboard
from python_server.net.sockets import Socket
from python_server.net.states import StateEnum
from python_server.net.system import System
from python_server.observe import log
from python_server.settings import Settings
from python_server.workers.link_messages import VERSION, Succession, decode, other_version, version_of
from python_server.workers.peers import MessageKind, remember_succession
from python_server.workers.process import ALIVE, Life, WorkerProcess, exit_text
from python_server.workers.spawn import WorkerSlot

BACK_OFF_MIN_SECONDS: Final = 0.1
BACK_OFF_MAX_SECONDS: Final = 10.0
# A worker that served for so long was no failure to start.
PROVEN_SECONDS: Final = 10.0
# Workers of one start share new connections: until all serve each takes a few connections only. They wait for
# those that still load as long as the first one took, within these bounds.
TOGETHER_MIN_SECONDS: Final = 10.0
TOGETHER_MAX_SECONDS: Final = 30.0
# What a worker may need beyond the graceful timeout to end its threads and its process.
END_GRACE_SECONDS: Final = 5.0
QUIT_GRACE_SECONDS: Final = 3.0


class Phase(StateEnum):
    """What the supervisor does: begins, serves, stops, has stopped."""

    BEGINNING = "SERVING", "STOPPING", "STOPPED"  # one worker starts; the others when it serves
    SERVING = "STOPPING"
    STOPPING = "STOPPED"
    STOPPED = ()


class Supervisor:
    """Keeps the workers alive. Every method belongs to the loop's thread.

    Args:
        listening: the sockets they share. named: further ones, for what is no connection of a client.
        serving: called once, when the first of them serves.
        rolled: called when a rolling restart has ended, well or not.
        metrics_folder: see WorkerSlot.
    """

    def __init__(
        self,
        loop: Loop,
        system: System,
        settings: Settings,
        listening: Sequence[Socket],
        named: Mapping[str, Socket],
        serving: Callable[[], None],
        rolled: Callable[[], object],
        metrics_folder: str | None = None,
    ) -> None:
        self._loop = loop
        self._drain_seconds = settings.graceful_timeout_seconds + END_GRACE_SECONDS
        self._stuck_seconds = settings.worker_timeout_seconds
        self._listening = listening
        self._named = named
        self._serving = serving
        self._rolled = rolled
        self._metrics_folder = metrics_folder
        self._wanted_count = settings.workers_count
        self._host_id = system.entropy(16).hex()
        self._board = Scoreboard(system.monotonic)
        self._children: list[WorkerProcess] = []
        self._next_index = 1
        self._successors: dict[int, int] = {}
        self._to_replace: deque[WorkerProcess] = deque()
        self._replacing: WorkerProcess | None = None
        self._gathering: Timer | None = None  # until the workers of the start are all there
        self._rolling = False  # the queue is a restart's, not a single worker's wish
        self._back_off_seconds = BACK_OFF_MIN_SECONDS
        self._not_before = 0.0
        self._next_look = Deadline(loop, self._look_round)
        self._looked_at = loop.now
        self.phase: Phase = Phase.BEGINNING
        self.exit_code: int = 0

    # Orders from outside

    def begin(self) -> None:
        """Start the first worker; the others follow when it serves."""
        self._look_round()
        if self._stuck_seconds:
            self._kill_stuck()

    def stop(self) -> None:
        """Let what runs end, then end; once more: end now."""
        if self.phase is Phase.STOPPING:
            self.quit()
        elif self.phase is not Phase.STOPPED:
            self._begin_stop()
            log.say(f"stopping {len(self._children)} workers; a second signal cuts off what runs")
            for child in self._children:
                if child.life in (Life.STARTING, Life.SERVING):
                    self._drain(child, None)
            self._look_round()

    def quit(self) -> None:
        """End now."""
        if self.phase in (Phase.BEGINNING, Phase.SERVING):
            self._begin_stop()
        for child in self._children:
            if child.life is Life.KILLED:
                child.kill()
            else:
                child.quit()
                self._kill_after(child, QUIT_GRACE_SECONDS)
        self._look_round()

    def roll(self) -> None:
        """Replace every worker, one after the other; each ends only when its successor serves."""
        if self.phase is not Phase.SERVING:
            return
        self._end_gathering()
        self._rolling = True
        self._replacing = None
        for child in self._children:
            if child.life is Life.STARTING:  # with the old code, or stuck in it
                self._drain(child, None)
        self._to_replace = deque(child for child in self._children if child.life is Life.SERVING)
        log.say(f"rolling restart of {len(self._to_replace)} workers")
        self._look_round()

    def change_count(self, difference: int) -> None:
        """More or fewer workers, never less than one, never more than there are rows for."""
        if self.phase is not Phase.SERVING:
            return
        self._wanted_count = min(max(1, self._wanted_count + difference), WORKERS_MAX_COUNT)
        log.say(f"{self._wanted_count} workers are wanted")
        self._look_round()

    def pass_on(self, number: int) -> None:
        """A signal that is the application's affair."""
        for child in self._children:
            child.pass_on(number)

    def reopen_logs(self) -> None:
        for child in self._children:
            if child.life in ALIVE:
                child.tell(MessageKind.REOPEN_LOGS)

    def turning(self, max_seconds: float) -> bool:
        """Has the loop of every worker turned within that time?"""
        serving = [child for child in self._children if child.life is Life.SERVING]
        return all(self._board.beat_age_seconds(child.row) <= max_seconds for child in serving)

    # The start

    def _begin_serving(self, took_seconds: float) -> None:
        """The others start: the first worker, which took so long to, leaves them new connections."""
        self.phase = self.phase.to(Phase.SERVING)
        if self._wanted_count > 1:
            wait_seconds = min(max(took_seconds, TOGETHER_MIN_SECONDS), TOGETHER_MAX_SECONDS)
            self._gathering = self._loop.call_later(wait_seconds, self._end_gathering)
        self._serving()

    def _end_gathering(self) -> None:
        """Those that serve take every new connection from now on."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
            for child in self._children:
                if child.life is Life.SERVING:
                    child.tell(MessageKind.ACCEPT)

    # How many

    def _counted(self) -> list[WorkerProcess]:
        """Those that are there to stay: not the one whose successor serves soon, counted once with it."""
        return [
            child
            for child in self._children
            if child.life in (Life.STARTING, Life.SERVING)
            and not (child is self._replacing and child.replaces and child.replaces.life is Life.SERVING)
        ]

    def _look_round(self) -> None:
        """Start what is missing, drain what is too many, replace the next one; end when all have ended."""
        if self.phase is Phase.STOPPING and not self._children:
            self._end()
        if self.phase not in (Phase.BEGINNING, Phase.SERVING):
            return
        wanted_count = 1 if self.phase is Phase.BEGINNING else self._wanted_count
        counted = self._counted()
        if len(counted) < wanted_count and self._start(None) is not None:
            self._loop.call_soon(self._look_round)  # one in a turn: signals are heard between two
            return
        serving = [child for child in counted if child.life is Life.SERVING]
        for child in serving[wanted_count:]:
            self._drain(child, serving[0].index)
        self._replace_next()
        if not any(child.life is Life.STARTING for child in self._children):
            self._end_gathering()

    def _start(self, replaces: WorkerProcess | None) -> WorkerProcess | None:
        """None: not so soon after a failure, or it has failed; it is tried again then."""
        if self._loop.now < self._not_before:
            return None
        others = [child for child in self._children if child.life in ALIVE]
        try:
            row = self._board.claim()
        except RuntimeError as error:  # workers of several restarts have not ended yet
            self._not_started(error)
            return None
        slot = WorkerSlot(
            self._next_index,
            row,
            self._host_id,
            self._board,
            serving=frozenset(other.index for other in others if other.life is not Life.STARTING),
            successors=dict(self._successors),
            named=dict(self._named),
            together=self._wanted_count > 1
            and (self.phase is Phase.BEGINNING or self._gathering is not None),
            metrics_folder=self._metrics_folder,
        )
        try:
            child = WorkerProcess(
                self._loop, slot, others, self._listening, self._heard, log.report, replaces
            )
        except OSError as error:
            self._board.clear(row)
            self._not_started(error)
            return None
        self._next_index += 1
        self._children.append(child)
        return child

    def _not_started(self, error: Exception) -> None:
        log.report("starting a worker", error)
        if self.phase is Phase.BEGINNING:
            self.exit_code = 1
            self._end()
        else:
            self._wait_longer()

    def _wait_longer(self) -> None:
        """A worker failed: the next one is not started at once, and the one after it later still."""
        self._not_before = self._loop.now + self._back_off_seconds
        self._next_look.set(self._back_off_seconds)
        self._back_off_seconds = min(self._back_off_seconds * 2, BACK_OFF_MAX_SECONDS)

    # Replacing one

    def _replace_next(self) -> None:
        while self._replacing is None and self._to_replace and self.phase is Phase.SERVING:
            old = self._to_replace[0]
            if old.life is Life.SERVING:
                self._replacing = self._start(old)
                if self._replacing is None:
                    return
            self._to_replace.popleft()
        if self._rolling and self._replacing is None and not self._to_replace:
            self._rolling = False
            log.say("rolling restart done")
            self._rolled()

    def _replacement_failed(self, failed: WorkerProcess) -> None:
        """The old workers stay. A restart that was asked for ends here; a worker's wish is tried again."""
        self._replacing = None
        if self._rolling:
            self._rolling = False
            self._to_replace.clear()
            log.warn("rolling restart given up: the new worker did not come up, the old ones go on")
            self._rolled()
        elif failed.replaces is not None and failed.replaces.life is Life.SERVING:
            self._to_replace.append(failed.replaces)

    # What workers say

    def _heard(self, child: WorkerProcess, kind: int, payload: bytes) -> None:
        if kind == MessageKind.READY:
            self._ready(child, version_of(payload))
        elif kind == MessageKind.DRAINING and child.life is Life.SERVING:
            child.move(Life.DRAINING)  # somebody has told it so itself
            self._kill_after(child, self._drain_seconds)
            self._look_round()
        elif kind == MessageKind.SUCCESSOR:
            remember_succession(self._successors, decode(payload, type=Succession))
        elif kind == MessageKind.REPLACE_ME and child.life is Life.SERVING:
            log.say(f"{child.name} has answered its requests and is replaced")
            self._to_replace.append(child)
            self._look_round()
        elif kind == MessageKind.STOP and self.phase is Phase.SERVING:
            self.stop()

    def _ready(self, child: WorkerProcess, version: int) -> None:
        if child.life is not Life.STARTING:
            return
        if version != VERSION:
            log.warn(f"{child.name} {other_version(version)}")
            child.kill()
            return
        took_seconds = self._loop.now - child.served_from
        child.serves(self._loop.now)
        log.say(f"{child.name} serves")
        if self.phase is Phase.BEGINNING:
            self._begin_serving(took_seconds)
        if child.together and self._gathering is None:
            child.tell(MessageKind.ACCEPT)
        if child is self._replacing:
            self._replacing = None
            if child.replaces is not None and child.replaces.life is Life.SERVING:
                self._drain(child.replaces, child.index)
        self._look_round()

    # The end of one

    def _drain(self, child: WorkerProcess, successor: int | None) -> None:
        child.drain(successor)
        self._kill_after(child, self._drain_seconds)

    def _kill_after(self, child: WorkerProcess, seconds: float) -> None:
        def kill() -> None:
            log.warn(f"{child.name} has not ended in time: killed")
            child.kill()

        if child.deadline is not None:
            child.deadline.cancel()
        child.deadline = self._loop.call_later(seconds, kill)

    def reap(self) -> None:
        """Some child of this process has ended."""
        for child in list(self._children):
            code = child.ended()
            if code is not None:
                self._children.remove(child)
                self._ended(child, code)

    def _ended(self, child: WorkerProcess, code: int) -> None:
        life = child.life
        child.reap()
        self._board.clear(child.row)
        if self.phase is Phase.BEGINNING:
            self.exit_code = code if code >= 0 else 128 - code
            log.warn(f"the first worker did not come up ({exit_text(code)}): stopping")
            self._end()
            return
        if life is Life.DRAINING and code in (0, -signal.SIGTERM):  # our signal came while it loaded
            log.say(f"{child.name} has ended")
        elif life is Life.DRAINING:
            log.warn(f"{child.name} ended with {exit_text(code)}")
        elif self.phase is Phase.SERVING:
            self._plan_next(child, life, code)
        if child is self._replacing:
            self._replacement_failed(child)
        self._look_round()

    def _plan_next(self, child: WorkerProcess, life: Life, code: int) -> None:
        """A worker has ended that should not have: when the next one is started."""
        if life is not Life.STARTING and self._loop.now - child.served_from >= PROVEN_SECONDS:
            self._back_off_seconds = BACK_OFF_MIN_SECONDS
        self._wait_longer()
        what = "did not come up" if life is Life.STARTING else "died"
        seconds = self._not_before - self._loop.now
        next_step = f": another is started in {seconds:.1f} s"
        if child is self._replacing and self._rolling:
            next_step = ""  # the restart is given up, which is said next
        log.warn(f"{child.name} {what} ({exit_text(code)}){next_step}")

    def _kill_stuck(self) -> None:
        """Kill those whose loop stands still. After a sleep of the whole machine nobody is killed."""
        timeout_seconds = self._stuck_seconds
        every_seconds = min(1.0, timeout_seconds / 4)
        if self._loop.now - self._looked_at < timeout_seconds / 2 + every_seconds:
            for child in self._children:
                if child.life is Life.SERVING and self._board.beat_age_seconds(child.row) > timeout_seconds:
                    log.warn(f"{child.name} has stood still for {timeout_seconds:g} s: killed")
                    child.kill()
        self._looked_at = self._loop.now
        self._loop.call_later(every_seconds, self._kill_stuck)

    # The end of all

    def _begin_stop(self) -> None:
        self.phase = self.phase.to(Phase.STOPPING)
        self._to_replace.clear()
        self._replacing = None
        for sock in (*self._listening, *self._named.values()):
            sock.close()

    def _end(self) -> None:
        self.phase = self.phase.to(Phase.STOPPED)
        self._loop.call_soon(self._loop.stop)

    def close(self) -> None:
        """No worker outlives this: those that are left are killed."""
        for child in self._children:
            child.kill()
        for child in self._children:
            child.reap()
        self._board.close()
