"""What travels between the processes of one server, and the port through which it does.

Must not know: who is in a room, how a message is written on a pipe or a broker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from python_server.engineio.packet import Prepared
from python_server.socketio.values import JSONValue, RoomName

# A room's name as it travels. One process alone takes any hashable value.
Room = str | int
# Every process reads an integer of this size; JSON readers differ beyond it.
ROOM_LIMIT = 2**63
# How far ahead a client's credentials may end: who names a later moment has most likely counted milliseconds.
EXPIRY_MAX_SECONDS = 10 * 365 * 86_400.0


class Envelope(NamedTuple):
    """One message and whom it is for: what is delivered here, and what travels to other processes.

    A tuple, because every emit makes one: a frozen dataclass of six fields costs twelve times the time.

    Attributes:
        rooms: a client in any of them receives it once; None is the whole namespace.
        excepted: rooms, or sids, whose members do not receive it.
        prepared: encoded once, with the offset as its last argument; `Codec.data_text` reads it again.
        offset: the event's name in the recovery log, the same in every process.
        volatile: dropped for a client that could not take it at once.
        traceparent: the span that sends it (W3C Trace Context), of a worker that traces.
        place: of one that another machine said, where it stands in their stream; 0 where there is none.
    """

    namespace: str
    rooms: tuple[Any, ...] | None
    excepted: tuple[Any, ...]
    prepared: Prepared
    offset: str | None = None
    volatile: bool = False
    traceparent: str | None = None
    place: int = 0


class CommandKind(StrEnum):
    """What is done to a client or a room of another process; the words are python-socketio's."""

    DISCONNECT = "disconnect"
    ENTER = "enter_room"
    LEAVE = "leave_room"
    CLOSE_ROOM = "close_room"
    # Ours alone
    EXPIRE = "expire"
    UPDATE = "update_meta"
    PRESENCE = "presence"  # what changes among the members with metadata, see `PresenceWord`


class Command(Struct, frozen=True):
    """Something to be done where the client is; elsewhere nothing happens.

    Attributes:
        sid: the client, None for CLOSE_ROOM. room: None for DISCONNECT and EXPIRE.
        detail: of DISCONNECT: why; it reaches the client as the event `closing`.
        place: as an Envelope's.
        at: of EXPIRE: when, in seconds since 1970; None: never.
        data: of ENTER and UPDATE: a `requests.Member` or None; of PRESENCE: a `PresenceWord`.
    """

    kind: CommandKind
    namespace: str
    sid: str | None = None
    room: Room | None = None
    detail: str | None = None
    place: int = 0
    at: float | None = None
    data: JSONValue = None


class StreamMarks(Struct, frozen=True):
    """The worker that reads the stream for its machine has read it on, and passed on what others said there.

    Attributes:
        begin, end: what stands behind the one place, until the other. begin is 0 where nobody knew a place.
        own: what processes of this machine said there themselves, by name: its place.
        count: of the messages that were passed on. hole: was something lost before `end`?
    """

    begin: int
    end: int
    own: dict[str, int] = {}
    count: int = 0
    hole: bool = False


class StreamBegun(Struct, frozen=True):
    """All workers of this machine know this one: what they say from here on comes to it on their own ways.

    Attributes:
        place: what they had said before stands in the stream until there.
        last: the names of the last events that each had said.
    """

    place: int
    last: list[str] = []


class QuestionKind(StrEnum):
    """What one process asks all others; the shapes of data and answers stand in `requests`."""

    ACKS = "acks"
    MEMBERS = "members"
    DETAILS = "members with metadata"
    PRESENCE = "presence"  # what one process, or each, knows of its own members with metadata
    ROOMS = "rooms"
    ENTER = "enter"
    SETTLED = "settled"  # of siblings alone: answered behind all that came before it on the same way
    # Of siblings alone: answered once nothing that stands before the asker's word is passed on any more.
    RELIEVED = "relieved"
    WATCH = "watch"  # of who shows the clients of its process to an operator
    PLACE = "place"  # of siblings alone: how far the stream has been passed on to them
    FLUSHED = (
        "flushed"  # of siblings alone: the stream has all they have said; its place, and their last name
    )
    SURRENDER = "surrender"  # a client seems to have come to the asker: end its connection, keep its record
    FETCH = "fetch"  # of the processes of this machine alone: moments of its clock are in the answers


@dataclass(frozen=True, slots=True)
class Question:
    """Something that only other processes know.

    Attributes:
        data: JSON values; lists and dicts of strings, integers, floats, booleans and None, nothing binary.
    """

    kind: QuestionKind
    namespace: str
    data: JSONValue = None


class Malformed(ValueError):
    """What came from another process has not the shape it should have; nothing was done."""


@dataclass(frozen=True, slots=True)
class LongAnswer:
    """An answer in many parts, each made when the way to the asker takes it.

    Attributes:
        parts: at least one. ended: called once, when the last one was taken, or the asker has gone.
    """

    parts: Iterator[JSONValue]
    ended: Callable[[], None]


class Reply(Protocol):
    """How a question is answered: any number of parts, of which one, the final one, is the last."""

    def __call__(self, part: JSONValue | LongAnswer, last: bool = True) -> None:
        """Loop's thread: `part` is JSON values, bytes for FETCH, or all the rest of a long answer; nothing
        happens when nobody waits."""


@dataclass(frozen=True, slots=True)
class PeerRequest:
    """A question to everybody else, or to one, and who takes the answers.

    Attributes:
        heard: called with every part of every answer as it comes. Raises Malformed for a bad one.
        ended: called once, with the number of peers whose answer did not end: when all have, when they are
            gone, or when the time is over (None: it never is).
        to: the name of a process at the same broker, which alone is asked; one that is gone has no answer.
    """

    question: Question
    heard: Callable[[JSONValue], object]
    ended: Callable[[int], object]
    timeout_seconds: float | None = None
    to: str | None = None


class Receiver(Protocol):
    """Port: a hub, as its backplane sees it. Every method belongs to the loop's thread."""

    def receive(self, message: Envelope | Command | StreamMarks | StreamBegun) -> None:
        """Remember, then deliver to the clients of this process only; or obey."""

    def answer(self, question: Question, reply: Reply) -> None:
        """Answer for the clients of this process, now or later. Raises Malformed."""


class Backplane(Protocol):
    """Port: how to reach the other processes. Every method belongs to the loop's thread; none blocks.

    Attributes:
        alone: is there no other process, nor will there be?
    """

    alone: bool

    def start(self, receiver: Receiver) -> None:
        """`receiver` hears the others from now on."""

    def publish(self, message: Envelope | Command | StreamMarks) -> None:
        """To everybody else, behind what was published before; what must be dropped is counted and told."""

    def request(self, request: PeerRequest) -> None:
        """Ask everybody else."""

    def close(self) -> None:
        """Nothing is said or heard any more; questions end."""


class RecordStore(Protocol):
    """Port: what is kept of lost clients where every machine finds it. The loop's thread; nothing blocks.

    Attributes:
        secret: with which all machines sign the records; b"" where nobody has chosen one.
        name: of this process, by which others ask it alone.
    """

    @property
    def name(self) -> str: ...

    @property
    def secret(self) -> bytes: ...

    def put(self, pid: str, record: bytes, seconds: float, done: Callable[[bool], None]) -> None:
        """Keep it so long; `done` is told whether it is kept."""

    def put_back(self, pid: str, record: bytes, seconds: float, done: Callable[[bool], None]) -> None:
        """Keep one that was taken and not used, unless there is a later one by now."""

    def take(self, pid: str, taken: Callable[[bytes | None], None]) -> None:
        """It goes to one asker alone; None: there is none, or the store cannot be reached."""

    def drop(self, pid: str) -> None:
        """Nobody will ask for it."""

    def between(self, begin: int, end: int, told: Callable[[list[Envelope] | None], None]) -> None:
        """The events behind one place, until the other; None: they are gone, or too many."""


class NoBackplane:
    """One process alone: everyone was reached by the local delivery."""

    alone = True

    def start(self, receiver: Receiver) -> None:
        """Nobody will be heard."""

    def publish(self, message: Envelope | Command | StreamMarks) -> None:
        """Nobody else is reached."""

    def request(self, request: PeerRequest) -> None:
        """Nobody is asked: it ends at once."""
        request.ended(0)

    def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """A message broker that joins many machines.

    Attributes:
        url: redis://, rediss://, unix://, and so on. channel: as python-socketio and Flask-SocketIO call it.
        per_room: one channel for every room, so that a machine hears only rooms it holds.
        stream_max_count: events are entries of a stream of about that length, not messages of a channel; 0:
            they are messages.
        redis_options: for the client library, as `Redis.from_url` and `Sentinel` take them.
    """

    url: str
    channel: str
    per_room: bool = False
    stream_max_count: int = 0
    redis_options: Mapping[str, object] = field(default_factory=dict)


def check_rooms(*names: tuple[RoomName, ...] | None) -> None:
    """Refuse, in the caller's thread, rooms whose name cannot travel.

    Raises:
        TypeError: neither a string nor an integer of 64 bits. ValueError: a string that is not Unicode text.
    """
    for rooms in names:
        for room in rooms or ():
            if type(room) is str:
                if not room.isascii():
                    room.encode()  # a lone surrogate raises
            elif type(room) is not int or not -ROOM_LIMIT <= room < ROOM_LIMIT:
                raise TypeError(
                    f"the room {room!r} cannot be named to other processes: with several workers or a "
                    "message queue a room is a string or an integer"
                )


def check_expiry(at: object, now: float) -> float | None:
    """The moment at which a client's credentials end, as it travels; both in seconds since 1970.

    Raises:
        TypeError: neither an int, a float nor None. ValueError: it has passed, or is very far away.
    """
    if at is None:
        return None
    if isinstance(at, bool) or not isinstance(at, int | float):
        raise TypeError(f"expire: `at` is a number, seconds since 1970, or None; not a {type(at).__name__}")
    if not at > now:  # NaN neither
        raise ValueError("expire: `at` has passed, or is not a number; disconnect() ends a client at once")
    if at > now + EXPIRY_MAX_SECONDS:
        raise ValueError("expire: `at` is more than ten years away; it is in seconds since 1970")
    return float(at)
