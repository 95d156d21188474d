"""The official JavaScript clients among the light ones: what they tell goes to the same checker.

It must not know what is a fault, or what their process does.
"""

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

from light_clients import WAYS, Talk

HERE = Path(__file__).resolve().parent
PACKAGES = HERE.parent / "e2e" / "node_modules"
LINE_MAX_BYTES = 1 << 20


def missing() -> str:
    """What is not there that the official clients need."""
    if shutil.which("node") is None:
        return "node"
    return "" if (PACKAGES / "socket.io-client").is_dir() else "npm ci --prefix tests/e2e"


class OfficialClients:
    """One client for each of `ways`, in one process; each says one event after the other.

    Args:
        first: the name of the first. retries: how often a client sends again what is not acknowledged.
    """

    def __init__(
        self, first: int, room: str, talk: Talk, ways: tuple[str, ...] = WAYS, retries: int = 0
    ) -> None:
        self._first, self._room, self._talk, self._ways = first, room, talk, ways
        self._retries = retries
        self.names = range(first, first + len(ways))
        self._process: asyncio.subprocess.Process | None = None
        self._connected: set[int] = set()
        self._unacknowledged: dict[int, int] = {}

    async def live(self, url: str) -> None:
        """Until they are told to leave; an end before it is an error."""
        words = (PACKAGES, url, str(self._first), self._room, str(self._retries), *self._ways)
        process = self._process = await asyncio.create_subprocess_exec(
            "node", HERE / "official_clients.mjs", *words, stdin=PIPE, stdout=PIPE, limit=LINE_MAX_BYTES
        )
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                what, *told = json.loads(line)
                getattr(self, f"_{what.replace(' ', '_')}")(*told)
        except BaseException:
            process.kill()
            raise
        if status := await process.wait():
            raise AssertionError(f"the official clients have ended with status {status}")

    def _returned(self, name: int, recovered: bool) -> None:
        self._connected.add(name)
        self._talk.checker.returned(name, recovered)

    def _gone(self, name: int) -> None:
        self._connected.discard(name)

    def _heard(self, name: int, *told: int | str) -> None:
        self._talk.checker.heard(name, *told)  # type: ignore[arg-type]

    def _acknowledged(self, name: int, number: int, process: int, room: str, place: int) -> None:
        del self._unacknowledged[name]
        self._talk.checker.acknowledged(name, number, process, room, place)

    def _given_up(self, name: int, number: int) -> None:
        del self._unacknowledged[name]
        self._talk.counts["given up"] += 1

    def _cut(self, name: int, count: int) -> None:
        self._talk.counts["cut: official client"] += bool(count)

    def tick(self) -> None:
        if self._talk.talking:
            for name in self._connected.difference(self._unacknowledged):
                self._unacknowledged[name] = self._talk.checker.said(name)
                self._order("say", name, self._unacknowledged[name])

    def cut(self, name: int) -> None:
        self._order("cut", name)

    def leave(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _order(self, *words: int | str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(words)}\n".encode())

    @property
    def waits(self) -> bool:
        return bool(self._unacknowledged) or len(self._connected) < len(self.names)


class KeepingClients(OfficialClients):
    """Clients that number events of their own, and send each again until the server has acknowledged it."""

    def __init__(self, first: int, room: str, talk: Talk, ways: tuple[str, ...], retries: int) -> None:
        super().__init__(first, room, talk, ways, retries)
        self.kept = dict.fromkeys(self.names, 0)  # the last acknowledged number of each
        self.findings: list[str] = []

    def tick(self) -> None:
        if self._talk.talking:
            for name in self.kept.keys() - self._unacknowledged.keys():
                self._unacknowledged[name] = self.kept[name] + 1
                self._order("keep", name, self._unacknowledged[name])

    @property
    def are_connected(self) -> bool:
        return len(self._connected) == len(self.names)

    def scatter(self) -> None:
        """All come anew, each to the machine whose turn it is."""
        for name in self.names:
            self._order("again", name)

    def _kept(self, name: int, number: int, is_new: bool) -> None:
        if self._unacknowledged.pop(name, None) != number:
            self.findings.append(f"client {name}: {number} is acknowledged out of order")
        self.kept[name] = number
        self._talk.counts["kept"] += 1
        self._talk.counts["kept, and had come before"] += not is_new

    def _discarded(self, name: int, number: int, error: str) -> None:
        self._unacknowledged.pop(name, None)
        self.findings.append(f"client {name} has discarded {number}: {error}")

    def _resent(self, name: int, number: int) -> None:
        self._talk.counts["resent"] += 1
