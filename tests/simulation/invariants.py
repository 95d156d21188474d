"""What a simulated cluster promises, written down as it happens and held against what clients receive.

It must not know sockets, workers or how a fault was made; it is told, and says what was broken.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field

EVERYBODY = "all"
SURELY_SECONDS = 20.0  # who is back by then is recovered, where no worker was killed


@dataclass(slots=True)
class Emission:
    """One event as a handler emitted it.

    Attributes:
        place: among everything that was emitted or joined, anywhere. host: where. moment: when.
        said: by whom, and under which of its numbers; nobody's has none.
        safe: it has left its worker, or that one lives; False: it may have died with it.
    """

    place: int
    room: str
    host: str
    moment: float
    said: tuple[str, int] = ("", 0)
    safe: bool = True


@dataclass(slots=True)
class Life:
    """A client as long as it is what it was: from a connection that is new to one that is not recovered.

    Attributes:
        held: rooms, each with the place from which on it was certainly in. maybe: those it may be in.
        last: of each origin, the serial number received last. latest: of each client, the highest number.
    """

    name: str
    number: int
    host: str
    held: dict[str, int] = field(default_factory=dict)
    maybe: set[str] = field(default_factory=set)
    left: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    latest: dict[str, int] = field(default_factory=dict)
    received: set[tuple[str, int]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Trouble:
    """From when to when what others say may be lost on its way to, or from, a machine; "": any."""

    host: str
    began: float
    ended: float

    def covers(self, emission: Emission, life: Life) -> bool:
        there = self.host in ("", emission.host, life.host)
        return there and self.began <= emission.moment <= self.ended


class Ledger:
    """Everything said and received, in the order in which it happened.

    Attributes:
        broken: sentences, each a promise that was not kept. happened: how often which kind of thing was.
    """

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.happened: Counter[str] = Counter()
        self.emissions: dict[str, list[Emission]] = defaultdict(list)
        self.killed: set[str] = set()  # hosts, since when some clients may be forgotten
        # Between machines each room has a channel of its own: a worker hears it only some time after a join.
        self.per_room = False
        self.streams = False  # what machines say to each other is kept for a while
        self.troubles: list[Trouble] = []  # of the way between machines
        # Secrets of clients that were lost before their worker knew from where on it hears the stream.
        self.lost_early: set[str] = set()
        self._place = 0
        self._transcript = hashlib.sha256()
        self._heard: dict[tuple[str, int], list[int]] = defaultdict(list)
        self._heard_all: set[tuple[str, int]] = set()
        self._acknowledged: set[tuple[str, int]] = set()
        self._answers: set[tuple[str, int]] = set()
        self.lines: list[str] = []
        self.keeps_lines = False

    def note(self, now: float, *words: object) -> None:
        """One line of the transcript."""
        line = f"{now:.6f} " + " ".join(map(str, words))
        self._transcript.update(line.encode() + b"\n")
        if self.keeps_lines:
            self.lines.append(line)

    @property
    def fingerprint(self) -> str:
        return self._transcript.hexdigest()

    def next_place(self) -> int:
        self._place += 1
        return self._place

    # From clients to servers

    def hear(self, name: str, connection: int, number: int) -> None:
        """A handler was called with a client's event."""
        if (name, number) in self._heard_all:
            self.broken.append(f"doubled: {name}'s event {number} was handled twice")
        earlier = self._heard[name, connection]
        if earlier and earlier[-1] > number:
            self.broken.append(f"overtaken: {name}'s event {number} was handled behind {earlier[-1]}")
        self._heard_all.add((name, number))
        earlier.append(number)

    def acknowledge(self, name: str, number: int, value: object) -> None:
        """A client got the acknowledgement of its event."""
        self.happened["acknowledged"] += 1
        self._acknowledged.add((name, number))
        if (name, number) not in self._heard_all:
            self.broken.append(f"lost: {name}'s event {number} was acknowledged and never handled")
        if value != number:
            self.broken.append(f"wrong: {name}'s event {number} was acknowledged with {value!r}")

    def answer(self, name: str, number: int, value: object) -> None:
        """A server's callback was called with a client's acknowledgement."""
        self.happened["answers"] += 1
        if (name, number) in self._answers:
            self.broken.append(f"doubled: {name}'s answer {number} came twice")
        if value != number:
            self.broken.append(f"wrong: {name}'s answer to {number} is {value!r}")
        self._answers.add((name, number))

    # From servers to clients

    def emit(self, origin: str, room: str, host: str, now: float, said: tuple[str, int] = ("", 0)) -> int:
        """An event is about to be emitted; its serial number."""
        of_origin = self.emissions[origin]
        of_origin.append(Emission(self.next_place(), room, host, now, said))
        return len(of_origin) - 1

    def unsafe(self, origin: str, serial: int) -> None:
        """What this origin has emitted from that number on may be nowhere."""
        for emission in self.emissions[origin][serial:]:
            emission.safe = False

    def is_owed(self, life: Life, emission: Emission) -> bool:
        """Must that client have got it?"""
        since = life.held.get(emission.room)
        if not emission.safe or since is None or since > emission.place:
            return False
        if life.host == emission.host or self.streams:
            return True
        return not self.per_room and not any(each.covers(emission, life) for each in self.troubles)

    def receive(self, life: Life, origin: str, serial: int, room: str) -> None:
        """A client got an event."""
        self.happened["received"] += 1
        what = f"{life.name}.{life.number} got {origin}/{serial}"
        of_origin = self.emissions.get(origin, [])
        if serial >= len(of_origin) or of_origin[serial].room != room:
            self.broken.append(f"invented: {what}, which nobody emitted")
            return
        if (origin, serial) in life.received:
            self.broken.append(f"doubled: {what} twice")
            return
        life.received.add((origin, serial))
        self.happened["from another machine"] += life.host != of_origin[serial].host
        last = life.last.get(origin, -1)
        if serial < last:
            self.broken.append(f"overtaken: {what} behind {last}")
            return
        for between in range(last + 1, serial):
            if self.is_owed(life, of_origin[between]):
                self.broken.append(f"hole: {what} and not {between}")
        life.last[origin] = serial
        self._hear_speaker(life, of_origin[serial], what)
        if room not in life.maybe and life.left.get(room, 0) < of_origin[serial].place:
            self.broken.append(f"stray: {what} in room {room}, where it is not")

    def _hear_speaker(self, life: Life, emission: Emission, what: str) -> None:
        """What a client knows to be told is not heard behind what it said later, at whatever worker."""
        speaker, number = emission.said
        if not speaker or life.host != emission.host or self.streams:
            return
        latest = life.latest.get(speaker, -1)
        if number > latest:
            life.latest[speaker] = number
        elif emission.said in self._acknowledged:
            self.broken.append(f"late: {what}, which is {speaker}'s {number}, behind its {latest}")

    def come_back(
        self, life: Life, recovered: bool, offset: str | None, lost_at: float, now: float, pid: str = ""
    ) -> None:
        """A client that was lost is told what it is; `pid`: the secret that it had."""
        self.happened["recovered" if recovered else "not recovered"] += 1
        in_time = offset is not None and now - lost_at < SURELY_SECONDS
        self.happened["lost early, and new"] += not recovered and pid in self.lost_early
        if not recovered and in_time and not self._may_forget(life, lost_at, now, pid):
            self.broken.append(f"forgotten: {life.name}.{life.number}, lost at {lost_at:.3f}, is a new one")

    def _may_forget(self, life: Life, lost_at: float, now: float, pid: str) -> bool:
        if self.streams:  # its record was away, or with one that was killed, or none could be made
            return (
                bool(self.killed)
                or pid in self.lost_early
                or any(each.began <= now and lost_at <= each.ended for each in self.troubles)
            )
        return life.host in self.killed

    def remember(self, life: Life, visits: int, told: int) -> None:
        """What the application keeps of a client; a visit that the client has not noticed may be in it."""
        if told < visits:
            self.broken.append(
                f"emptied: {life.name}.{life.number} came {visits} times, its session says {told}"
            )

    def close(self, life: Life) -> None:
        """A life that lasts at the end, when nothing is on its way any more: has it everything?"""
        self.happened["complete lives"] += 1
        for origin, of_origin in self.emissions.items():
            for serial in range(life.last.get(origin, -1) + 1, len(of_origin)):
                if self.is_owed(life, of_origin[serial]):
                    self.broken.append(f"lost: {life.name}.{life.number} never got {origin}/{serial}")
