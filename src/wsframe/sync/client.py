"""Opens WebSockets of a client: the socket, TLS and the opening handshake, within one time.

It must not know frames, nor what is said once the WebSocket is open.
"""

from __future__ import annotations

import socket
import ssl as ssl_module
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from .. import handshake
from ..connection import Connection
from ..deflate import Options
from ..types import DEFAULT_MAX_FRAGMENTS, DEFAULT_MAX_MESSAGE_BYTES, Role
from .connection import ClientConnection
from .driver import READ_BYTES, WAIT_MAX_SECONDS, ClientLimits, Seconds, later
from .exceptions import HandshakeResponse, InvalidHandshake, InvalidStatus
from .opening import (
    ResponseHead,
    Target,
    header_pairs,
    parse_uri,
    write_request,
)

# As much as a decoder takes for a limit.
NO_MAX_SIZE: Final = 2**62 - 1


def connect(
    uri: str,
    *,
    sock: socket.socket | None = None,
    ssl: ssl_module.SSLContext | None = None,
    server_hostname: str | None = None,
    origin: str | None = None,
    subprotocols: Sequence[str] | None = None,
    compression: str | None = "deflate",
    additional_headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    user_agent_header: str | None = "wsframe",
    proxy: None = None,
    open_timeout: Seconds = 10,
    ping_interval: Seconds = 20,
    ping_timeout: Seconds = 20,
    close_timeout: Seconds = 10,
    max_size: int | None = DEFAULT_MAX_MESSAGE_BYTES,
    max_fragments: int = DEFAULT_MAX_FRAGMENTS,
    max_queue: int | None = 16,
) -> ClientConnection:
    """Connect to a WebSocket server, in the words of `websockets.sync.client.connect`.

        with connect("wss://example.org/chat", subprotocols=["chat.v2"]) as websocket:
            websocket.send("hello")
            print(websocket.recv(timeout=5))

    Args:
        uri: ws:// or wss://. sock: a connected socket to use. ssl, server_hostname: for wss://.
        origin, subprotocols, additional_headers, user_agent_header: of the request.
        compression: "deflate" or None. proxy: only None, none are supported.
        open_timeout, close_timeout: in seconds, to open and to close; None waits for ever.
        ping_interval, ping_timeout: seconds without a word until a ping, and until it is given up.
        max_size, max_fragments: bytes and frames of one message. max_queue: messages that wait for `recv`.
            None for max_size, max_queue: without a bound.

    Returns: the open connection. Raises InvalidURI, ValueError: wrong arguments. InvalidStatus: the server
    refuses or redirects. InvalidHandshake: its answer is wrong. TimeoutError. OSError: TCP or TLS failed.
    """
    target = parse_uri(uri)
    _check(target, ssl, compression, proxy, max_queue)
    request = _request(target, origin, subprotocols, compression, additional_headers, user_agent_header)
    deadline = later(open_timeout)
    opened = _open_tcp(target, deadline) if sock is None else sock
    try:
        if target.secure:
            opened = _open_tls(opened, ssl, server_hostname or target.host, deadline)
        response, rest, accepted = _shake_hands(opened, request, deadline)
        size = NO_MAX_SIZE if max_size is None else max_size
        connection = Connection(
            Role.CLIENT, max_message_bytes=size, max_fragments=max_fragments, deflate=accepted.deflate
        )
        limits = ClientLimits(ping_interval, ping_timeout, close_timeout, max_queue)
        return ClientConnection(opened, connection, limits, response, rest, accepted.subprotocol)
    except BaseException:
        opened.close()
        raise


def _check(
    target: Target, ssl: object, compression: str | None, proxy: object, max_queue: int | None
) -> None:
    if ssl is not None and not target.secure:
        raise ValueError("ssl argument is incompatible with a ws:// URI")
    if compression not in ("deflate", None):
        raise ValueError(f"unsupported compression: {compression}")
    if proxy is not None:
        raise ValueError("proxies are not supported: give a connected socket as sock")
    if max_queue is not None and max_queue < 1:
        raise ValueError("max_queue must be at least 1, or None")


def _request(
    target: Target,
    origin: str | None,
    subprotocols: Sequence[str] | None,
    compression: str | None,
    additional_headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
    user_agent_header: str | None,
) -> handshake.Request:
    headers = header_pairs(additional_headers)
    names = {name.lower() for name, _ in headers}
    if user_agent_header is not None and "user-agent" not in names:
        headers.append(("User-Agent", user_agent_header))
    if target.authorization is not None and "authorization" not in names:
        headers.append(("Authorization", target.authorization))
    return handshake.request(
        target.resource,
        next((value for name, value in headers if name.lower() == "host"), target.authority),
        origin=origin,
        subprotocols=subprotocols or (),
        deflate=Options() if compression else None,
        headers=[(name, value) for name, value in headers if name.lower() != "host"],
    )


def _left(deadline: Seconds) -> Seconds:
    """Seconds. Raises TimeoutError."""
    if deadline is None:
        return None
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out during opening handshake")
    return min(seconds, WAIT_MAX_SECONDS)


def _open_tcp(target: Target, deadline: Seconds) -> socket.socket:
    """One address after the other; the resolver's own time has no bound."""
    failed: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(
        target.host, target.port, type=socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(deadline))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise
            failed = failed or error
    raise failed or OSError(f"{target.host} has no address")


def _open_tls(
    sock: socket.socket, context: ssl_module.SSLContext | None, name: str, deadline: Seconds
) -> ssl_module.SSLSocket:
    context = context or ssl_module.create_default_context()
    secured = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    try:
        secured.settimeout(_left(deadline))
        secured.do_handshake()
    except BaseException:
        secured.close()
        raise
    return secured


def _shake_hands(
    sock: socket.socket, request: handshake.Request, deadline: Seconds
) -> tuple[HandshakeResponse, bytes, handshake.Accepted]:
    """The response, what came behind its head, what was agreed. Raises as `connect`."""
    sock.settimeout(_left(deadline))
    sock.sendall(write_request(request.resource, request.headers))
    head = ResponseHead()
    whole = None
    while whole is None:
        sock.settimeout(_left(deadline))
        whole = head.feed(sock.recv(READ_BYTES))
    response, rest = whole
    if response.status_code != 101:
        raise InvalidStatus(response._replace(body=rest))
    try:
        return response, rest, handshake.check(request, response.status_code, response.headers.pairs)
    except handshake.HandshakeError as error:
        raise InvalidHandshake(str(error)) from error
