"""A request for a sibling's session is handed to that sibling, together with its open connection.

Must not know: sessions, paths, what a request asks for; who may be asked is the siblings' to say.

A plain connection is passed itself, with the bytes already read, as soon as the client has taken what it
was answered before. TLS, whose state cannot be passed, is relayed: the sibling gets one end of a socket pair,
a plain connection again. So no connection has more than one relay, however often its sessions change.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from python_server.connection.exchange import Exchange, TransportLike
from python_server.net.loop import Loop
from python_server.net.relay import RelayEnd, relay_to_socket
from python_server.net.sockets import Socket
from python_server.net.transport import Transport
from python_server.workers.link_messages import decode, encode
from python_server.workers.peers import MessageKind, Peers


class PassedConnection(msgspec.Struct, array_like=True):
    """CONNECTION, with a descriptor. `data`: a request's head, and what was read behind it."""

    peer: Any
    local: Any
    data: bytes


class Relayed:
    """A connection whose bytes come from a sibling and go to it (the ByteHandler port).

    It has a channel's methods, so that a stopping server may treat it like one: it ends when idle channels
    end, for the sibling cannot be told to let the client go.
    """

    def __init__(self, transport: TransportLike, end: RelayEnd, lost: Callable[[Relayed], None]) -> None:
        self._transport = transport
        self._lost = lost
        self._end = end
        self.receive_buffer = end.receive_buffer
        self.data_received = end.data_received
        self.write_blocked = end.write_blocked

    def connection_lost(self, reason: str) -> None:
        self._end.connection_lost(reason)
        self._lost(self)

    @property
    def peers(self) -> tuple[object, object]:
        """As a channel's."""
        return self._transport.peer, self._transport.peer

    @property
    def held_bytes(self) -> int:
        return self._transport.queued_bytes

    def refuse_keep_alive(self) -> None:
        """Graceful stop: an answer may be on its way through here."""

    def close_when_idle(self) -> None:
        self._end.connection_lost("server stopped")
        self._transport.close()

    def abort(self, reason: str) -> None:
        self._transport.close(reason)


class Leaving:
    """A connection that is handed over when the client has taken its earlier answers (the ByteHandler port).

    A stopping server lets it: the request is under way, and nothing else is read meanwhile.

    Args:
        send: passes the socket on. ended: told when it has gone, to the sibling or for good.
    """

    def __init__(
        self, transport: Transport, send: Callable[[Socket], None], ended: Callable[[Leaving], None]
    ) -> None:
        self._transport = transport
        self._send = send
        self._ended = ended

    def detached(self, sock: Socket) -> None:
        self._ended(self)
        self._send(sock)

    def receive_buffer(self) -> memoryview | None:
        return None

    def data_received(self, buffer: Any, nbytes: int) -> None:
        """What came behind the head: `send` has it."""

    def write_blocked(self, blocked: bool) -> None:
        """Nothing more is written here."""

    def connection_lost(self, reason: str) -> None:
        self._ended(self)

    @property
    def peers(self) -> tuple[object, object]:
        """As a channel's."""
        return self._transport.peer, self._transport.peer

    @property
    def held_bytes(self) -> int:
        return self._transport.queued_bytes

    def refuse_keep_alive(self) -> None:
        """The worker that gets the connection decides."""

    def close_when_idle(self) -> None:
        """It is not idle: its request is under way."""

    def abort(self, reason: str) -> None:
        self._transport.close(reason)


class Handover:
    """Passes connections to siblings and takes theirs. Every method belongs to the loop's thread.

    Args:
        serve: takes a connection, with the bytes that were read from it, as if it had been accepted here.
        began, ended: told of each connection that is relayed, or waits to be passed, for as long as it does.
        report: for a fault. complain: called with (kind, sentence). limits: of transports.
    """

    def __init__(
        self,
        loop: Loop,
        siblings: Peers,
        serve: Callable[[Transport, bytes], None],
        began: Callable[[Relayed | Leaving], None],
        ended: Callable[[Relayed | Leaving], None],
        report: Callable[[str, BaseException], None],
        complain: Callable[[str, str], None],
        limits: Any,
    ) -> None:
        self._loop = loop
        self._siblings = siblings
        self._serve = serve
        self._began = began
        self._ended = ended
        self._report = report
        self._complain = complain
        self._limits = limits
        siblings.on(MessageKind.CONNECTION, self._received)

    def send_home(self, exchange: Exchange, index: int) -> bool:
        """Give the connection to the worker of that index; False when there is none."""
        head = exchange.request.raw_head
        if not head or index not in self._siblings.living:
            return False
        exchange.give_away(partial(self._give, index, head))
        return True

    def send_on(self, exchange: Exchange) -> bool:
        """Give the connection to a worker that stays; False when there is none."""
        index = self._siblings.likely_successor()
        return index is not None and self.send_home(exchange, index)

    def _give(
        self, index: int, head: bytes, transport: TransportLike, leftover: bytes
    ) -> Relayed | Leaving | None:
        """Send it; returns who listens to the connection from now on if it stays on this loop."""
        send = partial(self._send, index, transport.peer, transport.local)
        if isinstance(transport, Transport):
            sock: Socket | None = transport.detach()
            if sock is not None:
                send(head + leftover, sock)
                return None
            leaving = Leaving(transport, partial(send, head + leftover), self._ended)
            if transport.detach_when_sent(leaving.detached):
                self._began(leaving)
                return leaving
        sock, end = relay_to_socket(self._loop, transport, b"", self._report, self._limits)
        relayed = Relayed(transport, end, self._ended)
        self._began(relayed)
        send(head, sock)  # the leftover takes the relay's way
        return relayed

    def _send(self, index: int, peer: Any, local: Any, data: bytes, sock: Socket) -> None:
        descriptor = sock.detach()
        payload = encode(PassedConnection(peer, local, data))
        if not self._siblings.send(index, MessageKind.CONNECTION, payload, descriptor=descriptor):
            self._complain("hand-over", f"worker {index} does not take connections: a session is lost")
            self._received(self._siblings.index, payload, descriptor)  # refused in good order

    def _received(self, index: int, payload: bytes, descriptor: int | None) -> None:
        if descriptor is None:
            self._complain("hand-over", f"a connection from worker {index} has come without its descriptor")
            return
        try:
            passed = decode(payload, type=PassedConnection)
            sock = Socket(fileno=descriptor)
        except Exception:
            os.close(descriptor)
            raise
        sock.setblocking(False)
        transport = Transport(
            self._loop, sock, self._report, self._limits, _address(passed.peer), _address(passed.local)
        )
        try:
            self._serve(transport, passed.data)
        except Exception as error:
            self._report("connection", error)
            transport.close("internal error")


def _address(value: Any) -> Any:
    """A socket's addresses are tuples, or the name of a UNIX one."""
    return tuple(value) if isinstance(value, list) else value
