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
def url(serve: Callable[..., Any]) -> str:
    return str(serve(APPS, "client_app:app").url)


@pytest.mark.parametrize("way", ["websocket", "upgrade", "polling"])
def test_socketio_client_4(drive: Callable[..., None], url: str, way: str) -> None:
    drive("client4.mjs", url, way)


def test_socketio_client_2_is_refused(drive: Callable[..., None], url: str) -> None:
    drive("client2_refused.mjs", url)
