"""permessage-deflate: the same settings for every peer, and each one's defaults; what it writes is counted.

It must not time anything.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator

from cases import Case, Peers, Task
from peers.ends import Deflate, KeepingSink, Reads, Sink, drop
from streams import READ_BYTES, Messages, json_text

import wsframe

MESSAGES_COUNT = 100
SMALL_COUNT = 500
TAIL_BYTES = 4  # RFC 7692 section 7.2.1
SAME = {"with context": Deflate(True), "without context": Deflate(False)}
OWN = Deflate(level=None)


def tasks() -> Iterator[Task]:
    for messages in (large(), small()):
        for words, settings in SAME.items():
            yield _send_task(f"deflate {words}: server sends {messages.name}", settings, messages)
            yield _receive_task(f"deflate {words}: server receives {messages.name}", settings, messages)
    messages = large()
    yield _send_task(f"deflate by everyone's defaults: server sends {messages.name}", OWN, messages)


def large() -> Messages:
    """State as an application sends it: lists of records, 1.2 to 5 KB, 2.5 on the average."""
    source = random.Random(42)
    texts = []
    for _ in range(MESSAGES_COUNT):
        records = [
            {
                "id": source.randrange(10**6),
                "name": source.choice(["alpha", "beta", "gamma"]),
                "price": source.random(),
                "tags": ["a", "b"],
            }
            for _ in range(source.choice((15, 20, 30, 60)))
        ]
        texts.append(json.dumps({"type": "update", "items": records}))
    return Messages("JSON of 2.5 KB", "text", tuple(texts), {})


def small() -> Messages:
    source = random.Random(43)
    return Messages("JSON of 20-120 B", "text", tuple(json_text(source) for _ in range(SMALL_COUNT)), {})


def _send_task(name: str, settings: Deflate, messages: Messages) -> Task:
    def cases(peers: Peers) -> Iterator[Case]:
        for peer, form in _forms(peers):
            sink = KeepingSink()
            call = form.send(settings, messages.items, sink)  # type: ignore[attr-defined]
            if call is None:
                continue
            call()
            first_bytes = len(sink.data)  # from an empty window, which is not what is measured
            call()
            _check_sent(peer, bytes(sink.data), messages)
            wire_bytes = len(sink.data) - first_bytes
            call = form.send(settings, messages.items, Sink())  # type: ignore[attr-defined]
            yield Case(peer, len(messages.items), messages.payload_bytes, call, wire_bytes)

    return Task(name, cases)


def _forms(peers: Peers) -> Iterator[tuple[str, object]]:
    for module in peers.values():
        if hasattr(module, "compressing"):
            yield from module.compressing().items()


def _check_sent(peer: str, stream: bytes, messages: Messages) -> None:
    """A client that keeps the context reads what was written with and without it."""
    agreement = wsframe.deflate.Agreement()
    client = wsframe.Connection(wsframe.Role.CLIENT, max_message_bytes=1 << 26, deflate=agreement)
    if client.receive_data(stream) != [*messages.items, *messages.items]:
        raise RuntimeError(f"{peer} does not send what it was given: its figure would mean nothing")


def _receive_task(name: str, settings: Deflate, messages: Messages) -> Task:
    def cases(peers: Peers) -> Iterator[Case]:
        reads = compressed_reads(settings, messages)
        for peer, form in _forms(peers):
            given: list[object] = []
            call = form.receive(settings, reads, given.append)  # type: ignore[attr-defined]
            for _ in range(2):
                given.clear()
                call()
                if given != list(messages.items):
                    raise RuntimeError(f"{peer} does not give what was sent: its figure would mean nothing")
            call = form.receive(settings, reads, drop)  # type: ignore[attr-defined]
            yield Case(peer, len(messages.items), messages.payload_bytes, call)

    return Task(name, cases)


def compressed_reads(settings: Deflate, messages: Messages) -> Reads:
    """By the standard library's zlib, from an empty window: so it may be received again and again."""
    source = random.Random(3)
    level = 6 if settings.level is None else settings.level
    stream = bytearray()
    compressor = None
    for message in messages.items:
        if compressor is None or not settings.context:
            compressor = zlib.compressobj(level, zlib.DEFLATED, -15, settings.memory_level)
        payload = compressor.compress(str(message).encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
        stream += wsframe.encode_frame(1, payload[:-TAIL_BYTES], source.randbytes(4), rsv1=True)
    view = memoryview(bytes(stream))
    return Reads(tuple(view[begin : begin + READ_BYTES] for begin in range(0, len(view), READ_BYTES)), False)
