"""What middleware refuses does not open, whichever face carries it: raw WebSockets, Socket.IO, Engine.IO.

It must not know the server's insides: a client without the token, and one with it.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
import websockets.sync.client
from websockets.exceptions import InvalidStatus

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60
TOKEN = {"X-Token": "secret"}
SOCKETIO = "/socket.io/?EIO=4&transport="
ENGINEIO = "/engine.io/?EIO=4&transport="


@pytest.fixture(scope="module")
def guarded(serve: Any) -> Callable[[str], Any]:
    """guarded("raw"): the one server of that application."""
    return cache(lambda application: serve(APPS, f"guarded_app:{application}"))


def open_websocket(
    server: Any, path: str, headers: dict[str, str]
) -> websockets.sync.client.ClientConnection:
    return websockets.sync.client.connect(
        server.url.replace("http", "ws") + path, additional_headers=headers, open_timeout=PATIENCE_SECONDS
    )


@pytest.mark.parametrize(
    ("application", "path"),
    [
        ("raw", "/echo"),
        ("sessions", SOCKETIO + "websocket"),
        ("engine", ENGINEIO + "websocket"),
        ("both", SOCKETIO + "websocket"),
    ],
)
def test_a_websocket_opens_for_whom_the_middleware_lets_in(
    guarded: Callable[[str], Any], application: str, path: str
) -> None:
    server = guarded(application)
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(server, path, {})
    answer = refused.value.response
    assert (answer.status_code, answer.headers["X-Doorman"], answer.body) == (401, "Otto", b"no token")
    with open_websocket(server, path, TOKEN) as client:
        client.send("40" if application != "raw" else "hello")
        assert client.recv(PATIENCE_SECONDS)


@pytest.mark.parametrize(("application", "path"), [("sessions", SOCKETIO), ("engine", ENGINEIO)])
def test_a_polling_session_opens_for_whom_the_middleware_lets_in(
    guarded: Callable[[str], Any], application: str, path: str
) -> None:
    server = guarded(application)
    address = server.url + path + "polling"
    refused = requests.get(address, timeout=PATIENCE_SECONDS)
    assert (refused.status_code, refused.text) == (401, "no token")
    assert requests.get(address, headers=TOKEN, timeout=PATIENCE_SECONDS).text.startswith('0{"sid":')


def test_handlers_see_what_the_middleware_has_put_into_the_environ(
    guarded: Callable[[str], Any],
) -> None:
    with open_websocket(guarded("sessions"), SOCKETIO + "websocket", TOKEN) as client:
        client.send("40")
        heard = [client.recv(PATIENCE_SECONDS) for _ in range(3)]
    assert '42["guard","Otto"]' in heard
    with open_websocket(guarded("engine"), ENGINEIO + "websocket", TOKEN) as client:
        assert [client.recv(PATIENCE_SECONDS) for _ in range(2)][1] == "4Otto"


def test_what_carries_websockets_and_stands_outermost_is_not_guarded_by_what_it_holds(
    guarded: Callable[[str], Any],
) -> None:
    with open_websocket(guarded("both"), "/echo", {}) as client:
        client.send("hello")
        assert client.recv(PATIENCE_SECONDS) == "hello"
