"""An HTTP channel on a transport that only notes: what its client gets, when it is ended, what time it has.

It must not know sockets.
"""

from collections.abc import Callable
from typing import Any

from python_server.connection.exchange import Exchange, ExchangeServices
from python_server.connection.http_channel import HTTPChannel, HTTPServices
from python_server.http1.response import StandingFields
from python_server.settings import HTTPSettings
from told_time import HandDeadline

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


class FakeTransport:
    """Keeps what is written; `ended` is how it was closed."""

    peer = ("127.0.0.1", 1)
    local = ("127.0.0.1", 2)

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.pauses = 0
        self.blocked = False
        self.ended: str | None = None
        self.handler: Any = None

    @property
    def wire(self) -> bytes:
        return b"".join(bytes(piece) for piece in self.sent)

    def write(self, data: Any) -> None:
        self.sent.append(data)

    @property
    def paused(self) -> bool:
        return bool(self.pauses)

    def pause_reading(self, reasons: int, paused: bool) -> None:
        self.pauses = self.pauses | reasons if paused else self.pauses & ~reasons

    def set_handler(self, handler: Any) -> None:
        self.handler = handler

    def close(self, abort: str | None = None, *, reset: bool = False) -> None:
        if self.ended is None:
            self.ended = "orderly" if abort is None else f"{'reset' if reset else 'cut'}: {abort}"


class Handler:
    """Notes what it is told; answers only when a test says so, or `at_once`."""

    def __init__(self, at_once: bool = False) -> None:
        self.at_once = at_once
        self.exchanges: list[Exchange] = []
        self.told: list[object] = []

    def request_received(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.told.append(exchange.request.path)
        if self.at_once:
            exchange.respond(200, [], exchange.request.path.encode())

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        self.told.append(piece)

    def body_ended(self, exchange: Exchange) -> None:
        self.told.append("end")

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        self.told.append(("lost", reason))


class Bench:
    """A channel with everything around it."""

    def __init__(
        self, at_once: bool = False, *, handed: bool = False, settings: HTTPSettings | None = None
    ) -> None:
        self.handler = Handler(at_once)
        self.transport = FakeTransport()
        self.deadlines: list[HandDeadline] = []
        self.now = 1000.0
        self.lost: list[object] = []
        self.done: list[int] = []
        self.given: list[str] = []
        self.channel = HTTPChannel(
            self.transport,
            HTTPServices(
                route=lambda request: self.handler,
                settings=settings or HTTPSettings(),
                deadline=self._deadline,
                exchange=ExchangeServices(
                    lambda: self.now,
                    lambda: "today",
                    StandingFields.of("s"),
                    lambda exchange, seconds: self.done.append(exchange.status),
                    lambda exchange: self.given.append(exchange.request.path),
                ),
                lost=self.lost.append,
            ),
            handed=handed,
        )

    def _deadline(self, fire: Callable[[], Any]) -> HandDeadline:
        def reached() -> None:
            self.now += deadline.seconds or 0.0
            fire()

        deadline = HandDeadline(reached)
        self.deadlines.append(deadline)
        return deadline

    @property
    def deadline(self) -> HandDeadline:
        return self.deadlines[0]

    def receive(self, data: bytes) -> None:
        self.channel.data_received(bytearray(data), len(data))

    def statuses(self) -> list[int]:
        return [int(part[:3]) for part in self.transport.wire.split(b"HTTP/1.1 ")[1:]]
