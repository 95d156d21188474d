"""Session ids: secrets that begin with where their session lives. Sans-I/O.

Must not know: sessions, connections, or how a home is reached.

One process alone needs no beginning: 20 characters of base64url. Of the workers of one machine each has its
index, "3.": a point is not in base64url. Machines that share a broker have a tag before it, "Zk3b.3.".
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol

from python_server.connection.exchange import Exchange
from python_server.net.system import REAL, token

SECRET_BYTES: Final = 15  # 20 characters of base64url, as both reference servers
# 24 bits: of a hundred machines two have the same tag once in 3,000 clusters; the cost is one more hop.
TAG_CHARACTERS: Final = 4
ELSEWHERE: Final = (
    "Session ID unknown: the session lives on another machine, or this server was started anew. A balancer "
    "in front of several machines must send each client to one machine (affinity: ip_hash in nginx, a sticky "
    'cookie elsewhere), or the clients must use WebSocket only (transports: ["websocket"])'
)
NAME: Final = re.compile(r"(?:([A-Za-z0-9_-]{4})\.)?([0-9]{1,9})\.[A-Za-z0-9_-]{20}\Z")


class Home(Enum):
    """Where a session lives that is not known here."""

    NOWHERE = auto()  # it has ended, or never was
    SIBLING = auto()  # another worker of this machine
    ELSEWHERE = auto()  # another machine, or an earlier run of this one


class SessionHomes(Protocol):
    """Port: how a request reaches the sibling that is to answer it."""

    def send_home(self, exchange: Exchange, index: int) -> bool:
        """Give the connection to the worker of that index; False when there is none."""

    def send_on(self, exchange: Exchange) -> bool:
        """Give the connection to a worker that stays; False when there is none."""


class SessionIds:
    """Makes names and reads those that others have made.

    Args:
        index: of this worker on its machine, None for a process alone.
        host_id: of this machine among those that share a broker, "" without a broker.
        entropy: so many bytes that nobody can guess.
    """

    def __init__(
        self, index: int | None = None, host_id: str = "", entropy: Callable[[int], bytes] = REAL.entropy
    ) -> None:
        self._entropy = entropy
        self._index = index if index is not None or not host_id else 0
        self._tag = tag_of(host_id) if host_id else None
        self.prefix: str = "" if self._index is None else f"{self._index}."
        if self._tag is not None:
            self.prefix = f"{self._tag}.{self.prefix}"

    def make(self) -> str:
        """A new name, unguessable."""
        return self.prefix + token(SECRET_BYTES, self._entropy)

    def find(self, name: str) -> tuple[Home, int]:
        """(where the bearer of a name lives that is not known here, the index of that sibling or 0)."""
        match = self._read(name)
        if match is None or (match[1] is None) is not (self._tag is None):
            return Home.NOWHERE, 0
        if match[1] != self._tag:
            return Home.ELSEWHERE, 0
        index = int(match[2])
        return (Home.NOWHERE, 0) if index == self._index else (Home.SIBLING, index)

    def reserves(self, word: object) -> bool:
        """May it be a name that another process has made? Alone there is no other."""
        return type(word) is str and self._read(word.rpartition("#")[2]) is not None

    def made_on_this_machine(self, name: str) -> bool:
        """Has a worker of this machine made that name, as far as one can see?"""
        match = self._read(name)
        return match is not None and match[1] == self._tag

    def _read(self, name: str) -> re.Match[str] | None:
        return None if self._index is None else NAME.match(name)


def tag_of(host_id: str) -> str:
    """The short form of a machine's name."""
    return urlsafe_b64encode(hashlib.sha256(host_id.encode()).digest()).decode("ascii")[:TAG_CHARACTERS]
