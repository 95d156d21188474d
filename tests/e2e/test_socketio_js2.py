"""Socket.IO 2 clients of npm against the real server process that lets them in, on each transport.

It must not know the wire: the drivers judge what they see.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

APPS = Path(__file__).parent / "apps"
CLIENTS = ["socket.io-client-2", *(f"socket.io-client-2.{minor}" for minor in range(5))]

pytestmark = pytest.mark.needs_node


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any]) -> str:
    return str(serve(APPS, "version2_app:app").url)


@pytest.mark.parametrize("way", ["polling", "websocket", "upgrade"])
@pytest.mark.parametrize("client", CLIENTS)
def test_socketio_client_2(drive: Callable[..., None], url: str, client: str, way: str) -> None:
    drive("client2.mjs", url, client, way)
