"""The opening handshake of a WebSocket (RFC 6455 4.2): its answer, and the channel that follows it.

Must not know: sockets, what a message means, sessions, applications.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from python_server.connection.exchange import Exchange, TransportLike
from python_server.connection.websocket_channel import WebSocketChannel, WebSocketServices
from wsframe import Connection, Role, handshake

# What is received at once where deflate was agreed on, which makes a thousand bytes of one: a turn inflates
# eight megabytes at most, and what lets the client wait is seen behind them. No more may stand behind the
# handshake either: a client sends nothing before it has the 101 (RFC 6455 4.1).
DEFLATED_RECEIVE_BYTES: Final = 8192


def accept_websocket(
    exchange: Exchange,
    services: WebSocketServices,
    opened: Callable[[WebSocketChannel], None],
    *,
    subprotocols: tuple[str, ...] = (),
    max_message_bytes: int | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> None:
    """Answer an opening handshake (RFC 6455 4.2): 101 and a channel, or the refusal.

    Args:
        opened: sets the channel's callbacks; called before the first message.
        headers: further fields of the 101.
    """
    request = exchange.request
    try:
        if request.has_body:
            raise handshake.HandshakeError(400, "an opening handshake has no body (RFC 6455 4.1)")
        accepted = handshake.accept(
            request.method,
            request.version,
            request.headers,
            subprotocols=subprotocols,
            deflate=services.deflate,
        )
    except handshake.HandshakeError as error:
        exchange.refuse(error.status, str(error), error.headers)
        return

    def make(transport: TransportLike, leftover: bytes) -> WebSocketChannel | None:
        if accepted.deflate is not None:
            if len(leftover) > DEFLATED_RECEIVE_BYTES:
                transport.close("compressed messages came before the answer to the opening handshake")
                return None
            transport.receive_max_bytes = DEFLATED_RECEIVE_BYTES
        connection = Connection(
            Role.SERVER,
            max_message_bytes=max_message_bytes or services.settings.max_message_bytes,
            max_fragments=services.settings.max_fragments_count,
            deflate=accepted.deflate,
            joins=services.joins,
        )
        channel = WebSocketChannel(transport, connection, services, accepted.subprotocol, accepted.deflate)
        channel.peer = request.peer
        services.began(channel)
        opened(channel)
        return channel

    exchange.upgrade([*accepted.headers, *headers], make)
