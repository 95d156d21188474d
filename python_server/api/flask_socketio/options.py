"""The options of SocketIO: Flask-SocketIO's, python-socketio's and python-engineio's names, checked.

Must not know: Flask, hubs; it turns keywords into values and refuses what it does not know.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from python_server.api.flask_socketio.keywords import SocketIOOptions, names_of
from python_server.api.python_engineio import ENGINE_OPTIONS, Keywords, codec_of, origin_rule, request_rule
from python_server.engineio.options import EngineOptions
from python_server.socketio.cluster.broker.url import FLASK_CHANNEL, read_broker
from python_server.socketio.cluster.port import BrokerOptions
from python_server.socketio.recovery.log import recovery_log
from python_server.socketio.services import ClientTimeouts, Configuration

# Numbers of seconds, the hub's and the engine's.
HUB_TIMES: Final = ("connect_timeout", "attachments_timeout")
ENGINE_TIMES: Final = ("ping_interval", "ping_timeout", "upgrade_timeout")
# What they choose there is not a choice here; docs/migration.md has a line for each.
TAKEN_WITHOUT_EFFECT: Final = ("async_handlers", "engineio_logger", "logger", "monitor_clients")
ASYNC_MODES: Final = (None, "threading", "eventlet", "gevent", "gevent_uwsgi")
NAMES: Final = names_of(SocketIOOptions)


@dataclass(frozen=True, slots=True)
class FaceOptions:
    """The checked options of one SocketIO."""

    path: str = "/socket.io/"
    manage_session: bool = True
    configuration: Configuration = field(default_factory=Configuration)
    # Namespaces that may be joined without a handler of their own; "*" among them: any.
    namespaces: frozenset[str] = frozenset({"/"})
    engine: EngineOptions = field(default_factory=EngineOptions)
    # What joins the server to other machines.
    broker: BrokerOptions | None = None


def read_options(given: Keywords) -> FaceOptions:
    """Check the keywords of SocketIO and init_app.

    Raises:
        TypeError: a name that does not exist. ValueError: a value that cannot be, or is not served here.
        BrokerError: a message_queue whose URL or package is missing.
    """
    for name in given:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(NAMES))}"
            raise TypeError(f"SocketIO has no option {name!r}: {hint}")
    if given.get("async_mode") not in ASYNC_MODES:
        raise ValueError("Invalid async_mode specified: leave it out, handlers always run in threads")
    return FaceOptions(
        path="/" + str(given.get("path") or given.get("resource") or "socket.io").strip("/") + "/",
        manage_session=bool(given.get("manage_session", True)),
        configuration=Configuration(
            codec=codec_of(given.get("serializer", "default"), given.get("json")),
            recovery=recovery_log(given.get("connection_state_recovery")),
            always_connect=bool(given.get("always_connect", False)),
            patience=_patience(given),
        ),
        namespaces=_namespaces(given.get("namespaces")),
        engine=_engine_options(given),
        broker=read_broker(given, FLASK_CHANNEL),
    )


def _patience(given: Keywords) -> ClientTimeouts:
    chosen = {name: given[name] for name in HUB_TIMES if name in given}
    for name, value in chosen.items():
        _check_seconds(name, value)
    return ClientTimeouts(**{f"{name}_seconds": value for name, value in chosen.items()})


def _namespaces(value: str | Iterable[str] | None) -> frozenset[str]:
    if value is None:
        return frozenset({"/"})
    return frozenset({value} if isinstance(value, str) else value)


def _engine_options(given: Keywords) -> EngineOptions:
    chosen: dict[str, Any] = {}
    for name, ours in ENGINE_OPTIONS.items():
        if name not in given:
            continue
        value = given[name]
        if name == "ping_interval" and isinstance(value, (tuple, list)):
            # python-engineio's pair is (interval, grace): the grace is time on top of ping_timeout.
            value, grace_seconds = value
            chosen["ping_timeout_seconds"] = float(given.get("ping_timeout", 20)) + float(grace_seconds)
        if name in ENGINE_TIMES:
            _check_seconds(name, value)
            chosen.setdefault(ours, value)
        elif name == "cors_allowed_origins":
            chosen[ours] = origin_rule(value)
        elif name == "allow_request":
            chosen[ours] = request_rule(value)
        elif name == "transports":
            chosen[ours] = _transports(value)
        else:
            chosen[ours] = value
    return EngineOptions(**chosen)


def _check_seconds(name: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} is a number of seconds above 0, not {value!r}")


def _transports(value: str | Iterable[str] | None) -> tuple[str, ...]:
    if value is None:
        return ("polling", "websocket")
    names = (value,) if isinstance(value, str) else tuple(value)
    if not names or not set(names) <= {"polling", "websocket"}:
        raise ValueError("No valid transports provided: 'polling', 'websocket' or both")
    return names
