"""One peer at one task of the codec's micro benchmarks, and which peers are installed.

It must not time anything: test_codec.py and ratios.py do.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).parent.parent))

# Ours first: the forms of `wsframe` are what others are held against.
PEERS = (
    "wsframe",
    "wsframe_connection",
    "wsframe_buffer",
    "picows",
    "aiohttp",
    "websockets",
    "wsproto",
    "wsaccel",
    "gevent_websocket",
)
PACKAGES = ("wsframe", *(name for name in PEERS if not name.startswith("wsframe")), "uvloop", "numpy")
Peers = Mapping[str, ModuleType]


@dataclass(frozen=True, slots=True)
class Case:
    """One peer at one task. `call` does `items` items, of `payload_bytes` altogether.

    `wire_bytes` is what it makes of them where that differs from peer to peer. `clock` tells the CPU seconds
    of whoever does the work; `close` ends what was begun for the case.
    """

    peer: str
    items: int
    payload_bytes: int
    call: Callable[[], object]
    wire_bytes: int | None = None
    clock: Callable[[], float] = time.thread_time
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Task:
    """`cases` makes those of the peers that can do it; what a task needs is made only then."""

    name: str
    cases: Callable[[Peers], Iterator[Case]]


def is_ours(name: str) -> bool:
    return name.startswith("wsframe")


def is_limit(name: str) -> bool:
    return name.startswith("limit")


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
    """Of each package that is installed."""
    known = {}
    for name in PACKAGES:
        try:
            known[name] = importlib.metadata.version(name.replace("_", "-"))
        except importlib.metadata.PackageNotFoundError:
            continue
    return known
