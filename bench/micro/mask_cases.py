"""Masks: the functions alone, and what the machine allows for them and for text.

It must not time anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from cases import Case, Peers, Task
from peers.ends import drop
from streams import MIB, Messages, one_read, text_of

SIZES = (16, 128, 1024, 16_384, MIB)
LIMIT = "limit: NumPy XOR"


def tasks() -> Iterator[Task]:
    for size in SIZES:
        for kind, words in (("mask_inplace", "in place"), ("mask_copy", "copying")):
            yield _task(size, kind, words)
    for script in ("ASCII", "CJK"):
        yield _text_task(script)


def times_for(size: int) -> int:
    """Calls in one measured step, so that a step is long against the clock."""
    return 100 if size < 16_384 else 10 if size < MIB else 1


def _task(size: int, kind: str, words: str) -> Task:
    times = times_for(size)

    def cases(peers: Peers) -> Iterator[Case]:
        for peer, module in peers.items():
            if hasattr(module, kind):
                yield Case(peer, times, times * size, getattr(module, kind)(size, times))
        if size == MIB and kind == "mask_inplace":
            yield from _limit_of_masks()

    return Task(f"mask {size} B {words}", cases)


def _limit_of_masks() -> Iterator[Case]:
    """NumPy's XOR in place."""
    try:
        import numpy as np
    except ModuleNotFoundError:
        return
    words = np.zeros(MIB // 8, np.uint64)
    mask = np.uint64(0x3D21FA373D21FA37)
    yield Case(LIMIT, 1, MIB, lambda: np.bitwise_xor(words, mask, out=words))


def _text_task(script: str) -> Task:
    text = text_of(script, MIB // 6 * 6)  # whole characters, and whole words of 16 bits
    messages = Messages("", "text", (text,), {})

    def cases(peers: Peers) -> Iterator[Case]:
        """Ours alone: others are compared at receiving."""
        if "wsframe" not in peers:
            return
        reads = one_read(messages, "server")
        yield Case("wsframe", 1, MIB, peers["wsframe"].receive("server", reads, "text", drop))
        yield from _limit_of_text(text.encode())

    return Task(f"text of 1 MiB in one read, {script}", cases)


def _limit_of_text(text: bytes) -> Iterator[Case]:
    """bytes.decode after a XOR at NumPy's limit."""
    try:
        import numpy as np
    except ModuleNotFoundError:
        return
    data = bytearray(text)
    words = np.frombuffer(data, np.uint16)
    zero = np.uint16(0)

    def unmask_and_decode() -> str:
        np.bitwise_xor(words, zero, out=words)
        return data.decode()

    yield Case(f"{LIMIT} + decode", 1, MIB, unmask_and_decode)
