"""Servers that nothing in an application carries: the application itself may call their `handle_request`.

Must not know: what they speak, how they are served.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final, Protocol
from weakref import WeakSet


class CalledServer(Protocol):
    """Port: one of them."""

    default_path: str

    def mount(self, path: str) -> Any: ...  # see `mounts`


# Those of this process. Who mounts one takes it out.
UNMOUNTED: Final[WeakSet[CalledServer]] = WeakSet()


def mounts_of_called(taken: set[str]) -> Iterator[Any]:
    """Each at its default path, where that is free and no other asks for it; its holder lets all in."""
    servers = sorted(UNMOUNTED, key=lambda server: server.default_path)
    for default_path, group in groupby(servers, lambda server: server.default_path):
        path, (server, *others) = f"/{default_path}/", group
        if not others and path not in taken:  # else `handle_request` says what to do
            mount = server.mount(path)
            mount.holder = server
            yield mount
