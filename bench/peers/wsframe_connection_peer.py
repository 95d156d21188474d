"""wsframe's Connection: `receive_data` per read and `encode` per message.

It must not use anything that wsframe does not export.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import wsframe
from peers.ends import Handler, Reads, Sink
from peers.wsframe_peer import ROLES


def receive(role: str, reads: Reads, kind: str, handle: Handler) -> Callable[[], None]:
    connection = wsframe.Connection(ROLES[role], max_message_bytes=1 << 26)

    def run() -> None:
        receive_data = connection.receive_data
        for data in reads.copies():
            for message in receive_data(data):
                handle(message)

    return run


def send(role: str, messages: Sequence[str | bytes], kind: str, sink: Sink) -> Callable[[], None]:
    connection = wsframe.Connection(ROLES[role])

    def run() -> None:
        write, encode = sink.write, connection.encode
        for message in messages:
            write(encode(message))

    return run


def encode_alone(message: bytes, times: int) -> Callable[[], None]:
    connection = wsframe.Connection(wsframe.Role.SERVER)

    def run() -> None:
        encode = connection.encode
        for _ in range(times):
            encode(message)

    return run


def receive_alone(role: str, frame: bytes, times: int) -> Callable[[], None]:
    connection = wsframe.Connection(ROLES[role])

    def run() -> None:
        receive_data = connection.receive_data
        for _ in range(times):
            receive_data(frame)

    return run
