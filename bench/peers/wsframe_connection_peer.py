"""wsframe's Connection: `receive_data` per read and `encode` per message.

It must not use anything that wsframe does not export.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import wsframe
from peers.ends import Deflate, Handler, Reads, Sink
from peers.wsframe_libraries import forms
from peers.wsframe_peer import ROLES


def receive(role: str, reads: Reads, kind: str, handle: Handler) -> Callable[[], None]:
    return receive_by(wsframe.Connection(ROLES[role], max_message_bytes=1 << 26), reads, handle)


def receive_by(connection: wsframe.Connection, reads: Reads, handle: Handler) -> Callable[[], None]:
    def run() -> None:
        receive_data = connection.receive_data
        for data in reads.copies():
            for message in receive_data(data):
                handle(message)

    return run


def send(role: str, messages: Sequence[str | bytes], kind: str, sink: Sink) -> Callable[[], None]:
    return send_by(wsframe.Connection(ROLES[role]), messages, sink)


def send_by(
    connection: wsframe.Connection, messages: Sequence[str | bytes], sink: Sink
) -> Callable[[], None]:
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


class Compressing:
    """permessage-deflate with one of the libraries that can be installed for it."""

    def __init__(self, connection: ModuleType, deflate: ModuleType) -> None:
        self.connection, self.deflate = connection, deflate

    def connected(self, settings: Deflate) -> Any:
        options = self.deflate.Options()
        agreement = self.deflate.Agreement(options.server_no_context_takeover, options=options)
        if settings.level is not None:
            forget = not settings.context
            options = self.deflate.Options(
                forget,
                forget,
                level=settings.level,
                memory_level=settings.memory_level,
                threshold_bytes=0,
            )
            agreement = self.deflate.Agreement(forget, forget, options=options)
        return self.connection.Connection(wsframe.Role.SERVER, max_message_bytes=1 << 26, deflate=agreement)

    def receive(self, settings: Deflate, reads: Reads, handle: Handler) -> Callable[[], None]:
        return receive_by(self.connected(settings), reads, handle)

    def send(self, settings: Deflate, messages: Sequence[str | bytes], sink: Sink) -> Callable[[], None]:
        return send_by(self.connected(settings), messages, sink)


def compressing() -> dict[str, Compressing]:
    return {f"wsframe_{name}": Compressing(*modules) for name, modules in forms().items()}
