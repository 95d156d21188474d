"""TLS over a Transport: the same states, watermarks, corking and lingering, with records on the wire.

Must not know: any protocol inside or beside TLS; what a plain greeting is answered comes as bytes.

OpenSSL works on memory (`ssl.MemoryBIO`), not on the socket: an SSLSocket makes one system call for every
16 KiB record, here all records of a turn leave in one send, and one receive feeds as many as came.
"""

from __future__ import annotations

import errno
import os
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from python_server.net.byte_handler import Address, Buffer
from python_server.net.certificates import reason_of
from python_server.net.loop import Loop
from python_server.net.pauses import Pause
from python_server.net.sendfile import FileSlice
from python_server.net.states import StateEnum
from python_server.net.transport import Transport, TransportState

# Plain bytes sealed ahead of the kernel: one full receive window of most clients.
SEAL_MAX_BYTES: Final = 262_144
# OpenSSL answers key updates and refused renegotiations by itself, with some 30 bytes each. So much may wait
# for a client that does not read: nobody renews keys a thousand times meanwhile (BoringSSL: 32 in a row).
ANSWERS_MAX_BYTES: Final = 65_536
# Received at once before the end of a handshake, whose messages are small. What a client sends right behind
# its last one waits in the kernel, as it does once the connection is up.
HELLO_MAX_BYTES: Final = 16_384
# What is received at once. A key update of 27 bytes costs 20 microseconds, as a whole record of 16 KiB does:
# who sends little else is read in small portions from then on, so that a turn of the loop stays short.
RECEIVE_MAX_BYTES: Final = 65_536
IDLE_RECEIVE_BYTES: Final = 4_096
# Of plain bytes in one record (RFC 8446 5.1).
RECORD_MAX_BYTES: Final = 16_384
# Received bytes of which no data came: a record of full size (RFC 8446 5.2) may be on its way, and another.
IDLE_MAX_BYTES: Final = 2 * (RECORD_MAX_BYTES + 256)
# Of each record beside its data: 22 bytes in TLS 1.3, 29 in 1.2; of a large one up to a 64th more (with CBC).
RECORD_OVERHEAD_BYTES: Final = 32
# Handshakes per turn of the loop: one RSA signature takes about a millisecond, and others wait meanwhile.
HANDSHAKES_PER_TURN_COUNT: Final = 4
# RFC 8446 5.1: the first byte of a client's first record. Plain text never begins with it.
HANDSHAKE_RECORD: Final = 0x16


class TLSPhase(StateEnum):
    """How far TLS itself has come on a connection."""

    GREETING = "HANDSHAKE", "PLAIN"  # nothing has arrived
    PLAIN = ()  # what arrived is no TLS; it gets a short answer
    HANDSHAKE = "UP"
    UP = "NOTIFIED"
    NOTIFIED = ()  # our close_notify (RFC 8446 6.1) has been sealed; nothing may follow it


# As in the transport: in CPython 3.11 an enum's member costs ten times a global.
_GREETING, _HANDSHAKE = TLSPhase.GREETING, TLSPhase.HANDSHAKE
_OPEN: Final = TransportState.OPEN


@dataclass(slots=True, eq=False)
class HandshakeQueue:
    """What TLS connections share, and those whose handshake has work to do: a few are served per turn, so
    that a flood of them delays nobody else.
    """

    loop: Loop
    context: ssl.SSLContext  # see `certificates.make_context`
    timeout_seconds: float  # for a handshake
    plain_answer: bytes  # what a client is sent that speaks no TLS
    established: Callable[[TLSTransport, Handshaking], None]  # once; it sets the handler of what comes then
    lost: Callable[[Handshaking, str], None]  # once, with the reason, when a handshake fails
    server_side: bool = True
    server_name: str = ""  # of whom a client calls: what its certificate must be for
    _waiting: deque[TLSTransport] = field(default_factory=deque, init=False)

    def add(self, transport: TLSTransport) -> None:
        self._waiting.append(transport)
        if len(self._waiting) == 1:
            self.loop.call_soon(self._run)

    def _run(self) -> None:
        try:
            for _ in range(min(len(self._waiting), HANDSHAKES_PER_TURN_COUNT)):
                self._waiting.popleft().step()
        finally:
            if self._waiting:
                self.loop.call_soon(self._run)


class Handshaking:
    """Who listens to a connection until its handshake is done (the ByteHandler port).

    It has the words of a channel, so that a stopping server may treat it like one.
    """

    __slots__ = ("_handshakes", "_transport")

    def __init__(self, transport: TLSTransport, handshakes: HandshakeQueue) -> None:
        self._transport = transport
        self._handshakes = handshakes

    def receive_buffer(self) -> memoryview | None:
        return None

    def data_received(self, buffer: Buffer, nbytes: int) -> None:
        """Nothing is received before the end of the handshake."""

    def write_blocked(self, blocked: bool) -> None:
        """Nothing is written before the end of the handshake."""

    def connection_lost(self, reason: str) -> None:
        self._handshakes.lost(self, reason)

    @property
    def peers(self) -> tuple[Address, Address]:
        """As a channel's."""
        return self._transport.peer, self._transport.peer

    @property
    def held_bytes(self) -> int:
        return 0

    def refuse_keep_alive(self) -> None:
        """Graceful stop: the client has asked for nothing yet."""

    def close_when_idle(self) -> None:
        self.abort("server stopped")

    def abort(self, reason: str) -> None:
        self._transport.close(reason)


class TLSTransport(Transport):
    """A TLS connection on the loop. Every method belongs to the loop's thread.

    Sizes are those of plain bytes: a piece counts as queued until the records that carry it have left.
    """

    __slots__ = (
        "_covered_bytes", "_handshakes", "_idle_bytes", "_incoming", "_outgoing", "_phase", "_sealed", "_ssl",
        "_timer",
    )  # fmt: skip
    _direct = False

    def begin(self, handshakes: HandshakeQueue) -> Handshaking:
        """Start to read, once, before anything else; returns who listens until the handshake is done.

        Raises:
            MemoryError, ssl.SSLError: there is no memory; the connection has ended.
        """
        try:
            self._incoming = ssl.MemoryBIO()
            self._outgoing = ssl.MemoryBIO()
            self._ssl = handshakes.context.wrap_bio(
                self._incoming,
                self._outgoing,
                server_side=handshakes.server_side,
                # An empty name is an error; none at all, and any name of that authority would do.
                server_hostname=None if handshakes.server_side else handshakes.server_name,
            )
        except BaseException:
            self._let_go().close()  # nobody listens yet
            raise
        self._handshakes = handshakes
        self._phase = TLSPhase.GREETING
        self._sealed = memoryview(b"")  # records that wait for the kernel
        self._covered_bytes = 0  # plain bytes of the queue that `_sealed` carries
        self._idle_bytes = 0  # received lately, and nothing to hand up came of them
        self.receive_max_bytes = HELLO_MAX_BYTES
        self._timer = self._loop.call_later(
            handshakes.timeout_seconds, lambda: self._end("the TLS handshake did not end in time")
        )
        greeting = Handshaking(self, handshakes)
        self.set_handler(greeting)
        if not handshakes.server_side:  # whoever calls greets first
            self._phase = self._phase.to(TLSPhase.HANDSHAKE)
            self.pause_reading(Pause.HANDSHAKE, True)
            handshakes.add(self)
        return greeting

    # In

    def pause_reading(self, reasons: int, paused: bool) -> None:
        before = self.pauses
        super().pause_reading(reasons, paused)
        goes_on = before and not self.pauses and self._phase is TLSPhase.UP
        if goes_on and self.state is TransportState.OPEN and (self._incoming.pending or self._ssl.pending()):
            self._loop.call_soon(self._deliver)

    def _on_readable(self) -> None:
        buffer = self._usual
        try:
            nbytes = self._socket.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        if nbytes == 0:
            self._on_ragged_end()
            return
        if self._phase is _GREETING:
            if buffer[0] != HANDSHAKE_RECORD:
                self._refuse_plain()
                return
            self._phase = self._phase.to(_HANDSHAKE)
        self._incoming.write(memoryview(buffer)[:nbytes])
        if self._phase is _HANDSHAKE:
            self.pause_reading(Pause.HANDSHAKE, True)  # until its turn has come
            self._handshakes.add(self)
        else:
            self._idle_bytes += nbytes
            own = self._outbox is not None and self._outbox.expect()
            self._deliver()
            if own:  # nobody else has written in this turn: what answers leaves at once
                self.flush()
            if self._idle_bytes > IDLE_MAX_BYTES and not self.pauses:
                self.receive_max_bytes = min(self.receive_max_bytes, IDLE_RECEIVE_BYTES)

    def _on_ragged_end(self) -> None:
        """TCP ended without a close_notify: an end like any other, for messages are framed inside."""
        if self._phase in (TLSPhase.GREETING, TLSPhase.HANDSHAKE):
            self._end("the client left during the TLS handshake")
            return
        self._deliver()  # what a pause has left unread goes before the end
        if self.pauses or self.state is not TransportState.OPEN:
            return
        self.pause_reading(Pause.ENDED, True)
        self._tell(self._loop.receive_buffer, 0)

    def _refuse_plain(self) -> None:
        self._phase = self._phase.to(TLSPhase.PLAIN)
        self.pause_reading(Pause.ENDED, True)
        try:
            self._socket.send(self._handshakes.plain_answer)
        except OSError:
            pass
        self.state = self.state.to(TransportState.DRAINING)
        super()._linger()

    def step(self) -> None:
        """The handshake's turn has come (called by its queue)."""
        if self.state is not TransportState.OPEN:
            return
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            if self._flush_records():
                self.pause_reading(Pause.HANDSHAKE, False)
            return
        except (ssl.SSLError, OSError, MemoryError) as error:
            self._flush_records()  # the alert that says why
            self._end(f"the TLS handshake failed: {reason_of(error)}")
            return
        self._phase = self._phase.to(TLSPhase.UP)
        self.receive_max_bytes = RECEIVE_MAX_BYTES
        self._timer.cancel()
        self._flush_records()
        if self.state is not TransportState.OPEN:
            return
        try:
            assert isinstance(self._handler, Handshaking)
            self._handshakes.established(self, self._handler)
        except Exception as error:
            self._report("connection", error)
            self._end("internal error")
            return
        self.pause_reading(Pause.HANDSHAKE, False)

    def _deliver(self) -> None:
        """Hand over what has come, as many records per call as the handler's buffer holds."""
        while not self.pauses and self.state is _OPEN:
            buffer: Buffer | None = self._receive_buffer()
            if buffer is None:
                buffer = self._usual
            size_bytes = len(buffer)  # asked for now: the handler may release its buffer
            filled, ended, fault = self._unseal(memoryview(buffer))
            if filled:
                self._idle_bytes = max(0, self._idle_bytes - filled - (filled >> 6))
                self._tell(buffer, filled)
            if self.state is not _OPEN:
                return
            if fault is not None:
                self._flush_records()  # the alert
                self._end(f"TLS: {reason_of(fault)}")
            elif ended:
                self.pause_reading(Pause.ENDED, True)
                self._tell(self._loop.receive_buffer, 0)
            elif filled < size_bytes:
                break
        if self.state is _OPEN and self._outgoing.pending:
            self._flush_records()  # TLS's own answers: key updates (RFC 8446 4.6.3)
            if self._outgoing.pending > ANSWERS_MAX_BYTES:
                self._end("TLS: the client does not read the answers to its key updates")

    def _unseal(self, view: memoryview) -> tuple[int, bool, ssl.SSLError | MemoryError | None]:
        """(plain bytes put into the view, whether a close_notify came, what was wrong)."""
        filled = 0
        try:
            while filled < len(view):
                room = view[filled:] if filled else view
                nbytes: int = self._ssl.read(len(room), room)  # type: ignore[assignment]  # into a buffer
                if not nbytes:
                    return filled, True, None
                filled += nbytes
                self._idle_bytes -= RECORD_OVERHEAD_BYTES
                if not self._incoming.pending and not self._ssl.pending():
                    break  # a read in vain costs an exception
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            return filled, True, None
        except (ssl.SSLError, MemoryError) as error:
            return filled, False, error
        return filled, False, None

    def _tell(self, buffer: Buffer, nbytes: int) -> None:
        try:
            self._data_received(buffer, nbytes)
        except Exception as error:
            self._report("connection", error)
            self._end("internal error")

    # Out

    def _send_held(self, held: bytes) -> int:
        """One record, where nothing else waits: how a small answer leaves."""
        if len(held) > RECORD_MAX_BYTES or self._sealed or self._outgoing.pending:
            return 0
        try:
            self._seal_all(held)
            records = self._outgoing.read()
        except MemoryError:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from None
        try:
            sent = self._socket.send(records)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent == len(records):
            return len(held)
        self._sealed, self._covered_bytes = memoryview(records)[sent:], len(held)
        return 0

    def _offer(self) -> tuple[int, int]:
        """Seal what the queue holds, up to a bound, and send the records; they count when all have left."""
        if not self._covered_bytes:
            try:
                self._seal()
            except MemoryError:  # what OpenSSL has sealed of it is not known
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from None
        if not self._send_records():
            raise BlockingIOError
        covered, self._covered_bytes = self._covered_bytes, 0
        return len(self._queue), covered

    def _seal(self) -> None:
        pieces: list[Buffer] = []
        room = SEAL_MAX_BYTES
        for piece in self._queue:
            if type(piece) is FileSlice:
                part: Buffer = piece.read(room)
                if not part and len(piece):
                    raise OSError("the file became shorter than announced")
            else:
                part = piece if len(piece) <= room else memoryview(piece)[:room]
            pieces.append(part)
            room -= len(part)
            if len(part) < len(piece) or room <= 0:
                break
        plain = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        self._covered_bytes = len(plain)
        self._seal_all(plain)
        if self.state is TransportState.DRAINING and self._covered_bytes == self._queued_bytes:
            self._say_goodbye()  # it leaves with the last bytes
        self._collect()

    def _seal_all(self, plain: Buffer) -> None:
        """OpenSSL may take less than it is given."""
        sealed = 0
        while sealed < len(plain):
            sealed += self._ssl.write(memoryview(plain)[sealed:] if sealed else plain)

    def _collect(self) -> None:
        if self._outgoing.pending:
            records = self._outgoing.read()
            self._sealed = memoryview(bytes(self._sealed) + records if self._sealed else records)

    def _send_records(self) -> bool:
        """Whether every record has left."""
        if self._sealed:
            self._sealed = self._sealed[self._socket.send(self._sealed) :]
        return not self._sealed

    def _flush_records(self) -> bool:
        """Send records that carry none of the queue's bytes, now or when the kernel takes more."""
        if self._waiting:
            return False  # they follow when what waits has left
        self._collect()
        try:
            if self._send_records():
                return True
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._end(error.strerror or str(error))
            return False
        self._wait_writable()
        return False

    def _send_queued(self) -> None:
        if self._phase is TLSPhase.HANDSHAKE:
            if self._flush_records():
                self.pause_reading(Pause.HANDSHAKE, False)
        elif self._queue or self._flush_records():
            super()._send_queued()

    def _say_goodbye(self) -> None:
        self._phase = self._phase.to(TLSPhase.NOTIFIED)
        try:
            self._ssl.unwrap()
        except (ssl.SSLError, OSError):
            pass  # it waits for the peer's own close_notify; we do not

    # The way out

    def _linger(self) -> None:
        if self._phase is not TLSPhase.NOTIFIED:
            if self._phase is not TLSPhase.UP:
                self._end("closed")
                return
            self._say_goodbye()
        if self._flush_records():
            super()._linger()

    def _end(self, reason: str) -> None:
        if self.state is TransportState.CLOSED:
            return
        self._timer.cancel()
        super()._end("a client spoke plain text to the TLS port" if self._phase is TLSPhase.PLAIN else reason)
        # OpenSSL's part is the largest of a connection, and the collector is late to find who refers to it.
        self._incoming = self._outgoing = ssl.MemoryBIO()
        del self._ssl
