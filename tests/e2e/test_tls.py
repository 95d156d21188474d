"""TLS as openssl's own client meets it, and a certificate that is renewed while the server runs.

It must not know the server's code: what each rule of TLS is stands in tests/server/net/test_certificates.py.
"""

import os
import re
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from outside_tools import outside_tool

APPS = Path(__file__).parent / "apps"
AUTHORITY = trustme.CA()
PATIENCE_SECONDS = 60
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WEAK = ["-cipher", "ALL:@SECLEVEL=0"]  # else openssl itself offers nothing
Serve = Callable[..., Any]
Ask = Callable[..., str]


def install(folder: Path, *hosts: str, without: str = "") -> str:
    """A new key with its certificate, as a tool for renewals writes them; the certificate."""
    issued = AUTHORITY.issue_cert("localhost", "127.0.0.1", *hosts)
    files = {"key.pem": issued.private_key_pem, "cert.pem": issued.cert_chain_pems[0]}
    for name in files.keys() - {without}:
        files[name].write_to_path(folder / f"new-{name}")
        os.replace(folder / f"new-{name}", folder / name)
    return issued.cert_chain_pems[0].bytes().decode()


def options(folder: Path) -> list[str]:
    return ["--ssl-certfile", str(folder / "cert.pem"), "--ssl-keyfile", str(folder / "key.pem")]


def port_of(server: Any) -> int:
    return int(server.url.rpartition(":")[2])


@pytest.fixture(scope="module")
def server(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("certificate")
    install(folder)
    return serve(APPS, "listening_app:app", *options(folder))


@pytest.fixture(scope="module")
def client(server: Any) -> list[str]:
    return [outside_tool("openssl"), "s_client", "-connect", f"127.0.0.1:{port_of(server)}"]


@pytest.fixture(scope="module")
def ask(client: list[str]) -> Ask:
    """ask("-tls1_2"): what openssl says, and what it is answered, until the server ends the connection."""

    def run(*words: str, sent: bytes = REQUEST) -> str:
        command = [*client, "-ign_eof", *words]
        done = subprocess.run(command, input=sent, capture_output=True, timeout=PATIENCE_SECONDS, check=False)
        return (done.stdout + done.stderr).decode(errors="replace")

    return run


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        (["-tls1", *WEAK], ["tlsv1 alert protocol version"]),
        (["-tls1_1", *WEAK], ["tlsv1 alert protocol version"]),
        (["-tls1_2"], ["New, TLSv1.2, Cipher is ECDHE-", "Compression: NONE", "HTTP/1.1 200 OK"]),
        (["-tls1_3"], ["New, TLSv1.3, Cipher is TLS_", "Compression: NONE", "HTTP/1.1 200 OK"]),
        (["-tls1_2", "-cipher", "aNULL:eNULL:@SECLEVEL=0"], ["alert handshake failure"]),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"], ["alert handshake failure"]),
        (["-alpn", "h2,http/1.1"], ["ALPN protocol: http/1.1", "HTTP/1.1 200 OK"]),
        (["-alpn", "h2"], ["No ALPN negotiated", "HTTP/1.1 200 OK"]),
        (["-servername", "other.example"], ["DNS:localhost", "HTTP/1.1 200 OK"]),
        (["-noservername"], ["DNS:localhost", "HTTP/1.1 200 OK"]),
        (["-tls1_2", "-no_ticket"], ["New, TLSv1.2", "HTTP/1.1 200 OK"]),
    ],
    ids=" ".join,
)
def test_what_is_agreed_on(ask: Ask, offered: list[str], said: list[str]) -> None:
    heard = ask(*offered)
    if "DNS:localhost" in said:
        heard += subprocess.run(
            [outside_tool("openssl"), "x509", "-noout", "-ext", "subjectAltName"],
            input=heard[heard.index("-----BEGIN") :],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    for words in said:
        assert words in heard, heard
    assert ("HTTP/1.1" in heard) is ("HTTP/1.1 200 OK" in said)


def test_a_client_that_speaks_http_2_alone_is_told(ask: Ask) -> None:
    assert "HTTP/1.1 505 HTTP Version Not Supported" in ask("-alpn", "h2", sent=PREFACE)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_session_is_resumed_without_early_data(ask: Ask, tmp_path: Path, version: str) -> None:
    """Early data may be replayed (RFC 8446 8): it is not taken, and what comes behind it is served."""
    flag, ticket, early = f"-tls{version.replace('.', '_')}", tmp_path / "ticket", tmp_path / "early"
    assert f"New, TLSv{version}" in ask(flag, "-sess_out", str(ticket))
    early.write_bytes(REQUEST)
    again = ask(flag, "-sess_in", str(ticket), "-early_data", str(early))
    assert f"Reused, TLSv{version}" in again
    assert again.count("HTTP/1.1 200 OK") == 1
    assert "Early data was accepted" not in again


class Interactive:
    """openssl's client with its commands for one letter, each a line of its own."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.heard = b""
        self._patience = threading.Timer(PATIENCE_SECONDS, self.process.kill)
        self._patience.start()

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def until(self, words: bytes) -> None:
        assert self.process.stdout is not None
        while words not in self.heard:
            data = os.read(self.process.stdout.fileno(), 65_536)
            assert data, self.heard
            self.heard += data

    def close(self) -> None:
        self._patience.cancel()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def interactive(client: list[str]) -> Iterator[Callable[..., Interactive]]:
    begun: list[Interactive] = []

    def begin(*words: str) -> Interactive:
        begun.append(Interactive([*client, *words]))
        begun[-1].until(b"Verify return code")
        return begun[-1]

    yield begin
    for each in begun:
        each.close()


def test_renegotiation_is_refused(interactive: Callable[..., Interactive], ask: Ask) -> None:
    """RFC 9325 3.5: a handshake costs the server ten times as much as the client."""
    connection = interactive("-tls1_2")
    connection.send(b"R\n")
    connection.until(b"RENEGOTIATING")
    connection.until(b"no renegotiation")
    assert "HTTP/1.1 200 OK" in ask("-tls1_2")


def test_keys_are_renewed_when_asked_for(interactive: Callable[..., Interactive]) -> None:
    connection = interactive("-tls1_3")
    for letter in (b"K\n", b"k\n", b"K\n"):  # with and without an answer
        connection.heard = b""
        connection.send(letter)
        connection.until(b"KEYUPDATE")
    connection.send(REQUEST)
    connection.until(b"HTTP/1.1 200 OK")


# Renewal


def shown(server: Any) -> set[str]:
    """The certificates of some connections: each may come to another worker."""
    return {
        ssl.get_server_certificate(("127.0.0.1", port_of(server)), timeout=PATIENCE_SECONDS) for _ in range(4)
    }


@pytest.mark.parametrize(
    ("workers", "refused", "done"),
    [
        ("1", "the new code is not loaded, the old code goes on: ", "the new code loads"),
        ("2", "rolling restart given up: the new worker did not come up, the old ones go on", "restart done"),
    ],
)
def test_a_certificate_is_renewed_while_the_server_runs(
    serve: Serve, tmp_path: Path, workers: str, refused: str, done: str
) -> None:
    """SIGHUP reads the files again; if they do not fit each other one line says so, and the old ones stay."""
    old = install(tmp_path)
    server = serve(APPS, "listening_app:app", "--workers", workers, *options(tmp_path))
    if workers != "1":
        server.wait_serving(int(workers))
    assert shown(server) == {old}
    install(tmp_path, "renewed.example", without="key.pem")
    server.signal(signal.SIGHUP)
    server.wait_for(refused)
    faults = [line for line in server.log.splitlines() if "cannot use the certificate" in line]
    assert len(faults) == 1
    assert "key values mismatch [certificate]" in faults[0]
    assert shown(server) == {old}
    new = install(tmp_path, "renewed.example")
    server.signal(signal.SIGHUP)
    server.wait_for(done)
    if workers == "1":
        server.wait_for("listening on", 2)
    else:
        server.wait_ended(2)  # one that stops may still take a connection
    assert shown(server) == {new}


def test_a_worker_that_dies_while_the_files_do_not_fit_comes_back_once_they_do(
    serve: Serve, tmp_path: Path
) -> None:
    old = install(tmp_path)
    server = serve(APPS, "listening_app:app", "--workers", "2", *options(tmp_path))
    server.wait_serving(2)
    install(tmp_path, "renewed.example", without="key.pem")
    os.kill(int(server.find(re.compile(r"worker 1 \(process (\d+)\)"))[1]), signal.SIGKILL)
    server.wait_for("did not come up (exit code 1): another is started", 2)
    assert shown(server) == {old}
    install(tmp_path, "renewed.example")
    server.wait_serving(3)
