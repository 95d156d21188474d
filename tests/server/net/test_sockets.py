"""Listening sockets: addresses, paths, sockets handed over, systemd (rows R39, R54, R62, R64).

It must not know how connections are accepted.
"""

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from python_server.net import systemd
from python_server.net.sockets import (
    BindError,
    InheritedDescriptor,
    TCPAddress,
    UnixAddress,
    adopt,
    bind_tcp,
    bind_unix,
    listen,
    parse_address,
    shown_urls,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", TCPAddress("127.0.0.1", 80)),
        ("localhost", TCPAddress("localhost", 8000)),
        (":9000", TCPAddress("", 9000)),
        ("[::1]:80", TCPAddress("::1", 80)),
        ("[::]", TCPAddress("::", 8000)),
        ("unix:/run/shop.sock", UnixAddress("/run/shop.sock")),
        ("unix:shop.sock", UnixAddress("shop.sock")),
        ("unix:///run/shop.sock", UnixAddress("/run/shop.sock")),
        ("fd://3", InheritedDescriptor(3)),
    ],
)
def test_addresses(text: str, address: object) -> None:
    assert parse_address(text, 8000) == address


@pytest.mark.parametrize(
    "text",
    ["", "host:", "host:http", "host:65536", "::1:80", "[host]:80", "unix:", "fd://", "fd://x", "[::1"],
)
def test_malformed_addresses(text: str) -> None:
    with pytest.raises(BindError, match="write host:port"):
        parse_address(text, 8000)


def test_several_addresses_and_what_they_are_called(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    with listen([TCPAddress("127.0.0.1", 0), TCPAddress("::1", 0), UnixAddress(path)], 16) as listening:
        ports = [sock.getsockname()[1] for sock in listening.sockets[:2]]
        assert shown_urls(listening.sockets, "https") == [
            f"https://127.0.0.1:{ports[0]}",
            f"https://[::1]:{ports[1]}",
            f"unix:{path}",
        ]
        assert 0 not in ports
        for sock in listening.sockets:
            assert sock.getblocking() is False
            with socket.socket(sock.family) as client:
                client.connect(sock.getsockname())
    assert not os.path.exists(path)


def test_when_one_address_fails_none_stays_bound(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=rf"127\.0\.0\.1:{port}: the port is in use"):
            listen([UnixAddress(path), TCPAddress("127.0.0.1", port)], 16)
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("192.0.2.1", "no interface of this machine has that address"),
        ("host.invalid", "the host name does not resolve"),
    ],
)
def test_addresses_that_are_not_ours(host: str, words: str) -> None:
    with pytest.raises(BindError, match=words):
        bind_tcp(host, 0, 16)


def test_a_numeric_host_asks_no_resolver_r64(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def numeric_only(*arguments: Any, **options: Any) -> Any:
        assert options["flags"] & socket.AI_NUMERICHOST
        return real(*arguments, **options)

    def never(*arguments: Any) -> Any:
        raise AssertionError("start-up must not wait for DNS")

    monkeypatch.setattr(socket, "getaddrinfo", numeric_only)
    for name in ("getfqdn", "gethostbyaddr", "gethostbyname", "getnameinfo"):
        monkeypatch.setattr(socket, name, never)
    for host in ("", "0.0.0.0", "127.0.0.1", "::1", "::"):
        bind_tcp(host, 0, 16).close()


def test_both_families_may_share_a_port() -> None:
    with bind_tcp("::", 0, 16) as both:
        port = both.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()
    with listen([TCPAddress("0.0.0.0", port), TCPAddress("::", port)], 16) as listening:
        assert len(listening.sockets) == 2


def test_reuse_port_lets_a_second_process_in_r62() -> None:
    with bind_tcp("127.0.0.1", 0, 16, reuse_port=True) as first:
        port = first.getsockname()[1]
        bind_tcp("127.0.0.1", port, 16, reuse_port=True).close()
        with pytest.raises(BindError, match="in use"):
            bind_tcp("127.0.0.1", port, 16)


@pytest.mark.parametrize("permissions", [0o600, 0o660, 0o666])
def test_a_unix_socket_has_the_permissions_asked_for(tmp_path: Path, permissions: int) -> None:
    path = str(tmp_path / "s.sock")
    former = os.umask(0o077)
    try:
        with bind_unix(path, 16, permissions):
            assert stat.S_IMODE(os.stat(path).st_mode) == permissions
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(former)


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    bind_unix(path, 16, 0o600).close()
    with bind_unix(path, 16, 0o600) as sock, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        sock.accept()[0].close()


@pytest.mark.parametrize("backlog_count", [0, 16])
def test_a_unix_socket_that_somebody_serves_is_left_alone(tmp_path: Path, backlog_count: int) -> None:
    path = str(tmp_path / "s.sock")
    with bind_unix(path, backlog_count, 0o600) as first, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)  # with a backlog of none the next connection finds it full
        with pytest.raises(BindError, match="another server answers there"):
            bind_unix(path, 16, 0o600)
        first.accept()[0].close()
    assert os.path.exists(path)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    path.write_text("mine")
    with pytest.raises(BindError, match="a file there is not a socket"):
        bind_unix(str(path), 16, 0o600)
    assert path.read_text() == "mine"


def test_a_unix_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="cannot listen on unix:"):
        bind_unix(str(tmp_path / ("x" * 200)), 16, 0o600)


def test_a_successors_path_is_not_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    first = listen([UnixAddress(path)], 16)
    os.rename(path, f"{path}.old")
    with listen([UnixAddress(path)], 16):
        first.close()
        assert os.path.exists(path)


def test_a_descriptor_is_adopted_and_made_to_listen() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with listen([InheritedDescriptor(os.dup(bound.fileno()))], 16) as listening:
            sock = listening.sockets[0]
            assert sock.getblocking() is False
            assert not os.get_inheritable(sock.fileno())
            socket.create_connection(sock.getsockname()).close()


def test_descriptors_that_cannot_be_listened_on() -> None:
    receive, send = os.pipe()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connected, other = socket.socketpair()
    with datagrams, connected, other:
        for descriptor, words in [
            (receive, "not an open socket"),
            (datagrams.fileno(), "not a stream socket"),
            (connected.fileno(), "cannot listen on fd://"),
            (9999, "not an open socket"),
        ]:
            with pytest.raises(BindError, match=words):
                adopt(descriptor, 16)
        connected.send(b"still open")
    os.close(receive)
    os.close(send)


def test_systemd_names_descriptors_for_this_process_alone() -> None:
    mine = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "X": "y"}
    assert systemd.activated_descriptors(mine) == [3, 4]
    assert mine == {"X": "y"}
    other = {"LISTEN_PID": "1", "LISTEN_FDS": "2"}
    assert systemd.activated_descriptors(other) == []
    assert other == {"LISTEN_PID": "1", "LISTEN_FDS": "2"}
    assert systemd.activated_descriptors({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}) == []
    assert systemd.activated_descriptors({}) == []


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@wsframe-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0") if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        assert systemd.notify(systemd.READY)
        assert manager.recv(100) == b"READY=1"
        assert systemd.notify(systemd.reloading())
        lines = manager.recv(100).decode().splitlines()
        assert lines[0] == "RELOADING=1"
        assert lines[1].removeprefix("MONOTONIC_USEC=").isdigit()
    assert systemd.notify(systemd.READY) is False  # nobody listens any more
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert systemd.notify(systemd.READY) is False


@pytest.mark.parametrize("port", [65_536, 99_999, -1])
def test_a_port_that_does_not_exist_is_no_other_port(port: int) -> None:
    """getaddrinfo takes the lower 16 bits of it."""
    with pytest.raises(BindError, match="a port is a number from 0 to 65535"):
        bind_tcp("127.0.0.1", port, 1)
