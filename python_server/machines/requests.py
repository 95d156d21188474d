"""Requests that have come to this machine though their session lives on another: they are passed on.

Must not know: what a poll or a post says, how another machine is reached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from python_server.connection.exchange import Exchange, TransportLike
from python_server.http1.parser import Request
from python_server.machines.asking import AskingLink
from python_server.machines.links import Links, RemoteWorker
from python_server.machines.stream import FrameStream
from python_server.machines.words import BODY_MAX_BYTES, ForeignHandshake, Kind, RequestOrigin
from python_server.net.byte_handler import ByteHandler
from python_server.net.relay import RelayEnd
from python_server.workers.handover import Departing


class Refusals(Protocol):
    """Port: what the engine of that path answers itself."""

    @property
    def max_payload_bytes(self) -> int:
        """Of a post."""

    def too_large(self, exchange: Exchange) -> None:
        """A post is larger."""

    def unknown_session(self, exchange: Exchange) -> None:
        """Its session is nowhere."""


class HomeEnd(RelayEnd):
    """Listens to a home on behalf of one client."""

    def __init__(self, client: TransportLike, ended: Callable[[], None]) -> None:
        super().__init__(client)
        self._ended = ended

    def connection_lost(self, reason: str) -> None:
        super().connection_lost(reason)
        self._ended()


def asks_for_websocket(request: Request) -> bool:
    """RFC 6455 4.1: a GET without a body."""
    return request.upgrade == "websocket" and request.method == "GET" and not request.has_body


def origin_of(request: Request) -> RequestOrigin:
    return RequestOrigin(request.peer, request.local, request.scheme, request.authority)


@dataclass(frozen=True, slots=True, eq=False)
class Relaying:
    """What all requests that are passed on share.

    Attributes:
        began, ended: told of each connection that is relayed, for as long as it is.
        stopping: is this worker about to end?
    """

    links: Links
    began: Callable[[Departing], None]
    ended: Callable[[Departing], None]
    stopping: Callable[[], bool]


@dataclass(slots=True, eq=False)
class PassedRequest:
    """One of them (the RequestHandler port). Every method belongs to the loop's thread."""

    home: RemoteWorker
    relaying: Relaying
    refusals: Refusals
    _pieces: list[bytes] = field(default_factory=list, init=False)
    _link: AskingLink | None = field(default=None, init=False)
    _give_up: Callable[[], None] = field(default=lambda: None, init=False)  # a call for a WebSocket

    def request_received(self, exchange: Exchange) -> None:
        request = exchange.request
        if asks_for_websocket(request):
            self._give_up = self.relaying.links.websocket(self.home, partial(self._opened, exchange))
        elif (request.body_length or 0) > self._body_max_bytes:
            self.refusals.too_large(exchange)
        else:
            exchange.send_continue()

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        exchange.held_bytes += len(piece)
        if exchange.held_bytes > self._body_max_bytes:
            self._pieces.clear()
            self.refusals.too_large(exchange)
        else:
            self._pieces.append(piece)

    def body_ended(self, exchange: Exchange) -> None:
        if exchange.open and not asks_for_websocket(exchange.request):
            self.relaying.links.link(self.home, partial(self._linked, exchange))

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        if self._link is not None:
            self._link.forget(exchange)
        self._give_up()
        self._pieces.clear()
        exchange.abort(reason)

    @property
    def _body_max_bytes(self) -> int:
        return min(self.refusals.max_payload_bytes, BODY_MAX_BYTES)

    def _linked(self, exchange: Exchange, link: AskingLink | None) -> None:
        body, self._pieces = b"".join(self._pieces), []
        if not exchange.open:
            return
        if link is None:
            self.refusals.unknown_session(exchange)
            return
        self._link = link
        link.ask(
            exchange,
            origin_of(exchange.request),
            body,
            self.refusals.unknown_session,
            last=self.relaying.stopping() or not exchange.keep_alive,
        )

    # A WebSocket

    def _opened(self, exchange: Exchange, stream: FrameStream | None) -> None:
        if stream is None:
            if exchange.open:
                self.refusals.unknown_session(exchange)
        elif not exchange.open:
            stream.close("the client left")
        else:
            request = exchange.request
            stream.send(Kind.HANDSHAKE, ForeignHandshake(origin_of(request), request.raw_head))
            exchange.give_away(partial(self._relay, stream.release()))

    def _relay(self, home: TransportLike, client: TransportLike, leftover: bytes) -> ByteHandler:
        """From here on the client's bytes go there as they are, and what comes from there to the client."""
        relayed = self.relaying.links.relayed
        relayed.add(home)
        home.set_handler(HomeEnd(client, partial(relayed.discard, home)))
        departing = Departing(client, RelayEnd(home), self.relaying.ended)
        self.relaying.began(departing)
        return departing
