"""Threads run out: by the system's limit, or because clients never answer what handlers ask them.

It must not know the server's insides: raw clients on one side, the process's log on the other.
"""

import http.client
import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import websockets.sync.client

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60
PATH = "/socket.io/?EIO=4&transport=websocket"

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="an address space is limited on Linux")


class Client:
    """A joined client on a WebSocket; it answers no question unless it is told to."""

    def __init__(self, websocket: Any) -> None:
        self.websocket = websocket
        self.hear()
        websocket.send("40")
        self.hear()

    def hear(self) -> str:
        while (text := str(self.websocket.recv(PATIENCE_SECONDS))) == "2":
            self.websocket.send("3")
        return text

    def say(self, ack_id: int, *event: Any) -> None:
        self.websocket.send(f"42{ack_id}{json.dumps(event)}")

    def acks(self, count: int) -> dict[int, Any]:
        """The answers to so many events; questions meanwhile are answered."""
        answers: dict[int, Any] = {}
        while len(answers) < count:
            text = self.hear()
            kind, ack_id, data = re.fullmatch(r"(4[23])(\d*)(.*)", text).groups()  # type: ignore[union-attr]
            if kind == "43":
                answers[int(ack_id)] = json.loads(data)
            elif ack_id:
                self.websocket.send(f'43{ack_id}["answer"]')
        return answers

    def ask(self, *event: Any) -> Any:
        self.say(999, *event)
        return self.acks(1)[999]


@contextmanager
def joined(server: Any) -> Iterator[Client]:
    address = server.url.replace("http", "ws") + PATH
    options: dict[str, Any] = {"compression": None, "open_timeout": PATIENCE_SECONDS, "close_timeout": 0.1}
    with websockets.sync.client.connect(address, **options) as websocket:
        yield Client(websocket)


@linux_only
def test_service_resumes_when_the_system_has_threads_again(serve: Any) -> None:
    server = serve(APPS, "threads_app:app", "--threads", "2", "--event-threads", "2")
    with joined(server) as first, joined(server) as second:
        first.ask("no more threads")
        requests = []
        for _ in range(6):  # each failed start was one thread less for ever
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE_SECONDS)
            connection.request("GET", "/")
            requests.append(connection)
        second.say(1, "echo", 1)
        server.wait_for("no thread for the pool of --threads")
        server.wait_for("no thread for the pool of --event-threads")
        first.ask("threads again")
        assert second.acks(1) == {1: [1]}
        for connection in requests:
            assert connection.getresponse().read() == b"served"
            connection.close()
        assert server.log.count("no thread for the pool of --threads") == 1


@linux_only
def test_coroutines_run_when_the_system_has_a_thread_for_them_again(serve: Any) -> None:
    server = serve(APPS, "threads_app:app")
    server.intended_exceptions_count = 1
    with joined(server) as client:
        assert client.ask("echo", 1) == [1]  # the pool has its thread, the coroutines have none yet
        client.ask("no more threads")
        client.say(1, "await", 1)
        server.wait_for("handler of event 'await' failed")
        client.say(2, "echo", 2)
        assert client.acks(1) == {2: [2]}
        client.ask("threads again")
        assert client.ask("await", 3) == [3]


def test_clients_that_answer_nothing_make_no_threads_without_bound(serve: Any) -> None:
    server = serve(APPS, "threads_app:app", "--event-threads", "2", "--waiting-threads", "3")
    with ExitStack() as stack:
        silent = [stack.enter_context(joined(server)) for _ in range(12)]
        for client in silent:
            client.say(1, "ask me")
        server.wait_for("see --waiting-threads")
        waits, watcher = (stack.enter_context(joined(server)) for _ in range(2))
        waits.say(2, "echo", 2)
        server.wait_for("a handler asks", 5)
        before = watcher.ask("threads")
        server.wait_for("raise --event-threads")  # a second has passed: nothing more was begun
        assert watcher.ask("threads") == before  # an inline handler runs all the same
        assert server.log.count("a handler asks") == 5
        for client in silent:  # who answers lets the others' handlers run
            assert client.acks(1) == {1: ["answer"]}
        assert waits.acks(1) == {2: [2]}
        assert server.log.count("see --waiting-threads") == 1
