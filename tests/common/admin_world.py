"""A hub whose clients the Admin UI is shown, on told time; and one of its pages.

It must not know what a test expects.
"""

import json
from typing import Any, ClassVar

from python_server.http1.head import Request
from python_server.monitoring.admin import Admin
from python_server.net.system import REAL, System
from python_server.socketio.client import Handler
from python_server.socketio.server import Hub
from socketio_world import Peer, World

CREDENTIALS = {"username": "ann", "password": "pw"}
WALL = 1_700_000_000.0
FIELDS = {"user-agent": "x" * 300, "cookie": "session=1", "authorization": "Bearer 1", "origin": "http://a"}
REQUEST = Request(
    method="GET",
    target="/socket.io/?EIO=4&token=t&room=r",
    path="/socket.io/",
    query="EIO=4&token=t&room=r",
    version=(1, 1),
    headers=(),
    peer=("192.0.2.7", 1),
    fields=FIELDS,
)


class AdminWorld(World):
    """Its clients have a handshake; `admin`: the arguments of Admin that a test chooses."""

    admin: ClassVar[dict[str, Any]] = {}

    def serve(self, hub: Hub) -> None:
        clock = System(lambda: self.now, lambda: WALL + self.now, REAL.cpu, REAL.poller, REAL.entropy)
        chosen = {
            "auth": CREDENTIALS,
            "mode": "development",
            "read_only": False,
            "server_id": "here",
            "namespace": "/admin",
            "interval_seconds": 2,
        }
        self.instrumented = Admin(hub, **{**chosen, **self.admin}, system=clock)
        super().serve(hub)

    def peer(self, namespace: str | None = "/") -> Peer:
        peer = Peer(self)
        peer.session.request = REQUEST
        if namespace is not None:
            peer.join(namespace)
        return peer

    def on_all(self, event: str, function: Any) -> None:
        """A handler of every namespace: the application's own catch-all."""
        self.hub.handlers.on("*", event, Handler(function))


class AdminPage:
    """What the official page is told, in order."""

    def __init__(self, world: AdminWorld, auth: Any = CREDENTIALS) -> None:
        self.world = world
        self.peer = world.peer(None)
        self.peer.say("0/admin," + ("" if auth is None else json.dumps(auth)))
        self.answer, *self.waiting = self.peer.heard()

    @property
    def refusal(self) -> str:
        assert self.answer.startswith("4/admin,"), self.answer
        return str(json.loads(self.answer[8:])["message"])

    def heard(self) -> list[Any]:
        """[event, *arguments] since the last time."""
        heard, self.waiting = [*self.waiting, *self.peer.heard()], []
        prefix = "2/admin,"
        assert all(message.startswith(prefix) for message in heard), heard
        return [json.loads(message.removeprefix(prefix)) for message in heard]

    def look(self, seconds: float = 0.5) -> list[Any]:
        self.world.advance(seconds)
        return self.heard()

    def order(self, *words: Any) -> None:
        self.peer.say("2/admin," + json.dumps(words))
