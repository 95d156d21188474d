"""What a simulated broker has heard and told, as RESP: commands, messages and bytes, by who they are of.

It must not know what a command does.
"""

from __future__ import annotations

from collections import Counter


def array(*items: bytes, more: int = 0) -> bytes:
    """RESP of an array of these, and of so many elements more that follow."""
    head = b"*%d\r\n" % (len(items) + more)
    return head + b"".join(b"$%d\r\n%s\r\n" % (len(item), item) for item in items)


def reply_bytes(value: object) -> int:
    """The length of an answer in RESP2."""
    if value is None:
        return 5  # "$-1", or "*-1"
    if isinstance(value, (bytes, str)):
        return len(value) + len(str(len(value))) + 5
    if isinstance(value, int):
        return len(str(value)) + 3
    assert isinstance(value, list)
    return len(str(len(value))) + 3 + sum(map(reply_bytes, value))


class Traffic:
    """Counters that only rise; whoever measures takes the difference of two moments (`Counter.copy`).

    Attributes:
        counts: "in", "in bytes" (commands), "out", "out bytes" (messages to subscribers and answers), each
            kind of command by its name, and of what goes out "push" and "answer".
        by_owner: bytes in and out of each owner of connections.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.by_owner: dict[str, Counter[str]] = {}

    def heard(self, owner: str, name: str, command: bytes) -> None:
        self.counts[name] += 1
        self._add(owner, "in", len(command))

    def told(self, owner: str, kind: str, size_bytes: int) -> None:
        self.counts[kind] += 1
        self._add(owner, "out", size_bytes)

    def _add(self, owner: str, way: str, size_bytes: int) -> None:
        of_owner = self.by_owner.setdefault(owner, Counter())
        for counter in (self.counts, of_owner):
            counter[way] += 1
            counter[f"{way} bytes"] += size_bytes
