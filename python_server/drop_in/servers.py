"""The classes of Flask-SocketIO, python-socketio and python-engineio that a program makes its server with.

Must not know: what the classes do; where a program finds them.
"""

from __future__ import annotations

import builtins
import sys
from functools import wraps
from importlib.machinery import PathFinder
from typing import Final

import python_server
from python_server.api import python_engineio, python_socketio, server_methods
from python_server.drop_in.turns import GREEN_MODES, need_turns
from python_server.drop_in.waiting import sleep
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
    """A subclass that looks at `async_mode`, which has no other effect: a mode of greenlets brings turns.

    Its `sleep` is that of the stand-ins, which `kill` and a Timeout end.
    """
    name = "init_app" if hasattr(server_class, "init_app") else "__init__"
    method = getattr(server_class, name)

    @wraps(method)
    def told(self: object, *args: object, **options: object) -> object:
        mode = {**getattr(self, "server_options", {}), **options}.get("async_mode")
        serves = name == "__init__" or (*args, options.get("app"))[0] is not None
        if mode in GREEN_MODES or (mode is None and serves and are_greenlets_installed()):
            need_turns()
        return method(self, *args, **options)

    words = {"__doc__": server_class.__doc__, "__module__": server_class.__module__}
    return type(server_class.__name__, (server_class,), words | {name: told, "sleep": staticmethod(sleep)})


def are_greenlets_installed() -> bool:
    """Then a stock server that is told no mode runs on them, whether the program names them or not."""
    return any(PathFinder.find_spec(name) is not None for name in ("eventlet", "gevent"))


def bounding(real: type) -> object:
    """python-engineio's Payload, on which programs set how many packets a polling body may have."""

    class Bounding(type(real)):  # type: ignore[misc]
        def __setattr__(cls, name: str, value: int) -> None:
            if name == "max_decode_packets":
                EngineOptions(max_packets_per_payload_count=value)  # looks at the value
                OwnPayload.max_decode_packets = value
            super().__setattr__(name, value)

    return Bounding("Payload", (real,), {"__module__": "engineio.payload"})
