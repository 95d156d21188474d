"""The bytes of a subscribed Redis connection become messages: hiredis reads, our bounds hold. Sans-I/O.

Must not know: sockets, what a message says. https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from typing import Final

# Channel and payload of a message; None where the channel is subscribed to from here on.
Push = tuple[bytes, bytes | None]
# A message above the bound is passed over once it has come; one that is this many times larger never comes.
HELD_MAX_TIMES: Final = 4
# What the reader gives when nothing more is whole.
_NOTHING: Final = object()


class RESPError(ValueError):
    """Bytes that are not RESP2, an error that the broker told, or far too much; the connection ends."""


class PushReader:
    """Bytes in, messages out; pongs and all else pass unseen.

    redis-py's own reader costs more per message than all we do with one.

    Args:
        max_bytes: of one payload; a longer one is passed over and counted in `oversized_count`.
    """

    __slots__ = ("_hiredis", "_max_bytes", "_reader", "oversized_count")

    def __init__(self, max_bytes: int) -> None:
        import hiredis  # only who has a broker needs it

        self._hiredis = hiredis
        self._max_bytes = max_bytes
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self.oversized_count: int = 0

    def feed(self, data: bytes) -> list[Push]:
        """The messages that `data` completes, in order.

        Raises:
            RESPError: malformed, an error reply, or an element of more than four times `max_bytes` has begun.
        """
        reader = self._reader
        if reader.len() > HELD_MAX_TIMES * self._max_bytes:
            raise RESPError(f"a message of more than {HELD_MAX_TIMES * self._max_bytes} bytes")
        reader.feed(data)
        messages: list[Push] = []
        try:
            while (element := reader.gets()) is not _NOTHING:
                self._take(element, messages)
        except self._hiredis.ProtocolError as error:
            raise RESPError(str(error)) from None
        return messages

    def _take(self, element: object, messages: list[Push]) -> None:
        if isinstance(element, self._hiredis.ReplyError):
            raise RESPError(f"the broker says: {str(element)[:300]}")
        if not isinstance(element, list) or len(element) != 3:
            return
        kind, channel, payload = element
        if kind == b"message" and isinstance(payload, bytes):
            if len(payload) > self._max_bytes:
                self.oversized_count += 1
            else:
                messages.append((channel, payload))
        elif kind == b"subscribe":
            messages.append((channel, None))
