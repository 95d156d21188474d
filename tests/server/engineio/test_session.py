"""One session's life without HTTP (engineio/session.py): polls, a link, the queue, the way out.

It must not know requests or sockets: answers are lists, the link is a fake.
"""

from typing import Any

import pytest

from python_server.engineio.heartbeat import Heartbeats
from python_server.engineio.packet import EnginePacketError, EnginePacketType, Packet, Prepared
from python_server.engineio.session import (
    POLL_PACKETS_MAX_COUNT,
    DisconnectReason,
    Session,
    SessionState,
)
from wsframe import Decoder, Outbox, Role


class Link:
    def __init__(self) -> None:
        self.frames = bytearray()
        self.closed = self.paused = self.blocked = False
        self.prepared_outbox = Outbox()  # never opened, it declines everything

    def send_prepared(self, prepared: Any) -> None:
        assert not self.closed
        self.frames += prepared.frames

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = True

    def fail(self, code: int, reason: str) -> None:
        self.closed = True

    def pause_reading(self, paused: bool) -> None:
        self.paused = paused

    @property
    def messages(self) -> list[Any]:
        return Decoder(Role.CLIENT).receive(bytes(self.frames))


class Handler:
    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.closed: list[DisconnectReason] = []

    def session_opened(self, session: Session) -> None:
        raise AssertionError("the engine says it, not the session")

    def on_message(self, session: Session, data: str | bytes) -> None:
        self.messages.append(data)

    def session_closed(self, session: Session, reason: DisconnectReason) -> None:
        self.closed.append(reason)


class Life:
    def __init__(self) -> None:
        self.handler = Handler()
        self.beats: list[bool] = []
        self.heartbeats = Heartbeats(25.0, 20.0)
        self.forgotten = 0
        self.answers: list[str] = []
        self.session = Session("sid", self.handler, None, self.beat, self.forget, 1000)

    def beat(self, session: Session, running: bool) -> None:
        self.beats.append(running)
        if running:
            self.heartbeats.start(session, 0.0)
        else:
            self.heartbeats.stop(session)

    def forget(self, session: Session, reason: DisconnectReason) -> None:
        self.forgotten += 1

    def poll(self) -> None:
        self.session.poll(self.answers.append)

    def on_websocket(self) -> Link:
        link = Link()
        self.session.open_websocket(link)
        return link


def text(data: str) -> Prepared:
    return Prepared(["4" + data])


@pytest.fixture
def life() -> Life:
    return Life()


def test_a_poll_is_held_until_there_is_something(life: Life) -> None:
    life.poll()
    assert life.answers == []
    life.session.send(text("a"))
    life.session.send(text("b"))
    assert life.answers == ["4a"]
    life.poll()
    assert life.answers == ["4a", "4b"]


def test_a_poll_fetches_the_queue_in_order(life: Life) -> None:
    for data in "abc":
        life.session.send(text(data))
    life.poll()
    assert life.answers == ["4a\x1e4b\x1e4c"]


def test_no_poll_carries_more_packets_than_python_clients_take(life: Life) -> None:
    for number in range(40):
        life.session.send(text(str(number)))
    for _ in range(3):
        life.poll()
    packets = [answer.split("\x1e") for answer in life.answers]
    assert [len(part) for part in packets] == [POLL_PACKETS_MAX_COUNT, POLL_PACKETS_MAX_COUNT, 8]
    assert [packet for part in packets for packet in part] == [f"4{number}" for number in range(40)]


def test_a_binary_packet_larger_than_a_poll_stays_together(life: Life) -> None:
    life.session.send(Prepared(["451-", *[b"x"] * 20]))
    life.poll()
    assert len(life.answers[0].split("\x1e")) == 21


def test_two_polls_at_once_end_the_session(life: Life) -> None:
    assert life.session.poll(life.answers.append)
    assert not life.session.poll(life.answers.append)
    assert life.answers == ["1"]
    assert life.handler.closed == [DisconnectReason.TRANSPORT_ERROR]


def test_a_lost_poll_ends_the_session_and_a_lost_answer_does_not(life: Life) -> None:
    life.session.poll_lost()
    assert life.session.alive
    life.poll()
    life.session.poll_lost()
    assert life.handler.closed == [DisconnectReason.TRANSPORT_ERROR]


def test_a_client_that_fetches_nothing_is_too_slow(life: Life) -> None:
    for _ in range(11):
        life.session.send(text("x" * 99))
    assert life.handler.closed == [DisconnectReason.SLOW_CLIENT]


def test_close_by_the_client_releases_its_poll_with_a_noop(life: Life) -> None:
    life.poll()
    life.session.receive_packets([(EnginePacketType.CLOSE, "")], 10)
    assert life.answers == ["6"]
    assert life.handler.closed == [DisconnectReason.TRANSPORT_CLOSE]


def test_close_by_the_server_answers_a_pending_poll(life: Life) -> None:
    life.poll()
    life.session.end(DisconnectReason.FORCED_CLOSE)
    assert life.answers == ["1"]
    assert life.session.state is SessionState.CLOSED


def test_close_by_the_server_waits_for_the_next_poll_behind_what_is_queued(life: Life) -> None:
    life.session.send(text("bye"))
    life.session.end(DisconnectReason.FORCED_CLOSE)
    assert life.session.state is SessionState.CLOSING
    life.session.send(text("never"))
    life.poll()
    assert life.answers == ["4bye\x1e1"]
    assert life.session.state is SessionState.CLOSED


def test_the_end_is_told_once(life: Life) -> None:
    life.session.end(DisconnectReason.PING_TIMEOUT)
    life.session.end(DisconnectReason.FORCED_CLOSE)
    assert life.handler.closed == [DisconnectReason.PING_TIMEOUT]
    assert life.forgotten == 1


def test_packets_behind_a_close_are_not_delivered(life: Life) -> None:
    packets: list[Packet] = [
        (EnginePacketType.MESSAGE, "a"),
        (EnginePacketType.CLOSE, ""),
        (EnginePacketType.MESSAGE, "b"),
    ]
    life.session.receive_packets(packets, 10)
    assert life.handler.messages == ["a"]


def test_a_malformed_packet_ends_the_session_behind_those_before_it(life: Life) -> None:
    def packets() -> Any:
        yield EnginePacketType.MESSAGE, "a"
        raise EnginePacketError

    with pytest.raises(EnginePacketError):
        life.session.receive_packets(packets(), 10)
    assert life.handler.messages == ["a"]
    assert life.handler.closed == [DisconnectReason.PARSE_ERROR]


@pytest.mark.parametrize("kind", [EnginePacketType.OPEN, EnginePacketType.UPGRADE, EnginePacketType.NOOP])
def test_packets_a_client_need_not_send_are_ignored(life: Life, kind: EnginePacketType) -> None:
    life.session.receive_packets([(kind, "")], 10)
    assert life.session.alive
    assert life.handler.messages == []


def test_a_ping_from_the_client_is_an_error(life: Life) -> None:
    life.session.receive_packets([(EnginePacketType.PING, "")], 10)
    assert life.handler.closed == [DisconnectReason.TRANSPORT_ERROR]


def test_a_pong_counts_only_while_one_is_owed(life: Life) -> None:
    life.session.receive_packets([(EnginePacketType.PONG, "")], 10)  # no heartbeat at all
    life.heartbeats.start(life.session, 0.0)
    life.session.receive_packets([(EnginePacketType.PONG, "")], 10)
    assert life.beats == []
    life.heartbeats.run(25.0)
    life.session.receive_packets([(EnginePacketType.PONG, "")] * 2, 10)
    assert life.beats == [True]
    life.heartbeats.run(50.0)
    life.session.pause_reading(True)
    life.session.receive_packets([(EnginePacketType.PONG, "")], 10)
    life.session.pause_reading(False)
    life.session.receive_packets([(EnginePacketType.PONG, "")], 10)
    assert life.beats == [True, False, True]


def test_messages_on_a_websocket(life: Life) -> None:
    link = life.on_websocket()
    life.session.receive("4text")
    life.session.receive(b"\x01")
    life.session.send(text("out"))
    assert life.handler.messages == ["text", b"\x01"]
    assert link.messages == ["4out"]
    assert life.session.transport == "websocket"


def test_without_memory_for_a_message_nothing_follows_the_gap(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = life.on_websocket()

    def send_prepared(prepared: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(link, "send_prepared", send_prepared)
        life.session.send(text("lost"))
    life.session.send(text("behind it"))
    assert life.handler.closed == [DisconnectReason.TRANSPORT_ERROR]
    assert (link.messages, link.closed, life.forgotten) == ([], True, 1)


def test_an_open_websockets_outbox_is_the_sessions_as_long_as_it_carries_it(life: Life) -> None:
    link, woken = Link(), list[str]()
    link.prepared_outbox.open(40, woken.append, "link")
    life.session.send(text("before"))
    assert life.session.probe(link)
    life.session.send(text("during"))
    assert life.session.upgrade(link)
    life.session.send(text("after"))
    life.session.send(text("more than it may hold" * 2))
    assert link.messages == ["4before", "4during", "4more than it may hold" + "more than it may hold"]
    assert Decoder(Role.CLIENT).receive(link.prepared_outbox.take()) == ["4after"]
    assert woken == ["link"]
    life.session.end(DisconnectReason.TRANSPORT_CLOSE)
    assert not life.session.outbox.write(text("late").frames)
    life.session.send(text("late"))
    assert not len(link.prepared_outbox)


@pytest.mark.parametrize("data", ["", "x", "7", "b"])
def test_a_malformed_websocket_packet_ends_the_session(life: Life, data: str) -> None:
    link = life.on_websocket()
    life.session.receive(data)
    assert life.handler.closed == [DisconnectReason.PARSE_ERROR]
    assert link.closed


def test_nothing_is_delivered_behind_the_end(life: Life) -> None:
    life.on_websocket()
    life.session.receive("1")
    life.session.receive("4late")
    assert life.handler.messages == []
    assert life.handler.closed == [DisconnectReason.TRANSPORT_CLOSE]


def test_an_upgrade_loses_and_doubles_nothing(life: Life) -> None:
    link = Link()
    life.poll()
    life.session.send(text("a"))
    assert life.session.probe(link)
    life.session.send(text("b"))
    life.poll()
    life.session.receive_packets([(EnginePacketType.MESSAGE, "posted meanwhile")], 10)
    life.session.send(text("c"))
    assert life.session.upgrade(link)
    life.session.send(text("d"))
    assert life.answers == ["4a", "6"]
    assert link.messages == ["4b", "4c", "4d"]
    assert life.handler.messages == ["posted meanwhile"]


def test_a_probe_releases_the_open_poll_with_a_noop_and_sends_none_to_the_websocket(life: Life) -> None:
    link = Link()
    life.poll()
    life.session.probe(link)
    assert life.answers == ["6"]
    life.session.upgrade(link)
    assert link.messages == []


def test_a_failed_upgrade_leaves_polling_alone(life: Life) -> None:
    life.session.probe(Link())
    life.session.send(text("kept"))
    life.session.upgrade_failed()
    life.poll()
    assert life.answers == ["4kept"]
    assert life.session.alive


def test_a_poll_that_waits_for_an_upgrade_is_answered_when_that_fails(life: Life) -> None:
    life.session.probe(Link())
    life.poll()
    life.session.send(text("kept"))
    assert (life.answers, life.session.writable) == ([], False)
    life.session.upgrade_failed()
    assert life.answers == ["4kept"]


def test_a_second_probe_while_one_runs_is_refused(life: Life) -> None:
    life.session.probe(Link())
    assert not life.session.probe(Link())


def test_an_end_during_the_upgrade_closes_the_probed_websocket(life: Life) -> None:
    link = Link()
    life.session.probe(link)
    life.session.end(DisconnectReason.PING_TIMEOUT)
    assert link.closed
    assert not life.session.upgrade(link)


def test_pausing_a_websocket_stops_reading_and_the_heartbeat(life: Life) -> None:
    link = life.on_websocket()
    life.session.pause_reading(True)
    assert (link.paused, life.beats) == (True, [False])
    life.session.pause_reading(False)
    assert (link.paused, life.beats) == (False, [False, True])


def test_pausing_a_polling_client_holds_the_answer_of_its_post(life: Life) -> None:
    answered: list[str] = []
    life.session.when_reading(lambda: answered.append("first"))
    life.session.pause_reading(True)
    life.session.when_reading(lambda: answered.append("second"))
    assert answered == ["first"]
    life.session.pause_reading(False)
    assert answered == ["first", "second"]


def test_a_held_post_is_answered_when_the_session_ends(life: Life) -> None:
    answered: list[str] = []
    life.session.pause_reading(True)
    life.session.when_reading(lambda: answered.append("ok"))
    life.session.end(DisconnectReason.FORCED_CLOSE)
    assert answered == ["ok"]


def test_a_session_paused_while_polling_stays_paused_on_its_websocket(life: Life) -> None:
    link = Link()
    life.session.pause_reading(True)
    life.session.probe(link)
    life.session.upgrade(link)
    assert link.paused


def test_an_end_while_paused_lets_the_close_frame_be_read(life: Life) -> None:
    link = life.on_websocket()
    life.session.pause_reading(True)
    life.session.end(DisconnectReason.FORCED_CLOSE)
    assert (link.paused, link.closed) == (False, True)


def test_writable_is_an_open_poll_or_an_unblocked_websocket(life: Life) -> None:
    assert not life.session.writable
    life.poll()
    assert life.session.writable
    other = Life()
    link = other.on_websocket()
    assert other.session.writable
    link.blocked = True
    assert not other.session.writable


def test_only_an_upgrade_that_runs_can_fail(life: Life) -> None:
    link = life.on_websocket()
    life.session.upgrade_failed()
    assert life.session.state is SessionState.WEBSOCKET
    life.session.send(text("over it"))
    assert link.messages == ["4over it"]


def test_a_pause_twice_is_one(life: Life) -> None:
    link = life.on_websocket()
    for paused in (False, True, True, False, False):
        life.session.pause_reading(paused)
    assert (life.beats, link.paused) == ([False, True], False)
    life.session.end(DisconnectReason.FORCED_CLOSE)
    beats = list(life.beats)
    life.session.pause_reading(True)
    assert (life.session.reading, life.beats) == (True, beats), "what has ended is not paused"
