"""Clients that go from one machine to another when they are told to, and keep what they hear.

They must not know any machine. Those of python-socketio bring along what the official client does by itself;
the official client's are in one node process (tests/e2e/drivers/wanderers.mjs).
"""

import itertools
import json
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ordered_clients import OrderedClient

WAIT_SECONDS = 60.0


class Wanderer(Protocol):
    """What both kinds do."""

    def come(self, url: str, transport: str) -> bool:
        """To that machine; is it as it was?"""

    def cut(self) -> None:
        """The connection ends, and nobody has said that the client leaves."""

    def wait_gone(self) -> None:
        """Until the server has ended the connection."""

    def ask(self, event: str, *values: Any) -> Any: ...
    @property
    def pid(self) -> str:
        """The secret by which it is found again."""

    def heard(self, by: str, number: int) -> list[list[Any]]:
        """All that it was told, without the names of the events, once it was told that by that one."""

    def leave(self) -> None: ...


class _ReturningClient(OrderedClient):
    """Keeps the secret by which it is found again."""

    pid: str | None = None

    def _handle_connect(self, namespace: str, data: Any) -> None:
        self.pid = data["pid"]
        super()._handle_connect(namespace, data)


class PythonWanderer:
    def __init__(self) -> None:
        self._heard: list[list[Any]] = []
        self._hears = threading.Condition()
        self._client: Any = None
        self._gone = threading.Event()
        self._auth: dict[str, str] = {}

    def come(self, url: str, transport: str) -> bool:
        former, self._client = self._client, _ReturningClient()
        gone = self._gone = threading.Event()
        self._client.on("told", self._hear)
        self._client.on("disconnect", lambda reason: gone.set())
        self._client.connect(url, transports=[transport], auth=self._auth)
        if former is not None:
            former.close()
        recovered = self._client.pid == self._auth.get("pid")
        self._auth["pid"] = self._client.pid
        return recovered

    @property
    def pid(self) -> str:
        return self._auth["pid"]

    def _hear(self, *words: Any) -> None:
        with self._hears:
            *said, self._auth["offset"] = words
            self._heard.append(said)
            self._hears.notify_all()

    def cut(self) -> None:
        client, self._client = self._client, None
        if client.transport() == "websocket":
            client.eio.ws.sock.shutdown(socket.SHUT_RDWR)
            self.wait_gone()
        else:
            client.eio.disconnect()

    def wait_gone(self) -> None:
        assert self._gone.wait(WAIT_SECONDS)

    def ask(self, event: str, *values: Any) -> Any:
        return self._client.call(event, values, timeout=WAIT_SECONDS)

    def heard(self, by: str, number: int) -> list[list[Any]]:
        with self._hears:
            assert self._hears.wait_for(lambda: [by, number] in self._heard, WAIT_SECONDS), self._heard
            return [*self._heard]

    def leave(self) -> None:
        if self._client is not None:
            self._client.close()


class NodeWanderers:
    """One node process, and any number of clients in it."""

    def __init__(self, node: str, driver: Path) -> None:
        self._process = subprocess.Popen(
            [node, str(driver)], cwd=driver.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._numbers = itertools.count()
        self._answers: dict[int, dict[str, Any]] = {}
        self._came = threading.Condition()
        self._has_ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            with self._came:
                self._answers[answer["number"]] = answer
                self._came.notify_all()
        with self._came:
            self._has_ended = True
            self._came.notify_all()

    def order(self, order: str, *given: Any) -> Any:
        number = next(self._numbers)
        with self._came:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"number": number, "order": order, "given": given}) + "\n")
            self._process.stdin.flush()
            self._came.wait_for(lambda: self._has_ended or number in self._answers, 2 * WAIT_SECONDS)
            told = self._answers.pop(number, {"error": "node has ended"})
        assert "error" not in told, told
        return told.get("answer")

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(WAIT_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process.stdout.close()


class NodeWanderer:
    _names = itertools.count()

    def __init__(self, node: NodeWanderers) -> None:
        self._order: Callable[..., Any] = node.order
        self._name = next(self._names)

    def come(self, url: str, transport: str) -> bool:
        return bool(self._order("come", self._name, url, transport))

    @property
    def pid(self) -> str:
        return str(self._order("pid", self._name))

    @property
    def offset(self) -> str:
        """Of the event it has heard last."""
        return str(self._order("offset", self._name))

    def cut(self) -> None:
        self._order("cut", self._name)

    def wait_gone(self) -> None:
        self._order("gone", self._name)

    def ask(self, event: str, *values: Any) -> Any:
        return self._order("ask", self._name, event, *values)

    def heard(self, by: str, number: int) -> list[list[Any]]:
        return [said for *said, _ in self._order("heard", self._name, by, number)]

    def leave(self) -> None:
        self._order("leave", self._name)
