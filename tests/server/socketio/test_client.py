"""A client in one namespace: what is held behind its CONNECT reply, what is dropped, which states follow.

It must not know rooms or handlers; packets go to a session that only notes.
"""

from types import SimpleNamespace
from typing import Any

import pytest

from python_server.engineio.session import DisconnectReason
from python_server.socketio.client import (
    HELD_MAX_BYTES,
    Bucket,
    Client,
    ConnectionRefused,
    Socket,
    SocketState,
)


class Session:
    """Notes what is sent; its outbox declines as long as `direct` is False."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.ended: list[DisconnectReason] = []
        self.written: list[Any] = []
        self.writable = True
        self.direct = False
        self.outbox = self

    def write(self, frames: Any) -> bool:
        if self.direct:
            self.written.append(frames)
        return self.direct

    def send(self, prepared: Any) -> None:
        self.sent.append(prepared)

    def end(self, reason: DisconnectReason) -> None:
        self.ended.append(reason)


def packet(size_bytes: int = 1) -> Any:
    return SimpleNamespace(queued_bytes=size_bytes, frames=object())


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def socket(session: Any) -> Socket:
    return Socket("/", Client(session, SimpleNamespace(), SimpleNamespace()), None, "sid")  # type: ignore[arg-type]


def test_what_is_sent_before_the_reply_is_held_in_order(socket: Socket, session: Session) -> None:
    first, second, third = packet(), packet(), packet()
    socket.send(first)
    socket.send(second)
    assert session.sent == []
    assert socket.held == [first, second]
    socket.move(SocketState.CONNECTED)
    socket.send(third)
    assert session.sent == [third]


def test_what_is_held_is_bounded(socket: Socket, session: Session) -> None:
    socket.send(packet(HELD_MAX_BYTES))
    assert session.ended == []
    socket.send(packet())
    assert session.ended == [DisconnectReason.SLOW_CLIENT]


def test_nothing_goes_to_one_that_has_left(socket: Socket, session: Session) -> None:
    socket.move(SocketState.CLOSED)
    socket.send(packet())
    socket.send_volatile(packet())
    assert session.sent == socket.held == []


def test_a_volatile_packet_goes_at_once_or_never(socket: Socket, session: Session) -> None:
    socket.send_volatile(packet())
    assert session.sent == socket.held == []
    socket.move(SocketState.CONNECTED)
    session.writable = False
    socket.send_volatile(packet())
    assert session.sent == []
    session.writable = True
    socket.send_volatile(kept := packet())
    assert session.sent == [kept]


def test_one_packet_for_many_goes_by_the_outbox_where_there_is_one(session: Session) -> None:
    sessions = [Session() for _ in range(3)]
    sockets = [Socket("/", Client(each, None, None), None, "sid") for each in sessions]  # type: ignore[arg-type]
    for socket in sockets[:2]:
        socket.move(SocketState.CONNECTED)
    sessions[0].direct = True
    sessions[2].direct = True  # but it has had no reply yet
    Socket.send_to_all(sockets, said := packet())
    assert (sessions[0].written, sessions[0].sent) == ([said.frames], [])
    assert (sessions[1].written, sessions[1].sent) == ([], [said])
    assert (sessions[2].written, sockets[2].held) == ([], [said])


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ([SocketState.CONNECTED, SocketState.CLOSED], True),
        ([SocketState.CLOSED], True),
        ([SocketState.PENDING], False),
        ([SocketState.CONNECTED, SocketState.CONNECTED], False),
        ([SocketState.CLOSED, SocketState.CONNECTED], False),
    ],
)
def test_which_states_follow(socket: Socket, path: list[SocketState], good: bool) -> None:
    for state in path[:-1]:
        socket.move(state)
    if good:
        socket.move(path[-1])
        assert socket.state is path[-1]
    else:
        with pytest.raises(AssertionError):
            socket.move(path[-1])


def test_a_refusal_has_a_message_and_data() -> None:
    error = ConnectionRefused("no", {"why": 1})
    assert (str(error), error.message, error.data) == ("no", "no", {"why": 1})


def test_a_bucket_fills_up_to_its_count_and_no_further() -> None:
    bucket = Bucket(2, 0.0)
    assert [bucket.take(2, 10.0, 0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(2, 10.0, moment) for moment in (4.0, 5.0, 5.1)] == [False, True, False]
    assert [bucket.take(2, 10.0, 100.0) for _ in range(3)] == [True, True, False]
