"""Changes of a conversation: of bytes, of fields, of the order of its operations.

It must not know what is valid: it only looks at the shapes of operations.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

from operations import Conversation, Operation, expand, latin, render

NUMBERS = ("0", "-1", "00", "+1", "1e3", "0x10", "18446744073709551616", "9" * 19, "9" * 25, "٣", "1, 1", "")
FIELDS = (
    ["Content-Length", "5"],
    ["Content-Length", "0"],
    ["Transfer-Encoding", "chunked"],
    ["Transfer-Encoding", "gzip, chunked"],
    ["Transfer-Encoding", "\x0bchunked"],
    ["Connection", "close, upgrade"],
    ["Upgrade", "websocket, h2c"],
    ["Host", "other"],
    ["Host", ""],
    ["Host", "a b"],
    ["Expect", "100-continue"],
    ["Expect", "200-ok"],
    ["X-Token", "bad"],
    ["X-Forwarded-For", "203.0.113.5, unknown"],
    ["X-Forwarded-Proto", "https,http"],
    ["Forwarded", 'for="[::1]:x";proto=https'],
    ["Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=8; client_max_window_bits=16"],
    ["Sec-WebSocket-Protocol", "a, b,, a"],
    ["Sec-WebSocket-Version", "12"],
    ["Content-Type", "application/octet-stream"],
    ["Accept-Encoding", "gzip"],
    ["Origin", "http://elsewhere"],
    ["Bad Name", "x"],
    ["X-Fold", "a\r\n b"],
    ["X-Nul", "a\x00b"],
)
# Fields of a query that are said twice, or otherwise.
QUERIES = (
    "sid=",
    "sid=x",
    "&sid=x&sid=",
    "EIO=3",
    "EIO=4",
    "transport=websocket",
    "transport=polling",
    "j=0",
    "%",
)
PIECES = (
    "\r\n",
    "\n",
    "\r",
    "\x00",
    "\xff",
    "\x1e",
    "0\r\n\r\n",
    "HTTP/1.1",
    "4",
    "5",
    "2probe",
    "[",
    '"',
    "\x81\x80",
)

# Operations on a connection, whose name stands behind the kind.
SPEAKING = ("http", "frame", "bytes", "end", "half")


class Mutator:
    """Changes from one source of chance; a conversation that is handed in stays as it is."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def mutate(self, conversation: Conversation) -> Conversation:
        changed = copy.deepcopy(conversation)
        for _ in range(self.random.choice((1, 1, 1, 2, 4))):
            if changed:
                self.random.choice((self._order, self._bytes, self._field, self._field))(changed)
        return changed

    def _sending(self, conversation: Conversation, *kinds: str) -> int | None:
        found = [at for at, operation in enumerate(conversation) if operation[0] in kinds]
        return self.random.choice(found) if found else None

    # Order

    def _order(self, conversation: Conversation) -> None:
        at = self.random.randrange(len(conversation))
        to = self.random.randrange(len(conversation))
        how = self.random.randrange(5)
        if how == 0:
            del conversation[at]
        elif how == 1:
            conversation.insert(to, copy.deepcopy(conversation[at]))
        elif how == 2:
            conversation[at], conversation[to] = conversation[to], conversation[at]
        elif how == 3 and conversation[at][0] in SPEAKING and conversation[to][0] in SPEAKING:
            conversation[at][1] = conversation[to][1]  # on another connection
        else:
            more = (["run"], ["pass", self.random.choice((1.0, 30.0, 60.0))], ["end", "c0"], ["half", "c0"])
            conversation.insert(at, list(self.random.choice(more)))

    # Bytes

    def _bytes(self, conversation: Conversation) -> None:
        at = self._sending(conversation, "http", "frame", "bytes")
        if at is None:
            return
        operation = conversation[at]
        try:
            data = latin(render(operation))
        except (ValueError, TypeError):
            return
        if len(data) > 100_000:
            return
        for _ in range(self.random.choice((1, 1, 2, 8))):
            data = self._changed(data)
        conversation[at] = ["bytes", operation[1], data]

    def _changed(self, data: str) -> str:
        at = self.random.randrange(len(data) + 1)
        end = min(len(data), at + self.random.choice((1, 1, 2, 4, 40)))
        how = self.random.randrange(6)
        if how == 0:
            return data[:at] + data[end:]
        if how == 1:
            return data[:at] + self.random.choice(PIECES) + data[at:]
        if how == 2:
            return data[:at] + data[at:end] * 2 + data[end:]
        if how == 3:
            return data[:at] + chr(self.random.randrange(256)) + data[at + 1 :]
        if how == 4 and at < len(data):
            return data[:at] + chr(ord(data[at]) ^ 1 << self.random.randrange(8)) + data[at + 1 :]
        return data[:at]

    # Fields

    def _field(self, conversation: Conversation) -> None:
        at = self._sending(conversation, "http", "frame")
        if at is not None:
            operation = conversation[at]
            (self._request_field if operation[0] == "http" else self._frame_field)(operation)

    def _request_field(self, operation: Operation) -> None:
        _, _, method, target, fields, body, _ = operation
        changes: tuple[Callable[[], Any], ...] = (
            lambda: operation.__setitem__(
                2, self.random.choice((method.lower(), "TRACE", "CONNECT", "HEAD", "BREW", ""))
            ),
            lambda: operation.__setitem__(3, self._target(target)),
            lambda: operation.__setitem__(3, self._target(target)),
            lambda: fields.insert(self.random.randrange(len(fields) + 1), list(self.random.choice(FIELDS))),
            lambda: fields.insert(self.random.randrange(len(fields) + 1), list(self.random.choice(FIELDS))),
            lambda: fields.pop(self.random.randrange(len(fields))) if fields else None,
            lambda: fields.append(list(self.random.choice(fields))) if fields else None,
            lambda: self._set_value(fields),
            lambda: operation.__setitem__(
                6, self.random.choice(("none", "length", "chunked 1", "chunked 5"))
            ),
            lambda: operation.__setitem__(5, self._text(body)),
        )
        self.random.choice(changes)()

    def _set_value(self, fields: list[list[str]]) -> None:
        if fields:
            self.random.choice(fields)[1] = self.random.choice((*NUMBERS[:-3], "x", "", ["*", "a", 9_000]))

    def _target(self, target: str) -> str:
        how = self.random.randrange(4)
        if how == 0:
            return target + "&" + self.random.choice(QUERIES)
        if how == 1:
            return target.replace("?", "?" + self.random.choice(QUERIES) + "&", 1)
        if how == 2:
            return self.random.choice(
                ("http://here" + target, "http://other:x" + target, "//" + target, "", "*")
            )
        return self._changed(target)

    def _frame_field(self, operation: Operation) -> None:
        flags = operation[4]
        how = self.random.randrange(4)
        if how == 0:
            operation[2] = self.random.randrange(16)
        elif how == 1:
            operation[3] = self._text(operation[3])
        else:
            name, values = self.random.choice(
                (
                    ("fin", (0, 1)),
                    ("rsv", (0, 1, 2, 4, 7)),
                    ("masked", (0,)),
                    ("form", (0, 2, 8)),
                    ("size", (0, 1, 125, 126, 70_000, 1 << 20, 1 << 32, (1 << 63) - 1, 1 << 63)),
                )
            )
            flags[name] = self.random.choice(values)

    def _text(self, text: Any) -> Any:
        """Another packet, number or letter in it."""
        said = expand(text)
        if len(said) > 10_000:
            return text
        how = self.random.randrange(4)
        if how == 0:
            digits = [at for at, letter in enumerate(said) if letter.isdigit()]
            if digits:
                at = self.random.choice(digits)
                return said[:at] + self.random.choice(NUMBERS).encode().decode("latin-1") + said[at + 1 :]
        elif how == 1:
            return said + self.random.choice(("\x1e4", "\x1e", ",", "]", "{}", "1-", "/"))
        elif how == 2:
            return self.random.choice(
                ("", "4", "40", "41", "42", "43", "44{}", "45-[]", "451-[]", "1", "2", "3", "5", "6", "7")
            )
        return self._changed(said)
