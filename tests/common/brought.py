"""A lost client's record as another process reads it: in parts, as the product sends it.

It must not know what is in it.
"""

from __future__ import annotations

from collections.abc import Callable

from python_server.socketio.recovery.record import HeardEvent, RecoveryRecord, decode_part, found_parts


def brought(
    client: RecoveryRecord, complain: Callable[[str, str], None] = lambda *said: None
) -> RecoveryRecord:
    events: list[HeardEvent] = []
    for told in found_parts("t", client, complain):
        part = decode_part(told)
        events += part.events
    assert part.record is not None
    part.record.missed_elsewhere += events
    return part.record
