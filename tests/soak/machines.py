"""What a soak starts: servers as users start them, their broker, and any other child with a log.

It must not know what is done to them, or what is a finding.
"""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, ClassVar

import measure
import trustme

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "common"))

from own_ports import port_of_its_own  # noqa: E402

HOST = "127.0.0.1"
PATIENCE_SECONDS = 120.0  # of a machine with far more to do than this
WORKERS = 2
OPTIONS = {
    "--workers": WORKERS,
    "--limit-unsent": 1 << 20,
    "--timeout-header": 3,
    "--timeout-body": 3,
    "--timeout-handshake": 3,
    "--ws-ping-interval": 5,
    "--ws-ping-timeout": 5,
}
BROKER = "wsframe_broker_connected"


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE_SECONDS:g} s in vain for {what}")
        time.sleep(0.1)


class UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(self.host)


class Child:
    """A process with a group of its own, so that Ctrl+C reaches this program alone."""

    started: ClassVar[list["Child"]] = []

    def __init__(self, folder: Path, name: str, command: list[Any], **environment: Any) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._output: IO[bytes] = self.log.open("ab")
        self.process = subprocess.Popen(
            [str(word) for word in command],
            cwd=HERE,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.append(self)

    def says(self, text: str) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} has ended with {self.process.returncode}: see {self.log}")
        return text in self.log.read_text(errors="replace")

    def end(self, number: int | None, seconds: float = PATIENCE_SECONDS) -> int | None:
        """By a signal, or by a closed standard input; None when it had to be killed."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
            if number is not None and self.process.poll() is None:
                self.process.send_signal(number)
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self._output.close()


class Broker:
    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, port_of_its_own()
        self.url = f"redis://{HOST}:{self.port}/0"
        self.start()

    def start(self) -> None:
        kept = ["--save", "", "--appendonly", "no", "--dir", self.folder]
        (self.folder / "redis.log").unlink(missing_ok=True)
        self.child = Child(self.folder, "redis", ["redis-server", "--bind", HOST, "--port", self.port, *kept])
        until(lambda: self.child.says("Ready to accept connections"), "redis-server")


class Machine:
    """A server with its workers, as a user starts it."""

    def __init__(self, name: str, broker: Broker, plant: str, authority: trustme.CA | None) -> None:
        folder = broker.folder
        self.name, self.port = name, port_of_its_own()
        self._authority = authority
        self.ca = str(folder / "ca.pem") if authority else None
        self._chain = folder / f"{name}.pem"
        self._metrics = folder / f"{name}.sock"
        options = [str(word) for option in OPTIONS.items() for word in option]
        if authority is not None:
            authority.cert_pem.write_to_path(str(self.ca))
            self.renew()
            options += ["--ssl-certfile", str(self._chain)]
        command = [sys.executable, "-m", "python_server", "soak_app:app", "--host", HOST, "--port", self.port]
        command += [*options, "--metrics", f"unix:{self._metrics}", "--access-log", folder / f"{name}.access"]
        told = {"SOAK_BROKER": broker.url, "SOAK_FOLDER": str(folder), "SOAK_PLANT": plant}
        self.child = Child(folder, name, command, **told)
        self.pid = self.child.process.pid

    @property
    def place(self) -> dict[str, Any]:
        return {"name": self.name, "host": HOST, "port": self.port, "ca": self.ca}

    @property
    def url(self) -> str:
        return f"{'https' if self.ca else 'http'}://{HOST}:{self.port}"

    def renew(self) -> None:
        """A new certificate of the same authority, key and chain in one file, put in place at once."""
        assert self._authority is not None
        fresh = self._chain.with_suffix(".new")
        self._authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(fresh))
        fresh.replace(self._chain)

    def served_certificate(self) -> str:
        context = ssl.create_default_context(cafile=self.ca)
        with (
            socket.create_connection((HOST, self.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as secure,
        ):
            return str((secure.getpeercert() or {})["serialNumber"])

    def workers(self) -> list[int]:
        return measure.children_of(self.pid)

    def metric(self, name: str) -> list[float]:
        """Its values, one for each label."""
        connection = UnixConnection(str(self._metrics))
        try:
            connection.request("GET", "/metrics", headers={"Host": "soak"})
            lines = connection.getresponse().read().decode().splitlines()
        except OSError:
            return []
        finally:
            connection.close()
        return [float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name]

    def is_settled(self) -> bool:
        """As many workers as it should have, all serve, all have the broker."""
        full = [1.0] * WORKERS
        gauges = ("wsframe_worker_up", "wsframe_worker_ready", BROKER)
        return len(self.workers()) == WORKERS and all(self.metric(name) == full for name in gauges)

    def started_count(self) -> float:
        return sum(self.metric("wsframe_workers_started_total"))
