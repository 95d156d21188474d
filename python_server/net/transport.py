"""One TCP connection's bytes: receive once, send once per turn, bounded queues, one way out.

Must not know: any protocol. What arrives goes to the handler it was given; what ends is told once.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Final

from python_server.net.byte_handler import Address, Buffer, ByteHandler, Source
from python_server.net.lingering import Lingering
from python_server.net.loop import Deadline, Loop
from python_server.net.low_water import BULK_MIN_BYTES, LowWater
from python_server.net.pauses import Pause
from python_server.net.portability import AF_UNIX, IOV_MAX_COUNT, send_gathered
from python_server.net.sendfile import FileSlice
from python_server.net.states import StateEnum
from python_server.settings import TransportSettings

# Small pieces are joined: copying 64 KiB costs less than a vector of many entries.
JOIN_MAX_BYTES: Final = 65_536


class TransportState(StateEnum):
    """The life of a connection's descriptor."""

    OPEN = "DRAINING", "DETACHING", "CLOSED"
    DRAINING = "LINGERING", "CLOSED"  # close asked for; queued bytes still leave
    DETACHING = "CLOSED"  # its socket is to be another's; queued bytes still leave
    LINGERING = "CLOSED"  # our side is shut; what still comes is dropped, so that no reset eats the answer
    CLOSED = ()


# Here as in every file whose enum has members beside it: in CPython 3.11 an enum's member costs ten times a
# global, and these are asked for with every write, message or request.
_OPEN: Final = TransportState.OPEN

Piece = Buffer | FileSlice  # what can be written


def send_pieces(sock: socket.socket, pieces: list[Buffer], nbytes: int) -> tuple[int, int]:
    """(pieces offered, bytes taken): one send of pieces that are bytes, `nbytes` together."""
    if len(pieces) == 1:
        return 1, sock.send(pieces[0])
    if nbytes <= JOIN_MAX_BYTES:
        return len(pieces), sock.send(b"".join(pieces))
    return send_gathered(sock, pieces)


def drop_sent(pieces: list[Any], sent: int) -> int:
    """Remove what left; how many pieces left whole."""
    count = 0
    while count < len(pieces) and sent >= len(pieces[count]):
        sent -= len(pieces[count])
        count += 1
    del pieces[:count]
    if sent:
        first = pieces[0]
        pieces[0] = first.rest(sent) if type(first) is FileSlice else memoryview(first)[sent:]
    return count


class Transport:
    """A plain TCP (or UNIX) stream on the loop. Every method belongs to the loop's thread.

    Args:
        sock: a connected, non-blocking socket, owned from here on.
        report: for an exception of the handler; the connection ends, the loop lives.
        peer, local: the two addresses, as the socket module gives them.

    Attributes:
        blocked: is the queue above the high watermark? pauses: the reasons not to read.
    """

    __slots__ = (
        "_buffer", "_bulk", "_data_received", "_descriptor", "_dirty", "_handler", "_high_watermark_bytes",
        "_limits", "_lingering", "_loop", "_outbox", "_queue", "_queued_bytes", "_receive_buffer", "_report",
        "_socket", "_stalled", "_taken", "_usual", "_waiting", "_with_files", "blocked", "local", "pauses",
        "peer", "state",
    )  # fmt: skip
    _direct: ClassVar[bool] = True  # bytes leave as they are

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        report: Callable[[str, BaseException], None],
        limits: TransportSettings,
        peer: Address = None,
        local: Address = None,
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._descriptor = sock.fileno()
        loop.sockets.add(sock)
        self._report = report
        self._limits = limits
        # Where what is received goes, if the handler has no better place.
        self._usual: Buffer = loop.receive_buffer
        self._high_watermark_bytes = limits.high_watermark_bytes
        self._queue: list[Any] = []  # of `Piece`
        self._queued_bytes = 0
        self._with_files = False  # perhaps not all of the queue are bytes
        self._stalled: Deadline | None = None  # the moment a client that takes nothing is given up
        self._outbox: Source | None = None
        self._dirty = False
        self._waiting = False  # the kernel's buffer is full; the writer callback is armed
        self.blocked: bool = False
        self.pauses: int = Pause.UNSERVED
        self._bulk: LowWater | None = None  # while a large payload arrives
        self._lingering: Lingering | None = None
        self._taken: Callable[[socket.socket], None]  # of DETACHING
        self.peer: Address = peer
        self.local: Address = local
        self.state: TransportState = TransportState.OPEN

    def set_handler(self, handler: ByteHandler) -> None:
        """Give what arrives from now on to `handler`; starts reading at the first call."""
        self._handler = handler
        self._receive_buffer = handler.receive_buffer
        self._data_received = handler.data_received
        self._buffer: Buffer = self._usual
        self.pause_reading(Pause.UNSERVED, False)

    # In

    @property
    def receive_max_bytes(self) -> int:
        """What is taken at once; fewer where few bytes make much work."""
        return len(self._usual)

    @receive_max_bytes.setter
    def receive_max_bytes(self, nbytes: int) -> None:
        self._usual = self._buffer = memoryview(self._loop.receive_buffer)[:nbytes]

    def pause_reading(self, reasons: int, paused: bool) -> None:
        """Give or take back reasons not to read: while one is left, the kernel slows the peer down."""
        before = self.pauses
        after = before | reasons if paused else before & ~reasons
        if after == before or self.state is not _OPEN:
            return
        self.pauses = after
        if not before:
            self._watch(self._loop.remove_reader)
        elif not after:
            self._watch(self._loop.add_reader, self._on_readable)

    def _watch(self, change: Callable[..., None], *function: Callable[[], None]) -> bool:
        """Change what the loop watches. False: the system does not let it, and the connection has ended."""
        try:
            change(self._descriptor, *function)
        except OSError as error:
            self._end(error.strerror or str(error))
            return False
        return True

    def _on_readable(self) -> None:
        buffer = self._buffer
        try:
            nbytes = self._socket.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        if not nbytes:
            self.pause_reading(Pause.ENDED, True)
        outbox = self._outbox
        # Have others written in this turn already? Then the loop flushes at its end.
        if outbox is not None:
            own = outbox.expect()
        else:
            own = not self._dirty
            self._dirty = True
        try:
            self._data_received(buffer, nbytes)
            if nbytes >= BULK_MIN_BYTES or self._bulk is not None:
                self._look_ahead()
        except Exception as error:
            self._report("connection", error)
            self._end("internal error")
        if own:
            self.flush()

    def _look_ahead(self) -> None:
        """Much has come at once: its rest goes where it belongs, and wakes us for much at once."""
        buffer = self._receive_buffer() if self.state is _OPEN else None
        if buffer is not None:
            self._bulk = self._bulk or LowWater(self._loop, self._socket)
            self._bulk.expect(len(buffer))
            self._buffer = buffer
        elif self._bulk is not None:
            self._bulk.cancel()
            self._bulk = None
            self._buffer = self._usual

    # Out

    @property
    def outbox(self) -> Source | None:
        """Where the handler leaves small pieces instead of a `write`; set once.

        Bytes wait there or in the queue, never in both: while the queue is not empty the outbox takes
        nothing. So the order is kept, and the watermarks hold between two pieces.
        """
        return self._outbox

    @outbox.setter
    def outbox(self, outbox: Source) -> None:
        self._outbox = outbox
        room = 0 if self._queue or self.state is not _OPEN else self._high_watermark_bytes
        outbox.open(room, self._loop.flush_at_turn_end, self)

    @property
    def queued_bytes(self) -> int:
        return self._queued_bytes + (0 if self._outbox is None else len(self._outbox))

    def write(self, data: Piece) -> None:
        """Queue bytes; they leave in one gathered send at the end of the turn."""
        if self.state is not _OPEN:
            return
        if self._outbox is not None and not self._queue:
            self._shut_outbox()
        self._queue.append(data)
        queued_bytes = self._queued_bytes = self._queued_bytes + len(data)
        if type(data) is FileSlice:
            self._with_files = True
        if not self._dirty:
            self._dirty = True
            self._loop.flush_at_turn_end(self)
        if queued_bytes > self._high_watermark_bytes:
            self._write_pressed()

    def _write_pressed(self) -> None:
        """Above the high watermark: try the kernel now, then press back, then cut."""
        if not self._waiting:
            self._send_queued()
        if self.state is not TransportState.OPEN:
            return
        if self._queued_bytes > self._limits.hard_limit_bytes:
            self._end("slow client")
        elif self._queued_bytes > self._limits.high_watermark_bytes and not self.blocked:
            self.blocked = True
            self._handler.write_blocked(True)

    def _shut_outbox(self) -> None:
        """What the outbox holds goes into the queue; until that is empty everything goes there."""
        assert self._outbox is not None
        self._outbox.max_bytes = 0
        held = self._outbox.take()
        if held:
            self._queue.append(held)
            self._queued_bytes += len(held)

    def flush(self) -> None:
        """What was written leaves: behind what was received here, or at the end of the loop's turn."""
        self._dirty = False
        if self._queue:
            if self._outbox is not None:
                self._outbox.take()  # nothing; but what comes once the queue has left is to wake us
            if not self._waiting:
                self._send_queued()
        elif self._outbox is not None and (held := self._outbox.take()):
            try:
                sent = self._socket.send(held) if self._direct else self._send_held(held)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._end(error.strerror or str(error))
                return
            if sent != len(held):
                self._outbox.max_bytes = 0
                self._queue.append(memoryview(held)[sent:] if sent else held)
                self._queued_bytes = len(held) - sent
                self._send_queued()

    def _send_held(self, held: bytes) -> int:
        """How many bytes of what the outbox held have left, where they are not sent as they are."""
        raise NotImplementedError

    def _send_queued(self) -> None:
        while self._queue:
            queue = self._queue
            try:
                if self._direct and len(queue) == 1 and type(queue[0]) is bytes:
                    offered_count, sent = 1, self._socket.send(queue[0])  # 4 % of a small echo
                else:
                    offered_count, sent = self._offer()
            except (BlockingIOError, InterruptedError):
                offered_count, sent = len(queue), 0
            except (OSError, MemoryError) as error:
                self._end(getattr(error, "strerror", None) or str(error) or "no memory to send")
                return
            self._queued_bytes -= sent
            if not self._queued_bytes:
                queue.clear()
                self._with_files = False
                break
            if drop_sent(queue, sent) < offered_count:
                if not self._waiting:
                    self._wait_writable()
                return
        if self._outbox is not None:
            self._outbox.max_bytes = self._high_watermark_bytes
        if self._waiting:
            self._waiting = False
            if not self._watch(self._loop.remove_writer):
                return
        if self._stalled is not None:
            self._stalled.clear()
        if self.state is _OPEN:
            return
        if self.state is TransportState.DRAINING:
            self._linger()
        elif self.state is TransportState.DETACHING:
            self._taken(self._let_go())

    def _wait_writable(self) -> None:
        """The kernel's buffer is full: go on when it has room, give up when it never has."""
        self._waiting = True
        if not self._watch(self._loop.add_writer, self._on_writable):
            return
        if self._stalled is None:
            self._stalled = Deadline(self._loop, lambda: self._end("client stopped reading"))
        self._stalled.set(self._limits.stall_timeout_seconds)

    def _offer(self) -> tuple[int, int]:
        """(pieces offered, bytes taken): one send of the queue, as far as one send goes."""
        queue = self._queue
        if not self._with_files:
            return send_pieces(self._socket, queue, self._queued_bytes)
        first = queue[0]
        if type(first) is FileSlice:
            sent = first.send(self._descriptor)
            if not sent:
                raise OSError("the file became shorter than announced")
            return 1, sent
        count = 1
        while count < min(len(queue), IOV_MAX_COUNT) and type(queue[count]) is not FileSlice:
            count += 1
        return send_gathered(self._socket, queue[:count])

    def _on_writable(self) -> None:
        self._waiting = False
        if self._watch(self._loop.remove_writer):
            self._send_queued()
        if self.blocked and self._queued_bytes <= self._limits.low_watermark_bytes:
            self.blocked = False
            if self.state is TransportState.OPEN:
                self._handler.write_blocked(False)

    def detach(self) -> socket.socket | None:
        """Take the socket off the loop for good; None where bytes remain queued, or it carries records."""
        if self.state is not TransportState.OPEN or not self._direct:
            return None
        self.flush()
        if self._queue or self.state is not _OPEN:
            return None
        return self._let_go()

    def detach_when_sent(self, taken: Callable[[socket.socket], None]) -> bool:
        """Read nothing more; `taken(socket)` once what is queued has left. False where it carries records."""
        if self._direct and self.state is TransportState.OPEN:
            self.pause_reading(Pause.DETACHING, True)
            self.state = self.state.to(TransportState.DETACHING)
            self._taken = taken
        return self._direct

    def _let_go(self) -> socket.socket:
        self.state = self.state.to(TransportState.CLOSED)
        if self._outbox is not None:
            self._outbox.close()
        self._loop.forget(self._descriptor)
        if self._stalled is not None:
            self._stalled.cancel()
        self._loop.sockets.discard(self._socket)
        return self._socket

    # The way out

    def close(self, abort: str | None = None, *, reset: bool = False) -> None:
        """Send what is queued, then end in an orderly way; with a reason to `abort`, at once.

        Args:
            reset: end by a reset (RFC 9293 3.10.7.4), so that the peer cannot take it for a clean end.
        """
        if abort is not None:
            if reset and self.state is not TransportState.CLOSED and self._socket.family != AF_UNIX:
                with suppress(OSError):  # macOS: it is reset already
                    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._end(abort)
            return
        if self.state is not TransportState.OPEN:
            return
        if not self._watch(self._loop.remove_reader):
            return
        if self._outbox is not None:
            self._shut_outbox()
            self._outbox.close()
        self.state = self.state.to(TransportState.DRAINING)
        if self._queue:
            if not self._dirty and not self._waiting:
                self._send_queued()
        else:
            self._linger()

    def _linger(self) -> None:
        self.state = self.state.to(TransportState.LINGERING)
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._end("closed")
            return
        self._lingering = Lingering(self._loop, self._socket, self._limits, self._end)
        self._watch(self._loop.add_reader, self._lingering.on_readable)

    def _end(self, reason: str) -> None:
        """The one way out of every connection."""
        if self.state is TransportState.CLOSED:
            return
        self.state = self.state.to(TransportState.CLOSED)
        for timed in (self._bulk, self._lingering, self._stalled):
            if timed is not None:
                timed.cancel()
        self._lingering = None
        self._loop.forget(self._descriptor)
        self._queue.clear()
        self._queued_bytes = 0
        if self._outbox is not None:
            self._outbox.close()
            with suppress(MemoryError):  # for the end of a buffer: it goes with the outbox
                self._outbox.take()
        self._loop.sockets.discard(self._socket)
        self._socket.close()
        # Told at the next turn: a write must never re-enter the room that wrote.
        self._loop.call_soon(lambda: self._handler.connection_lost(reason))
