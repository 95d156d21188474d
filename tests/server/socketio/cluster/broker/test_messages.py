"""What a broker's channels bring, read: one value for each kind, and which of them keep the channel's order.

It must not know who leads, or what is done with a value.
"""

from typing import Any, get_args

import pytest

from python_server.socketio.cluster.broker.foreign_messages import WireError, WireMessage
from python_server.socketio.cluster.broker.messages import (
    ORDERED,
    AnsweredQuestion,
    AskedAlone,
    Asking,
    ChannelReader,
    Channels,
    ForeignAck,
    Incoming,
    LeadSaid,
    LeftSaid,
    RoomEnvelope,
    Subscribed,
)
from python_server.socketio.cluster.port import Command, CommandKind, Envelope
from python_server.socketio.packet import TextCodec

ROOM = b"channel#/#r"
EMIT = b'{"method":"emit","event":"e","data":[],"host_id":"other.1"%s}'
ACK = b'{"method":"callback","sid":"s","id":7,"namespace":"/","args":[1],"host_id":"%s"}'
ASKING = b'{"id":1,"sender":"other.1","kind":"%s","namespace":"/","data":null}'
LEFT = b'{"method":"wsframe_left","host_id":"%s","detail":"host.2"}'


def read(*messages: tuple[bytes, bytes | None], oversized_count: int = 0) -> list[Any]:
    reader = ChannelReader(
        Channels("channel", "host.1", True), "host.", TextCodec, lambda: None, lambda: None
    )
    return list(reader.read(messages, oversized_count))


KINDS: list[tuple[bytes, bytes | None, type]] = [
    (b"channel", EMIT % b"", Envelope),
    (b"channel", EMIT % b',"callback":["r","/",1]', WireMessage),
    (b"channel", b'{"method":"close_room","room":"r","host_id":"other.1"}', Command),
    (b"channel", ACK % b"host.2", ForeignAck),
    (b"channel", b'{"method":"wsframe_lead","host_id":"host.2"}', LeadSaid),
    (b"channel", LEFT % b"host.2", LeftSaid),
    (b"channel", None, Subscribed),
    (b"channel", b"[]", WireError),
    (ROOM, EMIT % b"", RoomEnvelope),
    (b"channel#wsframe", ASKING % b"members", Asking),
    (b"channel#wsframe#host.1", b'{"id":1,"last":true}', AnsweredQuestion),
    (b"channel#wsframe#host.1", b'{"asking":' + ASKING % b"surrender" + b"}", AskedAlone),
]


@pytest.mark.parametrize(("channel", "payload", "kind"), KINDS, ids=[kind.__name__ for *_, kind in KINDS])
def test_each_kind_is_a_value_of_its_own(channel: bytes, payload: bytes | None, kind: type) -> None:
    assert [type(came) for came in read((channel, payload))] == [kind]


def test_where_another_passes_on_the_names_begin_anew() -> None:
    """At that place of the stream, however late it is read: whoever goes on numbers behind it."""
    said: list[str] = []
    channels = Channels("channel", "host.1", False)
    reader = ChannelReader(
        channels,
        "host.",
        TextCodec,
        lambda: lambda passed_on: said.append("named") or "name",  # type: ignore[func-returns-value]
        lambda: said.append("another leads"),
    )
    emit, lead, left = EMIT % b"", b'{"method":"wsframe_lead","host_id":"host.2"}', LEFT % b"host.2"
    reader.read([(b"channel", message) for message in (emit, left, lead, emit)], 0)
    assert said == ["named", "another leads", "named"]


def test_every_kind_is_read_here() -> None:
    assert {kind for *_, kind in KINDS} == set(get_args(Incoming))


def test_what_waits_for_a_predecessor() -> None:
    """All that came on the channel which machines share; not the word that ends the wait, nor other ways."""
    shared = {kind for channel, _, kind in KINDS if channel in (b"channel", b"channel#wsframe")}
    assert shared - ORDERED == {LeftSaid, Subscribed, WireError}
    assert shared > ORDERED


@pytest.mark.parametrize(
    "payload",
    [
        EMIT.replace(b"other.1", b"host.2") % b"",
        EMIT.replace(b"other.1", b"host.2") % b',"callback":["r","/",1]',
        EMIT % b',"callback":["r","/",1],"asked":true',
        EMIT % b',"room":[]',
        b'{"method":"close_room","room":"r","host_id":"host.2"}',
        ACK % b"other.1",
        LEFT % b"other.1",
    ],
)
def test_what_is_not_for_us_is_nothing(payload: bytes) -> None:
    assert read((b"channel", payload)) == []


@pytest.mark.parametrize(
    ("channel", "payload", "said"),
    [
        (b"channel#wsframe", b"{", "no question: "),
        (b"channel#wsframe", (ASKING % b"x").replace(b'"x"', b"7"), "no question: "),
        (b"channel#wsframe", b"[" * 100_000, "no question: "),
        (b"channel#wsframe#host.1", b'{"id":"x"}', "no answer: "),
    ],
)
def test_what_is_no_question_and_no_answer_is_refused(channel: bytes, payload: bytes, said: str) -> None:
    (refused,) = read((channel, payload))
    assert str(refused).startswith(f"malformed message: {said}")


def test_a_word_to_an_inbox_that_says_nothing_is_nothing() -> None:
    """It makes the subscriber look at the channels that are wanted."""
    assert read((b"channel#wsframe#host.1", b"{}")) == []


def test_a_command_is_read_whole_and_order_is_kept_around_what_is_refused() -> None:
    command = b'{"method":"leave_room","sid":"s","room":"r","namespace":"/n","host_id":"other.1"}'
    came = read(
        (ROOM, None), (b"channel", command), (b"channel", b"\xff"), (b"channel", None), oversized_count=2
    )
    assert came[0] == Command(CommandKind.LEAVE, "/n", "s", "r")
    moments = [b',"at":1700000000', b"", b',"at":"soon"', b',"at":1e999']
    words = [b'{"method":"expire","sid":"s","host_id":"other.1"' + moment + b"}" for moment in moments]
    until, never, *refused = read((ROOM, None), *((b"channel", word) for word in words))
    assert until == Command(CommandKind.EXPIRE, "/", "s", at=1_700_000_000.0)
    assert never == Command(CommandKind.EXPIRE, "/", "s")
    assert [type(each) for each in refused] == [WireError, WireError]
    assert [type(each) for each in came[1:]] == [WireError, Subscribed, WireError, WireError]
    assert {each.kind for each in came[3:]} == {"oversized message"}


def test_what_cannot_be_read_is_an_error_of_its_own() -> None:
    """Whatever goes wrong, what came beside it is read, and nothing on a broker raises."""

    def broken(passed_on: bool) -> str:
        raise ZeroDivisionError("no name")

    reader = ChannelReader(
        Channels("channel", "host.1", True), "host.", TextCodec, lambda: broken, lambda: None
    )
    refused, command = reader.read(
        [(b"channel", EMIT % b""), (b"channel", b'{"method":"close_room","room":"r","host_id":"other.1"}')], 0
    )
    assert isinstance(refused, WireError)
    assert (refused.kind, str(refused)) == (
        "unreadable message",
        "unreadable message: ZeroDivisionError: no name",
    )
    assert isinstance(command, Command)
