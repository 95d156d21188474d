"""PipeBackplane: the workers of one machine reach each other over the links between them.

Must not know: who is in a room, how a link sends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from python_server.socketio.cluster.pipe_messages import (
    decode_answer,
    decode_message,
    decode_question,
    encode_answer,
    encode_message,
    encode_question,
)
from python_server.socketio.cluster.port import Command, Envelope, Malformed, Question, Receiver
from python_server.workers.peers import MessageKind, Peers

# Questions of ours that wait for answers; beyond it the oldest is given up.
QUESTIONS_MAX_COUNT: Final = 10_000


@dataclass(slots=True)
class _Asked:
    """A question under way.

    Attributes:
        waiting: siblings whose answer has not ended. mute: those that have said nothing to it yet.
        silent_count: siblings that will not be heard to the end.
    """

    heard: Callable[[Any], None]
    ended: Callable[[int], None]
    waiting: set[int]
    mute: set[int]
    silent_count: int
    timer: Any = None


class PipeBackplane:
    """One hub's backplane. Every method belongs to the loop's thread.

    A sibling that let a question's time run out without a word is not waited for again until it is heard.

    Args:
        siblings: the other workers. path: of the hub's mount: it is heard by the hub of the same path.
        call_later: the loop's timer. complain: called with (kind, message); counted, logged now and then.
    """

    alone = False

    def __init__(
        self,
        siblings: Peers,
        path: str,
        call_later: Callable[[float, Callable[[], Any]], Any],
        complain: Callable[[str, str], None],
    ) -> None:
        # Hubs of other paths hear the same links: each takes what begins with its own.
        self._prefix = path.encode() + b"\0"
        self._siblings = siblings
        self._call_later = call_later
        self._complain = complain
        self._receiver: Receiver | None = None
        self._numbers = count()
        self._asked: OrderedDict[int, _Asked] = OrderedDict()
        self._silent: set[int] = set()

    def start(self, receiver: Receiver) -> None:
        """`receiver` hears the siblings from now on."""
        self._receiver = receiver
        self._siblings.on(MessageKind.ENVELOPE, self._on_message)
        self._siblings.on(MessageKind.QUESTION, self._on_question)
        self._siblings.on(MessageKind.ANSWER, self._on_answer)
        self._siblings.on_lost(self._lost)

    def publish(self, message: Envelope | Command) -> None:
        """One encoding, and one write to each sibling, however many clients it is for."""
        if not self._siblings.living:
            return
        try:
            first, *packets = encode_message(message)
            self._siblings.send_all(MessageKind.ENVELOPE, self._prefix + first, *packets)
        except (TypeError, ValueError, OverflowError) as error:
            self._complain("sibling message", f"a message cannot be told to other workers: {error}")

    def request(
        self,
        question: Question,
        heard: Callable[[Any], None],
        ended: Callable[[int], None],
        timeout_seconds: float | None,
    ) -> None:
        """Ask every sibling (see the port)."""
        number = next(self._numbers)
        asked = _Asked(heard, ended, set(), set(), 0)
        try:
            payload = encode_question(number, question)
            asked.mute = {i for i in self._siblings.living if self._send(i, MessageKind.QUESTION, payload)}
        except (TypeError, ValueError, OverflowError) as error:
            self._complain("sibling message", f"a question cannot be told to other workers: {error}")
        asked.waiting = asked.mute - self._silent
        asked.silent_count = len(self._siblings.living) - len(asked.waiting)
        if not asked.waiting:
            ended(asked.silent_count)
            return
        self._asked[number] = asked
        if timeout_seconds is not None:
            asked.timer = self._call_later(timeout_seconds, lambda: self._late(number))
        if len(self._asked) > QUESTIONS_MAX_COUNT:
            self._complain(
                "questions", f"more than {QUESTIONS_MAX_COUNT} questions to other workers wait for an answer"
            )
            self._end(next(iter(self._asked)))

    def close(self) -> None:
        """Nothing is heard any more; questions end."""
        self._receiver = None
        for number in list(self._asked):
            self._end(number)

    def _send(self, index: int, kind: MessageKind, payload: bytes) -> bool:
        """To one sibling; what must be dropped is told."""
        sent = self._siblings.send(index, kind, self._prefix, payload)
        if not sent and index in self._siblings.living:
            self._complain(
                f"sibling queue {kind}",
                f"worker {index} does not keep up: a {kind.name.lower()} to it is dropped",
            )
        return sent

    # What comes

    def _on_message(self, index: int, payload: bytes, descriptor: int | None) -> None:
        receiver = self._from(index, payload)
        if receiver is not None:
            try:
                receiver.receive(decode_message(payload, len(self._prefix)))
            except Malformed as error:
                self._refuse(index, error)

    def _on_question(self, index: int, payload: bytes, descriptor: int | None) -> None:
        receiver = self._from(index, payload)
        if receiver is None:
            return
        try:
            number, question = decode_question(payload, len(self._prefix))
        except Malformed as error:
            self._refuse(index, error)
            return
        reply = _Reply(lambda part, last: self._answer(index, number, part, last))
        try:
            receiver.answer(question, reply)
        except Malformed as error:
            self._refuse(index, error)
            reply(None)  # which is no answer, and ends it

    def _answer(self, index: int, number: int, part: Any, last: bool) -> None:
        try:
            self._send(index, MessageKind.ANSWER, encode_answer(number, part, last))
        except (TypeError, ValueError, OverflowError) as error:
            self._complain("sibling message", f"an answer cannot be told to worker {index}: {error}")
            self._send(index, MessageKind.ANSWER, encode_answer(number, None, True))

    def _on_answer(self, index: int, payload: bytes, descriptor: int | None) -> None:
        if self._from(index, payload) is None:
            return
        try:
            number, part, last = decode_answer(payload, len(self._prefix))
            asked = self._asked.get(number)
            if asked is None or not (index in asked.waiting or index in asked.mute):
                return  # too late
            asked.mute.discard(index)
            try:
                asked.heard(part)
            except Malformed:
                asked.silent_count += 1
                last = True
                raise
            finally:
                if last:
                    self._done(number, asked, index)
        except Malformed as error:
            self._refuse(index, error)

    def _from(self, index: int, payload: bytes) -> Receiver | None:
        """Who hears a message of that sibling: nobody when it is for another path."""
        if self._silent:
            self._silent.discard(index)
        return self._receiver if payload.startswith(self._prefix) else None

    def _refuse(self, index: int, error: Malformed) -> None:
        self._complain("malformed sibling message", f"a message of worker {index} was ignored: {error}")

    # The end of a question

    def _done(self, number: int, asked: _Asked, index: int) -> None:
        asked.waiting.discard(index)
        asked.mute.discard(index)
        if not asked.waiting:
            self._end(number)

    def _late(self, number: int) -> None:
        asked = self._asked.get(number)
        if asked is not None:
            self._silent |= asked.mute
            self._end(number)

    def _lost(self, index: int) -> None:
        self._silent.discard(index)
        for number, asked in list(self._asked.items()):
            if index in asked.waiting:
                asked.silent_count += 1
                self._done(number, asked, index)

    def _end(self, number: int) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            if asked.timer is not None:
                asked.timer.cancel()
            asked.ended(asked.silent_count + len(asked.waiting))


class _Reply:
    """Parts of one answer until the last."""

    __slots__ = ("_send",)

    def __init__(self, send: Callable[[Any, bool], None]) -> None:
        self._send: Callable[[Any, bool], None] | None = send

    def __call__(self, part: Any, last: bool = True) -> None:
        send = self._send
        if send is not None:
            if last:
                self._send = None
            send(part, last)
