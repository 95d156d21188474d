"""docs/codec.md: every block of Python in it runs, and its servers and its client talk to each other.

It must not hold code of its own that the page lacks, but for joining the examples.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "codec.md"
QUESTIONS: tuple[str | bytes, ...] = ("Grüße", b"\x00\x01", "long " * 1000, "", bytes(100_000))


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """The page's names, after all its blocks ran in order."""
    names: dict[str, Any] = {"__name__": "page"}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_the_blocking_socket_and_the_client(page: dict[str, Any]) -> None:
    codes: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                codes.append(page["echo_over"](sock))

        thread = threading.Thread(target=serve)
        thread.start()
        answers = page["ask"](*listener.getsockname(), *QUESTIONS)
        thread.join(60)
    assert answers == list(QUESTIONS)
    assert codes == [1000]


def test_the_asyncio_protocol_and_the_client(page: dict[str, Any]) -> None:
    async def talk() -> list[str | bytes]:
        server = await asyncio.get_running_loop().create_server(page["Echo"], "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            answers: list[str | bytes] = await asyncio.to_thread(page["ask"], host, port, *QUESTIONS)
            return answers

    assert asyncio.run(asyncio.wait_for(talk(), 30)) == list(QUESTIONS)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: h\r\n\r\n", b"405"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"426"),
    ],
)
def test_the_blocking_socket_refuses(page: dict[str, Any], request_head: bytes, status: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(request_head)
        assert page["echo_over"](ours) == 1002
        assert theirs.recv(4096).startswith(b"HTTP/1.1 " + status)


class Ending:
    """A socket whose peer says a few bytes and goes. Asked once too often, it fails instead of waiting."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [*pieces, b""]

    def recv(self, size: int) -> bytes:
        assert self.pieces, "asked again after the end"
        return self.pieces.pop(0)

    def sendall(self, data: bytes) -> None: ...

    def __enter__(self) -> Ending:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("pieces", [[], [b"GET / HT"], [b"GET / HTTP/1.1\r\n", b"x" * 8192, b"x"]])
def test_a_peer_that_goes_within_the_head(
    page: dict[str, Any], pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert page["echo_over"](Ending(*pieces)) == 1006
    monkeypatch.setattr(socket, "create_connection", lambda address: Ending(*pieces))
    with pytest.raises(ConnectionError):
        page["ask"]("host", 80, "question")
