"""gunicorn's worker class in this process: signals, heartbeat, sockets, siblings (worker.py).

It must not know the arbiter: its part is played here, with its real configuration, sockets and logger;
tests/e2e/test_deploys.py has the real one.
"""

import http.client
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from gunicorn import sock
from gunicorn.config import Config
from gunicorn.errors import AppImportError
from gunicorn.glogging import Logger

from python_server import GunicornWorker
from python_server.api.python_socketio import Server, WSGIApp
from python_server.gunicorn import worker as module
from python_server.gunicorn.generation import STAGE, Stage
from python_server.observe import log
from python_server.workers.rendezvous import Rendezvous

PATIENCE_SECONDS = 60.0


def page(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.url_scheme"].encode()]


class Application:
    """gunicorn's: it finds the WSGI application."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def wsgi(self) -> Any:
        return self.found


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short name: paths of sockets are short."""
    with tempfile.TemporaryDirectory(prefix="met-") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch, place: Path) -> Iterator[None]:
    """A new server each time, and signals as they were."""
    monkeypatch.setattr(GunicornWorker, "server", "")
    monkeypatch.setenv("WSFRAME_CONTROL_SOCKET", str(place / "control"))
    former = {number: signal.getsignal(number) for number in GunicornWorker.SIGNALS}
    with log.restoring():
        yield
    for number, handler in former.items():
        signal.signal(number, handler)
    signal.set_wakeup_fd(-1)


class Started:
    """A worker on a port of its own, as the arbiter makes it before the fork and runs it after."""

    def __init__(self, place: Path, found: Any = page, age: int = 1, **words: Any) -> None:
        self.cfg = Config()
        for name, value in {"bind": "127.0.0.1:0", "worker_tmp_dir": str(place), **words}.items():
            self.cfg.set(name, value)
        self.logger = Logger(self.cfg)
        self.sockets = sock.create_sockets(self.cfg, self.logger)
        self.port = self.sockets[0].getsockname()[1]
        self.worker = GunicornWorker(
            age, os.getppid(), self.sockets, Application(found), self.cfg.timeout / 2, self.cfg, self.logger
        )
        self.answers: list[Any] = []

    def serve(self, client: Callable[["Started"], object]) -> None:
        """To its end, which the client brings about from its thread."""
        thread = Thread(target=client, args=(self,))
        thread.start()
        self.worker.pid = os.getpid()
        try:
            self.worker.init_process()
        finally:
            self.close()  # nobody answers the client any more
            thread.join(PATIENCE_SECONDS)
            for descriptor in self.worker.PIPE:
                os.close(descriptor)

    def close(self) -> None:
        """What goes with the process otherwise."""
        self.worker.tmp.close()
        for each in self.sockets:
            each.close()

    def get(self, path: str = "/", **fields: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        connection.request(
            "GET", path, headers={name.replace("_", "-"): text for name, text in fields.items()}
        )
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return body

    def tell(self, number: int) -> None:
        """As the arbiter: a signal for the main thread."""
        os.kill(os.getpid(), number)


def test_it_serves_until_it_is_told_to_end(place: Path) -> None:
    before: list[float] = []

    def client(started: Started) -> None:
        started.answers.append(started.get())
        started.answers.append(started.get(X_Forwarded_Proto="https"))
        started.answers.append((place / "control").exists())
        before.append(started.worker.tmp.last_update())
        started.tell(signal.SIGTERM)

    started = Started(place)
    started.serve(client)
    assert started.answers == [b"http", b"https", True]
    assert before[0] > 0
    assert os.listdir(place) == []  # neither a place to meet nor a control socket


def test_events_are_answered_and_the_server_can_stop_itself(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()

    def client(started: Started) -> None:
        opened = started.get("/socket.io/?EIO=4&transport=polling")
        started.answers.append(opened[:7])
        os.kill(os.getpid(), signal.SIGTERM)

    started = Started(place, WSGIApp(server, page))
    started.serve(client)
    assert started.answers == [b'0{"sid"']


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
def test_it_ends_at_once_when_it_is_told_so(place: Path, number: int) -> None:
    interrupted: list[object] = []

    def client(started: Started) -> None:
        started.get()
        started.tell(number)

    started = Started(place, worker_int=interrupted.append)
    started.serve(client)
    assert interrupted == [started.worker]


def test_a_worker_told_to_end_before_it_serves_does_not_begin(place: Path) -> None:
    def loading(started: Started) -> None:
        """Nothing: the signal comes while the application loads."""

    class Slow(Application):
        def wsgi(self) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return page

    started = Started(place)
    started.worker.app = Slow(page)
    started.serve(loading)
    assert os.listdir(place) == []


def test_quitting_while_it_loads_ends_the_process(place: Path) -> None:
    class Slow(Application):
        def wsgi(self) -> Any:
            os.kill(os.getpid(), signal.SIGQUIT)
            return page

    started = Started(place)
    started.worker.app = Slow(page)
    with pytest.raises(SystemExit) as ended:
        started.serve(lambda started: None)
    assert ended.value.code == 0


def test_quitting_once_it_has_met_the_siblings_leaves_nothing_behind(place: Path) -> None:
    def quits(worker: GunicornWorker) -> None:
        os.kill(os.getpid(), signal.SIGQUIT)

    started = Started(place, post_worker_init=quits)
    with pytest.raises(SystemExit):
        started.serve(lambda started: None)
    assert os.listdir(place) == []


def test_a_worker_that_dies_at_its_first_step_is_seen_to_be_gone(place: Path) -> None:
    """The arbiter knows its number, and says it as soon as it has forked."""
    started = Started(place)
    child = os.fork()
    if not child:
        os._exit(1)
    started.worker.pid = child
    assert started.worker.pid == child
    assert started.worker.generation.loading()  # a number that nobody has waited for
    os.waitpid(child, 0)
    assert not started.worker.generation.loading()
    started.close()


@pytest.mark.parametrize("chained", [False, True])
def test_signals_of_a_forked_child_are_none_of_the_servers(place: Path, chained: bool) -> None:
    """`Process.terminate()` of multiprocessing ends it, and the worker serves on as before."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        child = os.fork()
        if not child:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os._exit(7)
        start_response("200 OK", [])
        return [str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode()]

    def hands_on(worker: GunicornWorker) -> None:
        """A handler of the application's own that calls the one before it."""
        before = signal.getsignal(signal.SIGTERM)
        assert callable(before)
        signal.signal(signal.SIGTERM, lambda number, frame: before(number, frame))

    def client(started: Started) -> None:
        started.answers.append(started.get())
        started.answers.append(started.worker.generation.ending())
        started.tell(signal.SIGTERM)

    started = Started(place, application, **({"post_worker_init": hands_on} if chained else {}))
    started.serve(client)
    assert started.answers == [b"7" if chained else b"-15", set()]


@pytest.mark.parametrize("ends", [None, SystemExit, KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_handler_of_the_applications_is_called_and_keeps_no_worker(
    place: Path, number: int, ends: type[BaseException] | None
) -> None:
    heard: list[int] = []

    def note(number: int, frame: Any) -> None:
        heard.append(number)
        if ends is not None:
            raise ends

    class Installing(Application):
        def wsgi(self) -> Any:
            signal.signal(number, note)
            return page

    def client(started: Started) -> None:
        started.get()
        started.tell(number)

    started = Started(place)
    started.worker.app = Installing(page)
    started.serve(client)
    assert heard == [number]


def test_however_often_it_is_told_to_end_it_looks_for_a_successor_once(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []
    monkeypatch.setattr(GunicornWorker, "_post", lambda self, step: begun.append(step))
    started = Started(place)
    for _ in range(3):
        started.worker.handle_exit(signal.SIGTERM, None)
    assert len(begun) == 1
    started.close()


def test_after_its_requests_it_ends(place: Path) -> None:
    def client(started: Started) -> None:
        for _ in range(3):
            started.answers.append(started.get())

    started = Started(place, max_requests=3)
    started.serve(client)
    assert started.answers == [b"http"] * 3


def test_it_ends_when_gunicorns_reloader_says_so(place: Path) -> None:
    def client(started: Started) -> None:
        started.get()
        started.worker.alive = False

    started = Started(place, timeout=1)
    started.serve(client)


def test_it_ends_when_its_arbiter_has_gone(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    started = Started(place)
    started.worker.ppid = 1 if os.getppid() != 1 else 2
    started.serve(lambda started: None)
    assert "Parent changed, shutting down" in capfd.readouterr().err


def test_who_is_told_to_end_waits_for_one_that_loads(place: Path) -> None:
    """It serves meanwhile."""

    def client(started: Started) -> None:
        started.get()
        row = started.worker.generation.claim(2)
        started.tell(signal.SIGTERM)
        for _ in range(5):
            started.answers.append(started.get())
        started.worker.generation.write(row, STAGE, Stage.DRAINING)  # it will not serve

    started = Started(place)
    started.serve(client)
    assert started.answers == [b"http"] * 5


def test_a_successor_that_never_comes_is_waited_for_within_the_graceful_timeout(place: Path) -> None:
    def client(started: Started) -> None:
        started.get()
        started.worker.generation.claim(2)
        started.tell(signal.SIGTERM)

    Started(place, graceful_timeout=1).serve(client)


def test_a_folder_that_is_not_its_own_ends_it(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    started = Started(place)
    folder = place / f"wsframe-{started.worker.server[:16]}"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(SystemExit) as ended:
        started.serve(lambda started: None)
    assert ended.value.code == 3  # gunicorn ends, and starts no worker after worker
    assert (
        "not a folder of this user alone (mode 700); see --worker-tmp-dir [worker-folder]"
        in capfd.readouterr().err
    )


def test_an_application_that_cannot_run_here_is_refused_in_a_sentence(place: Path) -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        """An application for other servers."""

    with pytest.raises(AppImportError, match="ASGI application"):
        Started(place, asgi).serve(lambda started: None)


def test_a_refused_program_is_told_what_gunicorn_takes(place: Path) -> None:
    class Stock:
        async_mode = "gevent"
        wsgi_app = staticmethod(page)

        def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
            return page(environ, start_response)

    with pytest.raises(AppImportError, match="start it unchanged with WSFRAME_DROP_IN=1"):
        Started(place, Stock()).serve(lambda started: None)


def test_the_next_arbiter_knows_the_servers_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGUSR2: it is started with the environment that the configuration has kept."""
    first = Started(place)
    first_server, told = first.worker.server, first.cfg.env_orig[module.SERVER_VARIABLE]
    monkeypatch.setattr(GunicornWorker, "server", "")
    monkeypatch.setenv(module.SERVER_VARIABLE, told)
    second = Started(place)
    assert first_server == second.worker.server == f"{module.VERSION}{told}"
    assert module.SERVER_VARIABLE not in os.environ  # programs of the application are other servers
    for started in (first, second):
        started.close()


def test_an_elder_generation_of_another_version_is_another_machine(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As siblings they ended each other's links, and took a broker's channel from each other each second."""
    elder = Started(place)
    elder_server, told = elder.worker.server, elder.cfg.env_orig[module.SERVER_VARIABLE]
    monkeypatch.setattr(GunicornWorker, "server", "")
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    monkeypatch.setenv(module.SERVER_VARIABLE, told)
    younger = Started(place)
    assert elder_server[: module.NAME_CHARACTERS] != younger.worker.server[: module.NAME_CHARACTERS]
    assert younger.cfg.env_orig[module.SERVER_VARIABLE] == told  # and the one before is met again
    for started in (elder, younger):
        started.close()


def test_an_elder_generation_is_met_and_left_in_peace(place: Path) -> None:
    """A worker of another arbiter listens there: it is a sibling."""
    started = Started(place)
    elder = Rendezvous(str(place / f"wsframe-{started.worker.server[:16]}")).join()
    heard: list[bytes] = []

    def client(started: Started) -> None:
        accepted, _ = elder.listening.accept()
        accepted.settimeout(PATIENCE_SECONDS)
        heard.append(accepted.recv(1))
        started.tell(signal.SIGTERM)
        accepted.close()

    elder.listening.setblocking(True)
    started.serve(client)
    assert heard == [b"\x01"]  # HELLO
    assert started.worker._meeting.index == 2
    assert "1" in os.listdir(place / f"wsframe-{started.worker.server[:16]}")
    elder.listening.close()


def test_drop_in_is_installed_once_before_the_application_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[bool] = []
    monkeypatch.setattr(module, "install", lambda *, parallel: installed.append(parallel))
    monkeypatch.setattr(GunicornWorker, "drop_in_installed", False)
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    GunicornWorker.setup()
    assert installed == []
    monkeypatch.setenv("WSFRAME_DROP_IN", "1")
    monkeypatch.setenv("WSFRAME_DROP_IN_PARALLEL", "1")
    GunicornWorker.setup()
    GunicornWorker.setup()  # at each reload of the configuration
    assert installed == [True]


def test_what_has_no_effect_is_named_at_start(caplog: pytest.LogCaptureFixture) -> None:
    cfg = Config()
    cfg.set("sendfile", False)
    logger = Logger(cfg)
    logger.error_log.propagate = True
    GunicornWorker.check_config(cfg, logger)
    assert "sendfile: these settings have no effect" in caplog.text


def test_a_metrics_address_that_is_none_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSFRAME_METRICS", "here:there")
    cfg = Config()
    with pytest.raises(RuntimeError, match="--metrics: cannot listen on 'here:there'"):
        GunicornWorker.check_config(cfg, Logger(cfg))


def test_a_worker_serves_the_metrics_of_all(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSFRAME_METRICS", f"unix:{place}/metrics")

    def client(started: Started) -> None:
        with socket.socket(socket.AF_UNIX) as scrape:
            while scrape.connect_ex(str(place / "metrics")):  # the file is there before anybody listens
                started.get()
            scrape.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            started.answers.append(b"".join(iter(lambda: scrape.recv(4096), b"")))
        started.tell(signal.SIGTERM)

    started = Started(place)
    started.serve(client)
    assert b'wsframe_worker_up{worker="1"} 1.0' in started.answers[0]
    assert os.listdir(place) == []
