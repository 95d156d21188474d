"""The same programs with `websockets.sync.client` and with `wsframe.sync`: what they return is the same.

It must not call what only one of the two has.
"""

from __future__ import annotations

import io
import socket
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import websockets.exceptions
import websockets.sync.client

import wsframe.sync
import wsframe.sync.client
import wsframe.sync.exceptions

# Where a program finds `connect`, and the exceptions.
LIBRARIES: dict[str, tuple[ModuleType, ModuleType]] = {
    "websockets": (websockets.sync.client, websockets.exceptions),
    "wsframe": (wsframe.sync.client, wsframe.sync.exceptions),
}


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    client, exceptions = LIBRARIES[request.param]
    return SimpleNamespace(connect=client.connect, **vars(exceptions))


def closing(error: Any) -> list[Any]:
    """How an exception tells of the close frames."""
    frames = [close and (int(close.code), close.reason) for close in (error.rcvd, error.sent)]
    return [type(error).__name__, *frames, error.rcvd_then_sent]


def test_all_names_are_in_the_package() -> None:
    for name in wsframe.sync.__all__:
        assert (
            hasattr(wsframe.sync.client, name)
            or hasattr(wsframe.sync.exceptions, name)
            or (name == "ClientConnection")
        )


@pytest.mark.parametrize("message", ["Grüße", "", b"", b"\x00\xff", bytes(range(256)) * 4000, "ü" * 300_000])
@pytest.mark.parametrize("compression", ["deflate", None])
def test_messages_come_back(library: Any, peer: str, message: str | bytes, compression: str | None) -> None:
    with library.connect(f"{peer}/echo", compression=compression) as websocket:
        websocket.send(message)
        assert websocket.recv() == message
        websocket.send(message)
        assert websocket.recv(timeout=60) == message


def test_bytes_like_text_and_decode(library: Any, peer: str) -> None:
    with library.connect(f"{peer}/echo") as websocket:
        websocket.send(bytearray(b"one"))
        websocket.send(memoryview(b"two"))
        websocket.send(b"three", text=True)
        websocket.send("four", text=False)
        websocket.send("five")
        websocket.send(b"six")
        assert [websocket.recv() for _ in range(4)] == [b"one", b"two", "three", b"four"]
        assert websocket.recv(decode=False) == b"five"
        assert websocket.recv(decode=True) == "six"


@pytest.mark.parametrize("compression", ["deflate", None])
def test_fragments(library: Any, peer: str, compression: str | None) -> None:
    with library.connect(f"{peer}/echo", compression=compression) as websocket:
        websocket.send(iter(["Gr", "ü", "", "ße" * 1000]))
        websocket.send([b"a", bytearray(b"b"), memoryview(b"c")])
        websocket.send([])
        source, buffer = io.BytesIO(b"one buffer for all"), bytearray(5)
        websocket.send(iter(lambda: memoryview(buffer)[: source.readinto(buffer)], b""))
        websocket.send(["alone"])
        assert websocket.recv() == "Grü" + "ße" * 1000
        assert websocket.recv() == b"abc"
        assert websocket.recv() == source.getvalue()
        assert websocket.recv() == "alone"


@pytest.mark.parametrize("pieces", [["a", b"b"], [b"a", "b"], ["a", 1]])
def test_fragments_of_several_kinds(library: Any, peer: str, pieces: list[Any]) -> None:
    with library.connect(f"{peer}/echo") as websocket:
        with pytest.raises(TypeError):
            websocket.send(pieces)
        with pytest.raises(library.ConnectionClosedError) as told:
            websocket.recv()
        assert told.value.sent.code == 1011


def test_fragments_that_fail(library: Any, peer: str) -> None:
    def pieces() -> Any:
        yield "a"
        yield "b"
        raise ZeroDivisionError

    with library.connect(f"{peer}/echo") as websocket:
        with pytest.raises(ZeroDivisionError):
            websocket.send(pieces())
        with pytest.raises(library.ConnectionClosedError) as told:
            websocket.send("too late")
        assert told.value.sent.code == 1011


def test_nothing_stands_between_fragments_but_pings(library: Any, peer: str) -> None:
    with library.connect(f"{peer}/echo") as websocket:

        def pieces() -> Any:
            yield "a"
            yield "b"  # the first has left, at the latest
            for message in ("whole", ["frag", "ments"]):
                with pytest.raises(library.ConcurrencyError):
                    websocket.send(message)
            assert websocket.ping().wait(60)
            yield "c"

        websocket.send(pieces())
        assert websocket.recv() == "abc"
        websocket.send("goes on")
        assert websocket.recv() == "goes on"


@pytest.mark.parametrize("message", [1, None, {"a": 1}])
def test_what_is_no_message(library: Any, peer: str, message: object) -> None:
    with library.connect(f"{peer}/echo") as websocket:
        with pytest.raises(TypeError):
            websocket.send(message)
        websocket.send("goes on")
        assert websocket.recv() == "goes on"


def test_iteration_ends_with_a_normal_close(library: Any, peer: str) -> None:
    with library.connect(f"{peer}/greet/40") as websocket:
        assert list(websocket) == [f"hello {number}" for number in range(40)]
        with pytest.raises(library.ConnectionClosedOK) as told:
            websocket.recv()
        assert closing(told.value) == ["ConnectionClosedOK", (1000, ""), (1000, ""), True]
        with pytest.raises(library.ConnectionClosed):
            websocket.send("too late")
        with pytest.raises(library.ConnectionClosed):
            websocket.ping()
        assert (websocket.close_code, websocket.close_reason) == (1000, "")


@pytest.mark.parametrize(
    ("path", "name", "code"),
    [
        ("close/1000", "ConnectionClosedOK", 1000),
        ("close/1001/away", "ConnectionClosedOK", 1001),
        ("close/1011/broken", "ConnectionClosedError", 1011),
        ("close/4000/own words", "ConnectionClosedError", 4000),
    ],
)
def test_a_server_that_closes(library: Any, peer: str, path: str, name: str, code: int) -> None:
    with library.connect(f"{peer}/{path.replace(' ', '%20')}") as websocket:
        with pytest.raises(library.ConnectionClosed) as told:
            websocket.recv()
        assert type(told.value).__name__ == name
        assert told.value.rcvd.code == told.value.sent.code == code
        assert told.value.rcvd_then_sent
        assert websocket.close_code == code
        if name == "ConnectionClosedError":
            with pytest.raises(library.ConnectionClosedError):
                list(websocket)
        else:
            assert list(websocket) == []


def test_a_server_that_goes_without_a_word(library: Any, peer: str) -> None:
    with library.connect(f"{peer}/drop") as websocket:
        with pytest.raises(library.ConnectionClosedError) as told:
            websocket.recv()
        assert closing(told.value) == ["ConnectionClosedError", None, None, None]
        assert websocket.close_code == 1006


def test_closing(library: Any, peer: str) -> None:
    with library.connect(f"{peer}/echo") as websocket:
        websocket.close(1001, "good night")
        websocket.close()
        with pytest.raises(library.ConnectionClosedOK) as told:
            websocket.recv()
        assert closing(told.value) == [
            "ConnectionClosedOK",
            (1001, "good night"),
            (1001, "good night"),
            False,
        ]
        with pytest.raises(library.ConnectionClosedOK):
            websocket.send("too late")


def test_an_exception_in_the_block_closes_with_1011(library: Any, peer: str) -> None:
    with pytest.raises(ZeroDivisionError), library.connect(f"{peer}/echo") as websocket:
        raise ZeroDivisionError
    assert websocket.close_code == 1011


def test_receiving_takes_no_longer_than_it_may(library: Any, peer: str) -> None:
    with library.connect(f"{peer}/echo") as websocket:
        for seconds in (0, -1, 0.001):
            with pytest.raises(TimeoutError):
                websocket.recv(timeout=seconds)
        websocket.send("still there")
        assert websocket.recv() == "still there"


def test_pings(library: Any, peer: str) -> None:
    with library.connect(f"{peer}/echo") as websocket:
        assert websocket.latency == 0
        websocket.send("before")
        first, second, third = websocket.ping(), websocket.ping("words"), websocket.ping(b"\x00\x01")
        assert third.wait(60)
        assert [ping.is_set() for ping in (first, second, third)] == [True] * 3
        assert websocket.latency > 0
        assert websocket.recv() == "before"
        with pytest.raises(TypeError):
            websocket.ping(1)


@pytest.mark.parametrize(
    "uri", ["http://localhost/", "ws://", "localhost:80", "ws://localhost/#part", "ws://localhost:port/"]
)
def test_what_is_no_uri(library: Any, uri: str) -> None:
    with pytest.raises((library.InvalidURI, ValueError)):
        library.connect(uri).__enter__()


def test_a_server_that_refuses(library: Any, peer: str) -> None:
    with pytest.raises(library.InvalidStatus) as told, library.connect(f"{peer}/forbidden"):
        pass
    assert isinstance(told.value, library.InvalidHandshake)
    response = told.value.response
    assert response.status_code == 403
    assert response.reason_phrase == "Forbidden"
    assert response.headers["content-type"].startswith("text/plain")
    assert response.body == b"not you\n"


def test_what_the_request_says(library: Any, peer: str) -> None:
    uri = f"{peer}/headers/ü?a=b".replace("//", "//me:secret@", 1)
    options: dict[str, Any] = {"origin": "https://example.org", "additional_headers": {"X-Test": "1"}}
    with library.connect(uri, **options, user_agent_header="tests") as websocket:
        assert list(websocket) == [
            f"Host: {peer.removeprefix('ws://')}",
            "Origin: https://example.org",
            "X-Test: 1",
            "User-Agent: tests",
            "Authorization: Basic bWU6c2VjcmV0",
            "/headers/%C3%BC?a=b",
        ]
    pairs = [("User-Agent", "of the program"), ("Origin", "null"), ("Authorization", "Bearer x")]
    with library.connect(f"{peer}/headers/", additional_headers=pairs) as websocket:
        said = list(websocket)
    assert said[1] == "Origin: null"
    assert said[3:5] == ["User-Agent: of the program", "Authorization: Bearer x"]


def test_subprotocols(library: Any, peer: str) -> None:
    with library.connect(f"{peer}/echo", subprotocols=["chat.v3", "chat.v2"]) as websocket:
        assert websocket.subprotocol == "chat.v2"
    with library.connect(f"{peer}/echo") as websocket:
        assert websocket.subprotocol is None
    with pytest.raises((TypeError, ValueError)):
        library.connect(f"{peer}/echo", subprotocols="chat.v2")


def test_a_message_that_is_too_large(library: Any, peer: str) -> None:
    with library.connect(f"{peer}/echo", max_size=1000) as websocket:
        websocket.send("x" * 1000)
        assert len(websocket.recv()) == 1000
        websocket.send("x" * 1001)
        with pytest.raises(library.ConnectionClosedError) as told:
            websocket.recv()
        assert told.value.sent.code == 1009
    with library.connect(f"{peer}/echo", max_size=None) as websocket:
        websocket.send(bytes(2**20))
        assert len(websocket.recv()) == 2**20


def test_wrong_arguments(library: Any, peer: str) -> None:
    options: dict[str, Any]
    for options, words in (({"compression": "brotli"}, "unsupported"), ({"ssl": object()}, "incompatible")):
        with pytest.raises(ValueError, match=words):
            library.connect(peer, **options)
    with library.connect(f"{peer}/echo", proxy=None) as websocket:
        with pytest.raises(Exception, match=r"code|close"):
            websocket.close(1005 + 1)
        websocket.send("goes on")
        assert websocket.recv() == "goes on"


def test_nobody_listens(library: Any) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with (
            pytest.raises(ConnectionRefusedError),
            library.connect(f"ws://127.0.0.1:{bound.getsockname()[1]}/"),
        ):
            pass


def test_one_thread_receives_and_another_sends(library: Any, peer: str) -> None:
    messages = [f"message {number}" for number in range(300)]
    with library.connect(f"{peer}/echo") as websocket:
        heard: list[str] = []

        def listen() -> None:
            heard.extend(websocket)

        listener = threading.Thread(target=listen)
        listener.start()
        for message in messages:
            websocket.send(message)
        assert websocket.ping().wait(60)
        while len(heard) < len(messages):
            assert listener.is_alive()
            websocket.ping().wait(60)
        websocket.close()
        listener.join(60)
        assert not listener.is_alive()
        assert heard == messages


def test_a_thread_that_waits_hears_of_the_close(library: Any, peer: str) -> None:
    with library.connect(f"{peer}/echo") as websocket:
        told: list[Any] = []

        def listen() -> None:
            try:
                websocket.recv()
            except library.ConnectionClosed as error:
                told.append(closing(error))

        threads = [threading.Thread(target=listen) for _ in range(1)]
        for thread in threads:
            thread.start()
        websocket.close()
        for thread in threads:
            thread.join(60)
        assert told == [["ConnectionClosedOK", (1000, ""), (1000, ""), False]]
