"""Server, EngineServer and WSGIApp on a plain WSGI application: the JavaScript client and raw bytes.

It must not know Flask; the drivers judge what they see.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

APPS = Path(__file__).parents[1] / "apps"


@pytest.fixture(scope="module")
def servers(serve: Callable[..., Any]) -> dict[str, Any]:
    return {
        serializer: serve(APPS, "plain_app:app", env={"SERIALIZER": serializer})
        for serializer in ("default", "msgpack")
    }


@pytest.fixture
def server(servers: dict[str, Any]) -> Any:
    return servers["default"]


@pytest.mark.needs_node
@pytest.mark.parametrize("serializer", ["default", "msgpack"])
@pytest.mark.parametrize("way", ["websocket", "upgrade", "polling"])
def test_socketio_client_4(
    drive: Callable[..., None], servers: dict[str, Any], way: str, serializer: str
) -> None:
    drive("plain4.mjs", servers[serializer].url, way, serializer)


def test_the_wsgi_application_answers_everything_else(wire: Any) -> None:
    """R17."""
    answer = wire.request("GET", "", path="/anything").answer()
    assert (answer.status, answer.text) == (200, "plain")


def test_1_2_the_cookie_comes_with_the_handshake(wire: Any) -> None:
    answer = wire.get("EIO=4&transport=polling")
    assert answer.headers["set-cookie"].startswith("io=")
    assert answer.headers["set-cookie"].endswith("; path=/; SameSite=Lax; HttpOnly")


def test_engineio_alone_echoes_text_and_bytes(wire: Any) -> None:
    websocket = wire.upgrade(path="/engine.io/")
    assert '"pingInterval":5000' in websocket.next()
    websocket.send("4hello", b"\x00\xff")
    assert [websocket.next(), websocket.next()] == ["4hello", b"\x00\xff"]
    websocket.send("4bye")
    assert websocket.next() == "4bye"
    assert websocket.ended()


def test_engineio_alone_refuses_a_session(wire: Any) -> None:
    websocket = wire.upgrade(path="/engine.io/", query="EIO=4&transport=websocket&refuse=1")
    websocket.next()
    assert websocket.ended()


def test_engineio_alone_is_served_by_two_workers(serve: Callable[..., Any], open_wire: Any) -> None:
    """Every request comes on a connection of its own, at whichever worker takes it."""
    wire = open_wire(serve(APPS, "plain_app:app", "--workers", "2"), "/engine.io/")
    sessions = [wire.session("polling") for _ in range(8)]
    for number, session in enumerate(sessions):
        session.send(f"4hello {number}", bytes([number]))
        assert [session.next(), session.next()] == [f"4hello {number}", bytes([number])]
