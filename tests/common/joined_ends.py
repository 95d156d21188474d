"""A connection in memory: two ends whose bytes pass when a test says so, whole or in pieces.

It must not know what they say.
"""

from typing import Any


class End:
    """One end (the TransportLike port). `ended`: the reason, once it is closed."""

    def __init__(self) -> None:
        self.peer: Any = ("192.0.2.1", 4000)
        self.local: Any = ("192.0.2.2", 80)
        self.pauses = 0
        self.receive_max_bytes = 0
        self.outbox: Any = None
        self.blocked = False
        self.written = bytearray()
        self.ended: str | None = None
        self.handler: Any = None
        self.told_lost = False
        self.told_end = False

    @property
    def queued_bytes(self) -> int:
        return len(self.written)

    def write(self, data: Any) -> None:
        if self.ended is None:
            self.written += data

    def pause_reading(self, reasons: int, paused: bool) -> None:
        self.pauses = self.pauses | reasons if paused else self.pauses & ~reasons

    def set_handler(self, handler: Any) -> None:
        self.handler = handler

    def close(self, abort: str | None = None, *, reset: bool = False) -> None:
        if self.ended is None:
            self.ended = "orderly" if abort is None else abort
            if abort is not None:
                self.written.clear()  # as where nothing was taken yet

    def receive(self, data: bytes) -> None:
        self.handler.data_received(bytearray(data), len(data))

    def unblock(self) -> None:
        self.blocked = False
        self.handler.write_blocked(False)


class Ends:
    """Both. What is passed is cut into pieces of `piece_bytes`."""

    def __init__(self, piece_bytes: int = 1 << 30) -> None:
        self.first, self.second = End(), End()
        self.piece_bytes = piece_bytes
        self.passed = {self.first: bytearray(), self.second: bytearray()}  # what each has sent

    def turn(self) -> bool:
        """Move what there is; was there anything?"""
        moved = False
        for here, there in ((self.first, self.second), (self.second, self.first)):
            if here.written and there.handler is not None and not here.blocked:
                data = bytes(here.written[: self.piece_bytes])
                del here.written[: self.piece_bytes]
                self.passed[here] += data
                moved = True
                if there.ended is None:
                    there.receive(data)
            elif here.ended is not None and not there.told_end and there.handler is not None:
                there.told_end = moved = True
                if there.ended is None:
                    there.receive(b"")
            if here.ended is not None and not here.told_lost and here.handler is not None:
                here.told_lost = moved = True
                here.handler.connection_lost(here.ended)
        return moved

    def settle(self) -> None:
        """Until nothing is on its way."""
        while self.turn():
            pass
