"""websockets: its sans-I/O protocol fed and asked as its guide for that says, with its compiled mask.

It must not use the I/O layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from websockets.extensions.permessage_deflate import (
    ServerPerMessageDeflateFactory,
    enable_server_permessage_deflate,
)
from websockets.frames import Opcode
from websockets.protocol import CLIENT, OPEN, SERVER, Protocol
from websockets.speedups import apply_mask

from peers.ends import Deflate, Handler, Reads, Sink

SIDES = {"server": SERVER, "client": CLIENT}


def protocol_of(role: str) -> Protocol:
    return Protocol(SIDES[role], state=OPEN, max_size=1 << 26)


def receive(role: str, reads: Reads, kind: str, handle: Handler) -> Callable[[], None]:
    return receive_by(protocol_of(role), reads, handle)


def receive_by(protocol: Protocol, reads: Reads, handle: Handler) -> Callable[[], None]:
    """Messages are put together here: the protocol gives frames."""
    text, parts, is_text = Opcode.TEXT, list[bytes](), False

    def run() -> None:
        nonlocal is_text
        receive_data, events_received = protocol.receive_data, protocol.events_received
        for data in reads.copies():
            receive_data(data)
            for frame in events_received():
                if frame.fin and not parts:
                    handle(frame.data.decode() if frame.opcode is text else frame.data)
                    continue
                if not parts:
                    is_text = frame.opcode is text
                parts.append(frame.data)
                if frame.fin:
                    whole = b"".join(parts)
                    parts.clear()
                    handle(whole.decode() if is_text else whole)

    return run


def send(role: str, messages: Sequence[str | bytes], kind: str, sink: Sink) -> Callable[[], None]:
    return send_by(protocol_of(role), messages, sink)


def send_by(protocol: Protocol, messages: Sequence[str | bytes], sink: Sink) -> Callable[[], None]:
    def run() -> None:
        write = sink.write
        send_text, send_binary, data_to_send = protocol.send_text, protocol.send_binary, protocol.data_to_send
        for message in messages:
            if isinstance(message, str):
                send_text(message.encode())
            else:
                send_binary(message)
            for data in data_to_send():
                write(data)

    return run


class Compressing:
    """Its extension, set up as its server does after the handshake."""

    def connected(self, settings: Deflate) -> Protocol:
        if settings.level is None:
            (factory,) = enable_server_permessage_deflate(None)
        else:
            factory = ServerPerMessageDeflateFactory(
                not settings.context,
                not settings.context,
                compress_settings={"level": settings.level, "memLevel": settings.memory_level},
            )
        protocol = protocol_of("server")
        protocol.extensions = [factory.process_request_params([("client_max_window_bits", None)], [])[1]]
        return protocol

    def receive(self, settings: Deflate, reads: Reads, handle: Handler) -> Callable[[], None]:
        return receive_by(self.connected(settings), reads, handle)

    def send(self, settings: Deflate, messages: Sequence[str | bytes], sink: Sink) -> Callable[[], None]:
        return send_by(self.connected(settings), messages, sink)


def compressing() -> dict[str, Compressing]:
    return {"websockets": Compressing()}


def mask_copy(size: int, times: int) -> Callable[[], None]:
    data, mask = bytes(size), b"\x37\xfa\x21\x3d"

    def run() -> None:
        for _ in range(times):
            apply_mask(data, mask)

    return run
