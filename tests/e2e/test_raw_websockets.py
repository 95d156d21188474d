"""Raw WebSockets as applications see them, judged by the `websockets` client and by unmodified programs.

Rows of the servers' table: R7 R8 R9 R10 R11 R15 R17 R42 R76 R77. It must not know the server's code.
"""

import base64
import json
import os
import re
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from ordered_clients import SimpleClient

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60.0
FRIEND = "http://friend.example"


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any]) -> str:
    return str(serve(APPS, "raw_app:app").url)


def dial(url: str, path: str, **options: Any) -> ClientConnection:
    address = url.replace("http", "ws") + path
    return connect(address, compression=None, open_timeout=PATIENCE_SECONDS, **options)


def hear(ws: ClientConnection) -> Any:
    return ws.recv(timeout=PATIENCE_SECONDS)


def welcome(ws: ClientConnection) -> dict[str, Any]:
    """What it is told at its opening; somebody of another test may be said to have left before that."""
    while str(said := hear(ws)).startswith("left "):
        pass
    told: dict[str, Any] = json.loads(said)
    return told


def ending(ws: ClientConnection) -> tuple[int, str]:
    """What the server's close frame said; messages before it are passed over."""
    try:
        while True:
            hear(ws)
    except ConnectionClosed:
        return int(ws.close_code or 0), str(ws.close_reason)


@pytest.fixture(params=["/chat", "/inline"])
def chat(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_r15_events_broadcast_and_registry(serve: Callable[..., Any], chat: str) -> None:
    url = serve(APPS, "raw_app:app").url  # its registry counts: nobody of another test is there
    with dial(url, chat) as ada:
        assert json.loads(hear(ada)) == {"hello": 1, "protocol": None, "path": chat}
        with dial(url, chat) as grace:
            assert json.loads(hear(grace))["hello"] == 2
            ada.send("hello all")
            assert hear(ada) == hear(grace) == "hello all"
            ada.send(b"\x00\xff")
            assert hear(ada) == hear(grace) == b"\x00\xff"
            ada.send("to the others")
            assert hear(grace) == "somebody spoke"
            grace.send("leave")
            assert ending(grace) == (4001, "as you wish")
        assert hear(ada) == "left 4001 as you wish"
        ada.send("empty the room")
        assert ending(ada) == (1001, "closing time")


def test_r9_subprotocols_are_chosen_by_exact_token(url: str, chat: str) -> None:
    with dial(url, chat, subprotocols=["chat.v1", "chat.v2"]) as ws:
        assert welcome(ws)["protocol"] in ("chat.v1", "chat.v2")
        assert ws.subprotocol in ("chat.v1", "chat.v2")
    with dial(url, chat, subprotocols=["chat"]) as ws:
        assert welcome(ws)["protocol"] is None


def test_r7_origins(url: str, chat: str) -> None:
    with dial(url, chat, origin=FRIEND) as ws:
        hear(ws)
    with pytest.raises(InvalidStatus) as refused, dial(url, chat, origin="http://stranger.example"):
        pass
    assert refused.value.response.status_code == 403
    assert b"http://stranger.example is not allowed" in (refused.value.response.body or b"")


def test_a_failing_handler_closes_its_own_connection_only(serve: Callable[..., Any], chat: str) -> None:
    url = serve(APPS, "raw_app:app").url  # nobody of another test leaves meanwhile
    with dial(url, chat) as ada, dial(url, chat) as grace:
        hear(ada), hear(grace)
        ada.send("fail")
        assert ending(ada)[0] == 1011
        assert hear(grace).startswith("left ")
        grace.send("still here")
        assert hear(grace) == "still here"


def test_routes_by_pattern_and_the_limit_of_a_message(url: str) -> None:
    with dial(url, "/limited/12") as ws:
        ws.send("x" * 101)
        assert ending(ws)[0] == 1009
    with urllib.request.urlopen(url + "/limited/12", timeout=PATIENCE_SECONDS) as answer:
        assert answer.read().startswith(b"plain /limited/12")  # without an upgrade it is an ordinary path


def test_r49_a_silent_client_is_pinged_and_then_ended(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as raw:
        raw.sendall(handshake("/silent"))
        heard = b""
        while piece := raw.recv(4096):
            heard += piece
    frames = heard.partition(b"\r\n\r\n")[2]
    assert frames.startswith(b"\x89\x00\x88")  # ping, then a close frame
    assert int.from_bytes(frames[4:6]) == 1011


def handshake(path: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


EARLY = b"\x81\x85\0\0\0\0early"


@pytest.mark.parametrize("path", ["/chat", "/inline", "/blocking", "/simple", "/simple?ping"])
def test_r76_bytes_that_come_with_the_handshake_are_kept(url: str, path: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as raw:
        raw.sendall(handshake(path) + EARLY)
        heard = b""
        while b"\x81\x05early" not in heard:
            piece = raw.recv(4096)
            assert piece, heard
            heard += piece
    assert heard.startswith(b"HTTP/1.1 101 ")


def test_r10_the_blocking_websocket(url: str) -> None:
    with dial(url, "/blocking", subprotocols=["other", "echo"], origin=FRIEND) as ws:
        ws.send("facts")
        assert json.loads(hear(ws)) == ["/blocking", FRIEND, "13", "echo", False]
        for message in ("héllo", b"\x00\xff", "", b"", "x" * 300_000):
            ws.send(message)
            assert hear(ws) == message
        ws.send("bye")
        assert ending(ws) == (4002, "bye")


def test_r10_the_application_may_refuse_before_it_accepts(url: str) -> None:
    with pytest.raises(InvalidStatus) as refused, dial(url, "/blocking?stranger"):
        pass
    assert refused.value.response.status_code == 401
    assert refused.value.response.body == b"no\n"


def test_an_application_that_fails_after_accepting_ends_the_connection(url: str) -> None:
    with dial(url, "/blocking") as ws:
        ws.send("fail")
        with pytest.raises(ConnectionClosed):
            hear(ws)
        assert ws.close_code == 1011


def test_the_client_closes_a_blocking_websocket(url: str) -> None:
    with dial(url, "/blocking") as ws:
        ws.send("a")
        assert hear(ws) == "a"
        ws.close(1000, "enough")
        assert ws.close_code == 1000


@pytest.mark.parametrize("query", ["", "?ping"])
def test_an_unmodified_simple_websocket_program(url: str, query: str) -> None:
    """R77: a program that reads and writes the socket it is given."""
    with dial(url, "/simple" + query) as ws:
        for message in ("héllo", b"\x00\xff", "x" * 100_000):
            ws.send(message)
            assert hear(ws) == message


def test_an_unmodified_flask_sock_program(serve: Callable[..., Any]) -> None:
    """R77."""
    server = serve(APPS, "sock_app:app")
    with dial(server.url, "/echo") as ws:
        ws.send("hi")
        assert hear(ws) == "hi"
        ws.send("bye")
        assert ending(ws) == (4003, "bye")
    with urllib.request.urlopen(server.url + "/", timeout=PATIENCE_SECONDS) as answer:
        assert answer.read() == b"plain"


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids="+".join)
def test_an_unmodified_flask_socketio_program(serve: Callable[..., Any], transports: list[str]) -> None:
    """R21: python-engineio's own WebSocket driver finds what it looks for."""
    server = serve(APPS, "stock_app:app")
    with urllib.request.urlopen(server.url + "/", timeout=PATIENCE_SECONDS) as answer:
        assert answer.read() == b"threading"
    with SimpleClient() as client:
        client.connect(server.url, transports=transports)
        assert client.call("join", "lobby", timeout=PATIENCE_SECONDS) == "in lobby"
        assert client.receive(timeout=PATIENCE_SECONDS)[0] == "joined"
        said = ("a", b"\x00\xff", {"b": [1]})
        assert client.call("echo", said, timeout=PATIENCE_SECONDS) == said
        assert client.receive(timeout=PATIENCE_SECONDS) == ["echoed", *said]


def test_upgrade_requests_leave_no_thread_behind_on_the_request_pool(serve: Callable[..., Any]) -> None:
    url = serve(APPS, "raw_app:app", "--threads", "1").url

    def threads() -> int:
        with urllib.request.urlopen(url + "/count", timeout=PATIENCE_SECONDS) as answer:
            found = re.search(rb"(\d+) threads", answer.read())
            assert found
            return int(found[1])

    before = threads()
    with dial(url, "/inline"), dial(url, "/inline"), dial(url, "/inline"):
        assert threads() == before  # event style holds no thread


def test_r40_r11_the_handshakes_answer_is_one_piece_with_its_own_fields_only(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as raw:
        raw.sendall(handshake("/limited/1"))
        answer = raw.recv(4096)  # one buffer, one send, one segment on loopback
    status, *lines = answer.decode().removesuffix("\r\n\r\n").split("\r\n")
    assert status == "HTTP/1.1 101 Switching Protocols"
    assert {line.partition(":")[0].lower() for line in lines} == {
        "upgrade",
        "connection",
        "sec-websocket-accept",
    }


def test_compression_is_agreed_when_it_was_asked_for(serve: Callable[..., Any], tmp_path: Path) -> None:
    message = "the same words again and again " * 1000
    for arguments, agreed in ((["--ws-per-message-deflate"], True), ([], False)):
        server = serve(tmp_path, *arguments)
        place = server.url.replace("http", "ws") + "/echo"
        with connect(place, compression="deflate", open_timeout=PATIENCE_SECONDS) as ws:
            assert bool(ws.protocol.extensions) is agreed
            ws.send(message)
            assert hear(ws) == message
