"""The client with real servers: TLS of `websockets`, our own server, a UNIX socket, a socket that is given.

It must not test what a program sees of messages, which test_programs.py does.
"""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from wsframe import State
from wsframe.sync import InvalidMessage, InvalidStatus, connect

SIZES = [0, 1, 125, 126, 16_383, 16_384, 65_535, 65_536, 1_000_000]


def trusting(file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(file))


def test_tls(tls_peer: str, authority: tuple[trustme.CA, Path]) -> None:
    """Records end elsewhere than frames do: all that TLS holds is taken before the socket is waited for."""
    with connect(f"{tls_peer}/echo", ssl=trusting(authority[1]), compression=None) as websocket:
        for size in SIZES:
            websocket.send(bytes(size))
            assert websocket.recv(timeout=60) == bytes(size)
        for size in SIZES[:6]:
            websocket.send("x" * size)
        assert [websocket.recv(timeout=60) for _ in SIZES[:6]] == ["x" * size for size in SIZES[:6]]
        assert websocket.ping().wait(60)
    assert websocket.close_code == 1000


def test_tls_of_nobody_that_is_trusted(tls_peer: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(f"{tls_peer}/echo")


def test_tls_for_another_name(tls_peer: str, authority: tuple[trustme.CA, Path]) -> None:
    context = trusting(authority[1])
    by_address = tls_peer.replace("localhost", "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(f"{by_address}/echo", ssl=context)
    with connect(f"{by_address}/echo", ssl=context, server_hostname="localhost") as websocket:
        assert websocket.state is State.OPEN


def test_tls_where_none_is_spoken(peer: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011  # its words are those of OpenSSL's release
        connect(peer.replace("ws:", "wss:"), open_timeout=60)


def test_no_tls_where_it_is_spoken(tls_peer: str) -> None:
    with pytest.raises((InvalidMessage, ConnectionError)):
        connect(tls_peer.replace("wss:", "ws:"), open_timeout=60)


def test_tls_that_stops() -> None:
    """Nobody answers the handshake of TLS; the queue of a listener takes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TimeoutError):
        connect(f"wss://127.0.0.1:{listener.getsockname()[1]}/", open_timeout=0.01)


@pytest.mark.parametrize("compression", ["deflate", None])
def test_our_own_server(own_server: str, compression: str | None) -> None:
    with connect(f"{own_server}/echo", compression=compression) as websocket:
        for size in SIZES:
            websocket.send("ü" * (size // 2))
            assert websocket.recv(timeout=60) == "ü" * (size // 2)
    assert websocket.close_code == 1000
    with pytest.raises(InvalidStatus, match="HTTP 404") as told:
        connect(f"{own_server}/nowhere")
    assert told.value.response.body == b"nothing here"


def test_a_hundred_messages_at_once(own_server: str) -> None:
    """More than wait for `recv`: what the server sends waits there."""
    with connect(f"{own_server}/echo") as websocket:
        for number in range(100):
            websocket.send(str(number))
        assert [websocket.recv(timeout=60) for _ in range(100)] == [str(number) for number in range(100)]


def test_large_messages_both_ways(own_server: str) -> None:
    """Who only sends receives meanwhile, or both ends would wait for each other."""
    messages = [bytes([number]) * 900_000 for number in range(12)]
    with connect(f"{own_server}/echo", compression=None) as websocket:
        for message in messages:
            websocket.send(message, timeout=60)
        assert [websocket.recv(timeout=60) for _ in messages] == messages


def test_a_socket_that_is_given(peer: str) -> None:
    host, port = peer.removeprefix("ws://").split(":")
    with connect(
        "ws://of.the.request/headers/", sock=socket.create_connection((host, int(port)))
    ) as websocket:
        assert websocket.recv() == "Host: of.the.request"
    other = [("host", "other.example")]
    with connect(f"{peer}/headers/", additional_headers=other) as websocket:
        assert websocket.recv() == "Host: other.example"


def test_no_descriptor_is_left_and_no_thread_begun(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way it ends; the server's threads are begun by its own."""
    start, here = threading.Thread.start, threading.current_thread()
    begun: list[threading.Thread] = []

    def noted(thread: threading.Thread) -> None:
        if threading.current_thread() is here:
            begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", noted)
    websockets = [connect(f"{peer}/{path}") for path in ("echo", "greet/1", "close/1011", "drop")]
    for websocket in websockets:
        websocket.close()
        assert websocket.socket.fileno() == -1
    with pytest.raises(InvalidStatus):
        connect(f"{peer}/forbidden")
    assert not begun
