"""What a stream of a room has missed that comes back with the id of the last event it has got.

Must not know: HTTP, how an event is written, how a question travels; what was missed the log says.

An id is the same for all streams of a room in a process. It says how far that process had heard all that is
said: `KEY.TAG.POSITION.`, in its own log of that tag; or, where machines share a stream, `KEY..PLACE.NAMES`,
until that place of it, and those events behind. It grants nothing: the room is that of the view. Nothing is
kept of a stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final, NamedTuple, cast
from zlib import crc32

import msgspec

from python_server.socketio.cluster.port import (
    Envelope,
    LongAnswer,
    PeerRequest,
    Question,
    QuestionKind,
    Reply,
    Room,
)
from python_server.socketio.cluster.requests import convert, plain
from python_server.socketio.recovery.event_names import TAG_CHARACTERS
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.record import ComingRecords, RecoveryRecord, found_parts
from python_server.socketio.recovery.restore import (
    ASK_AGAIN_MAX_COUNT,
    FETCH_SECONDS,
    LOOKUPS_MAX_COUNT,
    Restorer,
)
from python_server.socketio.recovery.stream_log import Reach, StreamLog
from python_server.socketio.recovery.stream_record import VERSION, StreamRecord
from python_server.socketio.recovery.stream_restore import REACH_MAX_SECONDS, REACH_SECONDS, StreamRestorer
from python_server.socketio.services import HubServices
from python_server.socketio.values import JSONValue, RoomName

# The names of a hundred processes have 2 KiB; a request's head is bound besides.
ID_MAX_CHARACTERS: Final = 8192
# Nobody will be able to say what came behind it; who comes back with it is told so.
NO_PLACE: Final = "-"


class Hole(Enum):
    """Why it is not known what a stream has missed."""

    UNKNOWN = "unknown id"
    OTHER = "id of another room"
    EXPIRED = "too long ago, or of another server"
    TOO_MUCH = "more than is sent at once"
    NO_LOG = "connection_state_recovery is off"


@dataclass(eq=False, slots=True)
class ReturningStream:
    """Who hears a room.

    Attributes:
        room: None: what is emitted to everybody. sid: a name that no client has.
        last_id: with which its client comes back; None: it is new.
    """

    namespace: str
    room: RoomName
    sid: str
    last_id: str | None


Told = Callable[[list[Envelope] | Hole], None]


class BehindQuestion(msgspec.Struct, forbid_unknown_fields=True):
    """What was said to a room behind that position of the log of that tag? Answered by a record; None:
    it is not here, or has forgotten that."""

    tag: str
    position: int
    room: Room | None
    sid: str


class Position(NamedTuple):
    """What an id says."""

    key: str
    tag: str
    number: int
    names: list[str]


def read_id(id: str) -> Position | None:
    """None: it is none."""
    try:
        key, tag, number, names = id[:ID_MAX_CHARACTERS].split(".")
        place = Position(key, tag, int(number, 16), names.split(",") if names else [])
    except ValueError:
        return None
    return place if 0 <= place.number < 1 << 63 else None


class Resumption:
    """Of one server in this process. Every method belongs to the loop's thread.

    Args:
        log: None: nothing is kept. restorer: of that log.
    """

    def __init__(
        self,
        services: HubServices,
        log: RecoveryLog | StreamLog | None,
        restorer: Restorer | StreamRestorer | None,
    ) -> None:
        self._services = services
        self._log = log
        self._restorer = restorer
        self._waiting: dict[ReturningStream, Told] = {}

    def id_of(self, namespace: str, room: RoomName) -> str:
        """Behind all that was heard until now."""
        log = self._log
        if isinstance(log, RecoveryLog):
            return f"{_key(namespace, room)}.{log.tag}.{log.events.position:x}."
        if log is None or not log.has_begun:
            return NO_PLACE
        return f"{_key(namespace, room)}..{log.place:x}.{','.join(log.heard_names())}"

    def find(self, stream: ReturningStream, told: Told) -> None:
        """Tell what it has missed until that moment, at once or once others have answered."""
        log, place = self._log, read_id(stream.last_id or "")
        if log is None:
            told(Hole.NO_LOG)
        elif place is None:
            told(Hole.UNKNOWN)
        elif place.key != _key(stream.namespace, stream.room):
            told(Hole.OTHER)
        elif len(self._waiting) >= LOOKUPS_MAX_COUNT:
            told(Hole.EXPIRED)
        else:
            self._waiting[stream] = told
            if isinstance(log, StreamLog):
                self._reach(log, stream, place, self._services.now() + FETCH_SECONDS)
            else:
                self._look(log, stream, place)

    def give_up(self, stream: ReturningStream) -> None:
        """It has gone."""
        self._waiting.pop(stream, None)

    def _tell(self, stream: ReturningStream, found: list[Envelope] | Hole) -> None:
        told = self._waiting.pop(stream, None)
        if told is not None:
            told(found)

    # A machine with its own log

    def _look(
        self,
        log: RecoveryLog,
        stream: ReturningStream,
        place: Position,
        again_count: int = ASK_AGAIN_MAX_COUNT,
    ) -> None:
        asked = BehindQuestion(place.tag, place.number, cast("Room | None", stream.room), stream.sid)
        answers, coming = [self._found(log, stream.namespace, asked)], ComingRecords()

        def heard(part: JSONValue) -> None:
            if part is not None:
                answers.append(coming.take(part))

        def ended(missing_count: int) -> None:
            found = next(filter(None, answers), None)
            if found is None and missing_count and again_count:  # the successor of one may have it now
                self._look(log, stream, place, again_count - 1)
            elif (
                found is None or stream not in self._waiting or not log.take_over(found, self._services.now())
            ):
                self._tell(stream, Hole.EXPIRED)
            else:
                self._tell(stream, [envelope for _, envelope in found.missed_elsewhere])

        if answers[0] is not None or not log.hears_all:
            ended(0)
        else:
            question = Question(QuestionKind.FETCH, stream.namespace, plain(asked))
            self._services.backplane.request(PeerRequest(question, heard, ended, FETCH_SECONDS))

    def _found(self, log: RecoveryLog, namespace: str, asked: BehindQuestion) -> RecoveryRecord | None:
        if not log.hears_all:
            return None
        client = RecoveryRecord(namespace, asked.sid, "", rooms={} if asked.room is None else {asked.room: 0})
        return log.find_behind(asked.tag, asked.position, client, self._services.now())

    def answer(self, question: Question, reply: Reply) -> bool:
        """False: it asks who a client was. Raises Malformed."""
        log, data = self._log, question.data
        if not isinstance(log, RecoveryLog) or not isinstance(data, dict) or "tag" not in data:
            return False
        found = self._found(log, question.namespace, convert(data, BehindQuestion))
        if found is None:
            reply(None)
        else:
            reply(LongAnswer(found_parts(log.tag, found, self._services.complain), ended=lambda: None))
        return True

    # Machines that share a stream

    def _reach(
        self,
        log: StreamLog,
        stream: ReturningStream,
        place: Position,
        deadline: float,
        wait_seconds: float = REACH_SECONDS,
        can_read: bool = True,
        lacks_names: bool = False,
    ) -> None:
        """Once all has come here that it had got elsewhere. `lacks_names`: that was all that was awaited; so
        the log is not gone through again for a name that nobody has given."""
        if stream not in self._waiting:
            return
        rooms = [] if stream.room is None else [cast("Room", stream.room)]
        own = {name[:TAG_CHARACTERS]: name for name in place.names}
        record = StreamRecord(VERSION, stream.namespace, stream.sid, "", None, rooms, place.number, own)
        missed = Reach.LATER if lacks_names and not log.knows(place.names) else log.missed(record, None)
        if isinstance(missed, list) and not log.knows(place.names):
            missed, lacks_names = Reach.LATER, True
        again = partial(self._reach, log, stream, place, deadline)
        if isinstance(missed, list):
            self._tell(stream, missed)
        elif missed is Reach.NEVER or not can_read or self._services.now() >= deadline:
            self._tell(stream, Hole.EXPIRED)
        elif missed is Reach.LATER:
            wait_longer = partial(again, min(2 * wait_seconds, REACH_MAX_SECONDS), lacks_names=lacks_names)
            self._services.call_later(wait_seconds, wait_longer)
        else:
            assert isinstance(self._restorer, StreamRestorer)
            self._restorer.read_again(partial(again, wait_seconds))


def _key(namespace: str, room: RoomName) -> str:
    """An id of another room says nothing."""
    return f"{crc32(repr((namespace, room)).encode('utf-8', 'replace')):08x}"
