"""PipeBackplane: the workers of one machine reach each other over the links between them.

Must not know: who is in a room, how a link sends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Final

from python_server.net.system import CallLater, TimerLike
from python_server.socketio.cluster.last_words import HeardEvents, HowFar, LastWords
from python_server.socketio.cluster.paced_sender import PacedSender, Piece
from python_server.socketio.cluster.pipe_messages import (
    decode_answer,
    decode_how_far,
    decode_message,
    decode_question,
    encode_answer,
    encode_how_far,
    encode_message,
    encode_question,
)
from python_server.socketio.cluster.port import (
    Command,
    Envelope,
    LongAnswer,
    Malformed,
    PeerRequest,
    QuestionKind,
    Receiver,
    StreamMarks,
)
from python_server.socketio.values import JSONValue
from python_server.workers.peers import MessageKind, Peers

# Questions of ours that wait for answers; beyond it the oldest is given up.
QUESTIONS_MAX_COUNT: Final = 10_000
# What a name or a value that does not travel raises when it is encoded.
UNWRITABLE: Final = (TypeError, ValueError, OverflowError)


@dataclass(slots=True)
class _Asked:
    """A question under way.

    Attributes:
        waiting: siblings whose answer has not ended. mute: those that have said nothing to it yet.
        silent_count: siblings that will not be heard to the end.
    """

    request: PeerRequest
    waiting: set[int] = field(default_factory=set)
    mute: set[int] = field(default_factory=set)
    silent_count: int = 0
    timer: TimerLike | None = None


class PipeBackplane:
    """One hub's backplane. Every method belongs to the loop's thread.

    A sibling that let a question's time run out without a word is not waited for again until it is heard.
    Who asks for a client waits also until everybody has heard the last words of those that have died: what
    the client says from then on comes behind what it said there. So does what a client is sent on its return.

    Args:
        siblings: the other workers. path: of the hub's mount: it is heard by the hub of the same path.
        complain: called with (kind, message); counted, logged now and then.
        log: of the hub's recoverable events; None: what a worker that dies had said to some of the others
            alone, they do not say to each other.
    """

    alone = False

    def __init__(
        self,
        siblings: Peers,
        path: str,
        call_later: CallLater,
        complain: Callable[[str, str], None],
        log: HeardEvents | None = None,
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
        self._paced = PacedSender(siblings, call_later)
        self._last_words = (
            None
            if log is None
            else LastWords(log, lambda: siblings.living, self._tell_how_far, self._send_rest, self._look)
        )

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        hear = {
            MessageKind.ENVELOPE: self._on_message,
            MessageKind.QUESTION: self._on_question,
            MessageKind.ANSWER: self._on_answer,
            MessageKind.HOW_FAR: self._on_how_far,
        }
        for kind, function in hear.items():
            self._siblings.on(kind, partial(self._hear, function))
        self._siblings.on_lost(self._lost)
        self._siblings.on_changed(self._look)

    def publish(self, message: Envelope | Command | StreamMarks) -> None:
        """One encoding, and one write to each sibling, however many clients it is for."""
        if not self._siblings.living:
            return
        try:
            first, *packets = encode_message(message)
            self._siblings.send_all(MessageKind.ENVELOPE, self._prefix + first, *packets)
        except UNWRITABLE as error:
            self._complain("sibling message", f"a message cannot be told to other workers: {error}")

    def request(self, request: PeerRequest) -> None:
        number = next(self._numbers)
        asked = _Asked(request)
        try:
            payload = encode_question(number, request.question)
            asked.mute = {i for i in self._siblings.living if self._send(i, MessageKind.QUESTION, payload)}
        except UNWRITABLE as error:
            self._complain("sibling message", f"a question cannot be told to other workers: {error}")
        asked.waiting = asked.mute - self._silent
        asked.silent_count = len(self._siblings.living) - len(asked.waiting)
        if self._is_over(asked):
            request.ended(asked.silent_count)
            return
        self._asked[number] = asked
        if request.timeout_seconds is not None:
            asked.timer = self._call_later(request.timeout_seconds, partial(self._late, number))
        if len(self._asked) > QUESTIONS_MAX_COUNT:
            self._complain(
                "questions", f"more than {QUESTIONS_MAX_COUNT} questions to other workers wait for an answer"
            )
            self._end(next(iter(self._asked)))

    def close(self) -> None:
        self._receiver = None
        for number in list(self._asked):
            self._end(number)

    def _send(self, index: int, kind: MessageKind, payload: bytes) -> bool:
        """To one sibling; what must be dropped is told."""
        sent = self._siblings.send(index, kind, self._prefix, payload)
        if not sent and self._siblings.hears(index):
            self._complain(
                f"sibling queue {kind}",
                f"worker {index} does not keep up: a {kind.name.lower()} to it is dropped",
            )
        return sent

    # What comes

    def _hear(
        self,
        function: Callable[[Receiver, int, bytes], None],
        index: int,
        payload: bytes,
        descriptor: int | None,
    ) -> None:
        """Nobody hears what is for another path."""
        if self._silent:
            self._silent.discard(index)
        if self._receiver is not None and payload.startswith(self._prefix):
            try:
                function(self._receiver, index, payload)
            except Malformed as error:
                self._complain(
                    "malformed sibling message", f"a message of worker {index} was ignored: {error}"
                )

    def _on_message(self, receiver: Receiver, index: int, payload: bytes) -> None:
        message = decode_message(payload, len(self._prefix))
        if (
            self._last_words is None
            or type(message) is not Envelope
            or message.offset is None
            or self._last_words.is_new(index, message.offset)
        ):
            receiver.receive(message)

    def _on_how_far(self, receiver: Receiver, index: int, payload: bytes) -> None:
        word = decode_how_far(payload, len(self._prefix))
        if self._last_words is not None:
            self._last_words.told(index, word)
        elif word.asks:  # of a generation that has recovery
            self._tell_how_far(index, HowFar(word.index, {}))

    def _tell_how_far(self, index: int, word: HowFar) -> None:
        self._send(index, MessageKind.HOW_FAR, encode_how_far(word))

    def _send_rest(self, index: int, envelopes: list[Envelope], word: HowFar) -> None:
        """What a worker that has gone had said to us, and not to that one; then the word."""

        def pieces() -> Iterator[Piece]:
            for envelope in envelopes:
                first, *packets = encode_message(envelope)
                yield MessageKind.ENVELOPE, [self._prefix + first, *packets]
            yield MessageKind.HOW_FAR, [self._prefix + encode_how_far(word)]

        self._paced.send(index, pieces())

    def _on_question(self, receiver: Receiver, index: int, payload: bytes) -> None:
        number, question = decode_question(payload, len(self._prefix))
        answered = False

        def reply(part: JSONValue | LongAnswer, last: bool = True) -> None:
            nonlocal answered
            if isinstance(part, LongAnswer):
                answered = True
                self._paced.send(index, self._parts(index, number, part.parts), part.ended)
            elif not answered:
                answered = last
                self._answer(index, number, part, last)

        try:
            receiver.answer(question, reply)
        except Malformed:
            reply(None)  # which is no answer, and ends it
            raise

    def _answer(self, index: int, number: int, part: JSONValue, last: bool) -> None:
        try:
            self._send(index, MessageKind.ANSWER, encode_answer(number, part, last))
        except UNWRITABLE as error:
            self._complain("sibling message", f"an answer cannot be told to worker {index}: {error}")
            self._send(index, MessageKind.ANSWER, encode_answer(number, None, True))

    def _parts(self, index: int, number: int, parts: Iterator[JSONValue]) -> Iterator[Piece]:
        part = next(parts)
        try:
            for following in parts:
                yield MessageKind.ANSWER, [self._prefix + encode_answer(number, part, False)]
                part = following
            yield MessageKind.ANSWER, [self._prefix + encode_answer(number, part, True)]
        except UNWRITABLE as error:
            self._complain("sibling message", f"an answer cannot be told to worker {index}: {error}")
            yield MessageKind.ANSWER, [self._prefix + encode_answer(number, None, True)]

    def _on_answer(self, receiver: Receiver, index: int, payload: bytes) -> None:
        number, part, last = decode_answer(payload, len(self._prefix))
        asked = self._asked.get(number)
        if asked is None or not (index in asked.waiting or index in asked.mute):
            return  # too late
        asked.mute.discard(index)
        try:
            asked.request.heard(part)
        except Malformed:
            asked.silent_count += 1
            last = True
            raise
        finally:
            if last:
                self._done(number, asked, index)

    # The end of a question

    def _done(self, number: int, asked: _Asked, index: int) -> None:
        asked.waiting.discard(index)
        asked.mute.discard(index)
        if self._is_over(asked):
            self._end(number)

    def _is_over(self, asked: _Asked) -> bool:
        if asked.waiting or asked.request.question.kind is not QuestionKind.FETCH:
            return not asked.waiting
        is_incomplete = self._last_words is not None and self._last_words.awaited
        return not (is_incomplete or self._siblings.any_unnoticed())

    def _look(self) -> None:
        """Workers have come or gone, or everybody has noticed it."""
        for number, asked in list(self._asked.items()):
            if self._is_over(asked):
                self._end(number)

    def _late(self, number: int) -> None:
        asked = self._asked[number]
        if asked.request.question.kind is not QuestionKind.RELIEVED:  # which may be answered late
            self._silent |= asked.mute
        self._end(number)

    def _lost(self, index: int) -> None:
        self._silent.discard(index)
        self._paced.lost(index)
        if self._last_words is not None:
            self._last_words.gone(index)
        for number, asked in list(self._asked.items()):
            if index in asked.waiting:
                asked.silent_count += 1
                self._done(number, asked, index)

    def _end(self, number: int) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            if asked.timer is not None:
                asked.timer.cancel()
            asked.request.ended(asked.silent_count + len(asked.waiting))
