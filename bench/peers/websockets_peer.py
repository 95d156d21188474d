"""websockets: its sans-I/O protocol fed and asked as its guide for that says, with its compiled mask.

It must not use the I/O layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import websockets.protocol
from websockets.frames import Opcode
from websockets.speedups import apply_mask

from peers.ends import Handler, Reads, Sink

SIDES = {"server": websockets.protocol.SERVER, "client": websockets.protocol.CLIENT}


def protocol_of(role: str) -> websockets.protocol.Protocol:
    return websockets.protocol.Protocol(SIDES[role], state=websockets.protocol.OPEN, max_size=1 << 26)


def receive(role: str, reads: Reads, kind: str, handle: Handler) -> Callable[[], None]:
    """Messages are put together here: the protocol gives frames."""
    protocol = protocol_of(role)
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
    protocol = protocol_of(role)

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


def mask_copy(size: int, times: int) -> Callable[[], None]:
    data, mask = bytes(size), b"\x37\xfa\x21\x3d"

    def run() -> None:
        for _ in range(times):
            apply_mask(data, mask)

    return run
