"""The plain core's encoder: messages of one side out as frames, masked and compressed as they must be.

It must not know a connection's life-cycle: whoever has it says whether messages may still be sent.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ._pure_frames import Buffer, encode_frame
from .types import ConnectionClosed, Opcode, Role

if TYPE_CHECKING:
    from .deflate import MessageDeflate


class Encoder:
    """Messages in, frames out. One owner, no lock; `_codec.pyi` documents the interface."""

    def __init__(self, role: int, *, deflate: MessageDeflate | None = None) -> None:
        self.open = True
        self._masks = Role(role) is Role.CLIENT
        self._deflate = deflate
        self._message_opcode: Opcode | None = None  # of the message under way in fragments
        self._message_compressed = False

    @property
    def unfinished(self) -> bool:
        return self._message_opcode is not None

    def encode(self, message: str | Buffer, compress: bool | None = None) -> bytes:
        if not self.open or self._message_opcode is not None:
            self._refuse()
        opcode = _opcode_of(message)
        deflate = self._deflate
        if deflate is None or compress is False or not deflate.possible:
            return self._frame(opcode, message)
        data = _bytes_of(message)
        if compress or deflate.wanted(len(data)):
            return self._compressed(opcode, data, None)
        return self._frame(opcode, data)

    def encode_fragment(self, data: str | Buffer, final: bool, compress: bool | None = None) -> bytes:
        if not self.open:
            self._refuse()
        kind, last, opcode = _opcode_of(data), bool(final), Opcode.CONTINUATION
        if self._message_opcode is None:
            opcode = kind
            self._message_compressed = (
                self._deflate is not None and compress is not False and self._deflate.possible
            )
        elif kind is not self._message_opcode:
            raise TypeError("the fragments of a message must be all str, or all bytes-like (section 5.4)")
        if self._message_compressed:
            frame = self._compressed(opcode, _bytes_of(data), last)
        else:
            frame = self._frame(opcode, data, last)
        self._message_opcode = None if last else kind
        return frame

    def encode_control(self, opcode: int, payload: Buffer) -> bytes:
        if not Opcode.CLOSE <= opcode <= Opcode.PONG:
            raise ValueError(f"opcode {opcode} is not one of a control frame (RFC 6455 section 5.5)")
        return self._frame(opcode, payload)

    def _frame(self, opcode: int, data: str | Buffer, fin: bool = True, rsv1: bool = False) -> bytes:
        return encode_frame(opcode, data, os.urandom(4) if self._masks else None, fin, rsv1)

    def _compressed(self, opcode: Opcode, data: bytes, last: bool | None) -> bytes:
        """A frame of compressed data: of a whole message when `last` is None, else of a fragment."""
        assert self._deflate is not None
        try:
            if last is None:
                return self._frame(opcode, self._deflate.deflate(data), True, True)
            payload = self._deflate.deflate_fragment(data, last)
            return self._frame(opcode, payload, last, opcode is not Opcode.CONTINUATION)
        except BaseException:
            # What the peer has not seen must not be referred to; a message of which it has seen a part cannot
            # go on.
            self._deflate.begin_anew()
            if opcode is Opcode.CONTINUATION:
                self.open = False
            raise

    def _refuse(self) -> None:
        if not self.open:
            raise ConnectionClosed("the WebSocket is closing or closed: nothing can be sent")
        raise RuntimeError("a message is being sent in fragments: end it first (RFC 6455 section 5.4)")


def _opcode_of(message: str | Buffer) -> Opcode:
    return Opcode.TEXT if isinstance(message, str) else Opcode.BINARY


def _bytes_of(message: str | Buffer) -> bytes:
    if type(message) is bytes:
        return message
    return message.encode() if isinstance(message, str) else bytes(memoryview(message))
