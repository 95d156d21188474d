"""A connection of the cluster as frames: what comes is handed out one by one, what goes is framed.

Must not know: what a frame says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from python_server.connection.exchange import TransportLike
from python_server.machines.words import FrameReader, Kind, WordsError, frame
from python_server.net.byte_handler import Buffer

CLOSED = "the other machine has closed the connection"


@dataclass(slots=True, eq=False)
class FrameStream:
    """One connection (the ByteHandler port). Every method belongs to the loop's thread.

    Attributes:
        take: called with (kind, payload) of each frame; may raise WordsError, which ends the connection.
        lost: called once, with the reason, when the connection has ended; not after `release`.
        reader: bounds the frames.
        held: frames that wait, by number, until the other end has taken what it was sent.
    """

    transport: TransportLike
    take: Callable[[int, bytes], None]
    lost: Callable[[str], None]
    reader: FrameReader = field(default_factory=FrameReader)
    held: dict[int, bytes] = field(default_factory=dict, init=False)
    received_count: int = field(default=0, init=False)
    ended: bool = field(default=False, init=False)

    def begin(self) -> None:
        self.transport.set_handler(self)

    def send(self, kind: Kind, word: msgspec.Struct | None = None) -> None:
        if not self.ended:
            self.transport.write(frame(kind, word))

    def send_in_turn(self, number: int, kind: Kind, word: msgspec.Struct) -> None:
        """A frame that may be large, and that `held` gives back while it waits.

        So one end that takes little is sent little, however much many clients say at once.
        """
        if self.held or self.transport.blocked:
            self.held[number] = frame(kind, word)
        else:
            self.send(kind, word)

    @property
    def queued_bytes(self) -> int:
        """What the other end has not taken yet."""
        return self.transport.queued_bytes + sum(map(len, self.held.values()))

    def close(self, reason: str) -> None:
        """End at once; `lost` is told in a later turn."""
        self.transport.close(reason)

    def release(self) -> TransportLike:
        """The connection is another's from here on, who sets its handler."""
        self.ended = True
        return self.transport

    def receive_buffer(self) -> memoryview | None:
        return None

    def write_blocked(self, blocked: bool) -> None:
        """The transport ends a connection whose other end takes nothing."""
        held = self.held
        while held and not self.transport.blocked and not self.ended:
            self.transport.write(held.pop(next(iter(held))))

    def data_received(self, buffer: Buffer, nbytes: int) -> None:
        if not nbytes:
            self.close(CLOSED)
            return
        self.received_count += 1
        reader = self.reader
        reader.receive(memoryview(buffer)[:nbytes])
        try:
            while not self.ended and (came := reader.next()) is not None:
                self.take(*came)
        except WordsError as error:
            self.close(str(error))

    def connection_lost(self, reason: str) -> None:
        self.held.clear()
        if not self.ended:
            self.ended = True
            self.lost(reason)
