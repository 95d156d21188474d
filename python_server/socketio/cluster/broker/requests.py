"""Questions between the workers of many machines, and acks of python-socketio's clients, over a broker.

Must not know: what a question means, who leads, how bytes travel. Every method belongs to the loop's thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec

from python_server.socketio.cluster.broker.messages import Channels
from python_server.socketio.cluster.broker.wire_json import WireMessage, packed_values_of, write_question
from python_server.socketio.cluster.port import Backplane, Malformed, Question, QuestionKind, Receiver
from python_server.socketio.cluster.requests import AckHeard, AcksAsked, AcksQuestion, convert, plain

# Unanswered questions of one worker; the oldest is given up.
ASKED_MAX_COUNT: Final = 10_000

Publish = Callable[..., None]


class Asking(msgspec.Struct):
    """A question as it stands on the channel; the inbox of the worker `sender` takes the answers."""

    id: int
    sender: str
    kind: str
    namespace: str
    data: Any
    timeout_seconds: float | None = None


class AnsweredQuestion(msgspec.Struct):
    """A word to a worker's inbox: a part of an answer, its end, an ack from elsewhere, or nothing.

    Attributes:
        silent_count: workers of the answering machine whose own answer did not end.
        values: of the ack of a python-socketio server's client, packed.
    """

    id: int | None = None
    part: Any = None
    last: bool = False
    silent_count: int = 0
    values: list[str] | None = None


_read_asking: Final = msgspec.json.Decoder(Asking).decode
_read_answering: Final = msgspec.json.Decoder(AnsweredQuestion).decode
_write: Final = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Asked:
    """One question that waits.

    Attributes:
        awaits_foreign: were servers of python-socketio asked too?
        machines_count: how many of our kind heard it; listeners_count: how many of any kind. None before the
            broker has told. clients_count: who were asked, by all who have answered.
    """

    heard: Callable[[Any], None]
    ended: Callable[[int], None]
    awaits_foreign: bool
    timer: Any = None
    machines_count: int | None = None
    listeners_count: int | None = None
    ended_count: int = 0
    silent_count: int = 0
    clients_count: int = 0


class BrokerRequests:
    """Asks the other machines, and answers them.

    Args:
        name: of this worker. publish: (channel, payload, done) to the broker.
        post: any thread: a call on the loop.
    """

    def __init__(
        self,
        name: str,
        publish: Publish,
        channels: Channels,
        call_later: Callable[[float, Callable[[], Any]], Any],
        post: Callable[..., None],
    ) -> None:
        self._name = name
        self._publish = publish
        self._channels = channels
        self._call_later = call_later
        self._post = post
        self._asked: dict[int, Asked] = {}
        self._ids = itertools.count(1)

    # Asking

    def ask(
        self,
        question: Question,
        heard: Callable[[Any], None],
        ended: Callable[[int], None],
        timeout_seconds: float | None,
    ) -> None:
        """See Backplane.request."""
        if len(self._asked) >= ASKED_MAX_COUNT:
            self._expire(next(iter(self._asked)))
        number = next(self._ids)
        asking = Asking(
            number, self._name, str(question.kind), question.namespace, question.data, timeout_seconds
        )
        foreign = self._foreign_question(question, number)
        asked = self._asked[number] = Asked(heard, ended, foreign is not None)
        if timeout_seconds is not None:
            asked.timer = self._call_later(timeout_seconds, partial(self._expire, number))
        self._publish(self._channels.questions, _write(asking), partial(self._post, self._reached, number))
        if foreign is not None:
            self._publish(self._channels.shared, foreign, partial(self._post, self._listened, number))

    def _foreign_question(self, question: Question, number: int) -> bytes | None:
        """The same for servers of python-socketio, who can answer for one room."""
        if question.kind != QuestionKind.ACKS:
            return None
        data = convert(question.data, AcksQuestion)
        if data.rooms is None or len(data.rooms) != 1:
            return None
        names = (question.namespace, data.rooms, data.excepted)
        return write_question(data.event, names, self._name, (data.rooms[0], question.namespace, number))

    def _reached(self, number: int, reached_count: int | None) -> None:
        asked = self._asked.get(number)
        if asked is None:
            return
        if reached_count is None:
            self._expire(number)
        else:
            asked.machines_count = reached_count
            self._look(number, asked)

    def _listened(self, number: int, reached_count: int | None) -> None:
        asked = self._asked.get(number)
        if asked is not None:
            asked.listeners_count = reached_count or 0
            self._look(number, asked)

    def _look(self, number: int, asked: Asked) -> None:
        """Have all answered?"""
        if asked.machines_count is None or asked.ended_count < asked.machines_count:
            return
        if asked.awaits_foreign and not asked.clients_count:
            if asked.listeners_count is None:
                return
            if asked.listeners_count > asked.machines_count:
                return  # it may be another kind of server's, which says nothing when it has not got it
        self._end(number, 0)

    def _expire(self, number: int) -> None:
        asked = self._asked.get(number)
        if asked is not None:
            missing_count = 1 if asked.machines_count is None else asked.machines_count - asked.ended_count
            self._end(number, max(0, missing_count))

    def _end(self, number: int, missing_count: int) -> None:
        asked = self._asked.pop(number)
        if asked.timer is not None:
            asked.timer.cancel()
        asked.ended(asked.silent_count + missing_count)

    def hear(self, payload: bytes) -> None:
        """A word to our inbox. Raises Malformed."""
        try:
            answering = _read_answering(payload)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise Malformed(f"no answer: {error}") from None
        asked = None if answering.id is None else self._asked.get(answering.id)
        if asked is None or answering.id is None:
            return
        if answering.values is not None:
            self._foreign_answer(answering.id, asked, answering.values)
            return
        if answering.part is not None:
            if isinstance(answering.part, dict) and type(answering.part.get("asked_count")) is int:
                asked.clients_count += answering.part["asked_count"]
            asked.heard(answering.part)
        if answering.last:
            asked.ended_count += 1
            asked.silent_count += max(0, answering.silent_count)
            self._look(answering.id, asked)

    def foreign_ack(self, message: WireMessage) -> None:
        """A callback addressed to us. Raises WireError."""
        values = packed_values_of(message)
        asked = self._asked.get(message.id or 0)
        if asked is not None:
            self._foreign_answer(message.id or 0, asked, values)

    def _foreign_answer(self, number: int, asked: Asked, values: list[str]) -> None:
        asked.clients_count += 1
        asked.heard(plain(AcksAsked(1)))
        asked.heard(plain(AckHeard(values)))
        if number in self._asked:
            self._look(number, asked)

    @staticmethod
    def forwarded(message: WireMessage) -> bytes:
        """A callback for the inbox of another worker of this machine. Raises WireError."""
        return _write(AnsweredQuestion(message.id, values=packed_values_of(message)))

    # Answering

    def answer(self, payload: bytes, host_id: str, receiver: Receiver | None, inner: Backplane) -> None:
        """Answer for this machine: its leader, and through `inner` all its other workers.

        Args:
            receiver: None: this worker does not lead, and has nothing to say.

        Raises:
            Malformed: it is no question.
        """
        try:
            asking = _read_asking(payload)
            question = Question(QuestionKind(asking.kind), asking.namespace, asking.data)
        except (ValueError, RecursionError) as error:
            raise Malformed(f"no question: {error}") from None
        inbox = self._channels.inbox_of(asking.sender)

        def told(part: Any) -> None:
            self._publish(inbox, _write(AnsweredQuestion(asking.id, part)))

        def ended(silent_count: int) -> None:
            self._publish(inbox, _write(AnsweredQuestion(asking.id, last=True, silent_count=silent_count)))

        both = Both(ended)

        def reply(part: Any, last: bool = True) -> None:
            told(part)
            if last:
                both.ended(0)

        if receiver is None or asking.sender.startswith(host_id + "."):
            ended(0)
            return
        receiver.answer(question, reply)
        inner.request(question, told, both.ended, asking.timeout_seconds)

    def close(self) -> None:
        """Nobody is waited for any more."""
        for number in list(self._asked):
            self._expire(number)


class Both:
    """Two parties that are asked the same: ended when both have."""

    __slots__ = ("_ended", "_silent_count", "_waiting_count")

    def __init__(self, ended: Callable[[int], None]) -> None:
        self._ended = ended
        self._waiting_count = 2
        self._silent_count = 0

    def ended(self, silent_count: int) -> None:
        """One has."""
        self._silent_count += silent_count
        self._waiting_count -= 1
        if not self._waiting_count:
            self._ended(self._silent_count)
