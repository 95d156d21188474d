"""A server for WSGI applications with real-time events: Socket.IO, raw WebSockets, ordinary threads.

Must not know: Flask, redis and the extra `server` at import; names are imported when they are asked for.

PYTEST_DONT_REWRITE: else pytest warns whoever calls it from a program that has imported this.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from python_server.api.emitter import Emitter
    from python_server.api.flask_socketio.api import Namespace, SocketIO
    from python_server.api.flask_socketio.functions import (
        call,
        close_room,
        disconnect,
        emit,
        join_room,
        leave_room,
        room_members,
        rooms,
        send,
        update_meta,
    )
    from python_server.api.flask_socketio.test_client import SocketIOTestClient
    from python_server.api.python_engineio import EngineServer
    from python_server.api.python_socketio import Server, WSGIApp
    from python_server.api.server_methods import ConnectionRefusedError
    from python_server.api.wsgi_server import WSGIServer
    from python_server.gunicorn.worker import GunicornWorker
    from python_server.settings import (
        HTTPSettings,
        Settings,
        TLSSettings,
        TransportSettings,
        WebSocketSettings,
    )
    from python_server.websocket.application import Resource, WebSocket, WebSocketApplication
    from python_server.wsgi.websocket import WebSocketError

# Tells this package from another one of the same name on PyPI; the command line looks for it at start.
DISTRIBUTION: Final = "wsframe"

# The modules of the extra `server`, which `pip install wsframe` alone does not bring.
SERVER_MODULES: Final = ("click", "httptools", "msgspec", "orjson")

# Where the names below are; those that are not here are the functions of an event's context.
_HOMES: Final = {
    "ConnectionRefusedError": "api.server_methods",
    "Emitter": "api.emitter",
    "EngineServer": "api.python_engineio",
    "GunicornWorker": "gunicorn.worker",
    "HTTPSettings": "settings",
    "Namespace": "api.flask_socketio.api",
    "Resource": "websocket.application",
    "Server": "api.python_socketio",
    "Settings": "settings",
    "SocketIO": "api.flask_socketio.api",
    "SocketIOTestClient": "api.flask_socketio.test_client",
    "TLSSettings": "settings",
    "TransportSettings": "settings",
    "WSGIApp": "api.python_socketio",
    "WSGIServer": "api.wsgi_server",
    "WebSocket": "websocket.application",
    "WebSocketApplication": "websocket.application",
    "WebSocketError": "wsgi.websocket",
    "WebSocketSettings": "settings",
}

__all__ = [
    "ConnectionRefusedError",
    "Emitter",
    "EngineServer",
    "GunicornWorker",
    "HTTPSettings",
    "Namespace",
    "Resource",
    "Server",
    "Settings",
    "SocketIO",
    "SocketIOTestClient",
    "TLSSettings",
    "TransportSettings",
    "WSGIApp",
    "WSGIServer",
    "WebSocket",
    "WebSocketApplication",
    "WebSocketError",
    "WebSocketSettings",
    "call",
    "close_room",
    "disconnect",
    "emit",
    "join_room",
    "leave_room",
    "room_members",
    "rooms",
    "send",
    "update_meta",
]


def need_server(what: str) -> None:
    """Return if the extra `server` is installed; an installation without it can import this file.

    Args:
        what: the words that the user has written; the error begins with them.

    Raises:
        ModuleNotFoundError: one line that says what to install; its `name` is the first missing module.
    """
    missing = [name for name in SERVER_MODULES if find_spec(name) is None]
    if missing:
        words = (
            f"{what} needs {', '.join(missing)}, not installed here: "
            'pip install "wsframe[server]" [missing-package]'
        )
        raise ModuleNotFoundError(words, name=missing[0])


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'python_server' has no attribute {name!r}")
    need_server(f"python_server.{name}")
    home = _HOMES.get(name, "api.flask_socketio.functions")
    try:
        value: object = getattr(import_module(f"python_server.{home}"), name)
    except ModuleNotFoundError as error:
        if error.name not in ("flask", "werkzeug"):
            raise
        words = (
            f"python_server.{name} needs Flask, which is not installed: "
            'pip install "wsframe[flask]" [missing-package]'
        )
        raise ModuleNotFoundError(words, name=error.name) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
