"""RESP2 pushes: read whole, bytewise and at every cut; what is malformed ends the connection.

It must not know any broker.
"""

import pytest

from batches import in_batches
from python_server.socketio.cluster.broker.resp import PushReader, RESPError

STREAM = (
    b"*3\r\n$9\r\nsubscribe\r\n$4\r\nchan\r\n:1\r\n"
    b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$5\r\nhello\r\n"
    b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$0\r\n\r\n"
    b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
    b"+PONG\r\n"
    b"*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$4\r\n\r\n\r\n\r\n"
    b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$3\r\n*3\r\r\n"
    b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"
)
MESSAGES = [
    (b"chan", None),
    (b"chan", b"hello"),
    (b"chan", b""),
    (b"other", b"\r\n\r\n"),
    (b"chan", b"*3\r"),
]


def test_a_stream_whole() -> None:
    assert PushReader(100).feed(STREAM) == MESSAGES


@in_batches("cut", range(len(STREAM) + 1), 60)
def test_a_stream_at_every_cut(cut: int) -> None:
    reader = PushReader(100)
    assert reader.feed(STREAM[:cut]) + reader.feed(STREAM[cut:]) == MESSAGES
    assert reader.feed(STREAM) == MESSAGES


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_stream_in_small_pieces(size: int) -> None:
    reader = PushReader(100)
    heard = []
    for start in range(0, len(STREAM), size):
        heard += reader.feed(STREAM[start : start + size])
    assert heard == MESSAGES


@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_a_message_above_the_bound_is_passed_over(size: int) -> None:
    big = b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$399\r\n" + b"x" * 399 + b"\r\n"
    stream = STREAM + big + STREAM
    reader = PushReader(398)
    heard = []
    for start in range(0, len(stream), size):
        heard += reader.feed(stream[start : start + size])
    assert heard == MESSAGES + MESSAGES
    assert reader.oversized_count == 1


@pytest.mark.parametrize(
    "begin",
    [b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$500000\r\n", b"+", b"*3\r\n$7\r\nmessage\r\n$500000\r\n"],
    ids=["payload", "line", "channel"],
)
def test_what_is_far_above_the_bound_is_not_waited_for(begin: bytes) -> None:
    reader = PushReader(10_000)
    assert reader.feed(STREAM + begin) == MESSAGES
    taken_bytes = 0
    piece = b"x" * 1_000

    def go_on() -> None:
        nonlocal taken_bytes
        for _ in range(450):
            reader.feed(piece)
            taken_bytes += len(piece)

    with pytest.raises(RESPError, match="more than 40000 bytes"):
        go_on()
    assert 39_000 < taken_bytes <= 41_000


def test_a_long_payload_is_joined_once() -> None:
    payload = b"y" * 3_000_000
    stream = b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$3000000\r\n" + payload + b"\r\n"
    reader = PushReader(len(payload))
    pieces = [stream[start : start + 65_536] for start in range(0, len(stream), 65_536)]
    heard = [message for piece in pieces for message in reader.feed(piece)]
    assert heard == [(b"chan", payload)]


@pytest.mark.parametrize(
    "stream",
    [
        b"-NOAUTH Authentication required.\r\n",
        b"GET / HTTP/1.1\r\n",
        b"*x\r\n",
        b"*-2\r\n",
        b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$99999999999999999999\r\n",
        b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$+5\r\nhello\r\n",
    ],
)
def test_what_is_not_a_push_is_refused(stream: bytes) -> None:
    with pytest.raises(RESPError):
        PushReader(100).feed(stream)


@pytest.mark.parametrize(
    "stream",
    [
        b"$5\r\nhello\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$4\r\nchan\r\n$1\r\nx\r\n",
        b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n:1\r\n",
        b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$-1\r\n",
    ],
)
def test_what_is_no_message_passes_unseen(stream: bytes) -> None:
    reader = PushReader(100)
    assert reader.feed(stream + STREAM) == MESSAGES


def test_an_error_of_the_broker_is_told() -> None:
    with pytest.raises(RESPError, match="NOAUTH"):
        PushReader(100).feed(b"-NOAUTH Authentication required.\r\n")
