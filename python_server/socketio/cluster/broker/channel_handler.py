"""What a worker does with what came from the broker: delivers, passes on (if it leads its machine), answers.

Must not know: how bytes are read, how they travel, what a hand-over waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from python_server.socketio.cluster.broker.leader import Leadership, Place, Word
from python_server.socketio.cluster.broker.messages import (
    ORDERED,
    Channels,
    ForeignAck,
    ForeignQuestion,
    InboxAnswer,
    Incoming,
    LeadSaid,
    LeftSaid,
    MachineQuestion,
    RoomEnvelope,
    Subscribed,
)
from python_server.socketio.cluster.broker.requests import BrokerRequests
from python_server.socketio.cluster.broker.wire_json import (
    WireError,
    excepted_of,
    packed_event_of,
    rooms_of,
    write_callback,
)
from python_server.socketio.cluster.port import (
    Backplane,
    Command,
    Envelope,
    Malformed,
    Question,
    QuestionKind,
    Receiver,
)
from python_server.socketio.cluster.requests import AckHeard, AcksQuestion, convert, plain

# How long an ack of our client is passed on to a server of python-socketio, which has no bound itself.
FOREIGN_ACK_SECONDS: Final = 60.0


class ChannelHandler:
    """Every method belongs to the loop's thread.

    Args:
        publish: (channel, payload) to the broker. inner: how the other workers of this machine are reached.
        complain: called with (kind, message). report: for a fault.

    Attributes:
        receiver: this worker's own clients; set before anything comes.
        received_count: passed on by us. refused_count: not what they should be.
    """

    receiver: Receiver

    def __init__(
        self,
        place: Place,
        leadership: Leadership,
        requests: BrokerRequests,
        channels: Channels,
        publish: Callable[..., None],
        inner: Backplane,
        complain: Callable[[str, str], None],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._place = place
        self._leadership = leadership
        self._requests = requests
        self._channels = channels
        self._publish = publish
        self._inner = inner
        self._complain = complain
        self._report = report
        self.received_count = self.refused_count = 0
        self._functions: dict[type, Callable[[Any], None]] = {
            Envelope: self._pass_on,
            Command: self._pass_on,
            RoomEnvelope: lambda came: self.receiver.receive(came.envelope),
            InboxAnswer: lambda came: requests.hear(came.payload),
            MachineQuestion: self._on_question,
            ForeignQuestion: self._on_foreign_question,
            ForeignAck: self._on_foreign_ack,
            LeadSaid: lambda came: leadership.heard(Word.LEAD, came.name),
            LeftSaid: lambda came: leadership.heard(Word.LEFT, "", came.successor),
            Subscribed: lambda came: leadership.subscribed(),
            WireError: self._refuse,
        }

    def take(self, messages: Iterable[Incoming]) -> None:
        """In their order; a successor's hand-over keeps those that must wait, and brings them here again."""
        functions, holds = self._functions, self._leadership.holds
        for message in messages:
            kind = type(message)
            try:
                if kind not in ORDERED or not holds(message):
                    functions[kind](message)
            except Malformed as error:
                self._refuse(WireError("malformed message", str(error)))
            except WireError as error:
                self._refuse(error)
            except Exception as error:
                self._report("message from the broker", error)

    def _refuse(self, error: WireError) -> None:
        self.refused_count += 1
        channel = self._channels.shared.decode()
        self._complain(error.kind, f"a message from the broker's channel {channel!r} was refused: {error}")

    def _pass_on(self, message: Envelope | Command) -> None:
        if self._leadership.passes_on:
            self.received_count += 1
            self.receiver.receive(message)
            self._inner.publish(message)

    def _on_question(self, came: MachineQuestion) -> None:
        receiver = self.receiver if self._leadership.passes_on else None
        self._requests.answer(came.payload, self._place.host_id, receiver, self._inner)

    def _on_foreign_question(self, came: ForeignQuestion) -> None:
        """Ask the clients of this machine; each ack goes back as it comes."""
        if not self._leadership.passes_on:
            return
        message, rooms = came.message, rooms_of(came.message)
        asked = AcksQuestion(
            None if rooms is None else list(rooms),
            list(excepted_of(message)),
            packed_event_of(message),
            FOREIGN_ACK_SECONDS,
        )
        question = Question(QuestionKind.ACKS, message.namespace or "/", plain(asked))

        def heard(part: Any) -> None:
            if part.get("type") != "heard" or part.get("values") is None:
                return
            values = convert(part, AckHeard).values or []
            if len(values) == 1:
                self._publish(self._channels.shared, write_callback(message, values[0]))
            else:
                self._complain(
                    "binary ack",
                    "an ack with bytes cannot reach a python-socketio server: its callback has no shape",
                )

        self.receiver.answer(question, lambda part, last=True: heard(part))
        self._inner.request(question, heard, lambda silent_count: None, FOREIGN_ACK_SECONDS)

    def _on_foreign_ack(self, came: ForeignAck) -> None:
        """The worker that asked hears the channel only if it leads: another gets it in its inbox."""
        asker = came.message.host_id or ""
        if asker == self._place.name:
            self._requests.foreign_ack(came.message)
        elif self._leadership.passes_on:
            self._publish(self._channels.inbox_of(asker), self._requests.forwarded(came.message))
