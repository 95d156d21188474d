"""`socketio.server`: python-socketio's Server for programs that reach below SocketIO.

Must not know: Flask, how an event's context is made; every call goes to the SocketIO or to its hub.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from python_server.api.flask_socketio.context import ClientState
from python_server.api.keywords import Function
from python_server.api.peer_views import EngineView
from python_server.api.server_methods import ServerMethods
from python_server.engineio.options import EngineOptions
from python_server.net import tasks
from python_server.socketio.client import Socket
from python_server.socketio.server import Hub


class SocketIOAbove(Protocol):
    """What the Server asks of its SocketIO."""

    _hub: Hub
    _engine: EngineOptions

    def start_background_task(
        self, target: Function, *args: object, **kwargs: object
    ) -> tasks.BackgroundTask: ...

    def sleep(self, seconds: float = 0) -> None: ...

    def stop(self) -> None: ...

    def _state_of(self, socket: Socket) -> ClientState: ...


class Server(ServerMethods):
    """What programs find at `socketio.server`.

    Handlers registered here run without a context of Flask. Its threads and its end are those of SocketIO.
    """

    def __init__(self, face: SocketIOAbove) -> None:
        super().__init__(face._hub, lambda socket: face._state_of(socket).environ)
        self.eio: EngineView = EngineView(face._hub, lambda: face._engine)
        self.start_background_task: Callable[..., tasks.BackgroundTask] = face.start_background_task
        self.sleep: Callable[..., None] = face.sleep
        self.shutdown: Callable[[], None] = lambda: face.stop()
