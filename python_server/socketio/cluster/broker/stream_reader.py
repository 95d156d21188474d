"""A connection to a broker, in a thread of its own, that reads a stream from a place on.

Must not know: what an entry says, who reads it and why. https://redis.io/docs/latest/commands/xread/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from python_server.net.system import System
from python_server.socketio.cluster.broker.connections import Changed, Connect, Stream, _Kept
from python_server.socketio.cluster.broker.url import BrokerConnection

# Read at once, as the official adapter does (readCount).
READ_MAX_COUNT: Final = 100
# How long the broker waits for something new: shorter than any answer may take.
BLOCK_MILLISECONDS: Final = 1000
# A place is the entry's id in one integer: milliseconds, then its number within them.
NUMBER_BITS: Final = 20
NUMBER_MAX: Final = (1 << NUMBER_BITS) - 1
# Until the year 2248: what travels as an integer of 64 bits.
PLACE_MAX: Final = (1 << 63) - 1
# Entries of a batch, each with its place; None has not the shape that a message has.
Entries = list[tuple[int, bytes | None]]


class StreamBatch(NamedTuple):
    """What stands between two places of a stream.

    Attributes:
        hole: was something lost before that can be read no more? Of the first batch, which begins at 0: was
            there anything?
    """

    begin: int
    end: int
    entries: Entries
    hole: bool = False


def place_from(entry_id: bytes) -> int:
    """Of entries that no server has numbered in one millisecond, all have the last place of it."""
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds) << NUMBER_BITS | min(int(number), NUMBER_MAX)


def id_of(place: int) -> bytes:
    return b"%d-%d" % (place >> NUMBER_BITS, place & (1 << NUMBER_BITS) - 1)


def entries_of(told: list[Any]) -> Entries:
    """Of an answer to XRANGE, or of one stream's to XREAD."""
    return [(place_from(entry_id), _payload_of(entry_id, fields)) for entry_id, fields in told]


def _payload_of(entry_id: bytes, fields: list[bytes] | None) -> bytes | None:
    if fields is None or len(fields) != 2 or fields[0] != b"data":
        return None
    return fields[1] if int(entry_id.partition(b"-")[2]) < NUMBER_MAX else None


class StreamReader(_Kept):
    """Entries of a stream, each once and in order, also after the broker was away.

    Args:
        place: what stands behind it is read; 0: what is added from now on.
        heard: called by the thread with each batch; the first one comes when it has begun.
    """

    def __init__(
        self,
        connect: Connect,
        changed: Changed,
        heard: Callable[[StreamBatch], None],
        stream: Stream,
        place: int,
        system: System,
    ) -> None:
        super().__init__(connect, changed, "broker-stream", system)
        self._heard = heard
        self._stream = stream
        self._place = place
        self._id = id_of(place)
        self._begun = False

    def _serve(self, connection: BrokerConnection) -> None:
        begin, hole = self._place, False
        if begin:
            hole = not self._ask(connection, b"XRANGE", self._stream.name, self._id, self._id)
        else:  # nothing can be said of what stood before
            newest = self._ask(connection, b"XREVRANGE", self._stream.name, b"+", b"-", b"COUNT", b"1")
            stands_on = (
                newest[0][0] if newest else self._ask(connection, *self._stream.add(self._stream.begin))
            )
            first = self._ask(connection, b"XRANGE", self._stream.name, b"-", b"+", b"COUNT", b"1")
            hole = bool(newest) or not first or first[0][0] != stands_on
            self._go_on(stands_on)
        if hole or not self._begun:
            self._begun = True
            self._heard(StreamBatch(begin, self._place, [], hole))
        while not self.closed:
            self._read(connection)

    def _read(self, connection: BrokerConnection) -> None:
        said = b"COUNT", b"%d" % READ_MAX_COUNT, b"BLOCK", b"%d" % BLOCK_MILLISECONDS
        commands = (
            (b"XREAD", *said, b"STREAMS", self._stream.name, self._id),
            (b"XRANGE", self._stream.name, self._id, self._id),
        )
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        told: Any = connection.read_response()
        # Who reads so late that entries were dropped meanwhile has lost its own place as well.
        is_there = connection.read_response()
        self._work()
        if not told:
            return
        begin = self._place
        self._go_on(told[0][1][-1][0])
        entries = entries_of(told[0][1])
        hole = not is_there or any(place & NUMBER_MAX == NUMBER_MAX for place, _ in entries)
        self._heard(StreamBatch(begin, self._place, entries, hole))

    def _go_on(self, entry_id: bytes) -> None:
        """Raises ValueError: no server has chosen that id, and none will find a later one."""
        place = place_from(entry_id)
        if place > PLACE_MAX:
            raise ValueError(f"its entry {entry_id.decode()} is of a distant future: delete the stream")
        self._place, self._id = place, entry_id

    @staticmethod
    def _ask(connection: BrokerConnection, *command: bytes) -> Any:
        connection.send_command(*command, check_health=False)
        return connection.read_response()
