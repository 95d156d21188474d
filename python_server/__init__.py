"""A server for WSGI applications with real-time events: Socket.IO, raw WebSockets, ordinary threads.

Must not know: Flask and redis at import; names are imported when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from python_server.flask_api import (
        ConnectionRefusedError,
        SocketIO,
        emit,
        join_room,
        leave_room,
        rooms,
        send,
    )
    from python_server.settings import Settings
    from python_server.takeover import WebSocketError
    from python_server.websocket_api import Resource, WebSocket, WebSocketApplication
    from python_server.wsgi_server import WSGIServer

# Tells this package from another one of the same name on PyPI; the command line looks for it at start.
DISTRIBUTION: Final = "wsframe"

_HOMES: Final = {
    "ConnectionRefusedError": "flask_api",
    "Resource": "websocket_api",
    "Settings": "settings",
    "SocketIO": "flask_api",
    "WebSocket": "websocket_api",
    "WebSocketApplication": "websocket_api",
    "WSGIServer": "wsgi_server",
    "WebSocketError": "takeover",
    "emit": "flask_api",
    "join_room": "flask_api",
    "leave_room": "flask_api",
    "rooms": "flask_api",
    "send": "flask_api",
}

__all__ = [
    "ConnectionRefusedError",
    "Resource",
    "Settings",
    "SocketIO",
    "WSGIServer",
    "WebSocket",
    "WebSocketApplication",
    "WebSocketError",
    "emit",
    "join_room",
    "leave_room",
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
