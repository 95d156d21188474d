"""The classes of Flask-SocketIO, python-socketio and python-engineio that a program makes its server with.

Must not know: what the classes do; where a program finds them.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from functools import wraps
from typing import Final

import python_server
from python_server.api import python_engineio, python_socketio, server_methods
from python_server.drop_in.turns import GREEN_MODES, need_turns
from python_server.engineio.options import EngineOptions
from python_server.engineio.options import Payload as OwnPayload

ConnectionRefusedError = server_methods.ConnectionRefusedError
ServerNamespace = python_socketio.Namespace
TimeoutError = builtins.TimeoutError
TELLING: Final = ("Server", "SocketIO")


def __getattr__(name: str) -> object:
    """SocketIO needs Flask, and Payload the real class: both are made when they are asked for."""
    if name in TELLING:
        value: object = telling_mode(getattr(python_server, name))
    elif name == "EngineServer":
        value = telling_mode(python_engineio.Server)
    elif name == "Payload":
        value = bounding(getattr(sys.modules.get("engineio.payload"), name, object))
    else:
        raise AttributeError(name)
    globals()[name] = value
    return value


def telling_mode(server_class: type) -> object:
    """A subclass that looks at `async_mode`, which has no other effect: a mode of greenlets brings turns."""

    def telling(method: Callable[..., object]) -> object:
        @wraps(method)
        def told(self: object, *args: object, **options: object) -> object:
            mode = options.get("async_mode")
            if mode in GREEN_MODES:
                need_turns()
            if mode in (None, "threading", *GREEN_MODES):
                options.pop("async_mode", None)
            return method(self, *args, **options)

        return told

    methods = {name: getattr(server_class, name, None) for name in ("__init__", "init_app")}
    body = {name: telling(method) for name, method in methods.items() if method is not None}
    words = {"__doc__": server_class.__doc__, "__module__": server_class.__module__}
    return type(server_class.__name__, (server_class,), body | words)


def bounding(real: type) -> object:
    """python-engineio's Payload, on which programs set how many packets a polling body may have."""

    class Bounding(type(real)):  # type: ignore[misc]
        def __setattr__(cls, name: str, value: int) -> None:
            if name == "max_decode_packets":
                EngineOptions(max_packets_per_payload_count=value)  # looks at the value
                OwnPayload.max_decode_packets = value
            super().__setattr__(name, value)

    return Bounding("Payload", (real,), {"__module__": "engineio.payload"})
