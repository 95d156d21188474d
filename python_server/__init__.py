"""A server for WSGI applications with real-time events: Socket.IO, raw WebSockets, ordinary threads.

Must not know: Flask and redis at import; names are imported when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from python_server.emitter import Emitter
    from python_server.engine_api import EngineServer
    from python_server.flask_face.api import ConnectionRefusedError, Namespace, SocketIO
    from python_server.flask_face.functions import (
        call,
        close_room,
        disconnect,
        emit,
        join_room,
        leave_room,
        room_members,
        rooms,
        send,
    )
    from python_server.flask_face.test_client import SocketIOTestClient
    from python_server.server_api import Server, WSGIApp
    from python_server.settings import Settings
    from python_server.takeover import WebSocketError
    from python_server.websocket_api import Resource, WebSocket, WebSocketApplication
    from python_server.wsgi_server import WSGIServer

# Tells this package from another one of the same name on PyPI; the command line looks for it at start.
DISTRIBUTION: Final = "wsframe"

_HOMES: Final = {
    "ConnectionRefusedError": "flask_face.api",
    "Emitter": "emitter",
    "EngineServer": "engine_api",
    "Namespace": "flask_face.api",
    "Resource": "websocket_api",
    "Server": "server_api",
    "Settings": "settings",
    "SocketIO": "flask_face.api",
    "SocketIOTestClient": "flask_face.test_client",
    "WebSocket": "websocket_api",
    "WebSocketApplication": "websocket_api",
    "WSGIApp": "server_api",
    "WSGIServer": "wsgi_server",
    "WebSocketError": "takeover",
    "call": "flask_face.functions",
    "close_room": "flask_face.functions",
    "disconnect": "flask_face.functions",
    "emit": "flask_face.functions",
    "join_room": "flask_face.functions",
    "leave_room": "flask_face.functions",
    "room_members": "flask_face.functions",
    "rooms": "flask_face.functions",
    "send": "flask_face.functions",
}

__all__ = [
    "ConnectionRefusedError",
    "Emitter",
    "EngineServer",
    "Namespace",
    "Resource",
    "Server",
    "Settings",
    "SocketIO",
    "SocketIOTestClient",
    "WSGIApp",
    "WSGIServer",
    "WebSocket",
    "WebSocketApplication",
    "WebSocketError",
    "call",
    "close_room",
    "disconnect",
    "emit",
    "join_room",
    "leave_room",
    "room_members",
    "rooms",
    "send",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'python_server' has no attribute {name!r}")
    value = getattr(import_module(f"python_server.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
