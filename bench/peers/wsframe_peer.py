"""wsframe's plain functions, its Decoder and its Encoder as their users call them.

It must not use anything that wsframe does not export.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import wsframe
from peers.ends import Handler, Reads, Sink

ROLES = {"server": wsframe.Role.SERVER, "client": wsframe.Role.CLIENT}
# From here on a server's binary message is not copied beside its header; picows and aiohttp do not copy it.
WHOLE_BYTES = 16_384


def receive(role: str, reads: Reads, kind: str, handle: Handler) -> Callable[[], None]:
    decoder = wsframe.Decoder(ROLES[role], max_message_bytes=1 << 26)

    def run() -> None:
        receive = decoder.receive
        for data in reads.copies():
            for message in receive(data):
                handle(message)

    return run


def send(role: str, messages: Sequence[str | bytes], kind: str, sink: Sink) -> Callable[[], None]:
    if role == "client":
        return send_masked(messages, sink)
    if kind == "binary" and min(map(len, messages)) >= WHOLE_BYTES:
        return send_pieces(messages, sink)

    def run() -> None:
        write, encode_message = sink.write, wsframe.encode_message
        for message in messages:
            write(encode_message(message))

    return run


def send_pieces(messages: Sequence[str | bytes], sink: Sink) -> Callable[[], None]:
    def run() -> None:
        writelines, encode_header = sink.writelines, wsframe.encode_header
        for message in messages:
            writelines((encode_header(2, len(message)), message))

    return run


def send_masked(messages: Sequence[str | bytes], sink: Sink) -> Callable[[], None]:
    """By its Encoder; a commit before there was one has only the function, and masks from the system."""
    if not hasattr(wsframe, "Encoder"):
        return send_masked_by_function(messages, sink)

    def run() -> None:
        write, encode = sink.write, wsframe.Encoder(wsframe.Role.CLIENT).encode
        for message in messages:
            write(encode(message))

    return run


def send_masked_by_function(messages: Sequence[str | bytes], sink: Sink) -> Callable[[], None]:
    def run() -> None:
        write, encode_frame, urandom = sink.write, wsframe.encode_frame, os.urandom
        for message in messages:
            write(encode_frame(1 if isinstance(message, str) else 2, message, urandom(4)))

    return run


def encode_alone(message: bytes, times: int) -> Callable[[], None]:
    def run() -> None:
        encode_message = wsframe.encode_message
        for _ in range(times):
            encode_message(message)

    return run


def receive_alone(role: str, frame: bytes, times: int) -> Callable[[], None]:
    decoder = wsframe.Decoder(ROLES[role])

    def run() -> None:
        receive = decoder.receive
        for _ in range(times):
            receive(frame)

    return run


def mask_inplace(size: int, times: int) -> Callable[[], None]:
    buffer, mask, apply_mask_inplace = bytearray(size), b"\x37\xfa\x21\x3d", wsframe.apply_mask_inplace

    def run() -> None:
        for _ in range(times):
            apply_mask_inplace(buffer, mask)

    return run


def mask_copy(size: int, times: int) -> Callable[[], None]:
    data, mask, apply_mask = bytes(size), b"\x37\xfa\x21\x3d", wsframe.apply_mask

    def run() -> None:
        for _ in range(times):
            apply_mask(data, mask)

    return run
