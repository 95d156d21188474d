"""Session ids: secrets that begin with where their session lives. Sans-I/O.

Must not know: sessions, connections, or how a home is reached.

One process alone needs no beginning: 20 characters of base64url. Of the workers of one machine each has its
index, "3.": a point is not in base64url. Machines that share a broker have a tag before it, "Zk3b.3."; so
has one whose operator gave it a tag, by which a balancer finds it: "web-1.3.".
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
# Of a tag that nobody has chosen. 24 bits: of a hundred machines two share one once in 3,000 clusters; the
# cost is one more hop.
TAG_CHARACTERS: Final = 4
# The names of pods and hosts; a point would end it.
TAG: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
ELSEWHERE: Final = (
    "Session ID unknown: the session lives on another machine, or this server was started anew. A balancer "
    "in front of several machines must send each session to its machine (by the beginning of the session id: "
    "--machine-tag; or by affinity: ip_hash in nginx, a sticky cookie elsewhere), or the machines must pass "
    "requests on to each other (--cluster-listen), or the clients must use WebSocket only "
    '(transports: ["websocket"])'
)
NAME: Final = re.compile(rf"(?:({TAG.pattern})\.)?([0-9]{{1,9}})\.[A-Za-z0-9_-]{{20}}\Z")


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
        tag: of this machine among several, "" for a machine alone.
        entropy: so many bytes that nobody can guess.
    """

    def __init__(
        self, index: int | None = None, tag: str = "", entropy: Callable[[int], bytes] = REAL.entropy
    ) -> None:
        self._entropy = entropy
        self._index = index if index is not None or not tag else 0
        self._tag = read_tag(tag) or None
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

    def home_of(self, name: str) -> tuple[str, int] | None:
        """The (tag, index) of the worker of another machine that has made a name; None for one of ours."""
        match = self._read(name)
        return None if match is None or match[1] in (None, self._tag) else (match[1], int(match[2]))

    def reserves(self, word: object) -> bool:
        """May it be a name that another process has made? Alone there is no other."""
        return type(word) is str and self.may_be_made(word.rpartition("#")[2])

    def may_be_made(self, word: str) -> bool:
        """Has it the form of a name that this process, or another one, has made?"""
        return self._read(word) is not None

    def made_on_this_machine(self, name: str) -> bool:
        """Has a worker of this machine made that name, as far as one can see?"""
        match = self._read(name)
        return match is not None and match[1] == self._tag

    def _read(self, name: str) -> re.Match[str] | None:
        return None if self._index is None else NAME.match(name)


def read_tag(text: str) -> str:
    """A tag that an operator has chosen; "" is none. Raises ValueError."""
    if text and TAG.fullmatch(text) is None:
        raise ValueError(f"a machine's tag has 1 to 63 letters, digits, - or _, not {text!r}")
    return text


def tag_of(host_id: str) -> str:
    """The tag of a machine that was given none."""
    return urlsafe_b64encode(hashlib.sha256(host_id.encode()).digest()).decode("ascii")[:TAG_CHARACTERS]
