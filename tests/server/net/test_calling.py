"""Connections that this process makes: made, refused, silent, given up in each state, plain and over TLS.

It must not know what is said there.
"""

import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import trustme

from python_server.net.calling import Call
from python_server.net.certificates import CertificateError, make_calling_context, make_context
from python_server.net.loop import Loop
from python_server.net.system import REAL
from python_server.net.tls import HandshakeQueue, TLSTransport
from python_server.net.transport import Transport, TransportState
from python_server.settings import TLSSettings, TransportSettings

TURNS_MAX_COUNT = 5_000
LIMITS = TransportSettings()
AUTHORITY = trustme.CA()


class Recorder:
    """A handler that keeps what it is told."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: list[str] = []

    def receive_buffer(self) -> memoryview | None:
        return None

    def data_received(self, buffer: Any, nbytes: int) -> None:
        self.received += bytes(memoryview(buffer)[:nbytes])

    def write_blocked(self, blocked: bool) -> None: ...

    def connection_lost(self, reason: str) -> None:
        self.lost.append(reason)


class Calling:
    """A loop in told time, somebody to call, and what calls have come to."""

    def __init__(self) -> None:
        self.clock = 1000.0
        self.faults: list[Any] = []
        self.loop = Loop(
            lambda what, error: self.faults.append(error), system=replace(REAL, monotonic=lambda: self.clock)
        )
        self.loop.mailbox.adopt()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.done: list[tuple[Transport | None, str]] = []
        self.others: list[socket.socket] = []

    def call(self, host: str = "127.0.0.1", port: int = 0, **more: Any) -> Call:
        call = Call(
            self.loop,
            host,
            port or self.listening.getsockname()[1],
            2.0,
            lambda transport, reason: self.done.append((transport, reason)),
            lambda what, error: self.faults.append(error),
            LIMITS,
            **more,
        )
        call.begin()
        return call

    def accept(self) -> socket.socket:
        other, _ = self.listening.accept()
        self.others.append(other)
        other.setblocking(False)
        return other

    def until(self, done: Callable[[], Any]) -> None:
        for _ in range(TURNS_MAX_COUNT):
            if done():
                return
            self.loop.run_once(0.002)
        raise AssertionError("it has not come to pass")

    def result(self) -> tuple[Transport | None, str]:
        self.until(lambda: self.done)
        [result] = self.done
        return result


@pytest.fixture
def calling() -> Iterator[Calling]:
    calling = Calling()
    yield calling
    for transport, _ in calling.done:
        if transport is not None:
            transport.set_handler(Recorder())
            transport.close("over")
            calling.loop.run_once(0)
    assert not calling.loop.sockets
    assert calling.faults == []
    for each in (*calling.others, calling.listening):
        each.close()
    calling.loop.close()


def test_a_connection_is_made_and_carries_bytes(calling: Calling) -> None:
    calling.call()
    assert calling.done == []  # in a later turn
    transport, reason = calling.result()
    assert transport is not None
    assert reason == ""
    assert transport.peer == calling.listening.getsockname()
    other, recorder = calling.accept(), Recorder()
    transport.set_handler(recorder)
    transport.write(b"hello")
    other.send(b"you")
    calling.until(lambda: recorder.received == b"you")
    assert other.recv(10) == b"hello"
    calling.clock += 100.0  # the bound was for the call alone
    calling.loop.run_once(0)
    assert recorder.lost == []


def test_ipv6(calling: Calling) -> None:
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine speaks no IPv6")
    with listening:
        calling.call("::1", listening.getsockname()[1])
        assert calling.result()[0] is not None


def test_nobody_listens(calling: Calling) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    calling.call(port=port)
    assert calling.result() == (None, "Connection refused")


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("127.0.0.1", 65_536),
        ("127.0.0.1", -1),
        ("127.0.0.1\0", 80),
        ("::zz", 80),
        ("a" * 70 + ".example", 80),
        ("255.255.255.255", 80),
    ],
)
def test_an_address_that_is_none_is_said_and_nothing_is_held(calling: Calling, host: str, port: int) -> None:
    calling.call(host, port)
    transport, reason = calling.result()
    assert transport is None
    assert reason


@pytest.mark.parametrize("fails", ["socket", "setblocking"])
def test_no_descriptor_is_left(calling: Calling, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    def no(*arguments: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    class Exhausted(socket.socket):
        setblocking = no

    monkeypatch.setattr("python_server.net.calling.socket.socket", no if fails == "socket" else Exhausted)
    calling.call()
    assert calling.result() == (None, "Too many open files")


@pytest.mark.parametrize("greeting", [False, True])
def test_one_that_nobody_waits_for_tells_nobody(calling: Calling, greeting: bool) -> None:
    call = calling.call(context=client_context(), server_name="localhost")
    if greeting:
        calling.loop.run_once(0)
        other = calling.accept()
        calling.until(lambda: can_read(other))
    call.cancel()
    call.cancel()
    calling.clock += 10.0
    for _ in range(5):
        calling.loop.run_once(0)
    assert calling.done == []
    assert not calling.loop.sockets


def test_one_that_cannot_begin_and_that_nobody_waits_for(calling: Calling) -> None:
    call = calling.call("127.0.0.1", 65_536)
    call.cancel()
    calling.loop.run_once(0)
    assert calling.done == []


def full() -> tuple[socket.socket, list[socket.socket]]:
    """A listening socket that takes no more connections, and those that it has."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    waiting = []
    for _ in range(3):
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(listening.getsockname())
    return listening, waiting


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_silent_network_is_given_up_in_time(calling: Calling, cancelled: bool) -> None:
    listening, waiting = full()
    call = calling.call(port=listening.getsockname()[1])
    for _ in range(5):
        calling.loop.run_once(0)
    assert calling.done == []
    if cancelled:
        call.cancel()
    calling.clock += 2.0
    calling.loop.run_once(0)
    assert calling.done == ([] if cancelled else [(None, "no answer in time")])
    for each in (listening, *waiting):
        each.close()


# TLS


def can_read(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def client_context(authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    with authority.cert_pem.tempfile() as path:
        return make_calling_context(path)


class TLSHouse:
    """Somebody who is called with TLS."""

    def __init__(self, calling: Calling, name: str = "localhost") -> None:
        self.recorder = Recorder()
        self.lost: list[str] = []
        self.calling = calling
        with AUTHORITY.issue_cert(name).private_key_and_cert_chain_pem.tempfile() as path:
            self.context = make_context(TLSSettings(certfile=path), [])

    def take(self) -> TLSTransport:
        sock, peer = self.calling.listening.accept()
        sock.setblocking(False)
        transport = TLSTransport(self.calling.loop, sock, lambda *fault: None, LIMITS, peer)
        transport.begin(
            HandshakeQueue(
                self.calling.loop,
                self.context,
                30.0,
                b"",
                lambda transport, greeting: transport.set_handler(self.recorder),
                lambda greeting, reason: self.lost.append(reason),
            )
        )
        return transport


def test_tls_is_spoken_with_who_has_the_right_certificate(calling: Calling) -> None:
    house = TLSHouse(calling)
    calling.call(context=client_context(), server_name="localhost")
    calling.loop.run_once(0)
    theirs = house.take()
    ours, reason = calling.result()
    assert (type(ours), reason) == (TLSTransport, "")
    assert ours is not None
    recorder = Recorder()
    ours.set_handler(recorder)
    ours.write(b"x" * 100_000)
    calling.until(lambda: len(house.recorder.received) == 100_000)
    theirs.write(b"y" * 100_000)
    calling.until(lambda: len(recorder.received) == 100_000)
    theirs.close("over")
    calling.until(lambda: house.recorder.lost)


@pytest.mark.parametrize(
    ("authority", "name", "expected"),
    [
        (trustme.CA(), "localhost", "certificate verify failed"),
        (AUTHORITY, "other.example", "certificate verify failed"),
        (AUTHORITY, "", "server_hostname cannot be an empty string"),
    ],
)
def test_who_has_another_certificate_is_not_spoken_with(
    calling: Calling, authority: trustme.CA, name: str, expected: str
) -> None:
    house = TLSHouse(calling)
    calling.call(context=client_context(authority), server_name=name)
    calling.loop.run_once(0)
    theirs = house.take()
    transport, reason = calling.result()
    assert transport is None
    assert expected in reason
    calling.until(lambda: house.lost)
    assert theirs.state is TransportState.CLOSED


@pytest.mark.parametrize("how", ["silent", "ends", "plain"])
def test_who_does_not_speak_tls_is_given_up(calling: Calling, how: str) -> None:
    calling.call(context=client_context(), server_name="localhost")
    calling.loop.run_once(0)
    other = calling.accept()
    calling.until(lambda: can_read(other))
    other.recv(10_000)
    if how == "ends":
        other.close()
    elif how == "plain":
        other.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    else:
        calling.clock += 2.0
    transport, reason = calling.result()
    assert transport is None
    assert reason.startswith(
        {"silent": "no answer in time", "ends": "the client left", "plain": "the TLS handshake failed"}[how]
    )
    calling.loop.run_once(0)


def test_a_ca_file_that_cannot_be_used_is_said(tmp_path: Any) -> None:
    (tmp_path / "empty").write_text("")
    for name in ("missing", "empty"):
        with pytest.raises(CertificateError, match="cannot use the CA file"):
            make_calling_context(str(tmp_path / name))
