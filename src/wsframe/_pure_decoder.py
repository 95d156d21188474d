"""The plain core's decoder: received bytes to messages, with every rule of RFC 6455 section 5 about them.

It must not know a socket, a clock, a log, or what a message means. `_codec.pyx` does the same, compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from ._pure_frames import (
    FIN,
    MASKED,
    OPCODE,
    RSV1,
    RSV2_AND_RSV3,
    Buffer,
    Utf8,
    check_form,
    check_length,
    header_bytes,
    payload_bytes,
    xor,
)
from .types import (
    DEFAULT_MAX_FRAGMENTS,
    DEFAULT_MAX_MESSAGE_BYTES,
    Close,
    CloseCode,
    Event,
    Fault,
    Fragment,
    Opcode,
    Ping,
    Pong,
    Role,
    may_be_on_the_wire,
)

Inflate = Callable[[bytes | None, bool, int], bytes | None]

# A payload is received in place when this much of it came and at least as much is missing.
LARGE_PAYLOAD_BYTES = 16_384
# Output taken from the inflater at a time, so that its own buffers stay small beside the message.
INFLATE_PIECE_BYTES = 65_536
# Of every decoder whose stream has ended: nothing is stored after that.
_NO_STORAGE = bytearray()


class _Phase(Enum):
    IN_HEADER = "header"
    IN_PAYLOAD = "payload"
    AFTER_CLOSE = "after close"
    AFTER_FAULT = "after fault"


class _Refused(Exception):
    """Carries a Fault from the rule that found it to the end of the list."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class Decoder:
    """Bytes received in, messages out. One owner, no lock; `_codec.pyi` documents the interface."""

    def __init__(
        self,
        role: int,
        *,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        max_fragments: int = DEFAULT_MAX_FRAGMENTS,
        inflate: Inflate | None = None,
        fragment_bytes: int | None = None,
    ) -> None:
        if not 0 < max_message_bytes < 1 << 62:
            raise ValueError("max_message_bytes must be at least 1 and below 2**62")
        if not 0 < max_fragments < 1 << 31:
            raise ValueError("max_fragments must be at least 1 and below 2**31")
        if inflate is not None and not callable(inflate):
            raise TypeError("inflate must be None or a callable")
        if fragment_bytes is not None and not 0 < fragment_bytes < 1 << 30:
            raise ValueError("fragment_bytes must be None, or at least 1 and below 2**30")
        self.attention = False
        self._expects_mask = Role(role) is Role.SERVER
        self._max_message_bytes = max_message_bytes
        self._max_fragments = max_fragments
        self._inflate = inflate
        self._fragment_bytes = fragment_bytes
        self._phase = _Phase.IN_HEADER
        self._busy = False
        self._header = b""  # of the frame under way, until it is whole
        self._opcode = Opcode.CONTINUATION
        self._fin = False
        self._mask: bytes | None = None
        self._payload_bytes = 0
        self._payload_came = 0
        self._control = b""
        self._message_opcode: Opcode | None = None
        self._message_compressed = False
        self._message_came = 0  # payload bytes announced for the message, as on the wire
        self._fragments = 0
        self._handed_bytes = 0  # of the message under way, handed out as Fragments
        self._storage = bytearray()
        self._lent: memoryview | None = None
        self._lent_bytes = 0
        self._utf8 = Utf8()
        self._error: Exception | None = None  # raised by the next call: what came before it was returned

    @property
    def unfinished(self) -> bool:
        if self._phase is _Phase.IN_HEADER:
            return bool(self._header) or self._message_opcode is not None
        return self._phase is _Phase.IN_PAYLOAD

    @property
    def failed(self) -> bool:
        return self._phase is _Phase.AFTER_FAULT

    def at_rest(self) -> bool:
        return not self.attention and not self.unfinished and self._phase is _Phase.IN_HEADER

    def close(self) -> None:
        if self._busy:
            self._refuse_reentry()
        self._end(_Phase.AFTER_FAULT if self.failed else _Phase.AFTER_CLOSE)

    def receive(self, data: Buffer, length: int = -1) -> list[Event]:
        if self._lent is not None and data is self._lent:
            return self.buffer_received(self._lent_bytes if length < 0 else length)
        self._enter()
        with memoryview(data) as whole, whole.cast("B") as view:  # PyPy releases others late
            if length > len(view):
                raise ValueError(f"length {length} is more than the bytes of data")
            with view[: len(view) if length < 0 else length] as chunk:
                return self._guarded(lambda events: self._feed(bytes(chunk), events))

    def receive_buffer(self) -> memoryview | None:
        self._enter()
        missing = self._payload_bytes - self._payload_came
        if (
            self._phase is not _Phase.IN_PAYLOAD
            or missing < LARGE_PAYLOAD_BYTES
            or self._opcode >= Opcode.CLOSE
            or len(self._storage) - self._lent_bytes < LARGE_PAYLOAD_BYTES
            or self._message_compressed
        ):
            return None
        try:
            self._take_back(0)
            filled = len(self._storage)
            lent_bytes = min(filled, missing)
            self._storage.extend(bytes(lent_bytes))
            self._lent = memoryview(self._storage)[filled:]
            self._lent_bytes = lent_bytes
        except MemoryError as error:
            # Told by the next `receive`, where every fault of a stream is told.
            self._end(_Phase.AFTER_FAULT)
            self._error = error
        return self._lent

    def buffer_received(self, nbytes: int) -> list[Event]:
        self._enter()
        if self._lent is None:
            raise ValueError("buffer_received without a buffer lent by receive_buffer")
        if nbytes < 0 or nbytes > self._lent_bytes:
            raise ValueError(f"nbytes {nbytes} is outside the lent buffer of {self._lent_bytes} bytes")
        return self._guarded(lambda events: self._feed(self._take_back(nbytes), events))

    def _enter(self) -> None:
        if self._busy:
            self._refuse_reentry()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _refuse_reentry(self) -> None:
        raise RuntimeError("a Decoder has one owner: it was called while a call was under way")

    def _guarded(self, step: Callable[[list[Event]], None]) -> list[Event]:
        events: list[Event] = []
        self.attention = False
        self._busy = True
        try:
            self._refusing(step, events)
        except BaseException as error:
            # Not the peer's fault: nothing is parsed after it, what came before is kept. With events before
            # it, it is raised by the next call; what stops the program is raised at once.
            self._end(_Phase.AFTER_FAULT)
            if not events or not isinstance(error, Exception):
                raise
            self._error = error
            self.attention = True
        finally:
            self._busy = False
        return events

    def _refusing(self, step: Callable[[list[Event]], None], events: list[Event]) -> None:
        try:
            step(events)
        except _Refused as refused:
            events.append(refused.fault.error())
            self.attention = True
            self._end(_Phase.AFTER_FAULT)

    def _take_back(self, nbytes: int) -> bytes:
        """End the loan of the storage's tail; return the nbytes that were put there, which leave the
        storage.

        A slice of the view may have been kept, and be written to: it keeps the old storage. So nobody can
        change bytes that were accepted and validated. Only who keeps one pays for the copy.
        """
        if self._lent is None:
            return b""
        filled = len(self._storage) - self._lent_bytes
        came = bytes(memoryview(self._storage)[filled : filled + nbytes])
        try:
            self._lent.release()
            del self._storage[filled:]
        except BufferError:
            self._storage = bytearray(memoryview(self._storage)[:filled])
        self._lent = None
        self._lent_bytes = 0
        return came

    # What follows is the machine: feed -> (take_header | take_payload) -> the end of a frame.

    def _feed(self, data: bytes, events: list[Event]) -> None:
        self._take_back(0)
        at = 0
        while at < len(data):
            if self._phase is _Phase.IN_HEADER:
                at += self._take_header(data[at : at + 14])
                if self._in_payload() and self._payload_bytes == 0:
                    self._take_payload(b"", events)
            elif self._in_payload():
                piece = data[at : at + self._payload_bytes - self._payload_came]
                at += len(piece)
                self._take_payload(piece, events)
            else:
                return

    def _in_payload(self) -> bool:
        return self._phase is _Phase.IN_PAYLOAD

    def _end(self, phase: _Phase) -> None:
        """Takes no memory, whose want may be why the stream ends."""
        self._phase = phase
        lent, self._lent = self._lent, None
        self._lent_bytes = 0
        self._header = b""
        self._control = b""
        self._message_opcode = None
        self._storage = _NO_STORAGE
        self._inflate = None
        if lent is not None:
            try:
                lent.release()
            except (BufferError, MemoryError):
                pass  # a buffer of the view is still in use: it keeps the storage

    def _take_header(self, data: bytes) -> int:
        """Read a header, or keep what there is of it. Returns the bytes used."""
        header = self._header + data
        if len(header) < 2:
            self._header = header
            return len(data)
        self._check_first_bytes(header[0], header[1])
        size = header_bytes(header[1])
        if len(header) < size:
            self._header = header
            return len(data)
        used = size - len(self._header)
        self._header = b""
        self._begin_frame(header[:size])
        return used

    def _check_first_bytes(self, first: int, second: int) -> None:
        if first & RSV2_AND_RSV3 or (first & RSV1 and self._inflate is None):
            raise _Refused(Fault.RESERVED_BITS)
        fault = check_form(first, second)
        if fault is not None:
            raise _Refused(fault)
        if bool(second & MASKED) is not self._expects_mask:
            raise _Refused(Fault.MASK_MISSING if self._expects_mask else Fault.MASK_FORBIDDEN)
        opcode = first & OPCODE
        if opcode >= Opcode.CLOSE:
            if first & RSV1:
                raise _Refused(Fault.COMPRESSED_CONTROL)
        elif opcode == Opcode.CONTINUATION:
            if self._message_opcode is None:
                raise _Refused(Fault.NOTHING_TO_CONTINUE)
            if first & RSV1:
                raise _Refused(Fault.COMPRESSED_CONTINUATION)
        elif self._message_opcode is not None:
            raise _Refused(Fault.MESSAGE_INTERLEAVED)

    def _begin_frame(self, header: bytes) -> None:
        length = payload_bytes(header)
        fault = check_length(header[1], length)
        if fault is not None:
            raise _Refused(fault)
        self._opcode = Opcode(header[0] & OPCODE)
        self._fin = bool(header[0] & FIN)
        self._mask = header[-4:] if header[1] & MASKED else None
        self._payload_bytes = length
        self._payload_came = 0
        self._phase = _Phase.IN_PAYLOAD
        if self._opcode >= Opcode.CLOSE:
            return
        if self._opcode is not Opcode.CONTINUATION:
            self._message_opcode = self._opcode
            self._message_compressed = bool(header[0] & RSV1)
            self._fragments = 0
            self._message_came = 0
            self._handed_bytes = 0
            self._utf8 = Utf8()
        self._fragments += 1
        if self._fragments > self._max_fragments:
            raise _Refused(Fault.TOO_MANY_FRAGMENTS)
        self._message_came += length
        limit = self._max_message_bytes
        if self._message_compressed:
            # The true limit is held while inflating; this one bounds the work on blocks that inflate to
            # nothing.
            limit += (limit >> 6) + 1024
        if self._message_came > limit:
            raise _Refused(Fault.MESSAGE_TOO_BIG)

    def _take_payload(self, data: bytes, events: list[Event]) -> None:
        plain = data if self._mask is None else xor(data, self._mask, self._payload_came)
        self._payload_came += len(plain)
        whole = self._payload_came == self._payload_bytes
        if whole:
            self._phase = _Phase.IN_HEADER
        if self._opcode >= Opcode.CLOSE:
            self._control += plain
            if whole:
                payload, self._control = self._control, b""
                self.attention = True
                events.append(self._control_event(payload))
            return
        last = whole and self._fin
        if self._message_compressed:
            self._take_compressed(plain, last, events)
        else:
            self._store(plain, last)
            if not last:
                self._hand_out_full(events)
        if last:
            self._finish(events)

    def _take_compressed(self, chunk: bytes | None, last: bool, events: list[Event]) -> None:
        assert self._inflate is not None
        more = True
        while more:
            # One byte over the limit is asked for, and tells a message that fits from one that does not.
            wanted = min(self._room() + 1, INFLATE_PIECE_BYTES)
            out = self._inflate(chunk, last, wanted)
            if out is None:
                raise _Refused(Fault.COMPRESSED_DATA)
            more = len(out) == wanted
            self._store(out, last and not more)
            if more or not last:
                self._hand_out_full(events)
            chunk = None

    def _room(self) -> int:
        return self._max_message_bytes - self._handed_bytes - len(self._storage)

    def _store(self, plain: bytes, last: bool) -> None:
        self._check_text(plain, last)
        if len(plain) > self._room():
            raise _Refused(Fault.MESSAGE_TOO_BIG)
        self._storage += plain

    def _check_text(self, plain: bytes, last: bool) -> None:
        """Section 8.1, to the last byte that came; what lies beyond the message limit is not looked at."""
        if self._message_opcode is not Opcode.TEXT:
            return
        room = self._room()
        fits = len(plain) <= room
        if not self._utf8.accepts(plain[:room]) or (last and fits and self._utf8.missing):
            raise _Refused(Fault.TEXT_NOT_UTF8)

    def _hand_out_full(self, events: list[Event]) -> None:
        """A message that is handed out in Fragments: what there is of it, once that is enough for one."""
        if self._fragment_bytes is None or len(self._storage) < self._fragment_bytes:
            return
        whole = len(self._storage) - self._utf8.came
        if whole:
            events.append(Fragment(self._message(bytes(self._storage[:whole])), False))
            self.attention = True
            self._handed_bytes += whole
            del self._storage[:whole]

    def _finish(self, events: list[Event]) -> None:
        message = self._message(bytes(self._storage))
        if self._handed_bytes:
            events.append(Fragment(message, True))
            self.attention = True
        else:
            events.append(message)
        self._storage = bytearray()
        self._message_opcode = None

    def _message(self, data: bytes) -> str | bytes:
        return data.decode() if self._message_opcode is Opcode.TEXT else data

    def _control_event(self, payload: bytes) -> Event:
        if self._opcode is Opcode.PING:
            return Ping(payload)
        if self._opcode is Opcode.PONG:
            return Pong(payload)
        if len(payload) == 1:
            raise _Refused(Fault.CLOSE_ONE_BYTE)
        code, reason = int(CloseCode.NO_STATUS_RCVD), ""
        if payload:
            code = int.from_bytes(payload[:2], "big")
            if not may_be_on_the_wire(code):
                raise _Refused(Fault.CLOSE_CODE)
            try:
                reason = payload[2:].decode()
            except UnicodeDecodeError:
                raise _Refused(Fault.CLOSE_REASON_NOT_UTF8) from None
        self._end(_Phase.AFTER_CLOSE)
        return Close(code, reason)
