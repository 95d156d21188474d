"""A client of this process whose record goes to a store beside a stream: what it will say, and its bytes.

Must not know: stores, questions, timers; what a client has got the log says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from python_server.socketio.client import Socket
from python_server.socketio.cluster.port import Malformed, Room
from python_server.socketio.recovery.record import RecoveryRecord, travelling
from python_server.socketio.recovery.stream_log import LeftRoom, StreamLog
from python_server.socketio.recovery.stream_record import StreamRecord, sign

# Rooms that a client was in: who has left so many since it came may not be found in them.
LEFT_MAX_COUNT: Final = 100
# Of a record, most of which is session data. As large as a message of a client may be (max_http_buffer_size).
RECORD_MAX_BYTES: Final = 1_000_000
# What a value that does not travel, or changes meanwhile, raises when it is written.
UNWRITABLE: Final = (TypeError, ValueError, OverflowError, RuntimeError)


@dataclass(eq=False, slots=True)
class Kept:
    """A client of this process, and what its record will need.

    Attributes:
        record: what it brought along: names of what it was sent on its return, and what it had already then.
        joined_position, holes_count: of the log, when it came.
        entered, left: the rooms it is in, and was in, by the log's positions.
        waiting: told whether its record is stored. is_stored: it is on its way to the store.
        is_changed: its rooms have, since its record was saved, at `saved_at`, with the data that had been
            stored `saved_data_count` times. is_saved: it was, once.
    """

    socket: Socket
    record: StreamRecord
    joined_position: int
    holes_count: int
    entered: dict[Room, int] = field(default_factory=dict)
    left: deque[LeftRoom] = field(default_factory=lambda: deque(maxlen=LEFT_MAX_COUNT))
    waiting: list[Callable[[bool], object]] = field(default_factory=list)
    is_stored: bool = False
    is_changed: bool = True
    is_saved: bool = False
    saved_data_count: int = 0
    saved_at: float = 0.0

    def write(
        self,
        log: StreamLog,
        rooms: dict[Room, int],
        is_live: bool,
        secret: bytes,
        complain: Callable[[str, str], None],
    ) -> bytes:
        """What it has got by now, signed. Raises Malformed: it cannot be written, or is too much.

        Args:
            rooms: those it is in, by the log's positions. complain: told what of it does not travel.
        """
        socket, record = self.socket, msgspec.structs.replace(self.record, is_live=is_live)
        names, members = (record.namespace, record.sid, record.pid), {**(socket.members or {})}
        was = RecoveryRecord(*names, rooms=rooms, data=socket.data, members=members)
        try:
            travels = travelling(was, complain)
            record.rooms, record.data = list(travels.rooms), travels.data
            record.authorized_until, record.members = socket.authorized_until, travels.members
            log.snapshot(record, rooms, self.left, self.joined_position, socket.last_offset)
            stored = sign(record, secret)
        except UNWRITABLE as error:
            raise Malformed(f"its record cannot be written: {error}") from None
        if len(stored) > RECORD_MAX_BYTES:
            raise Malformed(
                f"its record, most of it session data, would have {len(stored)} bytes, "
                f"allowed are {RECORD_MAX_BYTES}"
            )
        return stored
