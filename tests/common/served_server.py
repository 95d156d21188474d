"""A python-socketio Server whose clients are those of a hub under test.

It must not know sockets, or which of the server's words is tested.
"""

from typing import Any

import pytest

from python_server.api.python_socketio import Server
from python_server.http1.parser import Request

REQUEST = Request("GET", "/?a=1", "/", "a=1", (1, 1), [])


class Served:
    """A Server whose clients are the world's peers."""

    def __init__(self, world: Any, **options: Any) -> None:
        self.server = Server(**options)
        self.world = world
        world.serve(self.server.mount("/socket.io/").hub)

    def peer(self) -> Any:
        peer = self.world.peer(None)
        peer.session.request = REQUEST
        return peer


@pytest.fixture
def served(world: Any) -> Served:
    return Served(world)
