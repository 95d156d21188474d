"""Sending: every peer sends the same messages, in both roles, and writes its frames to the same sink.

It must not time anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from cases import Case, Peers, Task
from peers.ends import KeepingSink, Sink
from streams import Messages, regimes

import wsframe

CALLS_COUNT = 1000
OTHER_ROLE = {"server": wsframe.Role.CLIENT, "client": wsframe.Role.SERVER}


def tasks() -> Iterator[Task]:
    for role in ("server", "client"):
        for messages in regimes():
            yield _task(role, Messages(messages.name, messages.kind, messages.items, {}))
    yield Task("encode a message of 32 B, the call alone", _alone)


def _task(role: str, messages: Messages) -> Task:
    return Task(f"{role} sends {messages.name}", lambda peers: _cases(peers, role, messages))


def _cases(peers: Peers, role: str, messages: Messages) -> Iterator[Case]:
    payload_bytes = messages.payload_bytes
    for peer, module in peers.items():
        if hasattr(module, "send") and _checked(peer, module, role, messages):
            call = module.send(role, messages.items, messages.kind, Sink())
            yield Case(peer, len(messages.items), payload_bytes, call)


def _checked(peer: str, module: object, role: str, messages: Messages) -> bool:
    """Whether the peer can do this: what it wrote is read by a decoder of ours."""
    sink = KeepingSink()
    call = module.send(role, messages.items, messages.kind, sink)  # type: ignore[attr-defined]
    if call is None:
        return False
    for _ in range(2):
        sink.data.clear()
        call()
        decoder = wsframe.Decoder(OTHER_ROLE[role], max_message_bytes=1 << 26)
        if decoder.receive(bytes(sink.data)) != list(messages.items):
            raise RuntimeError(f"{peer} does not send what it was given: its figure would mean nothing")
    return True


def _alone(peers: Peers) -> Iterator[Case]:
    """Ours only: what Connection adds to the plain function, without a sink that would hide it."""
    for peer, module in peers.items():
        if hasattr(module, "encode_alone"):
            yield Case(peer, CALLS_COUNT, CALLS_COUNT * 32, module.encode_alone(b"x" * 32, CALLS_COUNT))
