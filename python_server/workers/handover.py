"""A request for a sibling's session is handed to that sibling, together with its open connection.

Must not know: sessions, paths, what a request asks for; who may be asked is the siblings' to say.

A plain connection is passed itself, with the bytes already read, as soon as the client has taken what it
was answered before. TLS, whose state cannot be passed, is relayed: the sibling gets one end of a socket pair,
a plain connection again. So no connection has more than one relay, however often its sessions change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from python_server.connection.exchange import Exchange, TransportLike
from python_server.net.byte_handler import Address, address_from
from python_server.net.loop import Loop
from python_server.net.relay import RelayEnd, relay_to_socket
from python_server.net.sockets import Socket
from python_server.net.transport import Transport
from python_server.settings import TransportSettings
from python_server.workers.link_messages import encode
from python_server.workers.peers import MessageKind, Peers, with_socket


class PassedConnection(msgspec.Struct, array_like=True):
    """CONNECTION, with a descriptor. `data`: a request's head, and what was read behind it."""

    peer: Any
    local: Any
    data: bytes


class Departing:
    """A connection that a sibling serves, for as long as it still passes here (the ByteHandler port).

    A relay carries its bytes to and fro. Without one the sibling gets the connection itself, once the client
    has taken its earlier answers; nothing is read meanwhile. It has a channel's methods, so that a stopping
    server may treat it like one.
    """

    def __init__(
        self, transport: TransportLike, relay: RelayEnd | None, ended: Callable[[Departing], None]
    ) -> None:
        self._transport = transport
        self._relay = relay
        self._ended = ended
        self.data_received: Callable[..., None] = _ignore if relay is None else relay.data_received
        self.write_blocked: Callable[..., None] = _ignore if relay is None else relay.write_blocked

    def receive_buffer(self) -> memoryview | None:
        return None

    def connection_lost(self, reason: str) -> None:
        if self._relay is not None:
            self._relay.connection_lost(reason)
        self._ended(self)

    @property
    def peers(self) -> tuple[object, object]:
        """As a channel's."""
        return self._transport.peer, self._transport.peer

    @property
    def held_bytes(self) -> int:
        return self._transport.queued_bytes

    def refuse_keep_alive(self) -> None:
        """The sibling decides; an answer may be on its way through here."""

    def close_when_idle(self) -> None:
        """A relay ends, for the sibling cannot be told to let the client go; else a request is under way."""
        if self._relay is not None:
            self._relay.connection_lost("server stopped")
            self._transport.close()

    def abort(self, reason: str) -> None:
        self._transport.close(reason)
        if self._relay is not None:
            self._relay.abort(reason)


def _ignore(*_: object) -> None:
    """What came behind the head goes with the connection."""


@dataclass(frozen=True, slots=True, eq=False)
class Handover:
    """Passes connections to siblings and takes theirs. Every method belongs to the loop's thread.

    Attributes:
        serve: takes a connection, with the bytes that were read from it, as if it had been accepted here.
        began, ended: told of each connection that is relayed, or waits to be passed, for as long as it does.
        report: for a fault. complain: called with (kind, sentence). limits: of transports.
        waiting: connections that have come before we have met all others: what we said would not reach them.
    """

    loop: Loop
    siblings: Peers
    serve: Callable[[Transport, bytes], None]
    began: Callable[[Departing], None]
    ended: Callable[[Departing], None]
    report: Callable[[str, BaseException], None]
    complain: Callable[[str, str], None]
    limits: TransportSettings
    waiting: list[tuple[Transport, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.siblings.on(MessageKind.CONNECTION, self._received)
        self.siblings.on_changed(self._serve_waiting)

    def send_home(self, exchange: Exchange, index: int) -> bool:
        """Give the connection to the worker of that index; False when there is none."""
        head = exchange.request.raw_head
        if not head or index not in self.siblings.living:
            return False
        exchange.give_away(partial(self._give, index, head))
        return True

    def send_on(self, exchange: Exchange) -> bool:
        """Give the connection to a worker that stays; False when there is none."""
        index = self.siblings.likely_successor()
        return index is not None and self.send_home(exchange, index)

    def _give(self, index: int, head: bytes, transport: TransportLike, leftover: bytes) -> Departing | None:
        """Send it; returns who listens to the connection from now on if it stays on this loop."""
        send = partial(self._send, index, transport.peer, transport.local)
        # Of a relayed one the leftover takes the relay's way.
        return self.pass_on(transport, partial(send, head + leftover), partial(send, head))

    def pass_on(
        self,
        transport: TransportLike,
        send: Callable[[Socket], None],
        send_relayed: Callable[[Socket], None],
    ) -> Departing | None:
        """Take a connection off the loop; returns who listens to it from now on if it stays.

        Args:
            send: called with its socket, now or once its client has taken what it was sent.
            send_relayed: called instead with one end of a pair; what comes from the connection comes there.
        """
        if isinstance(transport, Transport):
            sock: Socket | None = transport.detach()
            if sock is not None:
                send(sock)
                return None
            departing = Departing(transport, None, self.ended)

            def detached(sock: Socket) -> None:
                self.ended(departing)
                send(sock)

            if transport.detach_when_sent(detached):
                self.began(departing)
                return departing
        sock, end = relay_to_socket(self.loop, transport, b"", self.report, self.limits)
        relayed = Departing(transport, end, self.ended)
        self.began(relayed)
        send_relayed(sock)
        return relayed

    def _send(self, index: int, peer: Address, local: Address, data: bytes, sock: Socket) -> None:
        descriptor = sock.detach()
        payload = encode(PassedConnection(peer, local, data))
        if not self.siblings.send(index, MessageKind.CONNECTION, payload, descriptor=descriptor):
            self.complain("hand-over", f"worker {index} does not take connections: a session is lost")
            self._received(self.siblings.index, payload, descriptor)  # refused in good order

    def _received(self, index: int, payload: bytes, descriptor: int | None) -> None:
        if descriptor is None:
            self.complain("hand-over", f"a connection from worker {index} has come without its descriptor")
            return
        passed, sock = with_socket(payload, PassedConnection, descriptor)
        sock.setblocking(False)
        peer, local = address_from(passed.peer), address_from(passed.local)
        self.waiting.append((Transport(self.loop, sock, self.report, self.limits, peer, local), passed.data))
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        while self.waiting and self.siblings.met:
            transport, data = self.waiting.pop(0)
            try:
                self.serve(transport, data)
            except Exception as error:
                self.report("connection", error)
                transport.close("internal error")
