"""What bad input gets, byte for byte, from the running server: HTTP statuses, close codes, ended sessions.

It must not know the server's code: everything is said and heard on raw sockets.
"""

import base64
import json
import socket
import struct
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PATIENCE_SECONDS = 60.0
KEY = base64.b64encode(bytes(range(16))).decode()
HANDSHAKE = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("no-application")
    return str(serve(folder).url)


@pytest.fixture(scope="module")
def sio_url(serve: Callable[..., Any]) -> str:
    return str(serve(Path(__file__).parent / "apps", "client_app:app").url)


def dial(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)


def say(url: str, data: bytes) -> bytes:
    """Send, then read until the server closes."""
    with dial(url) as connection:
        connection.sendall(data)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    heard = b""
    while piece := connection.recv(65_536):
        heard += piece
    return heard


def head(method: str, path: str, version: str, fields: dict[str, str | None]) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", *(f"{k}: {v}" for k, v in fields.items() if v is not None)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (400, b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x00\r\n\r\n"),
        (400, b"GET / HTTP/1.1\nHost: a\n\n"),
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000 + b"\r\n\r\n"),
        (505, b"GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
    ],
)
def test_a_bad_request_is_answered_and_the_connection_closed(url: str, status: int, data: bytes) -> None:
    # What is pipelined behind it is never looked at.
    heard = say(url, data + b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
    assert heard.startswith(b"HTTP/1.1 %d " % status)
    assert heard.count(b"\r\nServer: ") == 1
    assert b"\r\nConnection: close\r\n" in heard


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (405, {"method": "POST"}),
        (400, {"version": "1.0"}),
        (400, {"Sec-WebSocket-Key": None}),
        (400, {"Sec-WebSocket-Key": "short"}),
        (400, {"Sec-WebSocket-Key": base64.b64encode(b"x" * 15).decode()}),
        (426, {"Sec-WebSocket-Version": None}),
        (426, {"Sec-WebSocket-Version": "8"}),
        (400, {"Content-Length": "3"}),
    ],
)
def test_a_bad_opening_handshake_upgrades_nothing(url: str, status: int, changes: dict[str, Any]) -> None:
    fields: dict[str, str | None] = {**HANDSHAKE, **changes}
    method, version = fields.pop("method", "GET"), fields.pop("version", "1.1")
    heard = say(url, head(str(method), "/echo", str(version), fields) + b"\x81\x80\0\0\0\0")
    assert heard.startswith(b"HTTP/1.1 %d " % status)
    assert b"101 Switching" not in heard
    if status == 426:
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in heard


def test_without_an_upgrade_the_path_is_plain_http(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url}/echo", timeout=PATIENCE_SECONDS)
    assert caught.value.code == 426
    caught.value.close()


def frame(first: int, payload: bytes, *, masked: bool = True, announced: int | None = None) -> bytes:
    """A client frame with a zero mask; `announced` writes a 64-bit length other than the real one."""
    mask_bit = 0x80 if masked else 0
    if announced is not None:
        length = bytes([127 | mask_bit]) + struct.pack(">Q", announced)
    else:
        length = bytes([len(payload) | mask_bit])
    return bytes([first]) + length + (b"\0\0\0\0" if masked else b"") + payload


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (1002, frame(0x81, b"hi", masked=False)),
        (1002, frame(0xC1, b"hi")),
        (1002, frame(0x83, b"hi")),
        (1002, frame(0x09, b"hi")),
        (1002, frame(0x80, b"hi")),
        (1002, frame(0x88, b"\x03")),
        (1002, frame(0x88, struct.pack(">H", 1005))),
        (1002, frame(0x81, b"", announced=1 << 63)),
        (1007, frame(0x81, b"\xff")),
        (1009, frame(0x82, b"", announced=1 << 40)),
    ],
)
def test_a_bad_frame_gets_its_close_code(url: str, code: int, data: bytes) -> None:
    # The good message before the fault is still answered; the frame came with the handshake's segment.
    heard = say(url, head("GET", "/echo", "1.1", HANDSHAKE) + frame(0x81, b"ok") + data)
    response, _, frames = heard.partition(b"\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 101 ")
    assert frames.startswith(b"\x81\x02ok\x88")
    assert struct.unpack_from(">H", frames, 6)[0] == code


def open_session(url: str) -> str:
    with urllib.request.urlopen(
        f"{url}/socket.io/?EIO=4&transport=polling", timeout=PATIENCE_SECONDS
    ) as answer:
        return str(json.loads(answer.read()[1:])["sid"])


def post(url: str, sid: str, body: bytes) -> int:
    request = urllib.request.Request(f"{url}/socket.io/?EIO=4&transport=polling&sid={sid}", data=body)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def is_known(url: str, sid: str) -> bool:
    return post(url, sid, b"3") == 200


@pytest.mark.parametrize("body", [b"", b"9", b"4\xff", b"b!!!!", b"40\x1e\x1e3"])
def test_a_bad_engineio_packet_ends_the_session(sio_url: str, body: bytes) -> None:
    sid, other = open_session(sio_url), open_session(sio_url)
    post(sio_url, sid, body)
    assert not is_known(sio_url, sid)
    assert is_known(sio_url, other)


@pytest.mark.parametrize(
    "body",
    [
        b'42["early"]',
        b"40[1]",
        b"40\x1e40",
        b"40\x1e42",
        b"40\x1e42{}",
        b"40\x1e42[]",
        b"40\x1e42[{}]",
        b'40\x1e42["connect"]',
        b'40\x1e42["disconnect"]',
        b'40\x1e42["a"',
        b"40\x1e48",
        b"40\x1e43[]",
        b'40\x1e450-["a"]',
        b'40\x1e451-["a",{"_placeholder":true,"num":1}]\x1ebAAAA',
        b'40\x1e451-["a",{"_placeholder":true,"num":0}]\x1e42["b"]',
        b"40\x1ebAAAA",
    ],
)
def test_a_bad_socketio_packet_ends_the_session(sio_url: str, body: bytes) -> None:
    sid, other = open_session(sio_url), open_session(sio_url)
    post(sio_url, sid, body)
    assert not is_known(sio_url, sid)
    assert is_known(sio_url, other)
