"""Connections as they come: accepted in turn, through TLS, counted, limited, and held until they end.

Must not know: what a request is for, or who else accepts on the same sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from python_server.connection.address_caps import AddressCaps
from python_server.connection.exchange import TransportLike
from python_server.connection.http_channel import HTTPChannel, HTTPServices
from python_server.http1.response import CROWDED, PLAIN_ON_TLS
from python_server.net.byte_handler import Address
from python_server.net.certificates import make_context
from python_server.net.descriptors import connections_max_count
from python_server.net.listener import Listener, turn_away
from python_server.net.loop import Deadline, Loop
from python_server.net.scoreboard import Row
from python_server.net.sockets import Socket
from python_server.net.states import StateEnum
from python_server.net.tls import HandshakeQueue, Handshaking, TLSTransport
from python_server.net.transport import Transport
from python_server.observe import log
from python_server.settings import Settings

if TYPE_CHECKING:
    from python_server.net.certificates import TLSContext

# So often a worker looks whether it stands far above its share.
SPREAD_SECONDS: Final = 1.0
# A full worker whose siblings have room looks again after so long.
LOOK_AGAIN_SECONDS: Final = 1.0


def tls_context(settings: Settings) -> TLSContext | None:
    """The context that the settings ask for, None for plain TCP.

    Raises:
        CertificateError: TLS cannot be spoken with these files.
    """
    if settings.tls.context is not None:
        given: TLSContext = settings.tls.context
        return given
    if settings.tls.certfile is None and settings.tls.keyfile is None:
        return None
    return make_context(settings.tls, ["http/1.1"])


def most_connections(settings: Settings) -> int | None:
    """Of one worker; None where neither the settings nor the system have a limit."""
    return settings.connections_max_count or connections_max_count()


class AcceptorState(StateEnum):
    """What an acceptor does with new connections."""

    TAKEN = "WAITING", "STOPPED"
    WAITING = "TAKEN", "REFUSED", "STOPPED"  # as many as may be are open; the kernel holds the next ones
    REFUSED = "TAKEN", "STOPPED"  # for so long that those who wait are told
    STOPPED = "STOPPED"  # what the system had accepted before may be taken; each request is the last


class Channel(Protocol):
    """An open connection, in the hands of whatever protocol."""

    @property
    def peers(self) -> tuple[object, object]:
        """The client's address and the connection's; the same one unless a trusted proxy has named it."""

    @property
    def held_bytes(self) -> int:
        """What its client keeps waiting here, in both directions."""

    def refuse_keep_alive(self) -> None:
        """Graceful stop: what runs, or comes next, is the last."""

    def close_when_idle(self) -> None:
        """Graceful stop: end now if nothing runs."""

    def abort(self, reason: str) -> None:
        """End at once."""


class Acceptor:
    """The listening sockets of a worker, and every connection that is open. All on the loop's thread.

    Args:
        listening: bound sockets, owned from here on. row: of this worker, where several share them.
        complain: called with (kind, message). caps: counts connections by address, and says who has too many.

    Attributes:
        channels: each with the name its address is counted under.
    """

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        listening: Sequence[Socket],
        row: Row | None,
        complain: Callable[[str, str], None],
        caps: AddressCaps,
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._row = row
        self._complain = complain
        self._tls: HandshakeQueue | None = None
        if (context := tls_context(settings)) is not None:
            timeout_seconds = settings.tls.handshake_timeout_seconds
            told = (self._established, self._handshake_lost)
            self._tls = HandshakeQueue(loop, context, timeout_seconds, PLAIN_ON_TLS, *told)
        self._http: HTTPServices
        self._caps = caps
        self._max_count = most_connections(settings)
        self._state = AcceptorState.TAKEN
        self._told = Deadline(loop, self._tell_newcomers)
        self.channels: dict[Channel, str | None] = {}
        allowance = None if row is None else row.allowance
        self._listeners = [
            Listener(loop, sock, self._accepted, self._exhausted, settings.accept_batch_count, allowance)
            for sock in listening
        ]
        if row is not None:
            loop.call_later(SPREAD_SECONDS, self._spread)

    @property
    def scheme(self) -> str:
        return "http" if self._tls is None else "https"

    def set_services(self, http: HTTPServices) -> None:
        """What each connection's channel is given; before `start`."""
        self._http = http

    def start(self) -> None:
        """Begin to accept."""
        for listener in self._listeners:
            listener.start()

    def look_again(self) -> None:
        """Others who share the sockets have gone: what they were woken for is anybody's."""
        for listener in self._listeners:
            listener.look_again()

    def stop(self, *, take_waiting: bool) -> None:
        """Accept nothing more (`take_waiting`: than what the system has, where that is ours alone to serve).

        No connection brings a further request than the one on its way.
        """
        self._state = self._state.to(AcceptorState.STOPPED)
        self._told.cancel()
        for listener in self._listeners:
            if take_waiting:
                listener.drain_and_close()
            else:
                listener.close()
        for channel in list(self.channels):
            channel.refuse_keep_alive()

    def close_idle(self) -> None:
        for channel in list(self.channels):
            channel.close_when_idle()

    def abort(self, reason: str) -> None:
        """Listen no more, and end every connection now."""
        for listener in self._listeners:
            listener.close()
        for channel in list(self.channels):
            channel.abort(reason)

    def _spread(self) -> None:
        """Far above our share, part with idle connections: their clients come back to whoever has fewest.

        WebSockets stay: their end would be seen by people, an unequal load by nobody but the operator.
        """
        if self._row is None or self._state is AcceptorState.STOPPED:
            return
        excess = self._row.excess()
        for channel in self.channels if excess else ():
            if isinstance(channel, HTTPChannel) and channel.part():
                excess -= 1
                if not excess:
                    break
        self._loop.call_later(SPREAD_SECONDS, self._spread)

    # Connections

    def add(self, channel: Channel) -> None:
        """One more is open."""
        key = self.channels[channel] = self._caps.key(*channel.peers)
        self._caps.opened(key)
        self._count()

    def lost(self, channel: Channel) -> None:
        """It has ended."""
        self._remove(channel)
        self._count()
        if self._state in (AcceptorState.WAITING, AcceptorState.REFUSED) and not self._full():
            self._told.clear()
            self._state = self._state.to(AcceptorState.TAKEN)
            self.start()

    def _count(self) -> None:
        if self._row is not None:
            self._row.count(len(self.channels))

    def _remove(self, channel: Channel) -> None:
        if channel in self.channels:
            self._caps.closed(self.channels.pop(channel))

    def serve(self, transport: Transport, handed: bytes = b"") -> None:
        """`handed`: bytes that a sibling has read of the connection, a whole head at least."""
        channel = HTTPChannel(transport, self._http, handed=bool(handed))
        self.add(channel)
        if self._state is AcceptorState.STOPPED:  # it was in the system's queue when the stop began
            channel.refuse_keep_alive()
        transport.set_handler(channel)
        if handed:
            channel.data_received(bytearray(handed), len(handed))
            transport.flush()  # as behind bytes that are received here

    def serve_one(self, transport: TransportLike, http: HTTPServices, head: bytes) -> None:
        """A connection from another machine, at a request's head; `http` answers it, and no further one."""
        channel = HTTPChannel(transport, http, handed=True)
        self.add(channel)
        channel.refuse_keep_alive()
        transport.set_handler(channel)
        channel.data_received(bytearray(head), len(head))

    def _accepted(self, sock: Socket, peer: Address) -> None:
        crowded = self._state in (AcceptorState.REFUSED, AcceptorState.STOPPED) and self._full()
        if crowded or self._caps.full(self._caps.key(peer, peer)):
            # Without a word where TLS is spoken: a handshake would cost more than it tells.
            turn_away(sock, CROWDED if self._tls is None else b"")
            return
        try:
            local = sock.getsockname()
        except OSError:  # macOS: the peer has reset the connection already
            sock.close()
            return
        common = (self._loop, sock, log.report, self._settings.transport, peer, local)
        if self._tls is None:
            self.serve(Transport(*common))
        else:
            self.add(TLSTransport(*common).begin(self._tls))
        if self._full() and self._state is AcceptorState.TAKEN:
            # The kernel holds newcomers, for this worker or for one that shares the sockets and has room.
            text = f"{self._max_count} connections are open: new ones wait, see --limit-concurrency"
            self._complain("limit", text)
            for listener in self._listeners:
                listener.pause()
            self._state = self._state.to(AcceptorState.WAITING)
            self._told.set(self._settings.connections_wait_seconds)

    def _full(self) -> bool:
        return self._max_count is not None and len(self.channels) >= self._max_count

    def _tell_newcomers(self) -> None:
        """Nobody has left meanwhile: who waits hears so, and may go where there is room."""
        if self._row is not None and self._row.fewest_count() < len(self.channels):
            self._told.set(LOOK_AGAIN_SECONDS)  # another worker takes them
            return
        self._state = self._state.to(AcceptorState.REFUSED)
        text = f"{self._max_count} connections are open: new ones get 503, see --limit-concurrency"
        self._complain("limit refused", text)
        self.start()

    def _established(self, transport: TLSTransport, greeting: Handshaking) -> None:
        self._remove(greeting)
        self.serve(transport)

    def _handshake_lost(self, greeting: Handshaking, reason: str) -> None:
        self.lost(greeting)
        self._complain("handshake", reason)

    def _exhausted(self, error: OSError) -> None:
        self._complain("accept", f"no new connections for a moment: {error.strerror}")
