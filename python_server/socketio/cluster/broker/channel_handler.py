"""What a worker does with what came from the broker: delivers, passes on (if it leads its machine), answers.

Must not know: how bytes are read, how they travel, what a hand-over waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from python_server.socketio.cluster.broker.foreign_messages import (
    WireError,
    WireMessage,
    excepted_of,
    packed_event_of,
    rooms_of,
    write_callback,
)
from python_server.socketio.cluster.broker.leader import Leadership, Place, Word
from python_server.socketio.cluster.broker.messages import (
    ORDERED,
    AnsweredQuestion,
    AskedAlone,
    Asking,
    Channels,
    ForeignAck,
    Incoming,
    LeadSaid,
    LeftSaid,
    RoomEnvelope,
    Subscribed,
    write,
)
from python_server.socketio.cluster.broker.requests import BrokerRequests, Publish
from python_server.socketio.cluster.port import (
    Backplane,
    Command,
    Envelope,
    Malformed,
    PeerRequest,
    Question,
    QuestionKind,
    Receiver,
)
from python_server.socketio.cluster.requests import AckHeard, AcksQuestion, convert, plain
from python_server.socketio.values import JSONValue

# How long an ack of our client is passed on to a server of python-socketio, which has no bound itself.
FOREIGN_ACK_SECONDS: Final = 60.0


@dataclass(slots=True)
class ChannelHandler:
    """Every method belongs to the loop's thread.

    Attributes:
        inner: how the other workers of this machine are reached.
        complain: called with (kind, message). report: for a fault.
        receiver: this worker's own clients; set before anything comes.
        received_count: passed on by us. refused_count: not what they should be.
    """

    place: Place
    leadership: Leadership[Incoming]
    requests: BrokerRequests
    channels: Channels
    publish: Publish
    inner: Backplane
    complain: Callable[[str, str], None]
    report: Callable[[str, BaseException], None]
    receiver: Receiver = field(init=False)
    received_count: int = field(init=False, default=0)
    refused_count: int = field(init=False, default=0)
    _functions: dict[type, Callable[[Any], None]] = field(init=False)

    def __post_init__(self) -> None:
        heard = self.leadership.heard
        self._functions = {
            Envelope: self._pass_on,
            Command: self._pass_on,
            RoomEnvelope: lambda came: self.receiver.receive(came.envelope),
            AnsweredQuestion: self.requests.hear,
            Asking: self._on_question,
            AskedAlone: lambda came: self.requests.answer_alone(came.asking, self.receiver),
            WireMessage: self._on_foreign_question,
            ForeignAck: self._on_foreign_ack,
            LeadSaid: lambda came: heard(Word.LEAD, came.name),
            LeftSaid: lambda came: heard(Word.LEFT, "", came.successor),
            Subscribed: lambda came: self.leadership.subscribed(),
            WireError: self._refuse,
        }

    def take(self, messages: Iterable[Incoming]) -> None:
        """In their order; a successor's hand-over keeps those that must wait, and brings them here again."""
        functions, holds = self._functions, self.leadership.holds
        for message in messages:
            kind = type(message)
            try:
                if kind not in ORDERED or not holds(message):
                    functions[kind](message)
                elif isinstance(message, LeadSaid):
                    self.leadership.foresee(message.name)
            except Malformed as error:
                self._refuse(WireError("malformed message", str(error)))
            except WireError as error:
                self._refuse(error)
            except Exception as error:
                self.report("message from the broker", error)

    def _refuse(self, error: WireError) -> None:
        self.refused_count += 1
        channel = self.channels.shared.decode()
        self.complain(error.kind, f"a message from the broker's channel {channel!r} was refused: {error}")

    def _pass_on(self, message: Envelope | Command) -> None:
        if self.leadership.passes_on:
            self.received_count += 1
            self.receiver.receive(message)
            self.inner.publish(message)

    def _on_question(self, asking: Asking) -> None:
        receiver = self.receiver if self.leadership.passes_on else None
        self.requests.answer(asking, self.place.host_id, receiver, self.inner)

    def _on_foreign_question(self, message: WireMessage) -> None:
        """Ask the clients of this machine; each ack goes back as it comes."""
        if not self.leadership.passes_on:
            return
        rooms = rooms_of(message)
        asked = AcksQuestion(
            None if rooms is None else list(rooms),
            list(excepted_of(message)),
            packed_event_of(message),
            FOREIGN_ACK_SECONDS,
        )
        question = Question(QuestionKind.ACKS, message.namespace or "/", plain(asked))

        def heard(part: JSONValue) -> None:
            if part.get("type") != "heard" or part.get("values") is None:
                return
            values = convert(part, AckHeard).values or []
            if len(values) == 1:
                self.publish(self.channels.shared, write_callback(message, values[0]))
            else:
                self.complain(
                    "binary ack",
                    "an ack with bytes cannot reach a python-socketio server: its callback has no shape",
                )

        self.receiver.answer(question, lambda part, last=True: heard(part))
        self.inner.request(PeerRequest(question, heard, lambda silent_count: None, FOREIGN_ACK_SECONDS))

    def _on_foreign_ack(self, came: ForeignAck) -> None:
        """The worker that asked hears the channel only if it leads: another gets it in its inbox."""
        if came.asker == self.place.name:
            self.requests.hear(came.answer)
        elif self.leadership.passes_on:
            self.publish(self.channels.inbox_of(came.asker), write(came.answer))
