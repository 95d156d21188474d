"""What other processes say to this one: their messages are delivered here, their questions answered.

Must not know: how they are reached; what it hears it says to nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from python_server.socketio.acks import Heard
from python_server.socketio.adapter import Adapter
from python_server.socketio.client import Socket, SocketState
from python_server.socketio.cluster.port import (
    Command,
    CommandKind,
    Envelope,
    Malformed,
    Question,
    QuestionKind,
    Reply,
    Room,
    StreamBegun,
    StreamMarks,
)
from python_server.socketio.cluster.requests import (
    AckHeard,
    AcksAsked,
    AcksQuestion,
    EnterQuestion,
    Member,
    convert,
    pack,
    plain,
    unpack,
)
from python_server.socketio.tracer import Tracer
from python_server.socketio.values import JSONValue

# Of one part of an answer; each may have the metadata of a whole room.
DETAILS_COUNT: Final = 500
# Called with (namespace, clients, [event, *arguments], whom to tell, seconds or None).
AskSockets = Callable[[str, list[Socket], list[object], Heard, float | None], None]


class MembersOfOthers(Protocol):
    """Port: the members with metadata, as other processes tell of them."""

    def hear(self, command: Command) -> None: ...

    def answer(self, question: Question, reply: Reply) -> None: ...


def _member(command: Command) -> Member | None:
    member: Member | None = convert(command.data, Member | None)
    return member


def _room(command: Command) -> Room:
    """Of a command that names one."""
    if command.room is None:
        raise Malformed(f"{command.kind} names no room")
    return command.room


@dataclass(frozen=True, slots=True)
class ClusterReceiver:
    """The Receiver of a hub. Every method belongs to the loop's thread.

    Attributes:
        adapters: of the hub, by namespace. hear: takes an envelope into the recovery log, and returns what of
            it is to be delivered. reached: how far the stream was read that machines share.
        disconnect: called with (namespace, sid, detail) for a client of this process.
        expire: with (namespace, sid, moment).
        enter, update: a client of this process, in a room, with what is known of it. presence: of others.
        ask: has clients of this process asked for acks.
        fetch: answers for clients that seem to have come back elsewhere; None where there is no recovery.
        tracer: makes spans of what is delivered.
        watched: answer for who shows the clients of this process, by the namespace where it does.
    """

    adapters: Mapping[str, Adapter]
    hear: Callable[[Envelope], Envelope | None]
    reached: Callable[[StreamMarks | StreamBegun], None]
    disconnect: Callable[[str, str, str | None], None]
    expire: Callable[[str, str, float | None], None]
    ask: AskSockets
    enter: Callable[[str, str, Room, Member | None], bool]
    update: Callable[[str, str, Room, Member | None], None]
    presence: MembersOfOthers
    fetch: Callable[[Question, Reply], None] | None = None
    watched: Mapping[str, Callable[[Question, Reply], None]] = field(default_factory=dict)
    tracer: Tracer | None = None

    def receive(self, message: Envelope | Command | StreamMarks | StreamBegun) -> None:
        if isinstance(message, Envelope):
            heard = self.hear(message)
            adapter = None if heard is None else self.adapters.get(heard.namespace)
            if heard is None or adapter is None:
                return
            if self.tracer is None or heard.traceparent is None:
                adapter.deliver(heard)
            else:
                with self.tracer.delivering(heard):
                    adapter.deliver(heard)
        elif isinstance(message, Command):
            self._obey(message)
        else:
            self.reached(message)

    def _obey(self, command: Command) -> None:
        """Where the client or the room is not, nothing happens."""
        adapter, kind, sid, room = self._adapter(command.namespace), command.kind, command.sid, command.room
        try:
            if kind is CommandKind.CLOSE_ROOM:
                adapter.close_room(room)
            elif kind is CommandKind.PRESENCE:
                self.presence.hear(command)
            elif sid is None or adapter.get(sid) is None:
                return
            elif kind is CommandKind.DISCONNECT:
                self.disconnect(command.namespace, sid, command.detail)
            elif kind is CommandKind.EXPIRE:
                self.expire(command.namespace, sid, command.at)
            elif kind is CommandKind.ENTER:
                self.enter(command.namespace, sid, _room(command), _member(command))
            elif kind is CommandKind.UPDATE:
                self.update(command.namespace, sid, _room(command), _member(command))
            else:
                adapter.leave(sid, room)
        except ValueError:
            pass  # a room that is a client's own here: who asked could not know, and waits for no verdict

    def answer(self, question: Question, reply: Reply) -> None:
        adapter, kind = self._adapter(question.namespace), question.kind
        if kind is QuestionKind.ACKS:
            self._answer_acks(adapter, question, reply)
        elif kind is QuestionKind.MEMBERS:
            reply(adapter.members_of(convert(question.data, Room | None)))
        elif kind is QuestionKind.DETAILS:
            details = adapter.details_of(convert(question.data, Room | None))
            for first in range(0, len(details) or 1, DETAILS_COUNT):
                part = [list(each) for each in details[first : first + DETAILS_COUNT]]
                reply(part, last=first + DETAILS_COUNT >= len(details))
        elif kind is QuestionKind.PRESENCE:
            self.presence.answer(question, reply)
        elif kind is QuestionKind.ROOMS:
            reply(adapter.rooms_of(convert(question.data, str)))
        elif kind is QuestionKind.ENTER:
            asked = convert(question.data, EnterQuestion)
            try:
                reply(self.enter(question.namespace, asked.sid, asked.room, asked.member))
            except ValueError as error:
                reply(str(error))
        elif kind in (QuestionKind.FETCH, QuestionKind.SURRENDER) and self.fetch is not None:
            self.fetch(question, reply)
        elif kind is QuestionKind.WATCH and question.namespace in self.watched:
            self.watched[question.namespace](question, reply)
        else:  # SETTLED: what came before it on the same way is done
            reply(None)

    def _adapter(self, namespace: str) -> Adapter:
        """An unknown namespace has nobody in it."""
        return self.adapters.get(namespace) or Adapter()

    def _answer_acks(self, adapter: Adapter, question: Question, reply: Reply) -> None:
        asked = convert(question.data, AcksQuestion)
        event = unpack(asked.event)
        if not event or type(event[0]) is not str:
            raise Malformed("an event must begin with its name")
        sockets = adapter.recipients(asked.rooms, asked.excepted)
        unready = asked.joined_only and any(socket.state is SocketState.PENDING for socket in sockets)
        if unready or not sockets:
            reply(plain(AcksAsked(0, unready)))
            return
        waiting_count = len(sockets)
        reply(plain(AcksAsked(waiting_count)), last=False)

        def heard(socket: Socket | None, values: list[JSONValue] | None) -> None:
            nonlocal waiting_count
            waiting_count -= 1
            packed = None if values is None else pack(values)
            reply(plain(AckHeard(packed)), last=not waiting_count)

        self.ask(question.namespace, sockets, event, heard, asked.timeout_seconds)
