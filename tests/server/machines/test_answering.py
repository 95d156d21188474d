"""The called end of a link: requests that another machine has got are answered, cut off, forgotten, hurried.

It must not know sessions; a handler answers when a test says so.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from http_bench import Handler
from joined_ends import End
from python_server.connection.exchange import Exchange, ExchangeServices, RequestHandler
from python_server.http1.parser import Request
from python_server.http1.response import StandingFields
from python_server.machines import answering
from python_server.machines.answering import (
    SILENCE_SECONDS,
    AnswerBuffer,
    AnsweringLink,
    AnsweringServices,
    request_of,
)
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
from python_server.settings import HTTPSettings
from told_time import Clock

GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
ORIGIN = RequestOrigin(("192.0.2.1", 1), ("192.0.2.2", 80), "https", "a:8000")


class Raises(Handler):
    """A handler that fails at one of its words."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word

    def told_of(self, word: str) -> None:
        if word == self.word:
            raise RuntimeError(word)

    def request_received(self, exchange: Exchange) -> None:
        super().request_received(exchange)
        self.told_of("request")

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        super().body_received(exchange, piece)
        self.told_of("body")

    def body_ended(self, exchange: Exchange) -> None:
        super().body_ended(exchange)
        self.told_of("end")

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        super().exchange_lost(exchange, reason)
        self.told_of("lost")


class Answering:
    def __init__(self, handler: Handler | None = None) -> None:
        self.clock = Clock()
        self.end = End()
        self.handler = handler or Handler()
        self.paths: dict[str, RequestHandler | None] = {}
        self.done: list[tuple[str, int, Any]] = []
        self.given: list[str] = []
        self.hurried: list[Exchange] = []
        self.reported: list[str] = []
        self.lost: list[AnsweringLink] = []
        self.passed_over: list[int] = []
        self.hurry: Callable[[Exchange], None] = self.hurried.append
        services = AnsweringServices(
            lambda request: self.paths.get(request.path, self.handler),
            HTTPSettings(),
            ExchangeServices(
                lambda: self.clock.now,
                lambda: "today",
                StandingFields.of("s"),
                lambda exchange, seconds: self.done.append(
                    (exchange.request.path, exchange.status, exchange.request.peer)
                ),
                lambda exchange: self.given.append(exchange.request.path),
            ),
            lambda exchange: self.hurry(exchange),
            lambda what, error: self.reported.append(f"{what}: {error}"),
        )
        stream = FrameStream(self.end, lambda kind, payload: None, lambda reason: None)
        self.link = AnsweringLink(
            stream, services, self.lost.append, self.passed_over.append, self.clock.deadline
        )
        self.link.begin()

    def hear(self, kind: int, word: Any = None) -> None:
        self.end.receive(frame(kind, word))  # type: ignore[arg-type]

    def ask(
        self, number: int = 1, head: bytes = GET % b"/x", body: bytes = b"", *, last: bool = False
    ) -> None:
        self.hear(Kind.REQUEST, ForeignRequest(number, ORIGIN, head, body, last))

    def said(self) -> list[tuple[int, Any]]:
        reader = FrameReader(1 << 30)
        reader.receive(bytes(self.end.written))
        self.end.written.clear()
        words = []
        while (came := reader.next()) is not None:
            kind, payload = came
            words.append(
                (kind, None if not payload else read(payload, ForeignAnswer if kind == 20 else About))
            )
        return words

    def cut_off(self) -> None:
        self.end.handler.connection_lost(self.end.ended or "reset by peer")


@pytest.fixture
def home() -> Answering:
    return Answering()


def test_a_request_is_answered_as_if_its_client_were_connected_here(home: Answering) -> None:
    home.ask(7, b"POST /post?a=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", b"body")
    [exchange] = home.handler.exchanges
    request = exchange.request
    assert home.handler.told == ["/post", b"body", "end"]
    assert (request.peer, request.local) == (("192.0.2.1", 1), ("192.0.2.2", 80))
    assert (request.scheme, request.authority, request.handed) == ("https", "a:8000", True)
    assert home.said() == []
    exchange.respond(200, [], b"ok")
    [(kind, answer)] = home.said()
    assert (kind, answer.number, answer.status, answer.keep_alive) == (Kind.ANSWER, 7, 200, True)
    assert answer.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.data.endswith(b"\r\n\r\nok")
    assert home.done == [("/post", 200, ("192.0.2.1", 1))]
    assert home.given == []


@pytest.mark.parametrize("body_bytes", [0, 10, 16_384, 16_385, 1_000_000])
def test_answers_of_any_size_come_whole(home: Answering, body_bytes: int) -> None:
    home.ask()
    home.handler.exchanges[0].respond(200, [], b"x" * body_bytes)
    [(_, answer)] = home.said()
    assert answer.data.partition(b"\r\n\r\n")[2] == b"x" * body_bytes


def test_a_streamed_answer_comes_whole_as_well(home: Answering) -> None:
    home.ask()
    exchange = home.handler.exchanges[0]
    exchange.start(200, [], b"a")
    exchange.write(b"bc")
    assert home.said() == []
    exchange.finish()
    [(_, answer)] = home.said()
    assert answer.data.endswith(b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("head", "kept", "body"),
    [
        (b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", False, b"ok"),
        (b"GET /x HTTP/1.0\r\n\r\n", False, b"ok"),
        (b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True, b"ok"),
        (b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n", True, b""),
        (b"OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n", True, b"ok"),
    ],
)
def test_each_is_answered_in_the_way_of_its_head(
    home: Answering, head: bytes, kept: bool, body: bytes
) -> None:
    home.ask(1, head)
    home.handler.exchanges[0].respond(200, [], b"ok")
    [(_, answer)] = home.said()
    assert answer.keep_alive is kept
    assert answer.data.partition(b"\r\n\r\n")[2] == body


@pytest.mark.parametrize(
    "fields",
    [
        b"Expect: 100-continue\r\nContent-Length: 4\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 70000\r\n",
    ],
)
def test_a_body_that_has_come_is_not_waited_for(home: Answering, fields: bytes) -> None:
    """No 100 is said again, and an answer before its end lets the connection go on."""
    home.ask(1, b"POST /x HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n", b"body")
    exchange = home.handler.exchanges[0]
    exchange.send_continue()
    exchange.pause_body(True)
    exchange.respond(200, [])
    [(_, answer)] = home.said()
    assert answer.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.keep_alive


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c", b"foo/2, bar"])
def test_what_asks_for_another_protocol_is_a_request_like_any_other(home: Answering, upgrade: bytes) -> None:
    """It once ended the link, and with it what all other clients waited for."""
    home.ask(1)
    home.ask(2, b"GET /y HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n")
    assert home.end.ended is None
    assert home.handler.exchanges[1].request.upgrade == ""
    home.handler.exchanges[1].respond(400, [])
    assert [(answer.number, answer.status) for _, answer in home.said()] == [(2, 400)]


def test_who_takes_a_connection_that_is_not_there_cuts_its_client_off(home: Answering) -> None:
    home.handler = Raises("request")
    home.handler.told_of = lambda word: home.handler.exchanges[0].upgrade([], lambda *given: None)  # type: ignore[attr-defined]
    home.ask()
    assert home.said() == [(Kind.CUT, About(1))]
    assert home.reported == [
        "request of another machine: a request of another machine has no connection to take"
    ]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET /x HTTP/1.1\r\n\r\n", 400),
        (b"", 400),
        (b"GET /x HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 500 + b"\r\n", 431),
        (b"GET /x HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", 417),
    ],
)
def test_what_is_within_another_machines_limits_alone_ends_no_link(
    home: Answering, head: bytes, status: int
) -> None:
    """Machines with other settings, or other applications: one client's affair."""
    home.paths["/gone"] = None
    home.ask(1)
    home.ask(2, head, b"body")
    [(_, answer)] = home.said()
    assert (answer.number, answer.status, answer.keep_alive) == (2, status, False)
    assert answer.data.startswith(b"HTTP/1.1 %d " % status)
    assert home.end.ended is None
    assert len(home.done) == 1


@pytest.mark.parametrize("word", ["request", "body", "end"])
def test_a_handler_that_raises_is_one_clients_affair_and_keeps_nothing(word: str) -> None:
    home = Answering(Raises(word))
    home.ask(1, body=b"body")
    assert home.said() == [(Kind.CUT, About(1))]
    assert home.reported == [f"request of another machine: {word}"]
    assert home.handler.told[-1] == ("lost", "internal error")
    assert len(home.done) == 1
    home.handler.exchanges[0].respond(200, [])
    home.hear(Kind.FORGET, About(1))
    assert home.said() == []
    assert home.end.ended is None


def test_a_handler_that_raises_when_clients_leave_keeps_no_other_client_waiting() -> None:
    home = Answering(Raises("lost"))
    for number in (1, 2, 3):
        home.ask(number)
    home.hear(Kind.FORGET, About(2))
    home.cut_off()
    assert len(home.reported) == 3
    assert len(home.done) == 3
    assert home.lost == [home.link]


def test_an_answer_that_is_aborted_is_cut_off(home: Answering) -> None:
    for number in (1, 2):
        home.ask(number)
    waiting, streaming = home.handler.exchanges
    waiting.abort("the session has ended")
    streaming.start(200, [("Content-Length", "5")], b"a")
    streaming.abort("no more")
    assert home.said() == [(Kind.CUT, About(1)), (Kind.CUT, About(2))]


def test_a_client_that_left_is_lost_and_what_is_answered_then_goes_nowhere(home: Answering) -> None:
    for number in (1, 2):
        home.ask(number)
    home.hear(Kind.FORGET, About(1))
    home.hear(Kind.FORGET, About(1))
    home.hear(Kind.FORGET, About(99))
    home.hear(Kind.HURRY, About(99))
    assert home.handler.told[-1] == ("lost", "the client left")
    gone, here = home.handler.exchanges
    gone.respond(200, [])
    assert home.said() == []
    here.respond(200, [])
    assert [answer.number for _, answer in home.said()] == [2]
    home.hear(Kind.FORGET, About(2))
    assert home.handler.told.count(("lost", "the client left")) == 1
    home.ask(1)  # a number that is free again
    assert len(home.handler.exchanges) == 3


def test_one_that_is_hurried_is_answered_as_its_connections_last(home: Answering) -> None:
    home.hurry = lambda exchange: exchange.respond(200, [], b"6")
    home.ask(1)
    home.ask(2)
    home.hear(Kind.HURRY, About(2))
    home.ask(3, last=True)
    said = [answer for _, answer in home.said()]
    assert [(answer.number, answer.keep_alive) for answer in said] == [(2, False), (3, False)]
    assert all(b"Connection: close\r\n" in answer.data for answer in said)


def test_a_number_twice_ends_the_link(home: Answering) -> None:
    home.ask(1)
    home.ask(1)
    assert home.end.ended == "another machine asks twice under the number 1"
    home.cut_off()
    assert home.handler.told[-1] == ("lost", "the other machine has gone")


@pytest.mark.parametrize("kind", [Kind.REQUEST, Kind.FORGET, Kind.HURRY])
def test_what_cannot_be_read_ends_the_link_and_what_waits(home: Answering, kind: Kind) -> None:
    home.ask(1)
    home.end.receive(b"\0\0\0\2%c\xc0" % kind)
    assert home.end.ended is not None
    assert home.end.ended.startswith("a malformed ")
    home.cut_off()
    assert home.handler.told[-1] == ("lost", "the other machine has gone")
    assert home.lost == [home.link]
    assert not home.clock.waits
    home.handler.exchanges[0].respond(200, [])
    assert home.said() == []


def test_what_a_later_release_says_is_passed_over(home: Answering) -> None:
    home.hear(99, About(1))
    home.hear(Kind.ANSWER, About(1))
    home.hear(Kind.PING)
    assert home.passed_over == [99, Kind.ANSWER]
    assert home.said() == [(Kind.PONG, None)]


def test_a_caller_that_says_nothing_is_given_up(home: Answering) -> None:
    """As one whose machine has lost its power: its clients wait no more."""
    home.ask()
    for _ in range(3):
        home.clock.advance(SILENCE_SECONDS * 0.9)
        home.hear(Kind.PING)
    home.clock.advance(SILENCE_SECONDS * 2)
    assert home.end.ended == "the other machine is silent"
    home.cut_off()
    assert home.handler.told[-1] == ("lost", "the other machine has gone")


def test_a_large_request_that_comes_slowly_is_a_sign_of_life(home: Answering) -> None:
    for byte in frame(Kind.REQUEST, ForeignRequest(1, ORIGIN, GET % b"/x", b"x" * 50)):
        home.clock.advance(SILENCE_SECONDS * 0.9)
        home.end.receive(bytes([byte]))
    assert home.end.ended is None
    assert home.handler.told == ["/x", b"x" * 50, "end"]


def test_answers_wait_while_the_other_machine_takes_nothing(home: Answering) -> None:
    """A broadcast to many that poll there fills no queue; who has left meanwhile is not written to."""
    home.end.blocked = True
    for number in (1, 2, 3):
        home.ask(number)
        home.handler.exchanges[-1].respond(200, [], b"x" * 100_000)
    home.hear(Kind.FORGET, About(2))
    assert home.end.written == b""
    assert home.link.queued_bytes > 200_000
    home.end.unblock()
    assert [answer.number for _, answer in home.said()] == [1, 3]
    assert home.link.queued_bytes == 0


def test_an_answer_that_no_frame_can_carry_is_cut_off(
    home: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "BODY_MAX_BYTES", 1000)
    home.ask()
    home.handler.exchanges[0].respond(200, [], b"x" * 1000)
    assert home.said() == [(Kind.CUT, About(1))]
    assert home.done == [("/x", 200, ("192.0.2.1", 1))]


@pytest.mark.parametrize("how", ["closed", "lost"])
def test_the_end_of_a_link_loses_all_that_wait(home: Answering, how: str) -> None:
    for number in (1, 2):
        home.ask(number)
    if how == "closed":
        home.link.close()
    else:
        home.cut_off()
    assert home.handler.told.count(("lost", "the other machine has gone")) == 2
    assert home.lost == ([home.link] if how == "lost" else [])
    assert not home.clock.waits
    assert (home.end.ended == "server stopped") is (how == "closed")


def test_where_an_answer_is_written_takes_everything() -> None:
    cut: list[int] = []
    buffer = AnswerBuffer(None, None, partial(cut.append, 1))
    buffer.write(b"ab")
    buffer.pause_reading(1, True)
    buffer.set_handler(Handler())  # type: ignore[arg-type]
    assert (buffer.blocked, buffer.queued_bytes) == (False, 2)
    buffer.close("cut")
    assert cut == [1]


def test_a_unix_sockets_addresses_stay_what_they_are() -> None:
    request: Request = request_of(RequestOrigin("", "/run/socket", "http", "a"), GET % b"/x", HTTPSettings())
    assert (request.peer, request.local) == ("", "/run/socket")
