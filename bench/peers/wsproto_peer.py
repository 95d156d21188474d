"""wsproto: its connection fed with bytes and asked for events, its `send` for messages.

It must not use anything below its public classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage
from wsproto.extensions import PerMessageDeflate

from peers.ends import Deflate, Handler, Reads, Sink

TYPES = {"server": ConnectionType.SERVER, "client": ConnectionType.CLIENT}


def receive(role: str, reads: Reads, kind: str, handle: Handler) -> Callable[[], None]:
    return receive_by(Connection(TYPES[role]), reads, handle)


def receive_by(connection: Connection, reads: Reads, handle: Handler) -> Callable[[], None]:
    """Messages are put together here: an event has what came of one."""
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
    return send_by(Connection(TYPES[role]), messages, sink)


def send_by(connection: Connection, messages: Sequence[str | bytes], sink: Sink) -> Callable[[], None]:
    def run() -> None:
        write, send = sink.write, connection.send
        for message in messages:
            if isinstance(message, str):
                write(send(TextMessage(data=message)))
            else:
                write(send(BytesMessage(data=message)))

    return run


class Compressing:
    """Its extension; level and memory are not to be set, and are zlib's own, as those of the cases."""

    def connected(self, settings: Deflate) -> Connection:
        extension = PerMessageDeflate(not settings.context, None, not settings.context, None)
        extension.accept("permessage-deflate; client_max_window_bits")
        return Connection(ConnectionType.SERVER, extensions=[extension])

    def receive(self, settings: Deflate, reads: Reads, handle: Handler) -> Callable[[], None]:
        return receive_by(self.connected(settings), reads, handle)

    def send(self, settings: Deflate, messages: Sequence[str | bytes], sink: Sink) -> Callable[[], None]:
        return send_by(self.connected(settings), messages, sink)


def compressing() -> dict[str, Compressing]:
    return {"wsproto": Compressing()}
