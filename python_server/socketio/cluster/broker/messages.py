"""What a broker's channels bring, read: one small value for each kind of thing. Sans-I/O.

Must not know: who leads, what is done with a value, how bytes travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from msgspec import MsgspecError, Struct, json

from python_server.socketio.cluster.broker.foreign_messages import (
    COMMANDS,
    MESSAGE_MAX_BYTES,
    WORDS,
    WireError,
    WireMessage,
    data_of,
    envelope_of,
    is_like_sid,
    packed_values_of,
    read,
)
from python_server.socketio.cluster.broker.leader import Word
from python_server.socketio.cluster.broker.resp import Push
from python_server.socketio.cluster.port import Command, Envelope
from python_server.socketio.packet import Codec
from python_server.socketio.values import JSONValue, RoomName

Said = TypeVar("Said")


class Channels:
    """The names of the channels that one worker hears or speaks on.

    Attributes:
        shared: of all servers. questions: of the leaders of our kind. inbox: of this worker alone.
        per_room: has each room one of its own?
    """

    def __init__(self, name: str, worker_name: str, per_room: bool) -> None:
        self._name = name
        self.per_room = per_room
        self.shared: bytes = name.encode()
        self.questions: bytes = f"{name}#wsframe".encode()
        self.inbox: bytes = self.inbox_of(worker_name)

    def inbox_of(self, worker_name: str) -> bytes:
        return self.questions + b"#" + worker_name.encode()

    def of_room(self, namespace: str, room: RoomName) -> bytes:
        return f"{self._name}#{namespace}#{room}".encode("utf-8", "backslashreplace")

    def record_of(self, pid: str) -> bytes:
        """The key, not a channel, under which a lost client is kept."""
        return self.questions + b"#client#" + pid.encode("utf-8", "backslashreplace")

    def entry_of(self, tag: str) -> bytes:
        """The key under which a machine says where it is."""
        return self.questions + b"#machine#" + tag.encode("utf-8", "backslashreplace")

    def of_emit(self, namespace: str, rooms: tuple[RoomName, ...] | None) -> bytes:
        if not self.per_room or rooms is None or len(rooms) != 1 or is_like_sid(rooms[0]):
            return self.shared
        return self.of_room(namespace, rooms[0])


# On a channel of questions and in an inbox


class Asking(Struct):
    """A question of another worker to all machines; the inbox of the worker `sender` takes the answers.

    Attributes:
        kind: a QuestionKind; a later release may have others.
    """

    id: int
    sender: str
    kind: str
    namespace: str
    data: JSONValue
    timeout_seconds: float | None = None


class AnsweredQuestion(Struct, omit_defaults=True):
    """A word to a worker's inbox: a part of an answer, its end, an ack from elsewhere, or nothing.

    Attributes:
        silent_count: workers of the answering machine whose own answer did not end.
        values: of the ack of a python-socketio server's client, packed.
        asking: none of these, but a question to this worker alone.
    """

    id: int | None = None
    part: JSONValue = None
    last: bool = False
    silent_count: int = 0
    values: list[str] | None = None
    asking: Asking | None = None


_read_asking: Final = json.Decoder(Asking).decode
_read_answered: Final = json.Decoder(AnsweredQuestion).decode
write: Final = json.Encoder().encode


class AskedAlone(Struct, frozen=True):
    """A question to this worker alone, whoever leads."""

    asking: Asking


# On the shared channel


class Subscribed(Struct, frozen=True):
    """It is heard from here on."""


class ForeignAck(Struct, frozen=True):
    """A client of a python-socketio server has acknowledged what a worker of this machine asked."""

    asker: str
    answer: AnsweredQuestion


class LeadSaid(Struct, frozen=True):
    """A worker of this machine passes on what follows."""

    name: str


class LeftSaid(Struct, frozen=True):
    """A worker of this machine has left to `successor`; the one word that does not wait for it."""

    successor: str | None


class RoomEnvelope(Struct, frozen=True):
    """It came on a room's own channel, which each worker with the room hears itself."""

    envelope: Envelope


# A WireMessage is an emit of a server of python-socketio that awaits the ack, a WireError what is refused.
Incoming = (
    Envelope
    | Command
    | WireMessage
    | ForeignAck
    | LeadSaid
    | LeftSaid
    | Subscribed
    | RoomEnvelope
    | Asking
    | AskedAlone
    | AnsweredQuestion
    | WireError
)
# They have a place in the shared channel's order: behind what a predecessor still passes on.
ORDERED: Final = frozenset({Envelope, Command, WireMessage, ForeignAck, LeadSaid, Asking})


@dataclass(frozen=True, slots=True)
class ChannelReader:
    """Reads what one worker's subscriptions bring. Any thread.

    Attributes:
        machine: how names of workers of our own machine begin; what they say on the shared channel came to us
            another way. codec, next_offset: see `envelope_of`; asked for once for all that came together.
        lead_said: called where another worker begins to pass on what follows.
    """

    channels: Channels
    machine: str
    codec: Callable[[], Codec]
    next_offset: Callable[[], Callable[[bool], str] | None]
    lead_said: Callable[[], None]

    def read(self, messages: Iterable[Push], oversized_count: int) -> list[Incoming]:
        """What is for this worker, in order; nothing on a broker raises here."""
        codec, next_offset, shared = self.codec(), self.next_offset(), self.channels.shared
        came: list[Incoming] = []
        for channel, payload in messages:
            value: Incoming | None
            try:
                if payload is None:
                    value = Subscribed() if channel == shared else None
                elif channel == self.channels.inbox:
                    answered = _decoded(_read_answered, payload, "answer")
                    value = None if answered.id is None else answered
                    if answered.asking is not None:
                        value = AskedAlone(answered.asking)
                elif channel == self.channels.questions:
                    value = _decoded(_read_asking, payload, "question")
                else:
                    value = self.wire(channel == shared, read(payload), codec, next_offset)
            except WireError as error:
                value = error
            except Exception as error:
                value = WireError("unreadable message", f"{type(error).__name__}: {error}")
            if value is not None:
                came.append(value)
        if oversized_count:
            oversized = WireError("oversized message", f"more than {MESSAGE_MAX_BYTES} bytes")
            came += [oversized] * oversized_count
        return came

    def wire(
        self, shared: bool, message: WireMessage, codec: Codec, next_offset: Callable[[bool], str] | None
    ) -> Incoming | None:
        """None: it is not for us. Raises WireError."""
        method, sender = message.method, message.host_id or ""
        ours = sender.startswith(self.machine)
        if method == "emit" and message.callback is None:
            envelope = None if ours else envelope_of(message, codec, next_offset, renames=shared)
            return envelope if shared or envelope is None else RoomEnvelope(envelope)
        if method == "emit":
            return None if ours or message.asked else message  # ours came as a question too
        if method in COMMANDS:
            sid = message.sid if isinstance(message.sid, str) else None
            room = None if isinstance(message.room, list) else message.room
            names = (COMMANDS[method], message.namespace or "/", sid, room, message.detail)
            command = Command(*names, at=message.at, data=data_of(message))
            return None if ours else command
        if not ours:
            return None
        if method == "callback":
            return ForeignAck(sender, AnsweredQuestion(message.id, values=packed_values_of(message)))
        if WORDS[method] is Word.LEFT:
            return LeftSaid(message.detail)
        self.lead_said()
        return LeadSaid(sender)


def _decoded(decode: Callable[[bytes], Said], payload: bytes, what: str) -> Said:
    try:
        return decode(payload)
    except (MsgspecError, RecursionError, UnicodeError) as error:
        raise WireError("malformed message", f"no {what}: {error}") from None
