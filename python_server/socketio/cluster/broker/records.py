"""Records of lost clients in a broker: a key of its own for each, with an expiry (the RecordStore port).

Must not know: what a record says, how bytes travel. https://redis.io/docs/latest/commands/getdel/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from python_server.socketio.cluster.broker.messages import ChannelReader
from python_server.socketio.cluster.broker.post_queue import Done
from python_server.socketio.cluster.broker.stream import read_events
from python_server.socketio.cluster.broker.stream_reader import entries_of, id_of
from python_server.socketio.cluster.port import Envelope

# Entries of a part of the stream that is read once more; who was away for longer is a new client.
BETWEEN_MAX_COUNT: Final = 20_000


@dataclass(frozen=True, slots=True)
class BrokerRecords:
    """Every method belongs to the loop's thread.

    Attributes:
        key_of: the key of a client's secret. ask: a command for the broker.
        post: any thread: a call on the loop. secret, name: see RecordStore.
        stream: its name. reader: of what stands in it.
    """

    name: str
    key_of: Callable[[str], bytes]
    ask: Callable[..., None]
    post: Callable[..., None]
    secret: bytes
    stream: bytes
    reader: ChannelReader

    def put(self, pid: str, record: bytes, seconds: float, done: Callable[[bool], None]) -> None:
        self._set(pid, record, seconds, partial(self._told, done))

    def put_back(self, pid: str, record: bytes, seconds: float, done: Callable[[bool], None]) -> None:
        self._set(pid, record, seconds, lambda answer: self.post(done, True), b"NX")

    def _set(self, pid: str, record: bytes, seconds: float, told: Done, *more: bytes) -> None:
        expiry = b"%d" % max(1, int(seconds))
        self.ask(told, b"SET", self.key_of(pid), record, b"EX", expiry, *more)

    def take(self, pid: str, taken: Callable[[bytes | None], None]) -> None:
        self.ask(partial(self.post, taken), b"GETDEL", self.key_of(pid))

    def drop(self, pid: str) -> None:
        self.ask(None, b"DEL", self.key_of(pid))

    def between(self, begin: int, end: int, told: Callable[[list[Envelope] | None], None]) -> None:
        count = b"%d" % BETWEEN_MAX_COUNT
        read = partial(self._read, begin, told)
        self.ask(read, b"XRANGE", self.stream, id_of(begin), id_of(end), b"COUNT", count)

    def _read(self, begin: int, told: Callable[[list[Envelope] | None], None], answer: Any) -> None:
        """The publisher's thread. Where the entry at `begin` stands still, none behind it is gone."""
        entries = entries_of(answer or [])
        whole = 0 < len(entries) < BETWEEN_MAX_COUNT and entries[0][0] == begin
        self.post(told, read_events(self.reader, entries[1:]) if whole else None)

    def _told(self, done: Callable[[bool], None], answer: object) -> None:
        self.post(done, answer is not None)
