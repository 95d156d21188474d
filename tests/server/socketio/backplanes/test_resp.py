"""RESP2 pushes: read whole, bytewise and at every cut; what is malformed ends the connection.

It must not know any broker.
"""

import pytest

from python_server.socketio.backplanes.resp import LINE_MAX_BYTES, PushReader, RESPError, pack, pack_publishes

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


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_stream_at_every_cut(cut: int) -> None:
    reader = PushReader(100)
    assert reader.feed(STREAM[:cut]) + reader.feed(STREAM[cut:]) == MESSAGES
    assert reader.held_bytes == 0


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_stream_in_small_pieces(size: int) -> None:
    reader = PushReader(100)
    heard = []
    for start in range(0, len(STREAM), size):
        heard += reader.feed(STREAM[start : start + size])
    assert heard == MESSAGES


@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_a_message_above_the_bound_is_passed_over_and_never_held(size: int) -> None:
    big = b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$500000\r\n" + b"x" * 500_000 + b"\r\n"
    stream = STREAM + big + STREAM
    reader = PushReader(100)
    heard = []
    held_max_bytes = 0
    for start in range(0, len(stream), size):
        heard += reader.feed(stream[start : start + size])
        held_max_bytes = max(held_max_bytes, reader.held_bytes)
    assert heard == MESSAGES + MESSAGES
    assert reader.oversized_count == 1
    assert held_max_bytes < 200 + size


def test_a_long_payload_is_joined_once() -> None:
    payload = b"y" * 3_000_000
    stream = b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$3000000\r\n" + payload + b"\r\n"
    reader = PushReader(len(payload))
    pieces = [stream[start : start + 65_536] for start in range(0, len(stream), 65_536)]
    heard = [message for piece in pieces for message in reader.feed(piece)]
    assert heard == [(b"chan", payload)]
    assert reader.held_bytes == 0


@pytest.mark.parametrize(
    "stream",
    [
        b"-NOAUTH Authentication required.\r\n",
        b"$5\r\nhello\r\n",
        b"GET / HTTP/1.1\r\n",
        b"*9\r\n",
        b"*x\r\n",
        b"*-1\r\n",
        b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$99999999999\r\n",
        b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$+5\r\nhello\r\n",
        b"*3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n*1\r\n",
        b"*2\r\n$3\r\nabcXX",
        b"*2\r\n$500\r\n" + b"c" * 500 + b"\r\n",
        b"+" + b"a" * LINE_MAX_BYTES,
    ],
)
def test_what_is_not_a_push_is_refused(stream: bytes) -> None:
    with pytest.raises(RESPError):
        PushReader(100).feed(stream)


def test_an_error_of_the_broker_is_told() -> None:
    with pytest.raises(RESPError, match="NOAUTH"):
        PushReader(100).feed(b"-NOAUTH Authentication required.\r\n")


def test_commands() -> None:
    assert pack(b"SUBSCRIBE", b"a", b"") == b"*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$0\r\n\r\n"
    assert pack_publishes([(b"c", b"1"), (b"d", b"\r\n")]) == (
        b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$1\r\n1\r\n*3\r\n$7\r\nPUBLISH\r\n$1\r\nd\r\n$2\r\n\r\n\r\n"
    )
