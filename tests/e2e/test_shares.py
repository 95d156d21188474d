"""Clients that take more than their share, against the running server: by address, by memory, by time.

It must not know the server's code: everything is said and heard on raw sockets.
"""

import base64
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

PATIENCE_SECONDS = 60.0
KEY = base64.b64encode(bytes(range(16))).decode()
UPGRADE = (
    f"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
)
ASK = "GET / HTTP/1.1\r\nHost: localhost\r\n%s\r\n"

Launch = Callable[..., Any]


@contextmanager
def dialled(server: Any) -> Iterator[socket.socket]:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
        yield connection


def head_of_answer(connection: socket.socket, text: str = "") -> str:
    connection.sendall(text.encode())
    heard = b""
    while b"\r\n\r\n" not in heard and (piece := connection.recv(65_536)):
        heard += piece
    return heard.decode("latin-1")


def ask(server: Any, fields: str = "") -> str:
    """On a connection of its own."""
    with dialled(server) as connection:
        return head_of_answer(connection, ASK % fields)


def test_connections_of_one_address(launch: Launch, tmp_path: Path) -> None:
    server = launch(tmp_path, "--limit-connections-per-address", "2")
    with dialled(server) as first, dialled(server) as second, dialled(server) as third:
        assert "200 OK" in head_of_answer(first, ASK % "")
        assert "101 Switching" in head_of_answer(second, UPGRADE % "")
        assert "503 Service Unavailable" in head_of_answer(third)
        server.wait_for("127.0.0.1 has 2 connections, more are refused: see --limit-connections-per-address")
        first.close()
        while "200 OK" not in ask(server):  # until the server has met its end
            pass


def test_behind_a_proxy_each_client_has_its_own_share(launch: Launch, tmp_path: Path) -> None:
    server = launch(tmp_path, "--limit-connections-per-address", "1", "--proxy-headers")
    ada, bob = (f"X-Forwarded-For: 192.0.2.{number}\r\n" for number in (7, 8))
    with dialled(server) as first, dialled(server) as second, dialled(server) as third:
        assert "101 Switching" in head_of_answer(first, UPGRADE % ada)
        assert "503 Service Unavailable" in head_of_answer(second, UPGRADE % ada)
        assert "101 Switching" in head_of_answer(third, UPGRADE % bob)
        for _ in range(3):
            assert "503 Service Unavailable" in ask(server, ada)
            assert "200 OK" in ask(server, "X-Forwarded-For: 192.0.2.9\r\n")
        first.close()
        while "101 Switching" not in ask_to_upgrade(server, ada):
            pass


def ask_to_upgrade(server: Any, fields: str) -> str:
    with dialled(server) as connection:
        return head_of_answer(connection, UPGRADE % fields)


def test_requests_of_one_address(launch: Launch, tmp_path: Path) -> None:
    server = launch(tmp_path, "--limit-requests-per-address", "3")
    for _ in range(3):
        assert "200 OK" in ask(server)
    refused = ask(server)
    assert "429 Too Many Requests" in refused
    assert "\r\nRetry-After: " in refused
    server.wait_for("see --limit-requests-per-address")


def test_who_holds_most_is_ended_when_all_hold_too_much(launch: Launch, tmp_path: Path) -> None:
    server = launch(tmp_path, "--limit-memory", "1000000")
    with dialled(server) as small, dialled(server) as large:
        for connection, size in ((small, 300_000), (large, 800_000)):
            assert "101 Switching" in head_of_answer(connection, UPGRADE % "")
            frame = b"\x82\xff" + struct.pack(">Q", 1_000_000) + b"mask"
            connection.sendall(frame + bytes(size))
        with suppress(ConnectionResetError):  # where it has sent what nobody has read
            assert large.recv(1) == b""
        server.wait_for("see --limit-memory")
        assert not select.select([small], [], [], 0)[0]
        small.sendall(bytes(700_000))
        assert small.recv(1) == b"\x82"


def test_a_body_that_drips_for_ever(launch: Launch, tmp_path: Path) -> None:
    server = launch(tmp_path, "--timeout-body", "1", "--limit-body-rate", "1000")
    with dialled(server) as connection:
        connection.sendall(b"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(1_000):
            if select.select([connection], [], [], 0.05)[0]:
                break
            connection.sendall(b"x")
        else:
            pytest.fail("a byte now and then has kept the connection")
        assert "408 Request Timeout" in head_of_answer(connection)
