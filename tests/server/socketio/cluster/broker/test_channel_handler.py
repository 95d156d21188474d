"""What a worker does with each kind of thing from the broker (channel_handler.py), as leader and as another.

It must not know Redis: values are handed in, what is said is kept.
"""

from typing import Any

import pytest

from python_server.socketio.cluster.broker.channel_handler import ChannelHandler
from python_server.socketio.cluster.broker.leader import Lead, Leadership, Place
from python_server.socketio.cluster.broker.messages import (
    AnsweredQuestion,
    Channels,
    ForeignAck,
    RoomEnvelope,
)
from python_server.socketio.cluster.broker.requests import BrokerRequests
from python_server.socketio.cluster.broker.wire_json import WireError
from python_server.socketio.cluster.port import Command, CommandKind, Envelope, NoBackplane
from python_server.socketio.packet import PacketType, TextCodec


class Worker:
    """A handler whose receiver, inner backplane and broker keep what they are told."""

    def __init__(self, state: Lead) -> None:
        self.heard: list[Any] = []
        self.inner: list[Any] = []
        self.published: list[bytes] = []
        self.complaints: list[str] = []
        place, channels = Place("host", 1, lambda: True), Channels("channel", "host.1", True)

        def nothing(*given: Any) -> None:
            raise AssertionError(given)

        leadership = Leadership(place, nothing, nothing, nothing, nothing, nothing)
        leadership.state = state
        inner = NoBackplane()
        inner.publish = self.inner.append  # type: ignore[method-assign]
        publish = lambda channel, payload: self.published.append(channel)  # noqa: E731
        requests = BrokerRequests("host.1", publish, channels, nothing, nothing)
        self.handler = ChannelHandler(
            place,
            leadership,
            requests,
            channels,
            publish,
            inner,
            lambda kind, line: self.complaints.append(kind),
            nothing,
        )
        self.handler.receiver = self  # type: ignore[assignment]

    def receive(self, message: Any) -> None:
        self.heard.append(message)


ENVELOPE = Envelope("/", ("r",), (), TextCodec().prepare(PacketType.EVENT, "/", ("e",)))
COMMAND = Command(CommandKind.CLOSE_ROOM, "/", room="r")
ACK = ForeignAck("host.2", AnsweredQuestion(3, values=["[1]"]))


@pytest.mark.parametrize("state", [Lead.LEADING, Lead.IDLE])
def test_only_the_leader_passes_on_what_machines_share(state: Lead) -> None:
    worker = Worker(state)
    worker.handler.take([ENVELOPE, COMMAND, RoomEnvelope(ENVELOPE), ACK])
    leads = state is Lead.LEADING
    assert worker.heard == ([ENVELOPE, COMMAND] if leads else []) + [ENVELOPE]
    assert worker.inner == ([ENVELOPE, COMMAND] if leads else [])
    assert worker.published == ([b"channel#wsframe#host.2"] if leads else [])
    assert worker.handler.received_count == len(worker.inner)


def test_what_is_refused_is_counted_and_stops_nothing() -> None:
    worker = Worker(Lead.LEADING)
    worker.handler.take([WireError("foreign message", "odd"), ENVELOPE])
    assert (worker.complaints, worker.handler.refused_count, worker.heard) == (
        ["foreign message"],
        1,
        [ENVELOPE],
    )
