"""What waits to be said to a broker, in its order, and its bounds. Sans-I/O.

Must not know: connections, threads, what the broker answers.

Where events are entries of a stream, what waits beside them (records of clients, questions, answers) has
bounds of its own: however many clients come and go at once, no event is dropped for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

# What waits to be published while the broker is away or slow: the oldest goes first. Beside a stream, of what
# is no entry of it: as much once more, and what comes later is given up.
QUEUE_MAX_BYTES: Final = 8 * 1024 * 1024
QUEUE_MAX_COUNT: Final = 10_000

# Called with the answer: for a message the number of subscribers that it has reached, 0 for one of a stream.
# None: there is no answer.
Done = Callable[[Any], None]


class BrokerPost(NamedTuple):
    """A command for the broker. `lasts`: it is said again until the broker has answered."""

    command: tuple[bytes, ...]
    done: Done | None = None
    lasts: bool = False

    @property
    def size_bytes(self) -> int:
        return max(map(len, self.command))

    @property
    def is_added(self) -> bool:
        return self.command[0] == b"XADD"


@dataclass(slots=True)
class PostQueue:
    """Whoever uses it holds a lock.

    Attributes:
        streams: are events entries of a stream?
        size_bytes: of all that waits. beside_bytes, beside_count: of what is no entry of the stream.
    """

    streams: bool
    size_bytes: int = 0
    beside_bytes: int = 0
    beside_count: int = 0
    _posts: deque[BrokerPost] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self._posts)

    @property
    def is_over(self) -> bool:
        """Is it more than may wait?"""
        return (
            self.size_bytes - self.beside_bytes > QUEUE_MAX_BYTES
            or len(self._posts) - self.beside_count > QUEUE_MAX_COUNT
        )

    def takes(self, post: BrokerPost) -> bool:
        """Has it room for that one, beside the stream's entries?"""
        return not self._is_beside(post) or (
            self.beside_count < QUEUE_MAX_COUNT and self.beside_bytes + post.size_bytes <= QUEUE_MAX_BYTES
        )

    def append(self, post: BrokerPost) -> None:
        self._posts.append(post)
        self._count(post, 1)

    def put_first(self, posts: Iterable[BrokerPost]) -> None:
        """In their order, before all others."""
        for post in reversed([*posts]):
            self._posts.appendleft(post)
            self._count(post, 1)

    def popleft(self) -> BrokerPost:
        post = self._posts.popleft()
        self._count(post, -1)
        return post

    def _is_beside(self, post: BrokerPost) -> bool:
        return self.streams and not post.is_added

    def _count(self, post: BrokerPost, sign: int) -> None:
        size_bytes = sign * post.size_bytes
        self.size_bytes += size_bytes
        if self._is_beside(post):
            self.beside_bytes += size_bytes
            self.beside_count += sign
