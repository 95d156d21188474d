"""wsproto: its connection fed with bytes, and its frame protocol's way out.

It must not use anything below its public classes.
"""

from __future__ import annotations

from collections.abc import Callable

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, Message


def parse(stream: bytes) -> Callable[[], list[object]]:
    connection = Connection(ConnectionType.SERVER)

    def run() -> list[object]:
        connection.receive_data(stream)
        messages: list[object] = []
        parts: list[bytes] = []
        for event in connection.events():
            if isinstance(event, Message):
                parts.append(event.data)
                if event.message_finished:
                    messages.append(bytes(parts[0]) if len(parts) == 1 else b"".join(parts))
                    parts = []
        return messages

    return run


def encode(payload: bytes, times: int) -> Callable[[], None]:
    connection = Connection(ConnectionType.SERVER)

    def run() -> None:
        for _ in range(times):
            connection.send(BytesMessage(data=payload))

    return run
