"""`socketio.server`: python-socketio's Server for programs that reach below SocketIO.

Must not know: Flask's context; handlers registered here run without one.
"""

from __future__ import annotations

from collections.abc import Callable

from python_server.api.flask_socketio.context import ClientState
from python_server.api.server_methods import ServerMethods
from python_server.net import tasks
from python_server.socketio.client import Socket
from python_server.socketio.server import Hub


class Server(ServerMethods):
    """The hub's words, with the threads and the end of the application's own.

    Args:
        hub: does the work. state_of: a client's state. background: starts a task. sleep: see SocketIO.
        shutdown: stops the server.
    """

    def __init__(
        self,
        hub: Hub,
        state_of: Callable[[Socket], ClientState],
        background: Callable[..., tasks.BackgroundTask],
        sleep: Callable[[float], None],
        shutdown: Callable[[], None],
    ) -> None:
        super().__init__(hub, lambda socket: state_of(socket).environ)
        self._background = background
        self._sleep = sleep
        self.shutdown = shutdown

    def sleep(self, seconds: float = 0.0) -> None:
        """`SocketIO.sleep`."""
        self._sleep(seconds)

    def start_background_task(
        self, target: Callable[..., object], *args: object, **kwargs: object
    ) -> tasks.BackgroundTask:
        """`SocketIO.start_background_task`."""
        return self._background(target, *args, **kwargs)
