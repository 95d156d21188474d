"""What was said, acknowledged and heard, and what of it must not be: a loss, a second time, another order.

It must not know sockets, clients or servers: it is told what happened, in the order in which it was seen.

An event has two names: (speaker, number) from its speaker, and (process, room, place) from the worker that
told it. Places of one process and room have no gaps, so a hole shows at once. It is excused only if its
listener was told `recovered: false` meanwhile, as far as what is missing was said before that return.
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

FINDINGS_MAX_COUNT = 50
TOLD, ACKNOWLEDGED = b"\1", b"\2"  # what is known of a speaker's event
Stream = tuple[int, str]  # a process, and one of its rooms


class Heard(NamedTuple):
    """What a listener has heard of one stream: the last place, and how often it had begun anew by then."""

    place: int
    beginnings: int


NOTHING = Heard(0, 0)


@dataclass(slots=True)
class Listener:
    """One client: its rooms; how often it has begun anew, and when last; how often it was recovered."""

    name: int
    rooms: set[str]
    beginnings: int = 0
    began_at: int = 0
    returned_at: int = 0
    recoveries: int = 0
    heard_count: int = 0
    streams: dict[Stream, Heard] = field(default_factory=dict)
    latest: dict[tuple[int, int], int] = field(default_factory=dict)  # number of each speaker (and process)


@dataclass(slots=True)
class Hole:
    """Places that a listener has missed around a return with `recovered: false`."""

    listener: int
    stream: Stream
    places: range
    began_at: int


class Checker:
    """Told of everything; `findings` says what must not have been, `disordered` what came twice or too late.

    Args:
        rooms: of each listener.
        across_machines: the speakers wander between machines, so the order of their events is that of each
            process: another machine's are heard when they have been read, one's own at once.
    """

    def __init__(self, rooms: list[set[str]], across_machines: bool = False) -> None:
        self._across_machines = across_machines
        self.findings: list[str] = []
        self.disordered: list[str] = []
        self.suspects: set[int] = set()  # the clients of findings
        self.counts: Counter[str] = Counter()
        self.listeners = [Listener(name, each) for name, each in enumerate(rooms)]
        self._now = self._died_at = 0
        self._dead: set[int] = set()  # processes that were killed
        self._said_at = [array("Q", [0]) for _ in rooms]  # of each speaker, by number
        self._is_told = [bytearray(1) for _ in rooms]  # TOLD: it has a place
        self._names: dict[Stream, array[int]] = {}  # of each place: speaker << 32 | number, 0 if unknown
        self._acknowledged: dict[Stream, int] = {}  # the last place
        self._holes: list[Hole] = []

    def said(self, speaker: int) -> int:
        """A speaker says its next event; returns the number."""
        self._now += 1
        self._said_at[speaker].append(self._now)
        self._is_told[speaker].append(0)
        self.counts["said"] += 1
        return len(self._said_at[speaker]) - 1

    def acknowledged(self, speaker: int, number: int, process: int, room: str, place: int) -> None:
        """The speaker knows that its event was told under that place."""
        self.counts["acknowledged"] += 1
        stream = (process, room)
        self._name(stream, place, speaker, number)
        self._is_told[speaker][number : number + 1] = ACKNOWLEDGED
        if place > self._acknowledged.get(stream, 0):
            self._acknowledged[stream] = place

    def heard(self, name: int, process: int, room: str, place: int, speaker: int, number: int) -> None:
        """A listener has heard an event."""
        listener, stream = self.listeners[name], (process, room)
        listener.heard_count += 1
        self._name(stream, place, speaker, number)
        last = listener.streams.get(stream, NOTHING)
        if place <= last.place:
            self._find(name, f"heard place {place} of {stream} after place {last.place}", self.disordered)
            return
        if place > last.place + 1:
            self._missed(listener, last, stream, range(last.place + 1, place))
        listener.streams[stream] = Heard(place, listener.beginnings)
        teller = (speaker, process if self._across_machines else 0)
        before = listener.latest.get(teller, 0)
        if number > before:
            listener.latest[teller] = number
        elif self._is_told[speaker][number : number + 1] == ACKNOWLEDGED:
            what = f"heard {number} of speaker {speaker}, from {stream}, after {before}"
            self._find(name, what, self.disordered)
        else:  # its connection ended under it, and the speaker may have said the next one meanwhile
            self.counts["given up, and heard after a later one"] += 1

    def returned(self, name: int, recovered: bool) -> None:
        """A listener is connected, for the first time or again."""
        self._now += 1
        listener = self.listeners[name]
        if recovered:
            listener.recoveries += 1
        else:
            if listener.beginnings and self._died_at < listener.returned_at:
                self.counts["anew without a death"] += 1
                self.suspects.add(name)
            listener.beginnings += 1
            listener.began_at = self._now
        listener.returned_at = self._now

    def died(self, process: int | None = None) -> None:
        """A worker is killed now: clients may begin anew, and what it told last may be nowhere."""
        self._now += 1
        self._died_at = self._now
        if process is not None:
            self._dead.add(process)

    def lost_with(self, process: int, kept: dict[str, int]) -> None:
        """A process was killed, and what it had told is owed up to these places of its rooms only."""
        for stream, last in self._acknowledged.items():
            if stream[0] == process and last > kept.get(stream[1], 0):
                self.counts["lost with a killed process"] += last - kept.get(stream[1], 0)
                self._acknowledged[stream] = kept.get(stream[1], 0)

    def most_behind(self) -> int:
        """How many events the slowest listener lacks of those that others have heard."""
        newest: dict[Stream, int] = {}
        for listener in self.listeners:
            for stream, heard in listener.streams.items():
                newest[stream] = max(heard.place, newest.get(stream, 0))
        return max(
            sum(
                newest[stream] - heard.place
                for stream, heard in listener.streams.items()
                if heard.beginnings == listener.beginnings
            )
            for listener in self.listeners
        )

    @property
    def processes(self) -> set[int]:
        """Those that have told anything."""
        return {process for process, _ in self._names}

    def waits(self) -> bool:
        """Has any listener not yet heard all that it should of what was acknowledged?"""
        return any(
            heard.beginnings == listener.beginnings or self._owed(stream, places, listener.began_at)
            for listener, heard, stream, places in self._tails()
            if stream[0] not in self._dead
        )

    def finish(self) -> None:
        """Everything was said and had its time to arrive."""
        for listener, heard, stream, places in self._tails():
            if stream[0] in self._dead:
                self.counts["lost with the killed worker"] += len(places)
            else:
                self._missed(listener, heard, stream, places)
        for hole in self._holes:
            self.counts["missed, and told so"] += len(hole.places)
            if owed := self._owed(hole.stream, hole.places, hole.began_at):
                self._find(
                    hole.listener,
                    f"missed {len(owed)} events of {hole.stream}, the first place "
                    f"{owed[0]}, said after it had begun anew",
                )
        self._holes = []

    def _tails(self) -> Iterator[tuple[Listener, Heard, Stream, range]]:
        """What was acknowledged behind the last that a listener has heard."""
        for stream, last in self._acknowledged.items():
            for listener in self.listeners:
                heard = listener.streams.get(stream, NOTHING)
                if stream[1] in listener.rooms and heard.place < last:
                    yield listener, heard, stream, range(heard.place + 1, last + 1)

    def _missed(self, listener: Listener, heard: Heard, stream: Stream, places: range) -> None:
        if heard.beginnings == listener.beginnings:
            what = f"missed places {places[0]} to {places[-1]} of {stream} and was not told"
            self._find(listener.name, what)
        else:
            self._holes.append(Hole(listener.name, stream, places, listener.began_at))

    def _owed(self, stream: Stream, places: range, began_at: int) -> list[int]:
        """Which of these places were said after that."""
        names = self._names[stream]
        known = ((place, *divmod(names[place], 1 << 32)) for place in places if place < len(names))
        return [
            place for place, speaker, number in known if number and self._said_at[speaker][number] > began_at
        ]

    def _name(self, stream: Stream, place: int, speaker: int, number: int) -> None:
        """Two names of one event: the same from everybody, and no third."""
        names = self._names.get(stream)
        if names is None:
            names = self._names[stream] = array("Q")
        if place >= len(names):
            names.extend([0] * (place + 1 - len(names)))
        name = speaker << 32 | number
        if names[place] == name:
            return
        if names[place]:
            other = divmod(names[place], 1 << 32)
            self._find(speaker, f"said {number}: place {place} of {stream}, which is {other} as well")
        if not 0 < number < len(self._said_at[speaker]):
            self._find(speaker, f"never said {number}")
        elif self._is_told[speaker][number]:
            self._find(speaker, f"said {number}, which was handled twice, now as {place} of {stream}")
        else:
            self._is_told[speaker][number : number + 1] = TOLD
            names[place] = name

    def _find(self, client: int, what: str, among: list[str] | None = None) -> None:
        among = self.findings if among is None else among
        self.counts["findings" if among is self.findings else "twice or late"] += 1
        self.suspects.add(client)
        if len(among) < FINDINGS_MAX_COUNT:
            among.append(f"client {client} {what}")
