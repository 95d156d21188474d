"""What an application carries is found, and refused where it cannot be served together (mounts.py).

It must not know how it is served.
"""

from collections.abc import Iterable
from typing import Any

import pytest

from python_server import Server, WSGIApp
from python_server.serve.mounts import find_site
from python_server.socketio.cluster.broker.url import BrokerError


def page(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return [b"page"]


def test_two_servers_with_one_stream_are_refused() -> None:
    """Each would wait there for what the other has said, and recover the other's clients."""

    def both(*channels: str) -> Any:
        one, two = (Server(message_queue="redis+streams://x", channel=channel) for channel in channels)
        return WSGIApp(two, WSGIApp(one, page), socketio_path="two")

    with pytest.raises(BrokerError, match="give each its own `channel`"):
        find_site(both("a", "a"))
    assert {mount.path for mount in find_site(both("a", "b")).mounts} == {"/two/", "/socket.io/"}
