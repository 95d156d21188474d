"""What workers of one machine write to each other (pipe_messages.py) is read as it was, or refused.

It must not know links, or who speaks.
"""

import pytest

from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.last_words import HowFar
from python_server.socketio.cluster.pipe_messages import (
    HEAD_LENGTH,
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
    CommandKind,
    Envelope,
    Malformed,
    Question,
    QuestionKind,
    StreamMarks,
)
from python_server.workers.link_messages import encode

PREFIX = b"/socket.io/\0"


PACKETS: list[list[str | bytes]] = [
    ['42["x",1]'],
    ['452-["caf\u00e9",1,2]', b"", b"\x00\xff"],
    [b"\x81\xa1"],
    [""],
]
ENVELOPES = [
    Envelope("/", None, (), Prepared(PACKETS[0])),
    Envelope("/\u00e9[", ("red", 7, -(2**63), "\u20ac"), ("a", 2**63 - 1), Prepared(PACKETS[1]), "o1", True),
    Envelope("/", (), ("x",), Prepared(PACKETS[2]), None, False),
    Envelope("/", ("r",), (), Prepared(PACKETS[3]), "", False),
    Envelope("/", ("r",), (), Prepared(PACKETS[0]), "o2", False, None, 2**62),
]
COMMANDS = [
    Command(CommandKind.DISCONNECT, "/", "sid", detail="why"),
    Command(CommandKind.ENTER, "/n", "sid", 7),
    Command(CommandKind.CLOSE_ROOM, "/", room="red"),
    Command(CommandKind.LEAVE, "/", "sid", "red", place=2**62),
    Command(CommandKind.EXPIRE, "/", "sid", at=1_700_000_000.25),
    Command(CommandKind.EXPIRE, "/", "sid", place=3),
]
MARKS = [
    StreamMarks(1, 2**62),
    StreamMarks(2**61, 2**62, {"tag-1": 2**61 + 1, "tag-2": 2**62}, 7, True),
]


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_envelopes_arrive_as_they_are(envelope: Envelope) -> None:
    read = decode_message(b"".join((PREFIX, *encode_message(envelope))), len(PREFIX))
    assert isinstance(read, Envelope)
    assert list(read.prepared.packets) == list(envelope.prepared.packets)
    for name in ("namespace", "rooms", "excepted", "offset", "volatile", "place"):
        assert getattr(read, name) == getattr(envelope, name)


@pytest.mark.parametrize("message", [*COMMANDS, *MARKS])
def test_commands_and_marks_arrive_as_they_are(message: Command | StreamMarks) -> None:
    assert decode_message(b"".join((PREFIX, *encode_message(message))), len(PREFIX)) == message


def test_packets_are_not_encoded_again() -> None:
    _, packet, attachment = encode_message(Envelope("/", None, (), Prepared(['451-["x"]', b"\x01"])))
    assert (packet, attachment) == (b'451-["x"]', b"\x01")


def test_no_part_of_a_message_is_taken_for_a_message() -> None:
    for message in (*ENVELOPES, *COMMANDS, *MARKS):
        whole = b"".join(encode_message(message))
        for length in range(len(whole)):
            with pytest.raises(Malformed):
                decode_message(whole[:length], 0)
        with pytest.raises(Malformed):
            decode_message(whole + b"x", 0)


def test_questions_and_answers_arrive_as_they_are() -> None:
    question = Question(QuestionKind.ROOMS, "/n", ["a", 1, None, {"b": [1.5]}])
    assert decode_question(b"x" + encode_question(7, question), 1) == (7, question)
    assert decode_answer(b"x" + encode_answer(7, ["a", 2], False), 1) == (7, ["a", 2], False)


def test_how_far_a_worker_was_heard_arrives_as_it_is() -> None:
    word = HowFar(3, {"speaker_": "speaker_a"}, asks=True)
    assert decode_how_far(b"x" + encode_how_far(word), 1) == word
    for data in (b"", encode([1]), encode([1, {"a": 2}, True, False]), encode(["a", {}, True, False])):
        with pytest.raises(Malformed):
            decode_how_far(b"x" + data, 1)


def test_what_stands_on_a_link_is_the_same_in_every_release_of_one_version() -> None:
    """See link_messages.VERSION: a change of these bytes raises it."""
    command = encode_message(Command(CommandKind.ENTER, "/n", "sid", 7))
    heads = [
        encode([2, "enter_room", "/n", "sid", 7, None, 0, None, None]),
        encode([1, "/", ["r"], [], [6, ~1], "o", True]),
    ]
    assert command == [HEAD_LENGTH.pack(len(heads[0])) + heads[0]]
    shorter = encode([2, "enter_room", "/n", "sid", 7, None])
    read = decode_message(HEAD_LENGTH.pack(len(shorter)) + shorter, 0)
    assert read == Command(CommandKind.ENTER, "/n", "sid", 7), "of a worker that knows no streams"
    envelope = Envelope("/", ("r",), (), Prepared(["51-[1]", b"x"]), "o", True)
    assert encode_message(envelope) == [HEAD_LENGTH.pack(len(heads[1])) + heads[1], b"51-[1]", b"x"]
    traced = encode([1, "/", ["r"], [], [6, ~1], "o", True, "00-1-2-01", 0])
    with_trace = encode_message(envelope._replace(traceparent="00-1-2-01"))
    assert with_trace == [HEAD_LENGTH.pack(len(traced)) + traced, b"51-[1]", b"x"]
    assert encode_question(7, Question(QuestionKind.ROOMS, "/n", "sid")) == encode([7, "rooms", "/n", "sid"])
    assert encode_answer(7, ["a"], True) == encode([7, True, ["a"]])
    assert encode_how_far(HowFar(3, {"t": "ta"})) == encode([3, {"t": "ta"}, False, False])


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", encode([1]), encode([1, "fortunes", "/", None]), encode(["x", True, None])]
)
def test_no_question_and_no_answer(data: bytes) -> None:
    for decode in (decode_question, decode_answer):
        with pytest.raises(Malformed):
            decode(b"p" + data, 1)


def test_names_that_do_not_travel_are_refused() -> None:
    with pytest.raises(TypeError):
        encode_message(Envelope("/", (object(),), (), Prepared(["x"])))
    with pytest.raises(OverflowError):
        encode_message(Command(CommandKind.ENTER, "/", "sid", 2**64))
