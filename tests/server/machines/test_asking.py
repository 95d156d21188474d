"""The calling end of a link: each answer finds its request, whatever the other end says and in what order.

It must not know what answers there.
"""

from typing import Any

import pytest

from http_bench import Bench
from joined_ends import End
from python_server.connection.exchange import Exchange
from python_server.machines.asking import PING_SECONDS, Asked, AskingLink
from python_server.machines.stream import FrameStream
from python_server.machines.words import (
    About,
    ForeignAnswer,
    ForeignRequest,
    FrameReader,
    Kind,
    RequestOrigin,
    frame,
    read,
)
from told_time import Clock

HEAD = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
ORIGIN = RequestOrigin(("192.0.2.1", 1), ("192.0.2.2", 80), "http", "a")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Asking:
    def __init__(self) -> None:
        self.clock = Clock()
        self.end = End()
        self.lost: list[tuple[list[Asked], str]] = []
        self.passed_over: list[int] = []
        stream = FrameStream(self.end, lambda kind, payload: None, lambda reason: None)
        stream.begin()
        self.link = AskingLink(
            stream,
            lambda waiting, reason: self.lost.append((waiting, reason)),
            self.passed_over.append,
            self.clock.deadline,
        )
        self.link.begin()
        self.benches: list[Bench] = []

    def ask(self, body: bytes = b"", *, last: bool = False, more: bytes = b"") -> tuple[Exchange, Bench]:
        """A client's request that is passed on; it has the number of all so far."""
        bench = Bench()
        self.benches.append(bench)
        bench.receive(HEAD % len(self.benches) + more)
        exchange = bench.handler.exchanges[0]
        exchange.request.raw_head = HEAD % len(self.benches)
        self.link.ask(exchange, ORIGIN, body, lambda lost: lost.respond(400, []), last=last)
        return exchange, bench

    def said(self) -> list[tuple[int, Any]]:
        """What has been sent since, as values."""
        reader = FrameReader(1 << 30)
        reader.receive(bytes(self.end.written))
        self.end.written.clear()
        words = []
        while (came := reader.next()) is not None:
            kind, payload = came
            words.append(
                (kind, None if not payload else read(payload, ForeignRequest if kind == 10 else About))
            )
        return words

    def hear(self, kind: int, word: Any = None) -> None:
        self.end.receive(frame(kind, word))  # type: ignore[arg-type]

    def answer(self, number: int, *, keep_alive: bool = True, data: bytes = OK) -> None:
        self.hear(Kind.ANSWER, ForeignAnswer(number, 200, keep_alive, data))


@pytest.fixture
def asking() -> Asking:
    return Asking()


def test_answers_come_in_any_order_and_each_finds_its_client(asking: Asking) -> None:
    clients = [asking.ask(b"body %d" % n)[1] for n in range(3)]
    said = asking.said()
    assert [(kind, word.number, word.body, word.last) for kind, word in said] == [
        (Kind.REQUEST, n + 1, b"body %d" % n, False) for n in range(3)
    ]
    assert said[0][1].head == HEAD % 1
    assert (said[0][1].origin.scheme, said[0][1].origin.authority) == ("http", "a")
    for number in (3, 1, 2):
        asking.answer(number, data=OK + b"%d" % number)
    assert [client.transport.wire for client in clients] == [OK + b"%d" % number for number in (1, 2, 3)]
    assert len(asking.link._asked) == 0
    assert [client.given for client in clients] == [["/1"], ["/2"], ["/3"]]
    assert [client.done for client in clients] == [[], [], []]  # it is counted where it was answered


@pytest.mark.parametrize("keep_alive", [True, False])
def test_the_connection_goes_on_as_the_home_says(asking: Asking, keep_alive: bool) -> None:
    _, client = asking.ask(more=HEAD % 77)  # pipelined
    asking.answer(1, keep_alive=keep_alive)
    assert client.handler.told[2:3] == (["/77"] if keep_alive else [])
    assert (client.transport.ended is None) is keep_alive


def test_a_request_that_its_worker_lets_be_the_last_is_the_last(asking: Asking) -> None:
    exchange, client = asking.ask()
    exchange.refuse_keep_alive()
    asking.answer(1)
    assert client.transport.ended == "orderly"


def test_a_client_that_leaves_is_forgotten_and_a_late_answer_goes_nowhere(asking: Asking) -> None:
    exchange, client = asking.ask()
    asking.said()
    client.channel.connection_lost("reset")
    asking.link.forget(exchange)
    assert asking.said() == [(Kind.FORGET, About(1))]
    asking.link.forget(exchange)
    assert asking.said() == []
    asking.answer(1)
    asking.hear(Kind.CUT, About(1))
    assert client.transport.wire == b""
    assert asking.end.ended is None


def test_an_answer_that_is_cut_off_cuts_the_client_off(asking: Asking) -> None:
    _, client = asking.ask()
    asking.hear(Kind.CUT, About(1))
    assert client.transport.ended == "cut: the answer was cut off"
    asking.hear(Kind.CUT, About(1))
    asking.hear(Kind.CUT, About(99))
    asking.answer(99)
    assert asking.end.ended is None


def test_what_a_later_release_says_is_passed_over(asking: Asking) -> None:
    _, client = asking.ask()
    asking.hear(99, About(1))
    asking.hear(Kind.REQUEST, About(1))
    asking.answer(1)
    assert asking.passed_over == [99, Kind.REQUEST]
    assert client.transport.wire == OK


@pytest.mark.parametrize("kind", [Kind.ANSWER, Kind.CUT])
def test_a_malformed_answer_ends_the_link_and_every_client_is_told(asking: Asking, kind: Kind) -> None:
    clients = [asking.ask()[1] for _ in range(2)]
    asking.end.receive(b"\0\0\0\2%c\xc0" % kind)
    assert asking.end.ended is not None
    asking.end.handler.connection_lost(asking.end.ended)
    [(waiting, reason)] = asking.lost
    assert reason.startswith("a malformed ")
    for exchange, gone in waiting:
        gone(exchange)
    assert all(client.transport.wire.startswith(b"HTTP/1.1 400") for client in clients)
    assert not asking.clock.waits
    exchange, _ = asking.ask()  # in the same turn as the end
    asking.link.forget(exchange)


def test_a_request_between_the_end_and_its_news_is_told_as_well(asking: Asking) -> None:
    asking.end.close("reset by peer")
    exchange, _ = asking.ask()
    asking.end.handler.connection_lost("reset by peer")
    assert [[asked for asked, _ in waiting] for waiting, _ in asking.lost] == [[exchange]]


def test_a_silent_one_is_given_up_within_two_spans(asking: Asking) -> None:
    asking.ask()
    asking.clock.advance(PING_SECONDS)
    assert [kind for kind, _ in asking.said()] == [Kind.REQUEST, Kind.PING]
    asking.hear(Kind.PONG)
    asking.clock.advance(PING_SECONDS)
    assert asking.end.ended is None
    asking.said()
    asking.clock.advance(PING_SECONDS)
    assert asking.end.ended == "the other machine is silent"


def test_one_that_still_takes_what_it_was_sent_is_not_silent(asking: Asking) -> None:
    """A large body on its way: the PING stands behind it."""
    asking.ask(b"x" * 1000)
    asking.clock.advance(PING_SECONDS * 5)
    assert asking.end.ended is None
    asking.said()  # it has taken all, PINGs too
    asking.clock.advance(PING_SECONDS)
    asking.said()
    asking.clock.advance(PING_SECONDS)
    assert asking.end.ended == "the other machine is silent"


def test_any_byte_is_a_sign_of_life(asking: Asking) -> None:
    """A large answer on its way."""
    answer = frame(Kind.ANSWER, ForeignAnswer(1, 200, True, OK + b"x" * 200))
    _, client = asking.ask()
    for byte in answer:
        asking.clock.advance(PING_SECONDS * 0.9)
        asking.said()
        asking.end.receive(bytes([byte]))
    assert client.transport.wire == OK + b"x" * 200
    assert asking.end.ended is None


def test_a_worker_about_to_end_hurries_what_waits(asking: Asking) -> None:
    for _ in range(3):
        asking.ask()
    asking.answer(2)
    asking.said()
    asking.link.hurry()
    assert asking.said() == [(Kind.HURRY, About(1)), (Kind.HURRY, About(3))]
    asking.ask(last=True)
    assert [word.last for _, word in asking.said()] == [True]


def test_requests_wait_while_the_home_takes_nothing(asking: Asking) -> None:
    """Many bodies at once fill no queue; who leaves meanwhile is never told of there."""
    asking.end.blocked = True
    asked = [asking.ask(b"x" * 100_000)[0] for _ in range(4)]
    assert asking.said() == []
    asking.link.forget(asked[1])
    asking.link.hurry()
    assert asking.said() == []
    asking.end.unblock()
    said = [(kind, word.number) for kind, word in asking.said()]
    assert said == [(kind, n) for n in (1, 3, 4) for kind in (Kind.REQUEST, Kind.HURRY)]
    asking.answer(3)
    assert len(asking.link._asked) == 2


def test_a_link_that_is_closed_tells_nobody(asking: Asking) -> None:
    asking.ask()
    asking.link.close()
    asking.end.handler.connection_lost("server stopped")
    assert asking.end.ended == "server stopped"
    assert asking.lost == []
    assert not asking.clock.waits
