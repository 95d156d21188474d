"""The cases of the codec's micro benchmarks: what is measured, in which unit, for which peers.

It must not time anything: test_codec.py and ratios.py do.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).parent.parent))

from wsframe import encode_frame

PEERS = ("wsframe", "picows", "aiohttp", "websockets", "wsproto", "wsaccel", "gevent_websocket")
MASK_SIZES = (16, 128, 1024, 16_384, 1 << 20)
MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """One peer at one task. `call` does `items` items of `item_bytes` payload bytes each."""

    task: str
    peer: str
    items: int
    item_bytes: int
    call: Callable[[], object]


def installed_peers() -> dict[str, ModuleType | None]:
    """Each peer's module, or None when its package is not installed: it is then left out by name."""
    found: dict[str, ModuleType | None] = {}
    for name in PEERS:
        try:
            found[name] = importlib.import_module(f"peers.{name}_peer")
        except ModuleNotFoundError:
            found[name] = None
    return found


def versions() -> dict[str, str]:
    """Of each peer's package that is installed."""
    known = {}
    for name in (*PEERS, "numpy"):
        try:
            known[name] = importlib.metadata.version(name.replace("_", "-"))
        except importlib.metadata.PackageNotFoundError:
            continue
    return known


def masked_frames(opcode: int, payload: bytes, count: int) -> bytes:
    return b"".join(encode_frame(opcode, payload, os.urandom(4)) for _ in range(count))


def times_for(size: int) -> int:
    """Calls in one measured step, so that a step is long against the clock."""
    return 100 if size < 16_384 else 10 if size < MIB else 1


def parse_cases(peer: str, module: ModuleType) -> Iterator[Case]:
    for task, payload, count, opcode in (
        ("parse 1,000 frames of 32 B", b"x" * 32, 1000, 2),
        ("parse a frame of 1 MiB", b"x" * MIB, 1, 2),
        ("text of 1 MiB, ASCII", b"x" * MIB, 1, 1),
        ("text of 1 MiB, CJK", ("漢字" * (MIB // 6)).encode(), 1, 1),
    ):
        if (opcode == 1 and peer != "wsframe") or (len(payload) > 32 and peer == "gevent_websocket"):
            continue  # text is compared with its limit; gevent-websocket takes seconds for a large frame
        call = module.parse(masked_frames(opcode, payload, count))
        if len(call()) != count:
            raise RuntimeError(f"{peer} does not give {count} messages: its figure would mean nothing")
        yield Case(task, peer, count, len(payload), call)


def peer_cases(peer: str, module: ModuleType) -> Iterator[Case]:
    if hasattr(module, "parse"):
        yield from parse_cases(peer, module)
    if hasattr(module, "encode"):
        yield Case("encode frames of 32 B", peer, 100, 32, module.encode(b"x" * 32, 100))
    for kind, words in (("mask_inplace", "in place"), ("mask_copy", "copying")):
        if hasattr(module, kind):
            for size in MASK_SIZES:
                times = times_for(size)
                yield Case(f"mask {size} B {words}", peer, times, size, getattr(module, kind)(size, times))


def limit_cases() -> Iterator[Case]:
    """What the machine allows: NumPy's XOR in place; bytes.decode after an XOR at that limit."""
    try:
        import numpy as np
    except ModuleNotFoundError:
        return
    words = np.zeros(MIB // 8, np.uint64)
    mask = np.uint64(0x3D21FA373D21FA37)
    yield Case(
        "mask 1048576 B in place", "limit: NumPy XOR", 1, MIB, lambda: np.bitwise_xor(words, mask, out=words)
    )
    for name, text in (("ASCII", b"x" * MIB), ("CJK", ("漢字" * (MIB // 6)).encode())):
        data = bytearray(text)
        short = np.frombuffer(data, np.uint16)
        small = np.uint16(0)

        def unmask_and_decode(data: bytearray = data, short: object = short, small: object = small) -> str:
            np.bitwise_xor(short, small, out=short)  # type: ignore[call-overload]
            return data.decode()

        yield Case(f"text of 1 MiB, {name}", "limit: NumPy XOR + decode", 1, len(text), unmask_and_decode)


def all_cases() -> Iterator[Case]:
    for peer, module in installed_peers().items():
        if module is not None:
            yield from peer_cases(peer, module)
    yield from limit_cases()
