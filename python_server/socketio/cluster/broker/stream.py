"""A stream that all machines share: one worker of each reads it, and passes on what others said there.

Must not know: how bytes travel, who is in a room, who leads its machine.

Each worker takes what stands behind its own place, from whomever it hears it first. So who begins to read
goes back to where the last of its siblings is: nothing is lost or doubled when the one before it has died.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from python_server.net.system import CallLater
from python_server.socketio.cluster.broker.foreign_messages import WireError, WireMessage, envelope_of, read
from python_server.socketio.cluster.broker.leader import HAND_OVER_SECONDS, Word
from python_server.socketio.cluster.broker.messages import ChannelReader, Incoming, LeadSaid, LeftSaid
from python_server.socketio.cluster.broker.stream_reader import Entries, StreamBatch
from python_server.socketio.cluster.port import (
    Backplane,
    Command,
    Envelope,
    PeerRequest,
    Question,
    QuestionKind,
    Receiver,
    Reply,
    StreamBegun,
    StreamMarks,
)
from python_server.socketio.packet import Codec
from python_server.socketio.recovery.event_names import PASSED_ON, TAG_CHARACTERS

# Begins the names of events whose sender gave none: their place follows, the same for every machine.
PLACED: Final = PASSED_ON * TAG_CHARACTERS
# Until siblings are asked once more, of which one has not answered.
ASK_AGAIN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class ReadStreamBatch:
    """A batch as the loop needs it: what others said, by place, and what this machine said, by name."""

    batch: StreamBatch
    items: list[tuple[int, Incoming]]
    own: dict[str, int]
    hole: bool


def read_batch(reader: ChannelReader, batch: StreamBatch) -> ReadStreamBatch:
    """Any thread; nothing in a stream raises here."""
    codec, names = reader.codec(), reader.next_offset() is not None
    items: list[tuple[int, Incoming]] = []
    own: dict[str, int] = {}
    hole = batch.hole
    for place, payload in batch.entries:
        value: Incoming | None
        try:
            if payload is None:
                raise WireError("foreign message", "an entry of the stream has one field, `data`")
            message = read(payload)
            ours = (message.host_id or "").startswith(reader.machine)
            if message.method == "emit" and message.callback is None:
                value = None
                if not ours:
                    value = _envelope_at(place, message, codec, names)
                elif message.offset is not None:
                    own.setdefault(message.offset, place)  # it may be there twice
            elif message.method == Word.HOLE:
                hole, value = hole or not ours, None
            else:
                value = reader.wire(True, message, codec, None)
                if isinstance(value, Command):
                    value = replace(value, place=place)
        except WireError as error:
            value = error
        except Exception as error:
            value = WireError("unreadable message", f"{type(error).__name__}: {error}")
        if value is not None:
            items.append((place, value))
    return ReadStreamBatch(batch, items, own, hole)


def read_events(reader: ChannelReader, entries: Entries) -> list[Envelope]:
    """Any thread: the recoverable events among the entries, also of this machine, that can be read."""
    codec = reader.codec()
    events: list[Envelope] = []
    for place, payload in entries:
        with suppress(Exception):
            message = read(payload or b"")
            if message.method == "emit" and message.callback is None and not message.volatile:
                envelope = _envelope_at(place, message, codec, names=True)
                if envelope is not None:
                    events.append(envelope)
    return events


def _envelope_at(place: int, message: WireMessage, codec: Codec, names: bool) -> Envelope | None:
    """As `envelope_of`; `names`: one that has no name is named by its place. Raises WireError."""
    naming = (lambda passed_on: f"{PLACED}{place:x}") if names else None
    envelope = envelope_of(message, codec, naming)
    return None if envelope is None else envelope._replace(place=place)


@dataclass(slots=True)
class StreamOrder:
    """One worker's place in the stream; between whoever passes it on and its own clients. The loop's thread.

    Attributes:
        inner: the other workers of this machine. handle: takes what is neither an event nor a command.
        flush: tells the newest place of the stream once all we have said is in it; None: it is away.
        is_met: do all siblings know us? last: the name of the last event we have said there.
        receiver: this worker's own clients. set before anything comes.
        place: all until there has come. received_count: passed on by us.
    """

    inner: Backplane
    handle: Callable[[list[Incoming]], None]
    flush: Callable[[Callable[[int | None], None]], None]
    is_met: Callable[[], bool]
    call_later: CallLater
    receiver: Receiver = field(init=False)
    place: int = 0
    received_count: int = 0
    last: str = ""
    begun: bool = False  # our clients know from which place on all comes here
    _asks: bool = False
    _heard: int = 0  # the last event or command, perhaps behind `place`
    _behind: list[int] = field(default_factory=list)  # the places of those that are

    # As a Receiver, what siblings say

    def receive(self, message: Envelope | Command | StreamMarks | StreamBegun) -> None:
        if isinstance(message, StreamMarks):
            self._receive_marks(message)
        elif isinstance(message, StreamBegun) or not message.place:
            self.receiver.receive(message)
        elif message.place > self._heard:
            self._heard = message.place
            self._behind.append(message.place)
            self.receiver.receive(message)

    def _receive_marks(self, marks: StreamMarks) -> None:
        if self.place and marks.begin == marks.end > self.place and not marks.hole:
            return  # for those that know no place yet; what stands before is on its way to us
        if self.place and marks.end <= self.place:
            if marks.hole:
                self.receiver.receive(marks)
            return
        # Whose pipe was full has not got all.
        count = sum(place <= marks.end for place in self._behind)
        lost = self.place != 0 and (
            marks.begin > self.place or (marks.begin == self.place and count < marks.count)
        )
        self._reach(marks.end)
        self.receiver.receive(replace(marks, hole=marks.hole or lost))

    def _reach(self, place: int) -> None:
        self.place = place
        if not self.begun:
            self.look()
        self._behind = [each for each in self._behind if each > place]
        self._heard = max(self._heard, place)

    def answer(self, question: Question, reply: Reply) -> None:
        if question.kind is QuestionKind.PLACE:
            reply(self.place)
        elif question.kind is QuestionKind.FLUSHED:
            last = self.last
            self.flush(lambda place: reply(None if place is None else [place, last]))
        else:
            self.receiver.answer(question, reply)

    # Where this worker reads the stream itself

    def take(self, came: ReadStreamBatch) -> None:
        """A batch, in its order."""
        begin, end = came.batch.begin, came.batch.end
        count = 0
        for place, value in came.items:
            if isinstance(value, Envelope | Command):
                count += 1
                if place > self._heard:
                    self._heard = place
                    self.received_count += 1
                    self.receiver.receive(value)
                self.inner.publish(value)  # a sibling may be behind us
            elif place > self._heard or isinstance(value, LeadSaid | LeftSaid):
                self.handle([value])
        marks = StreamMarks(begin, end, came.own, count, came.hole)
        self.inner.publish(marks)
        if end > self.place or came.hole:
            self._reach(max(end, self.place))
            self.receiver.receive(marks)

    def tell(self) -> None:
        """Workers have come: they are to know where we are."""
        if self.place:
            self.inner.publish(StreamMarks(self.place, self.place))

    def look(self) -> None:
        """May it be known now what siblings had said before they knew us?"""
        if self.begun or self._asks or not self.is_met():
            return
        self._asks = True
        told: list[tuple[int, str]] = []

        def heard(part: object) -> None:
            if type(part) is list and len(part) == 2 and type(part[0]) is int and type(part[1]) is str:
                told.append((part[0], part[1]))

        def flushed(silent_count: int) -> None:
            # One's place may cover what another has said since its own answer: that is to come before.
            if silent_count:
                self._ask_again()
            else:
                question = Question(QuestionKind.SETTLED, "/")
                self.inner.request(PeerRequest(question, lambda part: None, settled, HAND_OVER_SECONDS))

        def settled(silent_count: int) -> None:
            if silent_count:
                self._ask_again()
            elif not self.begun:
                self._asks, self.begun = False, True
                place = max((place for place, _ in told), default=self.place)
                self.receiver.receive(StreamBegun(place, [last for _, last in told if last]))

        self.inner.request(
            PeerRequest(Question(QuestionKind.FLUSHED, "/"), heard, flushed, HAND_OVER_SECONDS)
        )

    def _ask_again(self) -> None:
        self._asks = False
        self.call_later(ASK_AGAIN_SECONDS, self.look)

    def find_begin(self, found: Callable[[int], None]) -> None:
        """Where the worker of this machine is that has heard least of the stream; 0: nobody has heard any."""
        places = [self.place] if self.place else []

        def heard(part: object) -> None:
            if type(part) is int and part > 0:
                places.append(part)

        question = Question(QuestionKind.PLACE, "/")
        ended = lambda silent_count: found(min(places, default=0))  # noqa: E731
        self.inner.request(PeerRequest(question, heard, ended, HAND_OVER_SECONDS))
