"""Messages, each with at most one descriptor, over a connected UNIX stream socket on the loop.

Must not know: what a message means, or who stands at the other end.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from python_server.net.byte_handler import Buffer
from python_server.net.loop import Loop
from python_server.net.portability import IOV_MAX_COUNT
from python_server.net.sockets import Socket
from python_server.net.states import StateEnum
from python_server.net.transport import JOIN_MAX_BYTES, drop_sent, send_pieces

# kind, flags, length of the payload.
HEADER: Final = struct.Struct("!BBI")
DESCRIPTOR_FLAG: Final = 1
# A longer frame is a fault of the sender: what travels here is bounded well below it.
FRAME_MAX_BYTES: Final = 64 * 1024 * 1024
QUEUE_MAX_BYTES: Final = 16 * 1024 * 1024
# Linux passes at most 253 (SCM_MAX_FD) at once; we send one with a batch.
DESCRIPTORS_MAX_COUNT: Final = 253
CLOSE_ON_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
# The system's room for descriptors on their way, or for messages, is used up: it comes back.
RETRY_SECONDS: Final = 0.01
TRANSIENT: Final = {errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM}

Received = Callable[[int, bytes, int | None], None]


class LinkError(Exception):
    """The other end broke the format."""


class LinkState(StateEnum):
    """The life of a link."""

    OPEN = "DEAF", "CLOSED"
    DEAF = "CLOSED"  # the other end takes nothing more; what it sent before is still read
    CLOSED = ()


def pair() -> tuple[Socket, Socket]:
    """Two connected, non-blocking ends for two links."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in ends:
        end.setblocking(False)
    return ends


def encode(kind: int, *pieces: Buffer, flags: int = 0) -> list[Buffer]:
    """The pieces of one frame; small ones are one piece. `pieces` are bytes-like.

    Raises:
        ValueError: longer than FRAME_MAX_BYTES.
    """
    nbytes = sum(map(len, pieces))
    if nbytes > FRAME_MAX_BYTES:
        raise ValueError(f"a message of {nbytes} bytes is too long for a link ({FRAME_MAX_BYTES})")
    header = HEADER.pack(kind, flags, nbytes)
    if nbytes <= JOIN_MAX_BYTES:
        return [b"".join((header, *pieces))]
    return [header, *(piece for piece in pieces if piece)]


@dataclass(slots=True)
class Batch:
    """Pieces that leave in one send; a descriptor goes with the first byte."""

    descriptor: int | None
    pieces: list[Buffer] = field(default_factory=list)
    nbytes: int = 0

    def drop_descriptor(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class Link:
    """One end. Every method belongs to the loop's thread.

    Args:
        sock: connected, AF_UNIX, a stream; owned from here on.
        received: called with (kind, payload, descriptor) for each message; the descriptor, closed on exec,
            belongs to the callee. It is None, too, where the process is out of descriptors.
        lost: called once, after the last message, when the link has ended otherwise than by `close`.
        report: for an exception of `received`, and for a frame that breaks the format (which ends the link).
        max_queued_bytes: held for a slow reader; above it `send` refuses.
    """

    def __init__(
        self,
        loop: Loop,
        sock: Socket,
        received: Received,
        lost: Callable[[], None],
        report: Callable[[str, BaseException], None],
        max_queued_bytes: int = QUEUE_MAX_BYTES,
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._socket = sock
        self._descriptor = sock.fileno()
        loop.sockets.add(sock)
        self._received = received
        self._lost = lost
        self._report = report
        self._max_queued_bytes = max_queued_bytes
        self._queue: deque[Batch] = deque()
        self._dirty = False
        self._waiting = False
        self._partial = bytearray()
        # They came, and their frames have not; None is one that there was no room for.
        self._descriptors: deque[int | None] = deque()
        self.queued_bytes: int = 0
        self.state: LinkState = LinkState.OPEN
        loop.add_reader(self._descriptor, self._on_readable)

    # Out

    def send(self, kind: int, *pieces: Buffer, descriptor: int | None = None) -> bool:
        """Queue a message; it leaves at the end of this turn, with a descriptor at once.

        Args:
            kind: 0 to 255. pieces: bytes-like, sent one behind the other and not changed meanwhile.
            descriptor: sent with it; owned from here on if the message is taken, and closed when it has left.

        Returns:
            False when nothing was queued: the queue is full, or the other end is gone.

        Raises:
            ValueError: the message is longer than FRAME_MAX_BYTES.
        """
        if descriptor is None:
            return self.send_encoded(encode(kind, *pieces))
        frame = encode(kind, *pieces, flags=DESCRIPTOR_FLAG)
        if self.state is not LinkState.OPEN or self.queued_bytes > self._max_queued_bytes:
            return False
        self._queue.append(Batch(descriptor))
        self._append(frame)
        if not self._waiting:
            self._send_queued()  # now: a client waits at the other end of the descriptor
        return True

    def send_encoded(self, frame: list[Buffer]) -> bool:
        """As `send`, for what `encode` made: one encoding serves many links."""
        if self.state is not LinkState.OPEN or self.queued_bytes > self._max_queued_bytes:
            return False
        if not self._queue:
            self._queue.append(Batch(None))
        self._append(frame)
        if not self._dirty:
            self._dirty = True
            self._loop.flush_before_clients(self)
        return True

    def _append(self, frame: list[Buffer]) -> None:
        nbytes = sum(map(len, frame))
        batch = self._queue[-1]
        batch.pieces += frame
        batch.nbytes += nbytes
        self.queued_bytes += nbytes

    def flush(self) -> None:
        """Called by the loop at the end of a turn in which something was sent."""
        self._dirty = False
        if not self._waiting and self.state is LinkState.OPEN:
            self._send_queued()

    def _send_queued(self) -> None:
        while self._queue:
            batch = self._queue[0]
            try:
                sent = self._offer(batch)
            except (BlockingIOError, InterruptedError):
                self._wait_writable()
                return
            except OSError as error:
                if error.errno in TRANSIENT:
                    self._loop.call_later(RETRY_SECONDS, self.flush)
                else:
                    self.state = self.state.to(LinkState.DEAF)
                    self._forget_queue()
                return
            self.queued_bytes -= sent
            batch.drop_descriptor()
            batch.nbytes -= sent
            drop_sent(batch.pieces, sent)
            if not batch.nbytes:
                self._queue.popleft()
        self._wait_no_more()

    def _offer(self, batch: Batch) -> int:
        if batch.descriptor is None:
            return send_pieces(self._socket, batch.pieces, batch.nbytes)[1]
        return socket.send_fds(self._socket, batch.pieces[:IOV_MAX_COUNT], [batch.descriptor])

    def _wait_writable(self) -> None:
        if not self._waiting:
            try:
                self._loop.add_writer(self._descriptor, self._send_queued)
                self._waiting = True
            except OSError:  # the system watches nothing more now
                self._loop.call_later(RETRY_SECONDS, self.flush)

    def _wait_no_more(self) -> None:
        if self._waiting:
            self._waiting = False
            try:
                self._loop.remove_writer(self._descriptor)
            except OSError:
                self._watch_anew()

    def _watch_anew(self) -> None:
        """What is watched cannot be changed: a pipe that takes data again would be told in each turn."""
        self._loop.forget(self._descriptor)
        try:
            self._loop.add_reader(self._descriptor, self._on_readable)
        except OSError:
            self._end()

    def _forget_queue(self) -> None:
        self._wait_no_more()
        for batch in self._queue:
            batch.drop_descriptor()
        self._queue.clear()
        self.queued_bytes = 0

    # In

    def read_all(self) -> None:
        """Hand out at once whatever has come: for the last words of a process that has ended."""
        while self.state is not LinkState.CLOSED and self._on_readable():
            pass

    def _on_readable(self) -> bool:
        """Once per turn: a talkative sibling leaves others their time. False: nothing came, or the end."""
        buffer = self._loop.receive_buffer
        try:
            nbytes, ancillary, flags, _ = self._socket.recvmsg_into(
                [buffer], socket.CMSG_SPACE(4 * DESCRIPTORS_MAX_COUNT), CLOSE_ON_EXEC
            )
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno not in TRANSIENT:
                self._end()
            return False
        self._take_descriptors(ancillary)
        if flags & socket.MSG_CTRUNC and not self._descriptors:
            self._descriptors.append(None)  # this process is out of them: its message comes without
        try:
            self._take_bytes(buffer, nbytes)
        except (LinkError, MemoryError) as error:  # what is taken and not kept leaves a gap
            self._report("link", error)
            self._end()
            return False
        if not nbytes:
            self._end()
        return bool(nbytes)

    def _take_descriptors(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors = array.array("i")
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
                for descriptor in descriptors:
                    if not CLOSE_ON_EXEC:
                        os.set_inheritable(descriptor, False)
                    self._descriptors.append(descriptor)

    def _take_bytes(self, buffer: bytearray, nbytes: int) -> None:
        """Hand out every whole frame; keep the rest for the next receive."""
        partial = self._partial
        if partial:
            partial += memoryview(buffer)[:nbytes]
            if len(partial) < HEADER.size or len(partial) < self._frame_bytes(partial, 0):
                return
            data, self._partial = bytes(partial), bytearray()
        else:
            data = bytes(memoryview(buffer)[:nbytes])
        at, end = 0, len(data)
        while end - at >= HEADER.size and end - at >= (nbytes := self._frame_bytes(data, at)):
            kind, flags, _ = HEADER.unpack_from(data, at)
            descriptor = None
            if flags & DESCRIPTOR_FLAG:
                if not self._descriptors:
                    raise LinkError("a message's descriptor has not come with it")
                descriptor = self._descriptors.popleft()
            try:
                self._received(kind, data[at + HEADER.size : at + nbytes], descriptor)
            except Exception as error:
                self._report(f"message of kind {kind}", error)
            if self.state is LinkState.CLOSED:
                return
            at += nbytes
        self._partial += memoryview(data)[at:]
        if len(self._descriptors) > 1:  # one may be ahead of its frame's header, never two
            raise LinkError("a descriptor came that no message mentions")

    def _frame_bytes(self, data: Buffer, at: int) -> int:
        _, flags, payload_bytes = HEADER.unpack_from(data, at)
        if payload_bytes > FRAME_MAX_BYTES or flags & ~DESCRIPTOR_FLAG:
            raise LinkError(f"malformed frame: flags {flags}, {payload_bytes} bytes")
        return int(HEADER.size + payload_bytes)

    # The way out

    def close(self) -> None:
        """Try once to send what is queued, then end; `lost` is not called."""
        if self.state is LinkState.OPEN and self._queue:
            self._send_queued()
        self._shut()

    def _end(self) -> None:
        """The other end is gone, or broke the format."""
        if self._shut():
            # Told at the next turn: a send must never re-enter the room that sent.
            self._loop.call_soon(self._lost)

    def _shut(self) -> bool:
        if self.state is LinkState.CLOSED:
            return False
        self.state = self.state.to(LinkState.CLOSED)
        self._forget_queue()
        for descriptor in self._descriptors:
            if descriptor is not None:
                os.close(descriptor)
        self._descriptors.clear()
        self._partial.clear()
        self._loop.forget(self._descriptor)
        self._loop.sockets.discard(self._socket)
        self._socket.close()
        return True
