"""gunicorn's worker class: its signals, its heartbeat and its sockets, around a worker of ours.

Must not know: what is served, or how siblings speak to each other.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, ClassVar, Final, cast

from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.errors import AppImportError
from gunicorn.workers.base import Worker as BaseWorker

from python_server.control.places import check_free, control_path, is_registered, register, workers
from python_server.control.server import NO_SOCKET, open_control
from python_server.drop_in.installing import install
from python_server.drop_in.turns import begin_again
from python_server.gunicorn.arbiter import ArbiterLink
from python_server.gunicorn.generation import PID, STAGE, Generation, Stage
from python_server.gunicorn.requests import access_log_of, with_hooks
from python_server.gunicorn.settings import check, options_of_environment, settings_of
from python_server.net.descriptors import allow_descriptors
from python_server.net.forks import call_in_children
from python_server.net.sockets import BindError, Listening, Socket
from python_server.net.system import REAL
from python_server.net.threads import ServerStopped, end_turn
from python_server.observe import log
from python_server.observe.fatal_signals import reopen, write_stacks_at_fatal_signals
from python_server.observe.masking import mask_also
from python_server.serve.cluster_address import check_cluster, listen_for_machines
from python_server.serve.loading import ApplicationError, refuse_foreign
from python_server.serve.metrics_address import MetricsCandidate, check_metrics
from python_server.serve.mounts import find_site
from python_server.serve.serve import LINES, tell_of_start
from python_server.serve.signals import ApplicationSignals
from python_server.serve.tracing import check_tracing
from python_server.serve.worker import Worker
from python_server.workers.link_messages import VERSION
from python_server.workers.rendezvous import Meeting, Rendezvous, RendezvousError
from python_server.workers.spawn import WorkerSlot
from python_server.wsgi.environ import Application

# The server's name on this machine, which the eldest arbiter makes: a process id alone would be the same in
# two containers that share a folder for temporary files. The arbiter that SIGUSR2 starts has it from there.
SERVER_VARIABLE: Final = "WSFRAME_GUNICORN"
# Of that name, in the path of a socket: it has 104 characters at most, and folders may have long names.
NAME_CHARACTERS: Final = 16
BEAT_SECONDS: Final = 1.0
# A worker that was told to end looks so often for one that takes over.
LOOK_SECONDS: Final = 0.05
# Of the graceful timeout: for a successor to come. The rest is for what still runs.
WAITING_SHARE: Final = 0.75
Handler = Callable[[int, FrameType | None], object]


class GunicornWorker(BaseWorker):
    """gunicorn's worker class: `gunicorn -k python_server.GunicornWorker -w 4 module:app`.

        worker_class = "python_server.GunicornWorker"  # in gunicorn.conf.py

    It serves the application with its events and WebSockets. See docs/gunicorn.md for gunicorn's settings;
    set other options by WSFRAME_* variables. Workers find each other, so a client may reach any worker.
    """

    generation: ClassVar[Generation]
    given_name: ClassVar[str] = ""  # the same for arbiters of all versions
    server: ClassVar[str] = ""
    drop_in_installed: ClassVar[bool] = False

    @classmethod
    def setup(cls) -> None:
        """gunicorn, before an application is loaded: the environment's --drop-in.

        Raises:
            RuntimeError: an option is not as it should be, or it is too late for --drop-in.
        """
        options = options_of_environment()
        os.environ.setdefault("FLASK_RUN_FROM_CLI", "true")  # as the command line does
        if options["drop_in"] and not GunicornWorker.drop_in_installed:
            try:
                install(parallel=options["drop_in_parallel"])
            except ApplicationError as error:
                raise RuntimeError(str(error)) from None
            GunicornWorker.drop_in_installed = True

    @classmethod
    def check_config(cls, cfg: Config, logger: Any) -> None:
        """gunicorn, at its start: what has no effect is named.

        Raises:
            RuntimeError: a setting cannot be served; gunicorn shows it, and ends.
        """
        try:
            settings = check(cfg, logger.warning)
            check_metrics(settings)
            check_cluster(settings)
            check_tracing(settings)
        except BindError as error:
            raise RuntimeError(str(error)) from None

    def __init__(
        self, age: int, ppid: int, sockets: list[Any], app: Any, timeout: Any, cfg: Config, logger: Any
    ) -> None:
        """The arbiter's process, before it forks."""
        super().__init__(age, ppid, sockets, app, timeout, cfg, logger)
        end_turn()  # a program for greenlets has been loaded here: its tasks need not wait for the arbiter
        if not GunicornWorker.server:
            GunicornWorker.given_name = cfg.env_orig.get(SERVER_VARIABLE) or REAL.entropy(16).hex()
            # Workers of two versions do not understand each other: to a broker they are two machines.
            GunicornWorker.server = f"{VERSION}{GunicornWorker.given_name}"
            GunicornWorker.generation = Generation()
            os.environ.pop(SERVER_VARIABLE, None)  # a gunicorn that the application starts is another server
        cfg.env_orig[SERVER_VARIABLE] = self.given_name
        self._row = self.generation.claim(age)
        self._worker: Worker | None = None
        self._told_to_end = False
        self._ended_by: float | None = None  # in the loop's time, once it was told to end
        self._meeting: Meeting | None = None
        self._listening = Listening()
        self._control = Listening()
        self._registered: tuple[str, str] | None = None  # the path of it, and of the control socket
        self._theirs: ApplicationSignals | None = None  # once it has been loaded

    @property  # type: ignore[override]  # a number from the fork on
    def pid(self) -> int | str:
        """Of the worker's process; gunicorn says it before it has forked, too."""
        return self._pid

    @pid.setter
    def pid(self, pid: int | str) -> None:
        """In both processes after the fork: a worker that is killed at its first step is seen to be gone."""
        self._pid = pid
        if isinstance(pid, int):
            self.generation.write(self._row, PID, pid)

    def init_process(self) -> None:
        """The worker's process: its whole life."""
        begin_again()
        try:
            super().init_process()
        finally:
            if self._meeting is not None:
                self._rendezvous.leave(self._meeting.index)
                self._meeting.listening.close()
            for listening in (self._control, self._listening):
                listening.close()
            if self._registered is not None and not workers(self._registered[1]):
                with suppress(OSError):  # the last one
                    os.unlink(self._registered[0])

    def load_wsgi(self) -> None:
        """Load the application, then meet the siblings: all is there to serve."""
        super().load_wsgi()
        try:
            refuse_foreign(self.wsgi)
        except ApplicationError as error:
            raise AppImportError(str(error).replace("--drop-in", "WSFRAME_DROP_IN=1")) from None
        folder = self.cfg.worker_tmp_dir or tempfile.gettempdir()
        self._rendezvous = Rendezvous(os.path.join(folder, f"wsframe-{self.server[:NAME_CHARACTERS]}"))
        try:
            self._meeting = self._rendezvous.join(self.generation.last_index)
        except RendezvousError as error:
            self.log.error("%s; see --worker-tmp-dir [worker-folder]", error)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        self.generation.give(self._row, self._meeting.index)

    # Serving

    def run(self) -> None:
        self._share_signals()
        if not self._told_to_end:
            self._serve()

    def _serve(self) -> None:
        log.LOGGER.setLevel(self.log.loglevel)
        if not log.LOGGER.handlers:
            log.log_into(log.LOGGER, self.log, writer=LINES)
        self._settings = settings_of(self.cfg)
        write_stacks_at_fatal_signals(None if self.cfg.errorlog == "-" else self.cfg.errorlog)
        mask_also(self._settings.log_masked_fields)
        allow_descriptors(self._settings.connections_max_count, log.warn)
        tell_of_start()
        site = find_site(cast("Application", self.wsgi))
        site.application = with_hooks(site.application, self.cfg, self)
        self._listening.sockets = [
            Socket(fileno=each.sock.detach()) for each in cast("list[Any]", self.sockets)
        ]
        for_machines = listen_for_machines(self._settings, reuse_port=True)
        self._worker = worker = Worker(
            site,
            self._settings,
            self._listening.sockets,
            self._slot(),
            access_log=access_log_of(self.log),
            others=next(iter(for_machines.sockets), None),
        )
        asked = self._settings.control_socket
        place = control_path(asked, self._listening)
        if place is not None and asked != NO_SOCKET:
            self._register(worker, place, own_folder=asked is None)
        meeting = self._meeting
        assert worker.membership is not None
        assert meeting is not None
        self._siblings = worker.membership.siblings
        self._siblings.on_changed(self._lead)
        self._metrics = MetricsCandidate(self._settings, self._rendezvous.path, meeting.index)
        worker.loop.call_soon(self._beat)
        if self._told_to_end:  # meanwhile
            worker.loop.call_soon(self._leave)
        try:
            worker.run()
        finally:
            self._metrics.close()

    def _register(self, worker: Worker, place: str, *, own_folder: bool) -> None:
        """Commands find the arbiter by what any of its workers has written."""
        try:
            check_free(self._listening, place)
            self._registered = register(self._listening, place, self.ppid), place
        except OSError as error:
            log.warn(f"commands do not find this server: {error}")
        else:
            worker.open_own_control(place, own_folder=own_folder)

    def _slot(self) -> WorkerSlot:
        meeting = self._meeting
        assert meeting is not None
        return WorkerSlot(
            meeting.index,
            self._row,
            self.server,
            self.generation.board,
            siblings=meeting.siblings,
            serving=frozenset(meeting.siblings),
            successors=meeting.successors,
            together=self.age <= self.cfg.workers and self.generation.loading(),
            arbiter=ArbiterLink(self.generation, self._row, self._rendezvous, self.ppid, self._replace),
            meeting=meeting.listening,
            own_sockets=self.cfg.reuse_port,
            metrics_folder=self._rendezvous.path,
        )

    def _beat(self) -> None:
        """The loop turns: the arbiter sees that; we see what the arbiter does, and gunicorn's reloader."""
        worker = self._worker
        assert worker is not None
        assert worker.membership is not None
        self.notify()
        self._metrics.look()
        if self._registered is not None and not is_registered(self._registered[0]):
            with suppress(OSError):  # an arbiter that SIGUSR2 had started was there, and was given up
                register(self._listening, self._registered[1], self.ppid)
        if not self.generation.loading():
            worker.membership.take_every_connection()
        if os.getppid() != self.ppid:
            self.log.info("Parent changed, shutting down: %s", self)
            worker.drain(self._settings.graceful_timeout_seconds, None)
        elif not self.alive:
            self._drain(self.generation.ending())
        worker.loop.call_later(min(BEAT_SECONDS, self.timeout / 4 or BEAT_SECONDS), self._beat)

    def _lead(self) -> None:
        """The first of those that serve hears this user's own words for all."""
        if self._control.sockets or not (self._siblings.met and self._siblings.leader()):
            return
        try:
            self._control = open_control(
                self._settings.control_socket, self._listening, log.warn, registers=False
            )
        except BindError as error:
            log.warn(str(error))
        if self._control.sockets and self._worker is not None:
            self._worker.open_control(self._control.sockets[0])

    # The end

    def _leave(self) -> None:
        """End within the graceful timeout: once somebody takes over, or when nobody can before we end."""
        assert self._worker is not None
        loop, graceful_seconds = self._worker.loop, self._settings.graceful_timeout_seconds
        first_look = self._ended_by is None
        if self._ended_by is None:
            self._ended_by = loop.now + graceful_seconds
        ending = self.generation.ending(elder_than=self.age if self._told_to_end else 0)
        comes = self.generation.loading(younger_than=self.age)
        if self._told_to_end:
            waits = comes or first_look  # who is told in the same moment has perhaps not heard it yet
        else:
            # Siblings may have answered their requests as well: who comes in their places takes over from us.
            nobody = self._siblings.likely_successor(besides=ending) is None
            waits = nobody and (comes or self.cfg.workers > 1)
        if waits and loop.now < self._ended_by - graceful_seconds * (1 - WAITING_SHARE):
            loop.call_later(LOOK_SECONDS, self._leave)
        else:
            self._drain(ending)

    def _replace(self) -> None:
        """--max-requests: the arbiter starts another one when we have ended."""
        self.log.info("Autorestarting worker after current request.")
        self._leave()

    def _drain(self, ending: Collection[int]) -> None:
        assert self._worker is not None
        seconds = self._settings.graceful_timeout_seconds
        if self._ended_by is not None:
            seconds = self._ended_by - self._worker.loop.now
        self._worker.drain(seconds, self._siblings.likely_successor(besides=ending))

    # Signals, on the main thread between two steps of whatever it does

    def init_signals(self) -> None:
        super().init_signals()
        self._ours = [signal.getsignal(number) for number in self.SIGNALS]
        call_in_children(self._forked)

    def _forked(self) -> None:
        """In a child of the application's: a signal is none of the worker's."""
        self._told_to_end = True
        theirs = self._theirs or ApplicationSignals(log.report, self._ours)
        theirs.give_back(n for n in self.SIGNALS if n in theirs or signal.getsignal(n) in self._ours)

    def _share_signals(self) -> None:
        """Handlers of the application's are called first: alone they would keep this worker for good."""
        self._theirs = theirs = ApplicationSignals(log.report, self._ours)
        quits = self.handle_quit
        for number, ours in (
            (signal.SIGTERM, self.handle_exit),
            (signal.SIGINT, quits),
            (signal.SIGQUIT, quits),
        ):
            if number in theirs:
                signal.signal(number, partial(_handle_both, theirs, ours))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._told_to_end:  # the arbiter says it each second
            return
        self._told_to_end = True
        self.generation.write(self._row, STAGE, Stage.DRAINING)  # nobody waits for us, or hands us anything
        self._post(self._leave)

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        super().handle_usr1(sig, frame)
        reopen()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        self._told_to_end = True
        self.cfg.worker_int(self)
        if self._worker is None:
            sys.exit(0)
        self._post(self._worker.loop.stop)

    def _post(self, step: Callable[[], object]) -> None:
        if self._worker is not None:
            with suppress(ServerStopped):
                self._worker.loop.mailbox.post(step)


def _handle_both(theirs: ApplicationSignals, ours: Handler, sig: int, frame: FrameType | None) -> None:
    theirs.tell(sig, frame)  # whatever it wants, the end is what ours brings about
    ours(sig, frame)
