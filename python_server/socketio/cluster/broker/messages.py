"""What a broker's channels bring, read: one small value for each kind of thing. Sans-I/O.

Must not know: who leads, what is done with a value, how bytes travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Struct

from python_server.socketio.cluster.broker.leader import Word
from python_server.socketio.cluster.broker.wire_json import (
    COMMANDS,
    MESSAGE_MAX_BYTES,
    WORDS,
    Method,
    WireError,
    WireMessage,
    envelope_of,
    is_like_sid,
    read,
)
from python_server.socketio.cluster.port import Command, Envelope
from python_server.socketio.packet import Codec


class Channels:
    """The names of the channels that one worker hears or speaks on.

    Attributes:
        shared: of all servers. questions: of the leaders of our kind. inbox: of this worker alone.
        per_room: has each room one of its own?
    """

    def __init__(self, name: str, worker_name: str, per_room: bool) -> None:
        self._name = name
        self.per_room = per_room
        self.shared = name.encode()
        self.questions = f"{name}#wsframe".encode()
        self.inbox = self.inbox_of(worker_name)

    def inbox_of(self, worker_name: str) -> bytes:
        return self.questions + b"#" + worker_name.encode()

    def of_room(self, namespace: str, room: Any) -> bytes:
        return f"{self._name}#{namespace}#{room}".encode("utf-8", "backslashreplace")

    def of_emit(self, namespace: str, rooms: tuple[Any, ...] | None) -> bytes:
        if not self.per_room or rooms is None or len(rooms) != 1 or is_like_sid(rooms[0]):
            return self.shared
        return self.of_room(namespace, rooms[0])


# Beside an Envelope or a Command, which came on the shared channel, and a WireError: what is refused.


class Subscribed(Struct, frozen=True):
    """The shared channel is heard from here on."""


class RoomEnvelope(Struct, frozen=True):
    """It came on a room's own channel, which each worker with the room hears itself."""

    envelope: Envelope


class InboxAnswer(Struct, frozen=True):
    """To this worker alone, see `requests.AnsweredQuestion`."""

    payload: bytes


class MachineQuestion(Struct, frozen=True):
    """Another worker asks all machines, see `requests.Asking`."""

    payload: bytes


class ForeignQuestion(Struct, frozen=True):
    """A server of python-socketio emits and awaits the ack."""

    message: WireMessage


class ForeignAck(Struct, frozen=True):
    """A client of a python-socketio server has acknowledged what a worker of this machine asked."""

    message: WireMessage


class LeadSaid(Struct, frozen=True):
    """A worker of this machine passes on what follows."""

    name: str


class LeftSaid(Struct, frozen=True):
    """A worker of this machine has left to `successor`; the one word that does not wait for it."""

    successor: str | None


Incoming = (
    Envelope
    | Command
    | RoomEnvelope
    | InboxAnswer
    | MachineQuestion
    | ForeignQuestion
    | ForeignAck
    | LeadSaid
    | LeftSaid
    | Subscribed
    | WireError
)
# They have a place in the shared channel's order: behind what a predecessor still passes on.
ORDERED: Final = frozenset({Envelope, Command, MachineQuestion, ForeignQuestion, ForeignAck, LeadSaid})


class ChannelReader:
    """Reads what one worker's subscriptions bring. Any thread.

    Args:
        host_id: what workers of our own machine said on the shared channel came to us another way.
        codec, next_offset: see `envelope_of`; asked for once for everything that came together.
    """

    def __init__(
        self,
        channels: Channels,
        host_id: str,
        codec: Callable[[], Codec],
        next_offset: Callable[[], Callable[[], str] | None],
    ) -> None:
        self._channels = channels
        self._machine = host_id + "."
        self._codec = codec
        self._next_offset = next_offset

    def read(
        self, messages: Iterable[tuple[bytes, bytes | None]], oversized_count: int = 0
    ) -> list[Incoming]:
        """What is for this worker, in order; nothing on a broker raises here."""
        codec, next_offset, shared = self._codec(), self._next_offset(), self._channels.shared
        came: list[Incoming] = []
        for channel, payload in messages:
            value: Incoming | None
            try:
                if payload is None:
                    value = Subscribed() if channel == shared else None
                elif channel == self._channels.inbox:
                    value = InboxAnswer(payload)
                elif channel == self._channels.questions:
                    value = MachineQuestion(payload)
                else:
                    value = self._wire(channel == shared, read(payload), codec, next_offset)
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

    def _wire(
        self, shared: bool, message: WireMessage, codec: Codec, next_offset: Callable[[], str] | None
    ) -> Incoming | None:
        """None: it is not for us. Raises WireError."""
        method, sender = message.method, message.host_id or ""
        ours = sender.startswith(self._machine)
        if method == "emit" and message.callback is None:
            envelope = None if ours else envelope_of(message, codec, next_offset)
            return envelope if shared or envelope is None else RoomEnvelope(envelope)
        if method in WORDS:
            if not ours:
                return None
            return LeadSaid(sender) if WORDS[method] is Word.LEAD else LeftSaid(message.detail)
        if method == Method.CALLBACK:
            return ForeignAck(message) if ours else None
        if ours:
            return None
        kind = COMMANDS.get(Method(method))
        if kind is None:
            return None if message.asked else ForeignQuestion(message)  # ours came as a question too
        sid = message.sid if isinstance(message.sid, str) else None
        room = None if isinstance(message.room, list) else message.room
        return Command(kind, message.namespace or "/", sid, room, message.detail)
