"""Questions between the workers of many machines, and acks of python-socketio's clients, over a broker.

Must not know: what a question means, who leads, how bytes travel. Every method belongs to the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Final, Protocol

from python_server.net.system import CallLater, TimerLike
from python_server.socketio.cluster.broker.foreign_messages import write_question
from python_server.socketio.cluster.broker.messages import AnsweredQuestion, Asking, Channels, write
from python_server.socketio.cluster.port import (
    Backplane,
    Malformed,
    PeerRequest,
    Question,
    QuestionKind,
    Receiver,
    Reply,
)
from python_server.socketio.cluster.requests import AckHeard, AcksAsked, AcksQuestion, convert, plain
from python_server.socketio.values import JSONValue

# Unanswered questions of one worker; the oldest is given up.
ASKED_MAX_COUNT: Final = 10_000
# Of subscribers, where the broker does not tell.
UNKNOWN_COUNT: Final = -1


class Publish(Protocol):
    """To a channel of the broker.

    `done`: any thread, how many subscribers it reached, or UNKNOWN_COUNT. None: it was dropped.
    """

    def __call__(
        self, channel: bytes, payload: bytes, done: Callable[[int | None], None] | None = None
    ) -> None: ...


@dataclass(slots=True)
class Asked:
    """One question that waits.

    Attributes:
        awaits_foreign: were servers of python-socketio asked too?
        machines_count: how many of our kind heard it; listeners_count: how many of any kind. None before the
            broker has told. clients_count: who were asked, by all who have answered.
    """

    number: int
    request: PeerRequest
    awaits_foreign: bool
    timer: TimerLike | None = None
    machines_count: int | None = None
    listeners_count: int | None = None
    ended_count: int = 0
    silent_count: int = 0
    clients_count: int = 0

    @property
    def answered(self) -> bool:
        """Have all?"""
        if self.machines_count in (None, UNKNOWN_COUNT) or self.ended_count < self.machines_count:
            return False
        if not self.awaits_foreign or self.clients_count:
            return True
        # One more may be another kind of server's, which says nothing when it has not got the client.
        if self.listeners_count in (None, UNKNOWN_COUNT):
            return False
        return self.listeners_count <= self.machines_count


@dataclass(slots=True)
class BrokerRequests:
    """Asks the other machines, and answers them.

    Attributes:
        name: of this worker. post: any thread: a call on the loop.
    """

    name: str
    publish: Publish
    channels: Channels
    call_later: CallLater
    post: Callable[..., None]
    _asked: dict[int, Asked] = field(init=False, default_factory=dict)
    _ids: Iterator[int] = field(init=False, default_factory=partial(count, 1))

    # Asking

    def ask(self, request: PeerRequest) -> None:
        """See Backplane.request."""
        if len(self._asked) >= ASKED_MAX_COUNT:
            self._expire(next(iter(self._asked.values())))
        number, question, timeout_seconds = next(self._ids), request.question, request.timeout_seconds
        asking = Asking(number, self.name, question.kind, question.namespace, question.data, timeout_seconds)
        foreign = self._foreign_question(question, number) if request.to is None else None
        asked = self._asked[number] = Asked(number, request, foreign is not None)
        if timeout_seconds is not None:
            asked.timer = self.call_later(timeout_seconds, partial(self._expire, asked))
        channel, said = self.channels.questions, write(asking)
        if request.to is not None:
            channel, said = self.channels.inbox_of(request.to), write(AnsweredQuestion(asking=asking))
        self.publish(channel, said, partial(self.post, self._reached, asked))
        if foreign is not None:
            self.publish(self.channels.shared, foreign, partial(self.post, self._listened, asked))

    def _foreign_question(self, question: Question, number: int) -> bytes | None:
        """The same for servers of python-socketio, who can answer for one room."""
        if question.kind is not QuestionKind.ACKS:
            return None
        data = convert(question.data, AcksQuestion)
        if data.rooms is None or len(data.rooms) != 1:
            return None
        names = (question.namespace, data.rooms, data.excepted)
        return write_question(data.event, names, self.name, (data.rooms[0], question.namespace, number))

    def _reached(self, asked: Asked, reached_count: int | None) -> None:
        if reached_count is None:
            self._expire(asked)
        else:
            asked.machines_count = reached_count
            self._look(asked)

    def _listened(self, asked: Asked, reached_count: int | None) -> None:
        asked.listeners_count = reached_count or 0
        self._look(asked)

    def _look(self, asked: Asked) -> None:
        if asked.answered:
            self._end(asked, 0)

    def _expire(self, asked: Asked) -> None:
        missing_count = 1 if asked.machines_count is None else asked.machines_count - asked.ended_count
        self._end(asked, max(0, missing_count))

    def _end(self, asked: Asked, missing_count: int) -> None:
        """Once: what comes later says nothing."""
        if self._asked.pop(asked.number, None) is not None:
            if asked.timer is not None:
                asked.timer.cancel()
            asked.request.ended(asked.silent_count + missing_count)

    def hear(self, answer: AnsweredQuestion) -> None:
        """A word to us. Raises Malformed."""
        asked = self._asked.get(answer.id or 0)
        if asked is None:
            return
        try:
            self._hear_part(asked, answer)
        finally:  # of a part that was refused the end counts all the same
            if answer.last:
                asked.ended_count += 1
                asked.silent_count += max(0, answer.silent_count)
            self._look(asked)

    @staticmethod
    def _hear_part(asked: Asked, answer: AnsweredQuestion) -> None:
        if answer.values is not None:
            asked.clients_count += 1
            asked.request.heard(plain(AcksAsked(1)))
            asked.request.heard(plain(AckHeard(answer.values)))
        elif answer.part is not None:
            if isinstance(answer.part, dict) and type(answer.part.get("asked_count")) is int:
                asked.clients_count += answer.part["asked_count"]
            asked.request.heard(answer.part)

    # Answering

    def answer(self, asking: Asking, host_id: str, receiver: Receiver | None, inner: Backplane) -> None:
        """Answer for this machine: its leader, and through `inner` all its other workers. Raises Malformed.

        Args:
            receiver: None: this worker does not lead, and has nothing to say.
        """
        inbox = self.channels.inbox_of(asking.sender)

        def told(part: JSONValue) -> None:
            if part is not None:
                self.publish(inbox, write(AnsweredQuestion(asking.id, part)))

        def ended(silent_count: int) -> None:
            self.publish(inbox, write(AnsweredQuestion(asking.id, last=True, silent_count=silent_count)))

        if receiver is None or asking.sender.startswith(host_id + "."):
            ended(0)
            return
        others_silent: list[int] = []  # how many of our siblings, once all have ended
        half_ended = both(ended)

        def others_ended(silent_count: int) -> None:
            others_silent.append(silent_count)
            half_ended(silent_count)

        def reply(part: JSONValue, last: bool = True) -> None:
            if last and others_silent:  # of a thousand machines each says this once, not in two messages
                whole = AnsweredQuestion(asking.id, part, last=True, silent_count=others_silent[0])
                self.publish(inbox, write(whole))
                return
            told(part)
            if last:
                half_ended(0)

        question = question_of(asking, ended)
        # First: of a worker alone they have ended before it answers itself.
        inner.request(PeerRequest(question, told, others_ended, asking.timeout_seconds))
        _answer(receiver, question, reply, half_ended)

    def answer_alone(self, asking: Asking, receiver: Receiver) -> None:
        """Answer for this worker, which alone was asked. Raises Malformed."""
        inbox = self.channels.inbox_of(asking.sender)

        def reply(part: JSONValue, last: bool = True) -> None:
            self.publish(inbox, write(AnsweredQuestion(asking.id, part, last)))

        def ended(silent_count: int) -> None:
            self.publish(inbox, write(AnsweredQuestion(asking.id, last=True, silent_count=silent_count)))

        _answer(receiver, question_of(asking, ended), reply, ended)

    def close(self) -> None:
        """Nobody is waited for any more."""
        for asked in list(self._asked.values()):
            self._expire(asked)


def question_of(asking: Asking, ended: Callable[[int], object]) -> Question:
    """What is asked. Raises Malformed: this release does not know it; `ended` has said that we are silent."""
    try:
        kind = QuestionKind(asking.kind)
    except ValueError:
        ended(1)
        raise Malformed(f"a question of an unknown kind: {asking.kind[:32]!r}") from None
    return Question(kind, asking.namespace, asking.data)


def _answer(receiver: Receiver, question: Question, reply: Reply, ended: Callable[[int], object]) -> None:
    """Raises Malformed: its data is not what it should be; `ended` has said that we are silent."""
    try:
        receiver.answer(question, reply)
    except Malformed:
        ended(1)
        raise


def both(ended: Callable[[int], object]) -> Callable[[int], None]:
    """For two parties that are asked the same: `ended` is called when each has, with all who were silent."""
    silent_counts: list[int] = []

    def half_ended(silent_count: int) -> None:
        silent_counts.append(silent_count)
        if len(silent_counts) == 2:
            ended(sum(silent_counts))

    return half_ended
