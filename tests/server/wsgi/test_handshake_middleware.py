"""A handshake on its way through middleware: who lets it in, what it brings along, what its client is told.

It must not know Engine.IO; the test is both the loop and the worker.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from http_bench import Bench as Connection
from python_server.connection.arrival import KEY, arrived
from python_server.connection.exchange import Exchange
from python_server.net.threads import Door, InlineExecutor, Mailbox, ServerStopped
from python_server.wsgi.environ import ServerFacts
from python_server.wsgi.handshake_middleware import HandshakeMiddleware, admission, through_middleware

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Holder:
    """The part of an application that handshakes are for; what else comes is a page."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not arrived(self, environ, start_response):
            start_response("200 OK", [])
        return [b"a page"]


class Bench:
    """A request on its connection, and middleware that is asked about it."""

    def __init__(self, around: Callable[[Application], Application], head: bytes = b"") -> None:
        self.mailbox = Mailbox(lambda: None, 1 << 20)
        self.connection = Connection()
        self.connection.receive(head or b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\r\n")
        self.exchange: Exchange = self.connection.handler.exchanges[0]
        self.reported: list[BaseException] = []
        self.admitted = 0
        holder = Holder()
        self.middleware = HandshakeMiddleware(
            admission(around(holder), ServerFacts(), holder),
            Door(self.mailbox, InlineExecutor()),
            lambda what, error: self.reported.append(error),
        )

    def ask(self) -> bytes:
        """What the client gets."""
        self.middleware.ask(self.exchange, self._admitted)
        self.answer()
        return self.connection.transport.wire

    def _admitted(self) -> None:
        self.admitted += 1

    def answer(self) -> None:
        self.mailbox.drain(lambda what, error: pytest.fail(f"{what}: {error}"))


def names_the_user(inner: Application) -> Application:
    return lambda environ, start_response: inner({**environ, "REMOTE_USER": "ann"}, start_response)


def refuses(inner: Application) -> Application:
    def middleware(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        fields = [("X-Why", "no"), ("Content-Length", "99"), ("Connection", "keep-alive")]
        start_response("403 Forbidden", fields)(b"not ")
        return [b"you"]

    return middleware


def says_nothing(inner: Application) -> Application:
    return lambda environ, start_response: []


def fails(inner: Application) -> Application:
    def middleware(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        raise LookupError("on purpose")

    return middleware


def test_who_is_let_through_brings_what_the_middleware_added() -> None:
    bench = Bench(names_the_user)
    assert bench.ask() == b""  # the session answers
    assert bench.admitted == 1
    environ = bench.exchange.request.context
    assert (environ["REMOTE_USER"], environ["HTTP_X_A"], environ["QUERY_STRING"]) == ("ann", "1", "b=c")
    assert KEY not in environ


def test_what_the_middleware_answers_goes_to_the_client_in_our_framing() -> None:
    bench = Bench(refuses)
    wire = bench.ask()
    assert wire.startswith(b"HTTP/1.1 403 Forbidden\r\nX-Why: no\r\n")
    assert wire.endswith(b"\r\n\r\nnot you")
    assert wire.count(b"Content-Length:") == wire.count(b"Content-Length: 7\r\n") == 1
    assert b"Connection:" not in wire  # it goes on
    assert bench.admitted == 0


def test_behind_a_refused_upgrade_the_connection_ends() -> None:
    assert b"\r\nConnection: close\r\n" in Bench(refuses, UPGRADE).ask()


@pytest.mark.parametrize(("around", "kinds"), [(says_nothing, []), (fails, [LookupError])])
def test_middleware_that_gives_no_answer_is_a_500(around: Any, kinds: list[type]) -> None:
    bench = Bench(around)
    assert bench.ask().startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert [type(error) for error in bench.reported] == kinds
    assert bench.admitted == 0


@pytest.mark.parametrize("around", [names_the_user, refuses])
def test_a_client_that_left_meanwhile_opens_nothing(around: Any) -> None:
    bench = Bench(around)
    bench.middleware.ask(bench.exchange, bench._admitted)
    bench.exchange.drop()
    bench.answer()
    assert (bench.admitted, bench.connection.transport.wire) == (0, b"")


def test_an_answer_that_comes_after_the_server_is_nobodys() -> None:
    bench = Bench(names_the_user)
    bench.mailbox.close()
    bench.middleware.ask(bench.exchange, bench._admitted)
    assert (bench.admitted, bench.reported) == (0, [])
    with pytest.raises(ServerStopped):
        bench.mailbox.post(bench.answer)


def test_another_holders_handshake_passes_as_a_request() -> None:
    holder, other = Holder(), Holder()
    given = {"PATH_INFO": "/"}
    environ, refusal = through_middleware(holder, given, other)
    assert environ is given
    assert refusal is not None
    assert (refusal.status, refusal.body) == ("200 OK", b"a page")


def test_a_body_is_closed_behind_its_answer() -> None:
    closed: list[bool] = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    _, refusal = through_middleware(lambda environ, start_response: Body([b"x"]), {}, object())
    assert refusal is not None
    assert (refusal.body, closed) == (b"x", [True])
