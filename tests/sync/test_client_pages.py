"""docs/websocket-client.md and docs/codec-loops.md: their blocks run, with real peers.

It must not hold code of its own that the pages lack, but for joining the examples.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from wsframe import Connection, Role

DOCS = Path(__file__).resolve().parents[2] / "docs"
QUESTIONS: tuple[str | bytes, ...] = ("Grüße", b"\x00\x01", "long " * 1000, "", bytes(300_000))


def names_of(*pages: str) -> dict[str, Any]:
    """What the blocks of the pages define, run in order."""
    names: dict[str, Any] = {"__name__": "page"}
    for page in pages:
        for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL):
            exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture(scope="module")
def loops() -> dict[str, Any]:
    return names_of("codec.md", "codec-loops.md")


def test_trio(loops: dict[str, Any]) -> None:
    """The page's client, in a thread, is answered by its server on trio."""

    async def talk() -> Iterable[str | bytes]:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, loops["echo_on_trio"], 0)
            address = listeners[0].socket.getsockname()
            answers = await trio.to_thread.run_sync(loops["ask"], "127.0.0.1", address[1], *QUESTIONS)
            nursery.cancel_scope.cancel()
            return answers  # type: ignore[no-any-return]
        raise AssertionError

    assert trio.run(talk) == list(QUESTIONS)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\n", b""),
        (b"x" * 20_000, b""),
        (b"POST / HTTP/1.1\r\n\r\n", b"HTTP/1.1 405 "),
    ],
)
def test_trio_refuses(loops: dict[str, Any], said: bytes, answer: bytes) -> None:
    async def talk() -> bytes:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(said)
        await theirs.send_eof()
        assert await loops["accept_on_trio"](ours) is None
        await ours.send_eof()
        return bytes(await theirs.receive_some(4096))

    assert trio.run(talk).startswith(answer)


def test_threads(loops: dict[str, Any]) -> None:
    """One thread receives what two others send."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = loops["ThreadedWebSocket"](ours, Connection(Role.SERVER))
        client = loops["ThreadedWebSocket"](theirs, Connection(Role.CLIENT))
        senders = [
            threading.Thread(target=lambda who=who: [client.send(f"{who} {n}") for n in range(200)])  # type: ignore[misc]
            for who in "ab"
        ]
        for sender in senders:
            sender.start()
        heard = []
        for message in server:
            heard.append(message)
            if len(heard) == 400:
                break
        for sender in senders:
            sender.join()
        for who in "ab":
            assert [said for said in heard if said[0] == who] == [f"{who} {n}" for n in range(200)]
        client.connection.close()
        assert client.send("too late") is False
        theirs.sendall(client.connection.data_to_send())
        assert list(server) == []
        assert list(client) == []
        assert server.connection.close_code == client.connection.close_code == 1000


def test_the_clients_page(peer: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = names_of("websocket-client.md")
    assert page["ask"](f"{peer}/echo") == "hello"
    page["listen"](f"{peer}/greet/2")
    page["listen"](f"{peer}/close/4000/full")
    frames = "Close(code=4000, reason='full') Close(code=4000, reason='')"
    assert capsys.readouterr().out.splitlines() == ["hello 0", "hello 1", f"{frames} 4000 full"]
