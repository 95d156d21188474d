"""The websockets client against the demonstration a server gives when it has no application.

It must not know the codec: another implementation of RFC 6455 judges every frame.
"""

import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode, Opcode
from websockets.sync.client import ClientConnection, connect

PATIENCE_SECONDS = 60.0
LARGE_CHARS = 900_000


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("no-application")
    return str(serve(folder).url)


@pytest.fixture
def socket(url: str) -> Iterator[ClientConnection]:
    address = url.replace("http", "ws") + "/echo"
    with connect(address, compression=None, max_size=2**20, open_timeout=PATIENCE_SECONDS) as connection:
        yield connection


def test_the_page_shows_the_echo(url: str) -> None:
    with urllib.request.urlopen(url + "/", timeout=PATIENCE_SECONDS) as response:
        page = response.read().decode()
        assert response.status == 200
        assert response.headers.get_content_type() == "text/html"
    assert re.search(r"<!doctype html>", page, re.IGNORECASE)
    assert "/echo" in page


@pytest.mark.parametrize(
    "message",
    ["hello", "é ✓ 😀", "", b"", b"\x00\xff" * 10, "x" * 125, "x" * 126, b"y" * 65_535, b"z" * 65_536],
    ids=["text", "unicode", "empty-text", "empty-binary", "binary", "125", "126", "65535", "65536"],
)
def test_same_opcode_same_payload(socket: ClientConnection, message: str | bytes) -> None:
    socket.send(message)
    assert socket.recv(timeout=PATIENCE_SECONDS) == message


@pytest.mark.parametrize(
    "message", ["é" * (LARGE_CHARS // 2), bytes(range(256)) * (LARGE_CHARS // 256)], ids=["text", "binary"]
)
def test_a_large_message(socket: ClientConnection, message: str | bytes) -> None:
    socket.send(message)
    assert socket.recv(timeout=PATIENCE_SECONDS) == message


def test_a_hundred_messages_keep_their_order(socket: ClientConnection) -> None:
    messages = [f"{number}:" + "m" * (number * 7) for number in range(100)]
    for message in messages:
        socket.send(message)
    assert [socket.recv(timeout=PATIENCE_SECONDS) for _ in messages] == messages


def test_fragments_are_one_message(socket: ClientConnection) -> None:
    socket.send(iter(["one ", "", "two ", "é", "!"]))
    assert socket.recv(timeout=PATIENCE_SECONDS) == "one two é!"
    socket.send(iter([b"\x01", b"\x02\x03", b""]))
    assert socket.recv(timeout=PATIENCE_SECONDS) == b"\x01\x02\x03"


def test_a_ping_is_answered_with_its_payload(socket: ClientConnection) -> None:
    answered: threading.Event = socket.ping(b"are you there")
    assert answered.wait(PATIENCE_SECONDS)


def test_a_ping_between_two_fragments(socket: ClientConnection) -> None:
    answers: list[threading.Event] = []

    def fragments() -> Iterator[str]:
        yield "before "
        answers.append(socket.ping(b"between"))
        yield "after"

    socket.send(fragments())
    assert socket.recv(timeout=PATIENCE_SECONDS) == "before after"
    assert answers[0].wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_a_close_code_comes_back(socket: ClientConnection, code: int) -> None:
    socket.close(code, "enough")
    assert socket.close_code == code


def frame(opcode: int, payload: bytes, reserved: int = 0) -> bytes:
    """A final frame as a client sends it, bad ones too; a mask of zeros leaves the payload readable."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2)
    return bytes([0x80 | reserved | opcode]) + length + bytes(4) + payload


def refused_with(socket: ClientConnection, wire: bytes) -> int | None:
    """The close code the server answers these bytes with. The client library would not send them itself."""
    with socket.protocol_mutex:
        socket.protocol.writes.append(wire)
        socket.send_data()
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=PATIENCE_SECONDS)
    return socket.close_code


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (frame(Opcode.CONT, b"nothing to continue"), CloseCode.PROTOCOL_ERROR),  # RFC 6455 section 5.4
        (
            frame(Opcode.TEXT, b"rsv1", reserved=0x40),
            CloseCode.PROTOCOL_ERROR,
        ),  # section 5.2, no extension agreed
        (frame(Opcode.TEXT, b"rsv3", reserved=0x10), CloseCode.PROTOCOL_ERROR),
        (frame(0x3, b"reserved"), CloseCode.PROTOCOL_ERROR),
        (frame(Opcode.PING, b"long" * 40), CloseCode.PROTOCOL_ERROR),  # section 5.5
        (frame(Opcode.CLOSE, b"\x03"), CloseCode.PROTOCOL_ERROR),  # section 5.5.1
        (
            frame(Opcode.CLOSE, b"\x03\xed"),
            CloseCode.PROTOCOL_ERROR,
        ),  # section 7.4.1, 1005 is not for the wire
        (frame(Opcode.TEXT, b"\xc3\x28"), CloseCode.INVALID_DATA),  # section 8.1
        (
            b"\x82\xff" + (1_200_000).to_bytes(8) + b"mask",
            CloseCode.MESSAGE_TOO_BIG,
        ),  # section 7.4.1, header only
        (b"\x81\x02hi", CloseCode.PROTOCOL_ERROR),  # section 5.1, not masked
    ],
    ids=[
        "lone-continuation",
        "rsv1",
        "rsv3",
        "opcode-3",
        "long-ping",
        "close-1-byte",
        "close-1005",
        "utf8",
        "too-big",
        "unmasked",
    ],
)
def test_a_bad_frame_gets_its_close_code(socket: ClientConnection, wire: bytes, code: int) -> None:
    assert refused_with(socket, wire) == code


def test_another_path_is_not_upgraded(url: str) -> None:
    address = url.replace("http", "ws") + "/elsewhere"
    with pytest.raises(InvalidStatus) as refused, connect(address, open_timeout=PATIENCE_SECONDS):
        pass
    assert refused.value.response.status_code in (400, 404)
