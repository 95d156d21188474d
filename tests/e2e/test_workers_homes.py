"""Sessions among four real workers: every request finds its home, whichever worker the system gave it to.

It must not know how a connection travels; clients and the access log say what they saw.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from asked_workers import descriptors
from ordered_clients import OrderedClient

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60.0
WORKERS_COUNT = 4
CLIENTS_COUNT = 50
# Between two words that all clients hear: many of them still fall into each worker's end.
PACE_MS = "50"
OPTIONS = ("--workers", str(WORKERS_COUNT), "--worker-timeout", "600")
Start = Callable[..., Any]


def start(serve: Start, supervisor: str, *options: str) -> Any:
    shown = {"WSFRAME_ACCESS_LOG_POLLS": "1"}  # gunicorn's log has them always
    server = serve(APPS, "homes_app:app", *OPTIONS, *options, supervisor=supervisor, env=shown)
    server.wait_serving(WORKERS_COUNT)
    return server


@pytest.fixture(scope="module")
def server(serve: Start, supervisor: str) -> Any:
    return start(serve, supervisor)


@pytest.fixture
def own_server(launch: Start) -> Any:
    """For a test that ends workers, or looks at what they hold."""
    return start(launch, "python_server")


class Asker:
    """Requests to a server, each on a connection of its own unless one is given."""

    def __init__(self, server: Any) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self._address = (host, int(port))

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self._address, timeout=PATIENCE_SECONDS)

    def ask(
        self, method: str, path: str, body: bytes | None = None, connection: Any = None, **fields: str
    ) -> tuple[int, bytes]:
        with contextlib.ExitStack() as stack:
            if connection is None:
                connection = stack.enter_context(contextlib.closing(self.connect()))
            connection.request(
                method, path, body, {name.replace("_", "-"): text for name, text in fields.items()}
            )
            answer = connection.getresponse()
            return answer.status, answer.read()

    def homes(self) -> dict[str, str]:
        """A session at each worker, by index; connections stay open meanwhile, so that each gets some."""
        found: dict[str, str] = {}
        with contextlib.ExitStack() as stack:
            for _ in range(300):
                connection = stack.enter_context(contextlib.closing(self.connect()))
                status, body = self.ask("GET", "/socket.io/?EIO=4&transport=polling", None, connection)
                assert status == 200
                sid = str(json.loads(body[1:])["sid"])
                found.setdefault(sid.partition(".")[0], sid)
                if len(found) == WORKERS_COUNT:
                    return found
        raise AssertionError(f"sessions at {sorted(found)} alone")


@pytest.fixture
def asker(server: Any) -> Asker:
    return Asker(server)


def path_of(sid: str) -> str:
    return f"/socket.io/?EIO=4&transport=polling&sid={sid}"


@pytest.mark.needs_node
@pytest.mark.parametrize("what", ["polling", "upgrade"])
def test_socketio_client_4(server: Any, drive: Callable[..., None], what: str) -> None:
    """The official client, which cannot know who serves it."""
    drive("homes.mjs", server.url, str(server.pid), what)


@pytest.mark.needs_node
@pytest.mark.parametrize("what", ["kill", "roll"])
def test_socketio_client_4_outlives_workers(own_server: Any, drive: Callable[..., None], what: str) -> None:
    drive("homes.mjs", own_server.url, str(own_server.pid), what, PACE_MS)


@pytest.mark.parametrize("transports", [["polling"], ["polling", "websocket"]], ids=["polling", "upgrade"])
def test_python_clients(server: Any, transports: list[str]) -> None:
    """python-socketio; the polling ones open a connection for every request."""
    homes: set[int] = set()
    failures: list[BaseException] = []

    def live() -> None:
        try:
            with requests.Session() as session:
                session.headers["Connection"] = "close"
                client = OrderedClient(http_session=session)
                client.connect(server.url, transports=transports)
                for turn in range(5):
                    assert client.call("echo", turn, timeout=PATIENCE_SECONDS) == turn
                homes.add(client.call("where", timeout=PATIENCE_SECONDS))
                left.wait()  # nobody leaves before all have spoken
                client.disconnect()
        except BaseException as error:
            failures.append(error)
            left.abort()

    left = threading.Barrier(CLIENTS_COUNT)
    threads = [threading.Thread(target=live) for _ in range(CLIENTS_COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(homes) > 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return folder


@pytest.fixture(scope="module")
def tls(certificate: Path) -> list[str]:
    pem = str(certificate / "server.pem")
    return ["--ssl-certfile", pem, "--ssl-keyfile", pem]


@pytest.fixture(scope="module")
def secure(serve: Start, supervisor: str, tls: list[str]) -> Any:
    return start(serve, supervisor, *tls)


@pytest.mark.needs_node
def test_socketio_client_4_over_tls(secure: Any, drive: Callable[..., None]) -> None:
    drive("homes.mjs", secure.url, str(secure.pid), "upgrade")


@pytest.mark.needs_node
def test_socketio_client_4_outlives_workers_over_tls(
    launch: Start, tls: list[str], drive: Callable[..., None]
) -> None:
    """In a rolling restart workers that relay end as well as those that are homes: nothing is lost."""
    server = start(launch, "python_server", *tls)
    drive("homes.mjs", server.url, str(server.pid), "roll", PACE_MS)


def test_python_clients_over_tls(secure: Any, certificate: Path) -> None:
    """What cannot be passed is relayed; each request comes on a connection of its own."""
    url = secure.url.replace("127.0.0.1", "localhost")
    clients: list[Any] = []
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            session = stack.enter_context(requests.Session())
            session.trust_env = False  # a proxy or CA file of the machine is not meant
            session.verify = str(certificate / "ca.pem")
            session.headers["Connection"] = "close"
            client = OrderedClient(http_session=session)
            client.connect(url, transports=["polling"])
            stack.callback(client.disconnect)
            clients.append(client)
        for turn in range(5):
            for client in clients:
                text = f"{turn}" * 30_000
                assert client.call("echo", text, timeout=PATIENCE_SECONDS) == text
        assert len({client.call("where", timeout=PATIENCE_SECONDS) for client in clients}) > 1
    assert "Traceback" not in secure.log


def test_one_connection_carries_sessions_of_every_worker(asker: Asker) -> None:
    homes = asker.homes()
    with contextlib.closing(asker.connect()) as connection:
        for _ in range(5):
            for sid in homes.values():
                assert asker.ask("POST", path_of(sid), b"3", connection)[0] == 200
        made = connection.sock
        assert asker.ask("GET", "/pid", connection=connection)[0] == 200
        assert connection.sock is made


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads /proc")
def test_hundreds_of_hand_overs_leak_no_descriptor_in_any_process(own_server: Any) -> None:
    asker = Asker(own_server)
    pids = re.findall(r"\(process ([0-9]+)\) serves", own_server.log)
    assert len(pids) == WORKERS_COUNT
    sids = list(asker.homes().values())

    def opened() -> list[int]:
        return [descriptors(own_server, int(pid)) for pid in pids]

    before = opened()
    with contextlib.closing(asker.connect()) as connection:
        for _ in range(100):
            for sid in sids:
                assert asker.ask("POST", path_of(sid), b"3", connection)[0] == 200
    assert opened() == before


def test_the_home_writes_the_access_log_and_sees_the_client(server: Any, asker: Asker) -> None:
    homes = asker.homes()
    for number, sid in enumerate(homes.values()):
        mark = f"sid=***&home={number} "  # the id is masked
        for _ in range(5):
            assert asker.ask("POST", f"{path_of(sid)}&home={number}", b"3")[0] == 200
        server.wait_for(mark, 5)
        lines = [line for line in server.log.splitlines() if mark in line]
        assert len(lines) == 5
        assert sid not in server.log
        assert all(line.startswith("127.0.0.1 ") and '" 200 2 ' in line for line in lines)


def test_a_connection_that_was_handed_over_shows_its_peer(asker: Asker) -> None:
    """On the same connection, behind a request for a session elsewhere."""
    homes = asker.homes()
    for sid in homes.values():
        with contextlib.closing(asker.connect()) as connection:
            assert asker.ask("POST", path_of(sid), b"3", connection)[0] == 200
            _, body = asker.ask("GET", "/seen", connection=connection)
            _, peer, scheme = json.loads(body)
            assert (peer, scheme) == ("127.0.0.1", "http")


def test_forwarded_fields_count_at_the_home(launch: Start) -> None:
    server = start(launch, "python_server", "--proxy-headers")
    asker = Asker(server)
    for number, sid in enumerate(asker.homes().values(), 1):
        with contextlib.closing(asker.connect()) as connection:
            told = {"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "https"}
            assert asker.ask("POST", path_of(sid), b"3", connection, **told)[0] == 200
            _, body = asker.ask("GET", "/seen", None, connection, **told)
            assert json.loads(body)[1:] == ["192.0.2.7", "https"]
        server.wait_for("192.0.2.7 - - [", 2 * number)


def test_sessions_of_a_dead_worker_are_unknown_at_once(own_server: Any) -> None:
    """Error 1, as the protocol has it; nobody waits."""
    asker = Asker(own_server)
    homes = asker.homes()
    pids: dict[str, int] = {}
    for index, sid in homes.items():
        with contextlib.closing(asker.connect()) as connection:
            asker.ask("POST", path_of(sid), b"3", connection)
            pids[index] = int(asker.ask("GET", "/pid", connection=connection)[1])
    index, sid = homes.popitem()
    os.kill(pids[index], signal.SIGKILL)
    own_server.wait_serving(WORKERS_COUNT + 1)
    for _ in range(20):
        status, body = asker.ask("GET", path_of(sid))
        assert (status, json.loads(body)["code"]) == (400, 1)
    for sid in homes.values():
        assert asker.ask("POST", path_of(sid), b"3")[0] == 200
