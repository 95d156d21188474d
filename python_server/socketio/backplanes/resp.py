"""The bytes of a Redis connection in subscriber mode: RESP2 pushes read, commands written. Sans-I/O.

Must not know: sockets, what a message says. https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# A simple string, an error, a number; Redis's own inline limit is 64 KiB.
LINE_MAX_BYTES: Final = 64 * 1024
# Elements of a push: ["message", channel, payload] is the longest we ask for; "pmessage" would have four.
ELEMENTS_MAX_COUNT: Final = 8


class RESPError(ValueError):
    """Bytes that are not RESP2, or an error that the broker told; the connection ends."""


class PushReader:
    """Bytes in, (channel, payload) of each message out; None where a channel is subscribed to from here on.

    Pongs and all else pass unseen.

    Args:
        max_bytes: of one payload; a longer one is passed over, never held, and counted in `oversized_count`.
    """

    __slots__ = (
        "_buffer",
        "_chunks",
        "_max_bytes",
        "_missing_bytes",
        "_prefix",
        "_skip_bytes",
        "oversized_count",
    )

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = b""
        # Pieces of a long payload, joined once all of it has come.
        self._chunks: list[bytes] = []
        self._missing_bytes = 0
        self._skip_bytes = 0
        # Nearly all messages come on the channel of the one before: their head is compared, not parsed.
        self._prefix: tuple[bytes, bytes] = (b"", b"")
        self.oversized_count = 0

    @property
    def held_bytes(self) -> int:
        """Of an element whose rest has not come."""
        return len(self._buffer) + sum(map(len, self._chunks))

    def feed(self, data: bytes) -> list[tuple[bytes, bytes | None]]:
        """The messages that `data` completes, in order.

        Raises:
            RESPError: malformed, or an error reply.
        """
        if self._skip_bytes:
            skipped = min(self._skip_bytes, len(data))
            self._skip_bytes -= skipped
            data = data[skipped:]
        if self._missing_bytes > len(data):
            self._missing_bytes -= len(data)
            self._chunks.append(data)
            return []
        buffer = b"".join([self._buffer, *self._chunks, data]) if self._buffer else data
        self._chunks.clear()
        self._missing_bytes = 0
        messages: list[tuple[bytes, bytes | None]] = []
        position = 0
        while position < len(buffer):
            channel, prefix = self._prefix
            if prefix and buffer.startswith(prefix, position):
                start = position + len(prefix)
                end = buffer.find(b"\r\n", start)
                if end >= 0 and buffer[start:end].isdigit():
                    stop = end + 2 + int(buffer[start:end])
                    if stop + 2 <= len(buffer) and stop - end - 2 <= self._max_bytes:
                        messages.append((channel, buffer[end + 2 : stop]))
                        position = stop + 2
                        continue
            after = self._element(buffer, position, messages)
            if after is None:
                break
            position = after
        self._buffer = buffer[position:] if not self._skip_bytes else b""
        return messages

    def _element(
        self, buffer: bytes, position: int, messages: list[tuple[bytes, bytes | None]]
    ) -> int | None:
        """One element at `position`; where it ends, None when it has not all come."""
        head = self._line(buffer, position)
        if head is None:
            return None
        line, position = head
        kind = line[:1]
        if kind == b"-":
            raise RESPError(f"the broker says: {line[1:300].decode('utf-8', 'replace')}")
        if kind in (b"+", b":"):
            return position
        if kind != b"*":
            raise RESPError(f"an element of unknown type {line[:20]!r}")
        parts: list[bytes] = []
        for number in range(_count(line, ELEMENTS_MAX_COUNT)):
            head = self._line(buffer, position)
            if head is None:
                return None
            line, position = head
            if line[:1] == b":" or line == b"$-1":
                parts.append(b"")
                continue
            if line[:1] != b"$":
                raise RESPError(f"an element of unknown type {line[:20]!r}")
            size_bytes = _count(line, 1 << 30)
            if size_bytes > self._max_bytes:
                if number != 2:
                    raise RESPError("a name of more bytes than a message may have")
                self.oversized_count += 1
                self._skip_bytes = max(0, position + size_bytes + 2 - len(buffer))
                return min(position + size_bytes + 2, len(buffer))
            end = position + size_bytes
            if end + 2 > len(buffer):
                self._missing_bytes = end + 2 - len(buffer)
                return None
            if buffer[end : end + 2] != b"\r\n":
                raise RESPError("a string does not end where it says")
            parts.append(buffer[position:end])
            position = end + 2
        if len(parts) == 3 and parts[0] == b"message":
            channel = parts[1]
            if channel != self._prefix[0]:
                self._prefix = (channel, b"*3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n$" % (len(channel), channel))
            messages.append((channel, parts[2]))
        elif len(parts) == 3 and parts[0] == b"subscribe":
            messages.append((parts[1], None))
        return position

    @staticmethod
    def _line(buffer: bytes, position: int) -> tuple[bytes, int] | None:
        end = buffer.find(b"\r\n", position, position + LINE_MAX_BYTES)
        if end < 0:
            if len(buffer) - position >= LINE_MAX_BYTES:
                raise RESPError(f"a line of more than {LINE_MAX_BYTES} bytes")
            return None
        return buffer[position:end], end + 2


def _count(line: bytes, maximum: int) -> int:
    digits = line[1:]
    if not digits.isdigit() or len(digits) > 10 or int(digits) > maximum:
        raise RESPError(f"a length that cannot be: {line[:20]!r}")
    return int(digits)


def pack(*parts: bytes) -> bytes:
    """One command."""
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def pack_publishes(messages: Iterable[tuple[bytes, bytes]]) -> bytes:
    """PUBLISH of each (channel, payload)."""
    return b"".join([pack(b"PUBLISH", channel, payload) for channel, payload in messages])
