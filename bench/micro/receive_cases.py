"""Receiving: every peer is fed the same reads, in both roles, and calls the same handler for each message.

It must not time anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cases import Case, Peers, Task
from peers.ends import Reads, drop
from streams import (
    MIB,
    Messages,
    fragmented,
    one_frame_reads,
    one_read,
    reads_of,
    regimes,
    repeated,
)

FRAMES_COUNT = 1000
SMALL = b"x" * 32


def tasks() -> Iterator[Task]:
    for role in ("server", "client"):
        for messages in (*regimes(), *fragmented()):
            yield _task(f"{role} receives {messages.name}", role, messages, reads_of)
        small = Messages("binary, 32 B", "binary", (SMALL,) * FRAMES_COUNT, {})
        yield _task(f"{role} receives {small.name}, a frame per read", role, small, one_frame_reads)
    for messages in (small, repeated("binary, 1 MiB", "binary", b"x" * MIB)):
        yield _task(f"server receives {messages.name}, all in one read", "server", messages, one_read)
    yield Task("receive a frame of 32 B, the call alone", _alone)


def _task(name: str, role: str, messages: Messages, reads: Callable[[Messages, str], Reads]) -> Task:
    return Task(name, lambda peers: _cases(peers, role, messages, reads(messages, role)))


def _cases(peers: Peers, role: str, messages: Messages, reads: Reads) -> Iterator[Case]:
    payload_bytes = messages.payload_bytes
    for peer, module in peers.items():
        if hasattr(module, "receive") and _checked(peer, module, role, messages, reads):
            call = module.receive(role, reads, messages.kind, drop)
            yield Case(peer, len(messages.items), payload_bytes, call)


def _checked(peer: str, module: object, role: str, messages: Messages, reads: Reads) -> bool:
    """Whether the peer can do this. Run twice: what is kept from read to read may not spoil the next."""
    given: list[object] = []
    call = module.receive(role, reads, messages.kind, given.append)  # type: ignore[attr-defined]
    if call is None:
        return False
    for _ in range(2):
        given.clear()
        call()
        if given != list(messages.items):
            raise RuntimeError(f"{peer} does not give what was sent: its figure would mean nothing")
    return True


def _alone(peers: Peers) -> Iterator[Case]:
    """Ours only: what Connection adds to its Decoder, without a handler that would hide it."""
    frame = bytes(one_frame_reads(Messages("", "binary", (SMALL,), {}), "server").views[0])
    for peer, module in peers.items():
        if hasattr(module, "receive_alone"):
            yield Case(
                peer, FRAMES_COUNT, FRAMES_COUNT * 32, module.receive_alone("server", frame, FRAMES_COUNT)
            )
