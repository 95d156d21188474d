"""The official JavaScript clients against the real server process, on each transport.

It must not know the wire: the drivers judge what they see.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

APPS = Path(__file__).parent / "apps"

pytestmark = pytest.mark.needs_node


@pytest.fixture(scope="module")
def server(serve: Callable[..., Any]) -> Any:
    return serve(APPS, "client_app:app")


@pytest.fixture
def url(server: Any) -> str:
    return str(server.url)


@pytest.mark.parametrize("way", ["websocket", "upgrade", "polling"])
def test_socketio_client_4(drive: Callable[..., None], url: str, way: str) -> None:
    drive("client4.mjs", url, way)


def test_socketio_client_2_is_refused(drive: Callable[..., None], server: Any) -> None:
    """With code 5; and the log says which clients fit, and which option lets it in."""
    drive("client2_refused.mjs", server.url)
    server.wait_for(
        "a client speaks Engine.IO protocol '3', this server speaks 4: socket.io-client 3 or 4 and "
        "python-socketio 5 fit; allow_eio3=True serves socket.io-client 2 as well"
    )
