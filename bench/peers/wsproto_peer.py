"""wsproto: its connection fed with bytes and asked for events, its `send` for messages.

It must not use anything below its public classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage

from peers.ends import Handler, Reads, Sink

TYPES = {"server": ConnectionType.SERVER, "client": ConnectionType.CLIENT}


def receive(role: str, reads: Reads, kind: str, handle: Handler) -> Callable[[], None]:
    """Messages are put together here: an event has what came of one."""
    connection = Connection(TYPES[role])
    parts: list[Any] = []

    def run() -> None:
        for data in reads.copies():
            connection.receive_data(data)
            for event in connection.events():
                if not isinstance(event, TextMessage | BytesMessage):
                    continue
                text = isinstance(event, TextMessage)
                if event.message_finished and not parts:
                    handle(event.data if text else bytes(event.data))
                    continue
                parts.append(event.data)
                if event.message_finished:
                    handle("".join(parts) if text else b"".join(parts))
                    parts.clear()

    return run


def send(role: str, messages: Sequence[str | bytes], kind: str, sink: Sink) -> Callable[[], None]:
    connection = Connection(TYPES[role])

    def run() -> None:
        write, send = sink.write, connection.send
        for message in messages:
            if isinstance(message, str):
                write(send(TextMessage(data=message)))
            else:
                write(send(BytesMessage(data=message)))

    return run
