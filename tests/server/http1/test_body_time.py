"""Which bodies are slow and which have stopped, on a told clock (http1/body_time.py).

It must not know connections.
"""

import pytest

from python_server.http1.body_time import BodyTime

GIBIBYTE = 1 << 30
DAY_SECONDS = 86_400


def last(body: BodyTime, bytes_per_second: float, pieces_bytes: int, size_bytes: int) -> float | None:
    """Seconds after which a body of that pace is ended; None when it arrives."""
    now, came = 0.0, 0
    while came < size_bytes and now < DAY_SECONDS:
        pause = pieces_bytes / bytes_per_second
        if body.left_seconds(now) < pause:
            return now + body.left_seconds(now)
        now += pause
        body.received(pieces_bytes, now)
        came += pieces_bytes
    return None


@pytest.mark.parametrize(
    ("bytes_per_second", "pieces_bytes", "ended"),
    [
        (1, 1, True),  # a byte a second, for ever
        (450, 1_460, True),
        (550, 1_460, False),
        (4_000, 65_536, False),  # an honest one at the pace of GPRS, in bursts 16 s apart
        (1_000_000, 65_536, False),
    ],
)
def test_a_gibibyte_at_a_pace(bytes_per_second: int, pieces_bytes: int, ended: bool) -> None:
    moment = last(BodyTime(30.0, 500, 0.0), bytes_per_second, pieces_bytes, GIBIBYTE // 64)
    assert (moment is not None) is ended
    if bytes_per_second == 1:
        assert moment is not None
        assert 30 <= moment < 31


def test_what_came_fast_earns_no_more_than_the_longest_silence() -> None:
    body = BodyTime(30.0, 500, 0.0)
    body.received(GIBIBYTE, 1.0)
    assert body.left_seconds(1.0) == 30.0
    assert body.left_seconds(31.5) < 0


def test_a_pause_of_ours_is_not_counted() -> None:
    body = BodyTime(30.0, 500, 0.0)
    assert body.left_seconds(1.0) == 29.0
    assert body.left_seconds(101.0, resumed_at=100.0) == 29.0
    body.received(500, 101.0, resumed_at=100.0)
    assert body.left_seconds(101.0) == 30.0


def test_without_a_rate_each_piece_has_the_whole_time() -> None:
    body = BodyTime(30.0, 0, 0.0)
    for now in range(29, 29_000, 29):
        body.received(1, float(now))
        assert body.left_seconds(float(now)) == 30.0
