"""Connections, plain and over TLS by the same tests; then what only TLS can do or refuse.

It must not know what a connection carries.
"""

import _ssl
import ctypes
import os
import socket
import ssl
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from python_server.net.certificates import CertificateError, make_context
from python_server.net.loop import Loop
from python_server.net.pauses import Pause
from python_server.net.sendfile import FileSlice, FileSource
from python_server.net.tls import (
    HANDSHAKES_PER_TURN_COUNT,
    IDLE_MAX_BYTES,
    IDLE_RECEIVE_BYTES,
    RECEIVE_MAX_BYTES,
    HandshakeQueue,
    TLSTransport,
)
from python_server.net.transport import Transport, TransportState
from python_server.settings import TLSSettings, TransportSettings
from wsframe import Outbox

TURNS_MAX_COUNT = 5_000
PLAIN_ANSWER = b"this is a TLS port\n"
AUTHORITY = trustme.CA()
SERVER_CERTIFICATE = AUTHORITY.issue_cert("localhost")
SMALL = replace(
    TransportSettings(),
    high_watermark_bytes=100_000,
    low_watermark_bytes=10_000,
    hard_limit_bytes=50_000_000,
    linger_timeout_seconds=30.0,
    stall_timeout_seconds=30.0,
)


class CountingSocket:
    """A socket that counts the sends of the transport it is given to."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.sends_count = 0
        self.received_bytes = 0

    def recv_into(self, buffer: Any) -> int:
        nbytes = self._sock.recv_into(buffer)
        self.received_bytes += nbytes
        return nbytes

    def __getattr__(self, name: str) -> Any:
        if name in ("send", "sendmsg"):
            self.sends_count += 1
        return getattr(self._sock, name)


class Recorder:
    """A handler that keeps what it is told."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = False
        self.blocked: list[bool] = []
        self.lost: list[str] = []
        self.calls_count = 0
        self.buffer: memoryview | None = None
        self.on_data: Callable[[bytes], None] = lambda data: None

    def receive_buffer(self) -> memoryview | None:
        return self.buffer

    def data_received(self, buffer: Any, nbytes: int) -> None:
        data = bytes(memoryview(buffer)[:nbytes])
        self.calls_count += 1
        self.received += data
        self.ended = self.ended or nbytes == 0
        self.on_data(data)

    def write_blocked(self, blocked: bool) -> None:
        self.blocked.append(blocked)

    def connection_lost(self, reason: str) -> None:
        self.lost.append(reason)


class PlainPeer:
    """The other end of a plain connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.received = bytearray()
        self.ended = False  # in the orderly way of this kind of connection
        self.reading = True
        self._unsent = bytearray()

    def send(self, data: bytes) -> None:
        self._unsent += data

    def end(self) -> None:
        """End our side, after all bytes have left."""
        self.sock.shutdown(socket.SHUT_WR)

    def pump(self) -> None:
        """Move what can be moved without waiting."""
        try:
            while self._unsent:
                del self._unsent[: self.sock.send(self._unsent)]
        except BlockingIOError:
            pass
        try:
            while self.reading and not self.ended:
                data = self.sock.recv(1 << 20)
                self._take(data)
        except BlockingIOError:
            pass

    def _take(self, data: bytes) -> None:
        if data:
            self.received += data
        else:
            self.ended = True


class TLSPeer(PlainPeer):
    """The other end of a TLS connection."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.up = False
        self.tcp_ended = False
        self.faults: list[str] = []

    def send(self, data: bytes) -> None:
        assert self.up
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view) :]

    def end(self) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()

    def pump(self) -> None:
        self._advance()
        self._unsent += self.outgoing.read()
        super().pump()
        self._advance()

    def _take(self, data: bytes) -> None:
        if data:
            self.incoming.write(data)
        else:
            self.tcp_ended = True
            raise BlockingIOError  # nothing more will come

    def _advance(self) -> None:
        try:
            if not self.up:
                self.tls.do_handshake()
                self.up = True
            while not self.ended:
                data = self.tls.read(1 << 20)
                self.ended = not data
                self.received += data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.ended = self.ended or isinstance(error, ssl.SSLZeroReturnError)
            if not self.ended:
                self.faults.append(str(error.reason))


def server_context(**rules: Any) -> ssl.SSLContext:
    """A context with the test's own certificate."""
    with SERVER_CERTIFICATE.private_key_and_cert_chain_pem.tempfile() as path:
        return make_context(TLSSettings(certfile=path, **rules), ["http/1.1"])


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


class Rig:
    """A loop with one connection, driven turn by turn in this thread."""

    def __init__(self) -> None:
        self.reports: list[BaseException] = []
        self.loop = Loop(lambda what, error: self.reports.append(error))
        self.handshakes = HandshakeQueue(
            self.loop,
            server_context(),
            30.0,
            PLAIN_ANSWER,
            self._established,
            lambda greeting, reason: self.refused.append(reason),
        )
        self.handler = Recorder()
        self.established: list[TLSTransport] = []
        self.refused: list[str] = []
        self.sockets: list[socket.socket] = []

    def connect(
        self,
        kind: str,
        limits: TransportSettings = SMALL,
        server: ssl.SSLContext | None = None,
        client: ssl.SSLContext | None = None,
        timeout_seconds: float = 30.0,
    ) -> tuple[Any, Any]:
        """(transport, peer); a TLS handshake has begun, not ended."""
        ours, theirs = socket.socketpair()
        self.sockets += [ours, theirs]
        ours.setblocking(False)
        self.counter = CountingSocket(ours)
        sock: Any = self.counter
        common = (self.loop, sock, lambda what, error: self.reports.append(error), limits)
        if kind == "plain":
            plain = Transport(*common)
            plain.set_handler(self.handler)
            return plain, PlainPeer(theirs)
        self.handshakes.context = server or server_context()
        self.handshakes.timeout_seconds = timeout_seconds
        transport = TLSTransport(*common)
        transport.begin(self.handshakes)
        return transport, TLSPeer(theirs, client or client_context())

    def _established(self, transport: TLSTransport, greeting: Any) -> None:
        self.established.append(transport)
        transport.set_handler(self.handler)

    def open(self, kind: str, limits: TransportSettings = SMALL) -> tuple[Any, Any]:
        """(transport, peer), with the handshake done."""
        transport, peer = self.connect(kind, limits)
        if kind == "tls":
            self.until(lambda: peer.up and self.established, peer)
        return transport, peer

    def lend(self, transport: Any, nbytes: int) -> None:
        """The handler has a buffer of its own; a plain transport asks for it when much has come at once."""
        self.handler.buffer = memoryview(bytearray(nbytes))
        if not isinstance(transport, TLSTransport):
            transport._look_ahead()

    def until(self, condition: Callable[[], Any], *peers: Any) -> None:
        """Turn the loop and move the peers' bytes until the condition holds."""
        for _ in range(TURNS_MAX_COUNT):
            for peer in peers:
                peer.pump()
            if condition():
                return
            self.loop.run_once(0.001)
        pytest.fail(f"it never came to pass; handler: {vars(self.handler)}, reports: {self.reports}")

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.loop.run_once(0)
        self.loop.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


@pytest.fixture(params=["plain", "tls"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Both kinds


@pytest.mark.parametrize("size_bytes", [1, 16_384, 16_385, 3_000_000])
def test_bytes_arrive_whole_and_in_order_both_ways(rig: Rig, kind: str, size_bytes: int) -> None:
    transport, peer = rig.open(kind)
    data = os.urandom(size_bytes)
    peer.send(data)
    rig.until(lambda: len(rig.handler.received) == size_bytes, peer)
    assert rig.handler.received == data
    transport.write(data[: size_bytes // 2])
    transport.write(memoryview(data)[size_bytes // 2 :])
    rig.until(lambda: len(peer.received) == size_bytes, peer)
    assert peer.received == data
    assert transport.queued_bytes == 0


def test_what_one_turn_writes_leaves_in_one_send(rig: Rig, kind: str) -> None:
    transport, peer = rig.open(kind)
    before = rig.counter.sends_count
    for _ in range(100):
        transport.write(b"x" * 400)
    assert rig.counter.sends_count == before
    rig.loop.run_once(0)
    assert rig.counter.sends_count == before + 1
    rig.until(lambda: len(peer.received) == 40_000, peer)


def test_what_an_outbox_holds_leaves_in_one_send_in_its_place(rig: Rig, kind: str) -> None:
    transport, peer = rig.open(kind)
    outbox = Outbox()
    transport.outbox = outbox
    before = rig.counter.sends_count
    for _ in range(100):
        assert outbox.write(b"a" * 400)
    assert (rig.counter.sends_count, transport.queued_bytes) == (before, 40_000)
    rig.loop.run_once(0)
    assert (rig.counter.sends_count, transport.queued_bytes) == (before + 1, 0)
    assert outbox.write(b"b")
    transport.write(b"c" * 20_000)
    assert not outbox.write(b"declined")
    rig.loop.run_once(0)
    assert outbox.write(b"d")
    transport.close()
    rig.until(lambda: peer.ended, peer)
    assert peer.received == b"a" * 40_000 + b"b" + b"c" * 20_000 + b"d"


def test_a_reply_out_of_the_outbox_arrives(rig: Rig, kind: str) -> None:
    transport, peer = rig.open(kind)
    outbox = Outbox()
    transport.outbox = outbox
    rig.handler.on_data = lambda data: None if outbox.write(data) else transport.write(data)

    def echoed(total_bytes: int) -> bool:
        return len(peer.received) == total_bytes

    sent = b""
    for size in (1, 100, 16_383, 16_384, 50_000):
        sent += os.urandom(size)
        peer.send(sent[-size:])
        rig.until(partial(echoed, len(sent)), peer)
    assert peer.received == sent


def test_many_records_arrive_in_one_call(rig: Rig, kind: str) -> None:
    _, peer = rig.open(kind)
    for _ in range(50):
        peer.send(b"y" * 100)
    peer.pump()
    rig.until(lambda: rig.handler.received, peer)
    assert rig.handler.calls_count == 1
    assert len(rig.handler.received) == 5_000


def test_a_peer_that_does_not_read_presses_back_and_lets_go(rig: Rig, kind: str) -> None:
    transport, peer = rig.open(kind)
    peer.reading = False
    total_bytes = 0
    while not rig.handler.blocked:
        transport.write(b"z" * 50_000)
        total_bytes += 50_000
        rig.loop.run_once(0)
    assert transport.blocked
    assert transport.queued_bytes > SMALL.high_watermark_bytes
    peer.reading = True
    rig.until(lambda: len(peer.received) == total_bytes, peer)
    assert rig.handler.blocked == [True, False]


def test_above_the_hard_limit_the_peer_is_cut(rig: Rig, kind: str) -> None:
    transport, peer = rig.open(kind, replace(SMALL, hard_limit_bytes=2_000_000))
    peer.reading = False
    while transport.state is TransportState.OPEN:
        transport.write(b"z" * 500_000)
    rig.until(lambda: rig.handler.lost)
    assert rig.handler.lost == ["slow client"]


def test_a_peer_that_takes_nothing_is_given_up(rig: Rig, kind: str) -> None:
    transport, peer = rig.open(kind, replace(SMALL, stall_timeout_seconds=0.0))
    peer.reading = False
    transport.write(b"z" * 5_000_000)
    transport.close()
    rig.until(lambda: rig.handler.lost)
    assert rig.handler.lost == ["client stopped reading"]


def test_closing_sends_what_is_queued_and_ends_in_order(rig: Rig, kind: str) -> None:
    transport, peer = rig.open(kind)
    transport.write(b"q" * 3_000_000)
    transport.close()
    assert transport.state is TransportState.DRAINING
    transport.write(b"too late")
    rig.until(lambda: peer.ended, peer)
    assert peer.received == b"q" * 3_000_000
    rig.until(lambda: transport.state is TransportState.LINGERING, peer)
    peer.sock.close()
    rig.until(lambda: rig.handler.lost)
    assert rig.handler.lost == ["closed"]
    assert transport.state is TransportState.CLOSED


def test_an_idle_connection_ends_in_order(rig: Rig, kind: str) -> None:
    transport, peer = rig.open(kind)
    transport.close()
    rig.until(lambda: peer.ended, peer)
    assert transport.state is TransportState.LINGERING


def test_input_that_nobody_reads_does_not_eat_the_answer(rig: Rig, kind: str) -> None:
    transport, peer = rig.open(kind)
    peer.reading = False
    transport.write(b"the answer")
    transport.close()
    peer.send(b"u" * 1_000_000)
    for _ in range(50):
        rig.loop.run_once(0)
        peer.pump()
    peer.reading = True
    rig.until(lambda: peer.ended, peer)
    assert peer.received == b"the answer"
    assert not rig.handler.received


def test_a_paused_reader_gets_nothing_until_it_resumes(rig: Rig, kind: str) -> None:
    transport, peer = rig.open(kind)
    rig.lend(transport, 1_000)  # more is decrypted than one call can take
    rig.handler.on_data = lambda data: transport.pause_reading(Pause.MESSAGES, True)
    peer.send(b"p" * 5_000)
    peer.pump()
    for count in range(1, 6):
        rig.until(lambda count=count: rig.handler.calls_count == count, peer)  # type: ignore[misc]
        for _ in range(3):
            rig.loop.run_once(0)
        assert len(rig.handler.received) == count * 1_000
        transport.pause_reading(Pause.MESSAGES, False)


def test_another_handler_gets_the_rest(rig: Rig, kind: str) -> None:
    transport, peer = rig.open(kind)
    second = Recorder()
    rig.lend(transport, 10)
    rig.handler.on_data = lambda data: transport.set_handler(second)
    peer.send(b"0123456789abcdef")
    rig.until(lambda: second.received, peer)
    assert (rig.handler.received, second.received) == (b"0123456789", b"abcdef")


def test_a_handler_that_raises_ends_its_connection_only(rig: Rig, kind: str) -> None:
    transport, peer = rig.open(kind)

    def fail(data: bytes) -> None:
        raise LookupError("raised by the test")

    rig.handler.on_data = fail
    peer.send(b"x")
    rig.until(lambda: rig.handler.lost, peer)
    assert rig.handler.lost == ["internal error"]
    assert [type(error) for error in rig.reports] == [LookupError]
    assert transport.state is TransportState.CLOSED


def test_the_end_of_the_peers_side_is_told(rig: Rig, kind: str) -> None:
    transport, peer = rig.open(kind)
    peer.send(b"last words")
    peer.pump()
    peer.end()
    rig.until(lambda: rig.handler.ended, peer)
    assert rig.handler.received == b"last words"
    transport.write(b"and the answer")  # half-closed: it still leaves
    transport.close()
    rig.until(lambda: peer.received == b"and the answer", peer)


def test_a_reset_ends_the_connection_once(rig: Rig, kind: str) -> None:
    transport, _ = rig.open(kind)
    transport.close("cut by the test")
    transport.close("twice")
    rig.until(lambda: rig.handler.lost)
    assert rig.handler.lost == ["cut by the test"]


def test_slices_of_files_leave(rig: Rig, kind: str, tmp_path: Path) -> None:
    data = os.urandom(1_500_000)
    (tmp_path / "file").write_bytes(data)
    transport, peer = rig.open(kind)
    with (tmp_path / "file").open("rb") as file:
        source = FileSource(file.fileno())
    transport.write(b"before ")
    transport.write(FileSlice(source, 100, 1_000_000))
    transport.write(b" after")
    rig.until(lambda: len(peer.received) == 1_000_013, peer)
    assert peer.received == b"before " + data[100:1_000_100] + b" after"


# TLS alone


def test_the_handshake_chooses_http_1_1_and_a_recent_version(rig: Rig) -> None:
    _, peer = rig.open("tls")
    assert peer.tls.selected_alpn_protocol() == "http/1.1"
    assert peer.tls.version() == "TLSv1.3"
    assert server_context().minimum_version is ssl.TLSVersion.TLSv1_2


def test_tls_1_2_is_spoken_without_renegotiation(rig: Rig) -> None:
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    server = server_context(ciphers="ECDHE+AESGCM")
    assert server.options & ssl.OP_NO_RENEGOTIATION
    _, peer = rig.connect("tls", server=server, client=client)
    rig.until(lambda: peer.up and rig.established, peer)
    assert peer.tls.version() == "TLSv1.2"
    peer.send(b"hello")
    rig.until(lambda: rig.handler.received == b"hello", peer)


def test_a_handshake_may_come_byte_by_byte(rig: Rig) -> None:
    _, peer = rig.connect("tls")
    peer._advance()
    hello = peer.outgoing.read()
    for position in range(len(hello)):
        peer.sock.send(hello[position : position + 1])
        rig.loop.run_once(0)
    rig.until(lambda: peer.up and rig.established, peer)


def test_what_follows_the_handshake_at_once_is_no_part_of_it(rig: Rig) -> None:
    _, peer = rig.connect("tls")
    while not peer.up:
        peer.pump()
        rig.loop.run_once(0)
    data = os.urandom(200_000)
    peer.send(data)  # with TLS 1.3 it leaves together with the client's Finished
    rig.until(lambda: rig.handler.received == data, peer)
    assert rig.refused == []


def test_a_client_without_tls_gets_a_short_answer(rig: Rig) -> None:
    transport, peer = rig.connect("tls")
    plain = PlainPeer(peer.sock)
    plain.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    rig.until(lambda: plain.ended, plain)
    assert plain.received == PLAIN_ANSWER
    plain.sock.close()
    rig.until(lambda: rig.refused)
    assert rig.refused == ["a client spoke plain text to the TLS port"]
    assert transport.state is TransportState.CLOSED


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x16\x03\x01\x00\x05hello", "the TLS handshake failed: "),
        (b"\x16\x03\x01\x00\x05" + b"\x01\x00\x00\x01\x00", "the TLS handshake failed: "),
        (b"", "the client left during the TLS handshake"),
        (b"\x16\x03\x01", "the client left during the TLS handshake"),
    ],
)
def test_a_handshake_that_fails_ends_with_its_reason(rig: Rig, sent: bytes, reason: str) -> None:
    _, peer = rig.connect("tls")
    peer.sock.sendall(sent)
    peer.sock.shutdown(socket.SHUT_WR)
    rig.until(lambda: rig.refused)
    assert rig.refused[0].startswith(reason)
    assert not rig.established


def test_a_handshake_must_end_in_time(rig: Rig) -> None:
    rig.connect("tls", timeout_seconds=0.0)
    rig.until(lambda: rig.refused)
    assert rig.refused == ["the TLS handshake did not end in time"]


def test_a_handshake_without_end_is_bounded(rig: Rig) -> None:
    _, peer = rig.connect("tls")
    flood = PlainPeer(peer.sock)
    # Hello fragments that announce 16 MiB: OpenSSL or our own bound must stop them.
    record = b"\x16\x03\x01\x40\x00"
    flood.send(record + b"\x01\xff\xff\xff" + b"a" * 16_380 + (record + b"a" * 16_384) * 30)
    flood.reading = False
    rig.until(lambda: rig.refused, _Ignoring(flood))
    assert "TLS handshake" in rig.refused[0]


class _Ignoring:
    """A peer whose sends may fail: the other side has ended."""

    def __init__(self, peer: PlainPeer) -> None:
        self._peer = peer

    def pump(self) -> None:
        try:
            self._peer.pump()
        except OSError:
            pass


@pytest.mark.parametrize("shown", [True, False])
def test_client_certificates(rig: Rig, tmp_path: Path, shown: bool) -> None:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = server_context(ca_certs=str(tmp_path / "ca.pem"), cert_reqs="required")
    client = client_context()
    if shown:
        AUTHORITY.issue_cert("client@example.org").configure_cert(client)
    _, peer = rig.connect("tls", server=server, client=client)
    rig.until(lambda: rig.established or rig.refused, peer)
    assert bool(rig.established) is shown
    if not shown:
        assert "peer did not return a certificate" in rig.refused[0]


def test_a_ragged_end_is_an_end(rig: Rig) -> None:
    _, peer = rig.open("tls")
    peer.send(b"abc")
    peer.pump()
    peer.sock.shutdown(socket.SHUT_WR)  # no close_notify
    rig.until(lambda: rig.handler.ended)
    assert rig.handler.received == b"abc"


def test_openssls_part_of_an_ended_connection_waits_for_no_collector(rig: Rig) -> None:
    transport, peer = rig.open("tls")
    openssl = weakref.ref(transport._ssl)
    peer.sock.close()
    rig.until(lambda: rig.handler.lost or transport.close())
    transport.pause_reading(Pause.HANDSHAKE, True)
    transport.pause_reading(Pause.HANDSHAKE, False)
    transport.close("once more")
    assert transport.state is TransportState.CLOSED
    assert openssl() is None
    assert rig.reports == []


def test_a_pause_keeps_the_end_behind_the_data(rig: Rig) -> None:
    transport, peer = rig.open("tls")
    rig.handler.buffer = memoryview(bytearray(1_000))
    rig.handler.on_data = lambda data: transport.pause_reading(Pause.MESSAGES, True)
    peer.send(b"d" * 5_000)
    peer.pump()
    peer.sock.shutdown(socket.SHUT_WR)
    for count in range(1, 6):
        rig.until(lambda count=count: rig.handler.calls_count == count)  # type: ignore[misc]
        assert len(rig.handler.received) == count * 1_000
        assert not rig.handler.ended
        transport.pause_reading(Pause.MESSAGES, False)
    rig.until(lambda: rig.handler.ended)
    assert len(rig.handler.received) == 5_000


def test_a_broken_record_ends_the_connection_with_an_alert(rig: Rig) -> None:
    transport, peer = rig.open("tls")
    peer.sock.send(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
    rig.until(lambda: rig.handler.lost and peer.faults, peer)
    assert rig.handler.lost[0].startswith("TLS: ")
    assert "BAD_RECORD_MAC" in peer.faults[0].upper().replace(" ", "_")
    assert transport.state is TransportState.CLOSED


def update_keys(peer: Any, count: int, wanted: int = 1) -> None:
    """Key updates (RFC 8446 4.6.3), `wanted` in return or not: the module ssl has no word for them."""
    library = ctypes.CDLL(_ssl.__file__)
    # An SSLObject's own object: the head of any object, a weak reference, then OpenSSL's SSL.
    place = id(peer.tls._sslobj) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
    handle = ctypes.c_void_p.from_address(place)
    for _ in range(count):
        assert library.SSL_key_update(handle, ctypes.c_int(wanted)) == 1
        assert library.SSL_do_handshake(handle) == 1


def test_key_updates_are_answered(rig: Rig) -> None:
    transport, peer = rig.open("tls")
    update_keys(peer, 50)
    peer.send(b"with the new keys")
    rig.until(lambda: rig.handler.received == b"with the new keys", peer)
    transport.write(b"and back")
    rig.until(lambda: peer.received == b"and back", peer)
    assert not peer.faults


def test_answers_to_key_updates_that_nobody_reads_are_bounded(rig: Rig) -> None:
    transport, peer = rig.open("tls")
    peer.reading = False
    sent_count = 0
    while transport.state is TransportState.OPEN:
        update_keys(peer, 1_000)
        sent_count += 1_000
        assert sent_count < 60_000, f"{transport._outgoing.pending} bytes wait for it"
        rig.until(lambda: not peer._unsent or rig.handler.lost, _Ignoring(peer))
    assert rig.handler.lost == ["TLS: the client does not read the answers to its key updates"]


def taken_bytes(rig: Rig, peer: Any) -> list[int]:
    """What each turn of the loop took, until all that the peer has to send is taken."""
    rig.loop.run_once(0)
    peer.pump()
    turns = [0]
    while len(peer._unsent) or turns[-1]:
        before = rig.counter.received_bytes
        rig.loop.run_once(0)
        turns.append(rig.counter.received_bytes - before)
        peer.pump()
    return turns


@pytest.mark.parametrize("wanted", [0, 1])
@pytest.mark.parametrize("data_bytes", [0, 1, 16_384])
def test_key_updates_are_read_in_small_portions(rig: Rig, wanted: int, data_bytes: int) -> None:
    """Each costs as much as a record of 16 KiB; data between them changes nothing."""
    _, peer = rig.open("tls")
    for _ in range(8):
        if data_bytes:
            peer.send(b"d" * data_bytes)
        update_keys(peer, 1_500, wanted)
    turns = taken_bytes(rig, peer)
    assert max(turns) <= RECEIVE_MAX_BYTES
    assert sum(turns) >= 8 * 1_500 * 27
    small = [nbytes for nbytes in turns if nbytes <= IDLE_RECEIVE_BYTES]
    assert sum(turns) - sum(small) <= RECEIVE_MAX_BYTES + IDLE_MAX_BYTES + 2 * data_bytes
    assert len(rig.handler.received) == 8 * data_bytes


@pytest.mark.parametrize("size_bytes", [8, 700, 16_384, 100_000])
@pytest.mark.parametrize("lent_bytes", [0, 300])
def test_data_is_never_taken_for_key_updates(rig: Rig, size_bytes: int, lent_bytes: int) -> None:
    """A handler that takes it in bits, with a pause behind each, makes no difference."""
    transport, peer = rig.open("tls")
    if lent_bytes:
        rig.handler.buffer = memoryview(bytearray(lent_bytes))

        def pause(data: bytes) -> None:
            transport.pause_reading(Pause.MESSAGES, True)
            rig.loop.call_soon(lambda: transport.pause_reading(Pause.MESSAGES, False))

        rig.handler.on_data = pause
    total_bytes = 0
    while total_bytes < 150_000:
        peer.send(b"d" * size_bytes)
        total_bytes += size_bytes
    update_keys(peer, 100)
    rig.until(lambda: len(rig.handler.received) == total_bytes, peer)
    assert transport.receive_max_bytes == RECEIVE_MAX_BYTES


def test_a_flood_of_handshakes_leaves_every_turn_to_others(rig: Rig) -> None:
    server, client = server_context(), client_context()
    peers = [rig.connect("tls", server=server, client=client)[1] for _ in range(40)]
    for peer in peers:
        peer.pump()
    steps: list[int] = []
    while len(rig.established) < len(peers):
        before = sum(peer.up for peer in peers), len(rig.established)
        rig.loop.run_once(0.001)
        steps.append(len(rig.established) - before[1])
        for peer in peers:
            peer.pump()
        assert len(steps) < TURNS_MAX_COUNT
    assert max(steps) <= HANDSHAKES_PER_TURN_COUNT
    assert not rig.refused


def test_its_socket_is_given_to_nobody(rig: Rig) -> None:
    transport, _ = rig.open("tls")
    assert transport.detach() is None
    assert not transport.detach_when_sent(lambda sock: None)
    assert transport.state is TransportState.OPEN


# Certificates


@pytest.fixture
def files(tmp_path: Path) -> Path:
    SERVER_CERTIFICATE.private_key_pem.write_to_path(tmp_path / "key.pem")
    SERVER_CERTIFICATE.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    AUTHORITY.issue_cert("other").private_key_pem.write_to_path(tmp_path / "other.pem")
    (tmp_path / "text.pem").write_text("no certificate\n")
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    (tmp_path / "locked.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return tmp_path


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"certfile": "nosuch.pem"}, "cannot read {}/nosuch.pem (--ssl-certfile): No such file"),
        (
            {"certfile": "cert.pem", "keyfile": "nosuch.pem"},
            "cannot read {}/nosuch.pem (--ssl-keyfile): No such file",
        ),
        ({"certfile": "text.pem"}, "cannot use the certificate {}/text.pem: "),
        ({"certfile": "cert.pem", "keyfile": "other.pem"}, "key values mismatch"),
        ({"certfile": "cert.pem", "keyfile": "locked.pem"}, "locked.pem is encrypted: give its password"),
        ({"certfile": "cert.pem", "keyfile": "locked.pem", "keyfile_password": "x"}, "locked.pem: "),
        ({"keyfile": "key.pem"}, "but no certificate"),
        ({"certfile": "cert.pem", "keyfile": "key.pem", "ca_certs": "text.pem"}, "CA file {}/text.pem"),
        ({"certfile": "cert.pem", "keyfile": "key.pem", "cert_reqs": "required"}, "with a CA file"),
        ({"certfile": "cert.pem", "keyfile": "key.pem", "ciphers": "NOSUCH"}, "matches 'NOSUCH'"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named(files: Path, rules: dict[str, str], words: str) -> None:
    paths = {name: str(files / value) if value.endswith(".pem") else value for name, value in rules.items()}
    with pytest.raises(CertificateError) as caught:
        make_context(TLSSettings(**paths), ["http/1.1"])  # type: ignore[arg-type]
    assert words.format(files) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_encrypted_key_opens_with_its_password(files: Path) -> None:
    rules = TLSSettings(
        certfile=str(files / "cert.pem"), keyfile=str(files / "locked.pem"), keyfile_password="secret"
    )
    assert make_context(rules, ["http/1.1"]).verify_mode is ssl.CERT_NONE


def test_who_calls_greets_first_and_both_ends_carry_bytes(rig: Rig) -> None:
    """Two of our own transports: one calls, one is called."""
    transport, _ = rig.connect("tls")
    rig.handshakes.context = server_context()
    ours = rig.sockets[-1]
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    up: list[TLSTransport] = []
    caller, handler = (
        TLSTransport(rig.loop, ours, lambda what, error: rig.reports.append(error), SMALL),
        Recorder(),
    )
    queue = HandshakeQueue(
        rig.loop,
        context,
        30.0,
        b"",
        lambda transport, greeting: up.append(transport),
        lambda greeting, reason: rig.refused.append(reason),
        server_side=False,
        server_name="localhost",
    )
    caller.begin(queue)
    rig.until(lambda: up and rig.established)
    caller.set_handler(handler)
    caller.write(b"x" * 300_000)
    transport.write(b"y" * 300_000)
    rig.until(lambda: len(handler.received) == len(rig.handler.received) == 300_000)
    transport.close()
    rig.until(lambda: handler.ended)
    assert (rig.refused, rig.reports) == ([], [])


def test_who_calls_names_whom_it_wants_or_does_not_call(rig: Rig) -> None:
    """Without a name OpenSSL would take any certificate of the authority."""
    ours, theirs = socket.socketpair()
    rig.sockets += [ours, theirs]
    caller = TLSTransport(rig.loop, ours, lambda what, error: None, SMALL)
    told = (lambda transport, greeting: None, lambda greeting, reason: None)
    with pytest.raises(ValueError, match="empty string"):
        caller.begin(HandshakeQueue(rig.loop, client_context(), 30.0, b"", *told, server_side=False))
    assert ours.fileno() == -1
    assert ours not in rig.loop.sockets
