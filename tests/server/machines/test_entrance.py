"""Where other machines come in, on ends in memory: who is let in, who is sent on, who keeps whom out.

It must not know sockets.
"""

from typing import Any

import pytest

from http_bench import Handler
from joined_ends import End, Ends
from python_server.connection.exchange import ExchangeServices, TransportLike
from python_server.http1.parser import Request
from python_server.http1.response import StandingFields
from python_server.machines.answering import AnsweringServices
from python_server.machines.entrance import HANDSHAKE_MAX_BYTES, UNPROVEN_MAX_COUNT, Arrived, Entrance
from python_server.machines.greeting import GONE, GREETING_SECONDS, REFUSED, Caller
from python_server.machines.stream import FrameStream
from python_server.machines.words import (
    ForeignHandshake,
    ForeignRequest,
    Hello,
    Kind,
    RequestOrigin,
    frame,
)
from python_server.settings import HTTPSettings
from told_time import Clock

SECRET = b"of all machines"
HEAD = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
ORIGIN = RequestOrigin(("192.0.2.1", 1), ("192.0.2.2", 80), "https", "a:8000")


class House:
    """Worker 1 of machine m2. `siblings`: who is there to be given a caller."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.handler = Handler()
        self.complaints: list[tuple[str, str]] = []
        self.passed: list[tuple[int, Arrived, TransportLike]] = []
        self.siblings = {3}
        self.served: list[tuple[TransportLike, Request, bytes]] = []
        self.nonce = 0
        services = AnsweringServices(
            lambda request: self.handler,
            HTTPSettings(),
            ExchangeServices(
                lambda: self.clock.now,
                lambda: "today",
                StandingFields.of("s"),
                lambda exchange, seconds: None,
            ),
            lambda exchange: None,
            lambda what, error: None,
        )
        self.entrance = Entrance(
            tag="m2",
            secret=SECRET,
            index=1,
            pass_on=self.pass_on,
            answering=services,
            serve=lambda *served: self.served.append(served),
            entropy=self.entropy,
            complain=lambda *complaint: self.complaints.append(complaint),
            make_deadline=self.clock.deadline,
        )

    def entropy(self, count: int) -> bytes:
        self.nonce += 1
        return self.nonce.to_bytes(count, "big")

    def pass_on(self, index: int, arrived: Arrived, transport: TransportLike) -> bool:
        if index in self.siblings:
            self.passed.append((index, arrived, transport))
        return index in self.siblings

    def call(self, to: str = "m2", worker: int = 1, *, websocket: bool = False) -> "Calling":
        return Calling(self, Hello(1, self.entropy(32), "m1", to, worker, websocket))

    def enter(self) -> End:
        """Somebody who says nothing yet."""
        end = End()
        self.entrance.accept(end)
        return end


class Calling:
    """Who calls: `stream` once it is let in."""

    def __init__(self, house: House, hello: Hello, secret: bytes = SECRET) -> None:
        self.ends = Ends()
        self.stream: FrameStream | None = None
        self.reason = ""
        house.entrance.accept(self.ends.second)
        Caller(self.ends.first, secret, hello, self.done, house.clock.deadline).begin()
        self.ends.settle()

    def done(self, stream: FrameStream | None, reason: str) -> None:
        self.stream, self.reason = stream, reason
        if stream is not None:
            stream.take = lambda kind, payload: None
            stream.lost = lambda reason: None

    def say(self, kind: Kind, word: Any, more: bytes = b"") -> None:
        self.ends.first.write(frame(kind, word) + more)
        self.ends.settle()


@pytest.fixture
def house() -> House:
    return House()


def test_a_caller_that_wants_this_worker_is_answered(house: House) -> None:
    calling = house.call()
    assert calling.stream is not None
    calling.say(Kind.REQUEST, ForeignRequest(1, ORIGIN, HEAD, b""))
    calling.ends.second.blocked = True
    house.handler.exchanges[0].respond(200, [], b"ok")
    assert house.entrance.queued_bytes > 0
    calling.ends.second.unblock()
    calling.ends.settle()
    assert calling.ends.passed[calling.ends.second].endswith(b"ok")
    assert house.entrance.queued_bytes == 0
    assert house.complaints == []


def test_a_caller_that_wants_a_sibling_is_given_on_and_let_in_there(house: House) -> None:
    calling = house.call(worker=3)
    [(index, arrived, transport)] = house.passed
    assert (index, arrived.hello.to_worker, calling.stream) == (3, 3, None)
    sibling = House()
    sibling.entrance.arrived(arrived, transport)
    calling.ends.settle()
    assert calling.stream is not None
    calling.say(Kind.REQUEST, ForeignRequest(1, ORIGIN, HEAD, b""))
    assert sibling.handler.told == ["/x", "end"]
    assert house.handler.told == []


@pytest.mark.parametrize(("to", "worker"), [("m2", 9), ("m3", 1), ("", 1), ("m2", -1)])
def test_a_caller_that_wants_nobody_here_is_told(house: House, to: str, worker: int) -> None:
    calling = house.call(to, worker)
    assert calling.reason == GONE
    assert calling.ends.second.ended == "orderly"
    assert house.complaints == []


def test_another_secret_is_counted_and_never_let_in(house: House) -> None:
    calling = Calling(house, Hello(1, b"n" * 32, "m1", "m2", 1, False), b"another")
    assert (calling.stream, calling.reason) == (None, REFUSED)
    assert [kind for kind, _ in house.complaints] == ["cluster port"]
    assert house.passed == []


def test_those_who_say_nothing_keep_nobody_out(house: House) -> None:
    silent = [house.enter() for _ in range(UNPROVEN_MAX_COUNT)]
    calling = house.call()
    assert calling.stream is not None
    assert [end.ended is not None for end in silent] == [True] + [False] * (UNPROVEN_MAX_COUNT - 1)
    for _ in range(5000):  # a flood
        silent.append(house.enter())
        end = silent[-1]
    assert sum(end.ended is None for end in silent) == UNPROVEN_MAX_COUNT
    assert house.call().stream is not None
    assert calling.ends.second.ended is None  # who has proven itself is none of them
    for end in silent:
        if end.ended is not None:
            end.handler.connection_lost(end.ended)
    house.clock.advance(GREETING_SECONDS)
    assert all(end.ended is not None for end in silent)


# A WebSocket's connection


def test_a_clients_handshake_is_served_with_what_came_behind_it(house: House) -> None:
    calling = house.call(websocket=True)
    calling.say(Kind.HANDSHAKE, ForeignHandshake(ORIGIN, HEAD), b"\x81\x85frame")
    [(transport, request, data)] = house.served
    assert transport is calling.ends.second
    assert data == HEAD + b"\x81\x85frame"
    assert (request.peer, request.scheme, request.authority) == (("192.0.2.1", 1), "https", "a:8000")
    assert not house.clock.waits
    house.entrance.close()
    assert calling.ends.second.ended is None  # it is the acceptor's now


@pytest.mark.parametrize(
    "data",
    [
        frame(Kind.PING),
        frame(Kind.REQUEST, ForeignRequest(1, ORIGIN, HEAD, b"")),
        b"\0\0\0\2%c\xc0" % Kind.HANDSHAKE,
        frame(Kind.HANDSHAKE, ForeignHandshake(ORIGIN, b"GET / HTTP/1.1\r\n\r\n")),
        frame(Kind.HANDSHAKE, ForeignHandshake(ORIGIN, b"")),
        (HANDSHAKE_MAX_BYTES + 1).to_bytes(4, "big") + b"\x1e",
    ],
)
def test_what_is_no_handshake_ends_that_connection_alone(house: House, data: bytes) -> None:
    calling, other = house.call(websocket=True), house.call(websocket=True)
    calling.ends.first.write(data)
    calling.ends.settle()
    assert calling.ends.second.ended is not None
    assert house.served == []
    other.say(Kind.HANDSHAKE, ForeignHandshake(ORIGIN, HEAD))
    assert len(house.served) == 1
    assert not house.clock.waits


def test_one_that_says_no_handshake_is_not_waited_for(house: House) -> None:
    """As one whose machine lost its power just then."""
    calling = house.call(websocket=True)
    house.clock.advance(GREETING_SECONDS)
    assert calling.ends.second.ended == "no handshake in time"
    calling.ends.settle()
    assert not house.clock.waits


# The end


def test_a_closed_entrance_holds_nobody(house: House) -> None:
    silent, link, websocket = house.enter(), house.call(), house.call(websocket=True)
    link.say(Kind.REQUEST, ForeignRequest(1, ORIGIN, HEAD, b""))
    house.entrance.close()
    ends = [silent, link.ends.second, websocket.ends.second]
    assert [end.ended for end in ends] == ["server stopped"] * 3
    assert house.handler.told[-1] == ("lost", "the other machine has gone")
    silent.handler.connection_lost("server stopped")
    assert not house.clock.waits


def test_links_that_have_ended_are_not_kept(house: House) -> None:
    calling, websocket = house.call(), house.call(websocket=True)
    calling.say(Kind.REQUEST, ForeignRequest(1, ORIGIN, HEAD, b""))
    for each in (calling, websocket):
        each.ends.first.close("reset")
        each.ends.settle()
    assert house.handler.told[-1] == ("lost", "the other machine has gone")
    assert not house.clock.waits
    house.entrance.close()


def test_words_of_a_later_release_are_counted(house: House) -> None:
    calling = house.call()
    calling.ends.first.write(b"\0\0\0\1\x63")
    calling.ends.settle()
    assert house.complaints == [("cluster words", "a frame of unknown kind 99 from another machine")]
    assert calling.ends.second.ended is None
