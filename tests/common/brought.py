"""A lost client's record as another process reads it: in parts, as the product sends it.

It must not know what is in it.
"""

from __future__ import annotations

from collections.abc import Callable

from python_server.socketio.recovery.record import ComingRecords, RecoveryRecord, found_parts


def brought(
    client: RecoveryRecord, complain: Callable[[str, str], None] = lambda *said: None
) -> RecoveryRecord:
    """What arrives; what was left out is told to `complain`."""
    coming = ComingRecords()
    *_, record = map(coming.take, found_parts("t", client, complain))
    assert record is not None
    return record
