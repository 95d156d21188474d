"""wsframe's Connection with a buffer of the caller's, and `receive_buffer` while a large payload arrives.

It must not use anything that wsframe does not export.
"""

from __future__ import annotations

from collections.abc import Callable

import wsframe
from peers.ends import Handler, Reads
from peers.wsframe_peer import ROLES


def receive(role: str, reads: Reads, kind: str, handle: Handler) -> Callable[[], None] | None:
    """What stands in a read is copied into one of the two buffers, as `recv_into` does it."""
    if reads.made_before:
        return None
    connection = wsframe.Connection(ROLES[role], max_message_bytes=1 << 26)
    own = memoryview(bytearray(max(map(len, reads.views))))

    def run() -> None:
        receive_data, buffer_received = connection.receive_data, connection.buffer_received
        for view in reads.views:
            while nbytes := len(view):
                lent = connection.receive_buffer()
                if lent is None:
                    own[:nbytes] = view
                    messages = receive_data(own, nbytes)
                else:
                    nbytes = min(nbytes, len(lent))
                    lent[:nbytes] = view[:nbytes]
                    messages = buffer_received(nbytes)
                for message in messages:
                    handle(message)
                view = view[nbytes:]

    return run
