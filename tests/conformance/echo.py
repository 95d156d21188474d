"""Socket drivers around wsframe.Connection for Autobahn|Testsuite, and wsframe.sync: server and clients.

They must not decide anything about frames: what Connection returns is echoed, what it owes is sent.
"""

from __future__ import annotations

import argparse
import socket
import socketserver
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from wsframe import Connection, Fragment, Role, State, deflate, handshake
from wsframe.sync import ConnectionClosed, connect

# The suite sends messages of 16 MiB (9.1, 9.2) and of 65,536 fragments (9.3, 9.4).
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
MAX_FRAGMENTS = 70_000
READ_BYTES = 65_536
DRAIN_SECONDS = 2.0
# Of a connection that hands out messages in pieces: as few bytes as possible, so that all are cut.
FRAGMENT_BYTES = 1
# Whatever a case asks of the window is granted, and every message is worth compressing.
SERVER_DEFLATE = deflate.Options(server_no_context_takeover=False, threshold_bytes=0)
CLIENT_DEFLATE = deflate.Options(server_no_context_takeover=False, threshold_bytes=0)


def read_head(sock: socket.socket) -> tuple[list[str], list[tuple[str, str]], bytes]:
    """The words of the first line, the header list, and the bytes that came after the head."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(READ_BYTES)
        if not chunk or len(data) > READ_BYTES:
            raise ConnectionError("no HTTP head came")
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return first.split(), pairs, rest


def write_head(sock: socket.socket, first: str, headers: list[tuple[str, str]]) -> None:
    lines = [first, *(f"{name}: {value}" for name, value in headers), "", ""]
    sock.sendall("\r\n".join(lines).encode("latin-1"))


def messages(sock: socket.socket, connection: Connection, rest: bytes) -> Iterator[str | bytes | Fragment]:
    """Receive until the WebSocket is closed; send what is owed; give each message, or piece, out."""
    events = connection.receive_data(rest)
    buffer = bytearray(READ_BYTES)
    while True:
        for event in events:
            if isinstance(event, str | bytes | Fragment):
                yield event
        sock.sendall(connection.data_to_send())
        if connection.state is State.CLOSED:
            return
        place = connection.receive_buffer()
        came = sock.recv_into(buffer if place is None else place)
        if not came:
            connection.receive_eof()
            return
        if place is None:
            events = connection.receive_data(buffer, came)
        else:
            del place  # a view that lives on would cost a copy
            events = connection.buffer_received(came)


def echo(sock: socket.socket, connection: Connection, rest: bytes) -> None:
    for message in messages(sock, connection, rest):
        send(connection, message)


def send(connection: Connection, message: str | bytes | Fragment) -> None:
    """Queue it behind what is owed already (a pong); `messages` sends the queue."""
    if isinstance(message, Fragment):
        connection.send_fragment(message.data, message.final)
    elif isinstance(message, str):
        connection.send_text(message)
    else:
        connection.send_binary(message)


class EchoHandler(socketserver.BaseRequestHandler):
    """One server connection: opening handshake, echo, and a close that waits for the client's."""

    def handle(self) -> None:
        sock: socket.socket = self.request
        server: EchoServer = self.server  # type: ignore[assignment]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        (method, _, version), headers, rest = read_head(sock)
        http_version = (int(version[5]), int(version[7]))
        try:
            accepted = handshake.accept(method, http_version, headers, deflate=SERVER_DEFLATE)
        except handshake.HandshakeError as error:
            write_head(sock, f"HTTP/1.1 {error.status} Refused", [*error.headers, ("Content-Length", "0")])
            return
        write_head(sock, "HTTP/1.1 101 Switching Protocols", accepted.headers)
        connection = Connection(
            Role.SERVER,
            max_message_bytes=MAX_MESSAGE_BYTES,
            max_fragments=MAX_FRAGMENTS,
            deflate=accepted.deflate,
            fragment_bytes=server.fragment_bytes,
        )
        echo(sock, connection, rest)
        # RFC 6455 section 7.1.1: what the peer still sends is read, or it would be answered with a reset.
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(DRAIN_SECONDS)
        while sock.recv(READ_BYTES):
            pass

    def finish(self) -> None:
        self.request.close()


class EchoServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    fragment_bytes: int | None = None

    def handle_error(self, request: object, client_address: object) -> None:
        """A peer that resets or goes silent is the suite's business; anything else is printed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def open_client(
    host: str, port: int, resource: str, fragment_bytes: int | None = None
) -> tuple[socket.socket, Connection, bytes]:
    sock = socket.create_connection((host, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = handshake.request(resource, f"{host}:{port}", deflate=CLIENT_DEFLATE)
    write_head(sock, f"GET {request.resource} HTTP/1.1", request.headers)
    (_, status, *_), headers, rest = read_head(sock)
    accepted = handshake.check(request, int(status), headers)
    connection = Connection(
        Role.CLIENT,
        max_message_bytes=MAX_MESSAGE_BYTES,
        max_fragments=MAX_FRAGMENTS,
        deflate=accepted.deflate,
        fragment_bytes=fragment_bytes,
    )
    return sock, connection, rest


def client_session(
    host: str, port: int, resource: str, fragment_bytes: int | None = None
) -> list[str | bytes | Fragment]:
    """Open, echo until closed, return the messages; the server closes TCP first (section 7.1.1)."""
    sock, connection, rest = open_client(host, port, resource, fragment_bytes)
    received = []
    with sock:
        for message in messages(sock, connection, rest):
            received.append(message)
            send(connection, message)
        sock.settimeout(DRAIN_SECONDS)
        try:
            while sock.recv(READ_BYTES):
                pass
        except OSError:
            pass
    return received


def case_count(host: str, port: int) -> int:
    sock, connection, rest = open_client(host, port, "/getCaseCount")
    with sock:
        (count,) = messages(sock, connection, rest)
    assert isinstance(count, str)
    return int(count)


def run_client(host: str, port: int, agent: str, fragment_bytes: int | None) -> None:
    for number in range(1, case_count(host, port) + 1):
        client_session(host, port, f"/runCase?case={number}&agent={agent}", fragment_bytes)
    client_session(host, port, f"/updateReports?agent={agent}")


def run_sync_client(host: str, port: int, agent: str) -> None:
    """The same with `wsframe.sync`, whose own driver and opening are tried."""
    options: dict[str, Any] = {
        "max_size": MAX_MESSAGE_BYTES,
        "max_fragments": MAX_FRAGMENTS,
        "close_timeout": DRAIN_SECONDS,
        "ping_interval": None,
    }
    base = f"ws://{host}:{port}"
    with connect(f"{base}/getCaseCount", **options) as websocket:
        count = int(websocket.recv())
    for number in range(1, count + 1):
        with (
            connect(f"{base}/runCase?case={number}&agent={agent}", **options) as websocket,
            suppress(ConnectionClosed),
        ):
            for message in websocket:
                websocket.send(message)
    connect(f"{base}/updateReports?agent={agent}", **options).close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("server", "client", "sync-client"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--agent", default="wsframe")
    parser.add_argument("--streaming", action="store_true", help="messages in pieces, both ways")
    options = parser.parse_args()
    fragment_bytes = FRAGMENT_BYTES if options.streaming else None
    if options.role == "server":
        with EchoServer((options.host, options.port), EchoHandler) as server:
            server.fragment_bytes = fragment_bytes
            server.serve_forever()
    elif options.role == "sync-client":
        run_sync_client(options.host, options.port, options.agent)
    else:
        run_client(options.host, options.port, options.agent, fragment_bytes)


if __name__ == "__main__":
    main()
