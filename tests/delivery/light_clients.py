"""Light Socket.IO clients: they say numbered events, tell a checker what they hear, and always come back.

They must not know what is a fault. Like the official client they send nothing twice, give up what was not
acknowledged when the connection ended, and tell `pid` and offset when they return.
"""

import asyncio
import json
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random
from urllib.parse import urlsplit

import orjson
from connections import Cut, PollingConnection, WebSocketConnection, Wire
from delivery_checker import Checker

WAYS = ("polling", "upgrade", "websocket")
CUTS = ("end", "reset", "half a message", "unread")
OUTSTANDING_COUNT = 32  # events of one client that are not acknowledged yet
UNREAD_SECONDS = 0.02, 0.3
HISTORY_COUNT = 60
WAITS_COUNT = 8  # that are told
RETURN_SECONDS = 0.02, 0.2
PACKETS = "\x1e"


@dataclass(slots=True)
class Talk:
    """What all clients are to say: at full speed up to the quota, then slowly, as long as they talk.

    Attributes:
        holds: slowly for now, whatever the quota.
    """

    checker: Checker
    quota: int = 0
    talking: bool = False
    holds: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    longest_wait_seconds: float = 0.0  # for an acknowledgement, or a recovery
    longest_waits: list[str] = field(default_factory=list)  # each longer than those before it, the last ones

    def waited(self, since: float, what: str) -> None:
        seconds = time.monotonic() - since
        if seconds > self.longest_wait_seconds:
            self.longest_wait_seconds = seconds
            self.longest_waits = [
                *self.longest_waits[1 - WAITS_COUNT :],
                f"{seconds:.1f} s since {since:.3f}: {what}",
            ]

    @property
    def hurries(self) -> bool:
        return not self.holds and self.checker.counts["said"] < self.quota


class LightClient:
    """One client, which lives until it is told to leave.

    Args:
        name: its number. way: of WAYS. room: which it joins, and to which it speaks.
    """

    def __init__(self, name: int, way: str, room: str, url: str, talk: Talk, random: Random) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._place = (parts.hostname, parts.port)
        self.name, self.way, self.room, self._talk, self._random = name, way, room, talk, random
        self._pid, self._offset, self._asked_at = "", "", 0.0
        self._unacknowledged: dict[int, float] = {}  # and when it was said
        self._packets: list[str] = []
        self._wakes_post = asyncio.Event()
        self._websocket: WebSocketConnection | None = None
        self._connections: list[PollingConnection] = []
        self._wires: list[Wire] = []
        self._pauses = False
        self.connected = False
        self.left = False
        self.history: deque[str] = deque(maxlen=HISTORY_COUNT)  # for the report

    # Its life: one Engine.IO session after the other

    async def live(self) -> None:
        while not self.left:
            try:
                await (self._by_websocket() if self.way == "websocket" else self._by_polling())
            except* (OSError, EOFError) as errors:
                self._talk.counts["ended connections"] += 1
                del errors
            self._forget()
            await asyncio.sleep(self._random.uniform(*RETURN_SECONDS))

    async def _by_websocket(self) -> None:
        self._websocket = await WebSocketConnection.open(*self._place, "", self._wires.append)
        await self._read_websocket()

    async def _by_polling(self) -> None:
        self._connections = [PollingConnection(*self._place) for _ in range(2)]
        getter, poster = self._connections
        opening = json.loads((await getter.ask("GET", ""))[1:])
        query = f"&sid={opening['sid']}"
        self._connect()
        async with asyncio.TaskGroup() as tasks:
            polls = [
                tasks.create_task(self._poll(getter, query)),
                tasks.create_task(self._post(poster, query)),
            ]
            if self.way == "upgrade":
                await self._upgrade(query, polls)

    async def _poll(self, connection: PollingConnection, query: str) -> None:
        while not self._pauses:
            for packet in (await connection.ask("GET", query)).split(PACKETS):
                self._receive(packet)
            self._send()

    async def _post(self, connection: PollingConnection, query: str) -> None:
        while not self._pauses:
            await self._wakes_post.wait()
            self._wakes_post.clear()
            if self._packets and not self._pauses:
                packets, self._packets = self._packets, []
                await connection.ask("POST", query, PACKETS.join(packets))

    async def _upgrade(self, query: str, polls: list[asyncio.Task[None]]) -> None:
        websocket = await WebSocketConnection.open(*self._place, query, self._wires.append)
        websocket.send(["2probe"])
        if await websocket.receive() != ["3probe"]:
            raise AssertionError("no answer to the probe")
        self._pauses = True
        self._wakes_post.set()
        await asyncio.gather(*polls)  # the server answers an open poll
        websocket.send(["5"])
        self._websocket, self._pauses = websocket, False
        self._talk.counts["upgrades"] += 1
        self._send()
        await self._read_websocket()

    async def _read_websocket(self) -> None:
        assert self._websocket is not None
        while True:
            for packet in await self._websocket.receive():
                self._receive(packet)
            self._send()

    def _forget(self) -> None:
        """What is not acknowledged is given up; nobody knows whether it was told."""
        self._note(f"ends behind {self._offset}, {len(self._unacknowledged)} not acknowledged")
        self.connected = False
        self._websocket, self._pauses = None, False
        for wire in self._open_wires():
            wire.cut(reset=False)
        self._connections, self._wires = [], []
        for said_at in self._unacknowledged.values():
            self._talk.waited(said_at, f"client {self.name}, {self.way}: given up")
        self._talk.counts["given up"] += len(self._unacknowledged)
        self._unacknowledged.clear()
        self._packets.clear()

    def _open_wires(self) -> list[Wire]:
        return [*self._wires, *(each.wire for each in self._connections if each.wire is not None)]

    # What it hears

    def _connect(self) -> None:
        auth = {"room": self.room}
        if self._pid:
            auth |= {"pid": self._pid, "offset": self._offset} if self._offset else {"pid": self._pid}
        self._asked_at = time.monotonic()
        self._packets.append(f"40{json.dumps(auth)}")
        self._send()

    def _receive(self, packet: str) -> None:
        kind = packet[:2]
        if kind == "42":
            _, (process, room, place, speaker, number), self._offset = orjson.loads(packet[2:])
            self._talk.checker.heard(self.name, process, room, place, speaker, number)
        elif kind == "43":
            start = packet.index("[")
            number = int(packet[2:start])
            if number in self._unacknowledged:  # else it is ignored, as the official client does
                self._talk.waited(
                    self._unacknowledged.pop(number), f"client {self.name}, {self.way}: acknowledged"
                )
                self._talk.checker.acknowledged(self.name, number, *orjson.loads(packet[start:])[0])
            self._speak()
        elif kind == "40":
            pid = json.loads(packet[2:])["pid"]
            self._note(f"{'recovered' if pid == self._pid else 'anew'}, asked behind {self._offset}")
            self._talk.checker.returned(self.name, pid == self._pid)
            self._pid, self.connected = pid, True
            self._talk.waited(self._asked_at, f"client {self.name}, {self.way}: {self.history[-1]}")
            self._speak()
        elif kind == "2":
            self._packets.append("3")
        elif kind[:1] == "0":  # of a WebSocket
            self._connect()
        elif kind[:1] == "1":
            raise Cut("the server has closed the session")
        elif kind[:1] != "6":
            raise AssertionError(f"not expected: {packet}")

    def _note(self, what: str) -> None:
        self.history.append(f"{time.monotonic():.3f} {what}")

    # What it says

    def tick(self) -> None:
        """Called again and again: go on speaking."""
        if self.connected and self._talk.talking:
            self._speak()
            if not self._unacknowledged:
                self._say()
            self._send()

    def _speak(self) -> None:
        while self._talk.hurries and self._talk.talking and len(self._unacknowledged) < OUTSTANDING_COUNT:
            self._say()

    def _say(self) -> None:
        number = self._talk.checker.said(self.name)
        self._unacknowledged[number] = time.monotonic()
        self._packets.append(f'42{number}["tell","{self.room}",{self.name},{number}]')

    def _send(self) -> None:
        if not self._packets or self._pauses:
            return
        if self._websocket is None:
            self._wakes_post.set()
        else:
            packets, self._packets = self._packets, []
            self._websocket.send(packets)

    @property
    def waits(self) -> bool:
        """Is it away, or has it said what is not acknowledged yet?"""
        return bool(self._unacknowledged) or not self.connected

    # Its faults

    async def cut(self, how: str) -> None:
        """End its TCP connections; what is on the way is lost."""
        self._note(f"cut: {how}")
        wires = self._open_wires()
        if self.way == "polling" and self._random.random() < 0.5:
            wires = [self._random.choice(wires)] if wires else []  # the poll or the post alone
        if how == "unread":
            for wire in wires:
                wire.stop_reading()
            await asyncio.sleep(self._random.uniform(*UNREAD_SECONDS))
        partial = b"" if how != "half a message" else WebSocketConnection.partial
        if partial and self._websocket is None:
            partial = PollingConnection.partial
        for wire in wires:
            wire.cut(how in ("reset", "unread"), partial)
        self._talk.counts[f"cut: {how}"] += bool(wires)

    def leave(self) -> None:
        self.left = True
        for wire in self._open_wires():
            wire.cut(reset=False)
