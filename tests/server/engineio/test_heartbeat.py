"""Queues of moments for all sessions (engineio/heartbeat.py), on times given as numbers.

It must not know packets.
"""

from typing import Any

import pytest

from python_server.engineio.heartbeat import Heartbeats


class Session:
    def __init__(self, pinged_by_client: bool = False) -> None:
        self.pinged_by_client = pinged_by_client
        self.heartbeat: Any = None
        self.pings = 0
        self.ended: list[str] = []

    def ping(self) -> None:
        self.pings += 1

    def end(self, reason: str) -> None:
        self.ended.append(str(reason))


@pytest.fixture
def beats() -> Any:
    return Heartbeats(25.0, 20.0)


def test_nobody_is_due_without_sessions(beats: Any) -> None:
    assert beats.next_due() is None


def test_ping_after_the_interval_end_after_the_timeout(beats: Any) -> None:
    session = Session()
    beats.start(session, 100.0)
    assert beats.next_due() == 125.0
    beats.run(124.9)
    assert session.pings == 0
    beats.run(125.0)
    assert (session.pings, beats.next_due()) == (1, 145.0)
    beats.run(144.9)
    assert session.ended == []
    beats.run(145.0)
    assert session.ended == ["ping timeout"]


def test_the_interval_counts_from_the_pong(beats: Any) -> None:
    session = Session()
    beats.start(session, 100.0)
    beats.run(125.0)
    beats.start(session, 130.0)  # its pong
    assert beats.next_due() == 155.0
    beats.run(154.0)
    assert (session.pings, session.ended) == (1, [])


def test_a_stopped_session_is_left_alone(beats: Any) -> None:
    first, second = Session(), Session()
    beats.start(first, 100.0)
    beats.start(second, 101.0)
    beats.stop(first)
    assert beats.next_due() == 126.0
    beats.run(200.0)
    assert (first.pings, second.pings) == (0, 1)


def test_a_late_turn_does_not_end_who_was_pinged_late(beats: Any) -> None:
    """The timeout counts from the ping that was sent, not from the moment it was due."""
    session = Session()
    beats.start(session, 0.0)
    beats.run(1000.0)
    assert session.ended == []
    assert beats.next_due() == 1020.0


def test_the_silence_of_a_client_that_pings_lasts_interval_and_timeout(beats: Any) -> None:
    """In version 3 nobody is pinged; of many pings one moment is kept."""
    first, second = Session(pinged_by_client=True), Session(pinged_by_client=True)
    beats.start(first, 100.0)
    beats.start(second, 110.0)
    for _ in range(1000):
        beats.start(first, 120.0)
    assert (beats.next_due(), len(beats._silences)) == (155.0, 2)
    beats.run(154.9)
    assert (first.ended, second.ended) == ([], [])
    beats.run(155.0)
    assert (first.ended, second.ended) == ([], ["ping timeout"])
    assert beats.next_due() == 165.0
    beats.stop(first)
    assert beats.next_due() is None
    assert first.pings == second.pings == 0


def test_both_versions_have_one_timer(beats: Any) -> None:
    beats.start(Session(pinged_by_client=True), 100.0)
    beats.start(Session(), 110.0)
    assert beats.next_due() == 135.0
    beats.run(135.0)
    assert beats.next_due() == 145.0
