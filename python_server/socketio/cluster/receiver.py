"""What other processes say to this one: their messages are delivered here, their questions answered.

Must not know: how they are reached; what it hears it says to nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
)
from python_server.socketio.cluster.requests import (
    AckHeard,
    AcksAsked,
    AcksQuestion,
    EnterQuestion,
    convert,
    pack,
    plain,
    unpack,
)

# Called with (namespace, clients, [event, *arguments], whom to tell, seconds or None).
AskSockets = Callable[[str, list[Any], list[Any], Heard, float | None], None]


class ClusterReceiver:
    """The Receiver of a hub. Every method belongs to the loop's thread.

    Args:
        adapters: of the hub, by namespace. hear: takes an envelope into the recovery log, and returns what of
            it is to be delivered.
        disconnect: called with (namespace, sid, detail) for a client of this process.
        ask: has clients of this process asked for acks. report: for an ack that cannot travel.
        fetch: answers for lost clients; None where there is no recovery.
    """

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        hear: Callable[[Envelope], Envelope],
        disconnect: Callable[[str, str, str | None], None],
        ask: AskSockets,
        report: Callable[[str, BaseException], None],
        fetch: Callable[[Question, Reply], None] | None = None,
    ) -> None:
        self._adapters = adapters
        self._hear = hear
        self._disconnect = disconnect
        self._ask = ask
        self._report = report
        self._answers: dict[QuestionKind, Callable[[Question, Reply], None]] = {
            QuestionKind.ACKS: self._answer_acks,
            QuestionKind.MEMBERS: self._answer_members,
            QuestionKind.ROOMS: self._answer_rooms,
            QuestionKind.ENTER: self._answer_enter,
            QuestionKind.SETTLED: lambda question, reply: reply(None),
            QuestionKind.FETCH: fetch or (lambda question, reply: reply(None)),
        }

    def receive(self, message: Envelope | Command) -> None:
        """Remember, then deliver to the clients of this process only; or obey."""
        if isinstance(message, Envelope):
            message = self._hear(message)
            adapter = self._adapters.get(message.namespace)
            if adapter is not None:
                adapter.deliver(message)
        else:
            self._obey(message)

    def answer(self, question: Question, reply: Reply) -> None:
        """Answer for the clients of this process, now or later. Raises Malformed."""
        self._answers[question.kind](question, reply)

    def _obey(self, command: Command) -> None:
        """Where the client or the room is not, nothing happens."""
        adapter = self._adapters.get(command.namespace)
        if adapter is None:
            return
        kind, sid, room = command.kind, command.sid, command.room
        try:
            if kind is CommandKind.CLOSE_ROOM:
                adapter.close_room(room)
            elif sid is None or adapter.get(sid) is None:
                return
            elif kind is CommandKind.DISCONNECT:
                self._disconnect(command.namespace, sid, command.detail)
            elif kind is CommandKind.ENTER:
                adapter.enter(sid, room)
            else:
                adapter.leave(sid, room)
        except ValueError:
            pass  # a room that is a client's own here: who asked could not know, and waits for no verdict

    def _answer_members(self, question: Question, reply: Reply) -> None:
        room: Room | None = convert(question.data, Room | None)
        adapter = self._adapters.get(question.namespace)
        reply([] if adapter is None else adapter.members_of(room))

    def _answer_rooms(self, question: Question, reply: Reply) -> None:
        sid: str = convert(question.data, str)
        adapter = self._adapters.get(question.namespace)
        reply([] if adapter is None else adapter.rooms_of(sid))

    def _answer_enter(self, question: Question, reply: Reply) -> None:
        asked: EnterQuestion = convert(question.data, EnterQuestion)
        adapter = self._adapters.get(question.namespace)
        try:
            reply(adapter is not None and adapter.enter(asked.sid, asked.room))
        except ValueError as error:
            reply(str(error))

    def _answer_acks(self, question: Question, reply: Reply) -> None:
        asked: AcksQuestion = convert(question.data, AcksQuestion)
        event = unpack(asked.event)
        if not event or type(event[0]) is not str:
            raise Malformed("an event must begin with its name")
        adapter = self._adapters.get(question.namespace)
        sockets: list[Any] = [] if adapter is None else adapter.recipients(asked.rooms, asked.excepted)
        unready = asked.joined_only and any(socket.state is SocketState.PENDING for socket in sockets)
        if unready or not sockets:
            reply(plain(AcksAsked(0, unready)))
            return
        waiting_count = len(sockets)
        reply(plain(AcksAsked(waiting_count)), last=False)

        def heard(socket: Socket | None, values: list[Any] | None) -> None:
            nonlocal waiting_count
            waiting_count -= 1
            reply(plain(AckHeard(self._packed(values))), last=not waiting_count)

        self._ask(question.namespace, sockets, event, heard, asked.timeout_seconds)

    def _packed(self, values: list[Any] | None) -> list[str] | None:
        try:
            return None if values is None else pack(values)
        except (TypeError, ValueError) as error:  # only MessagePack has a word for it
            self._report("an ack that cannot be told to another process", error)
            return None
