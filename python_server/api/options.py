"""The options of the faces' servers as values: python-engineio's and python-socketio's names, checked.

Must not know: Flask, hubs, who asks; it turns keywords into values and refuses what cannot be.
"""

from __future__ import annotations

import inspect
import json as stdlib_json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from math import inf
from typing import Any, Final

from python_server.api.keywords import (
    EngineKeywords,
    Function,
    Keywords,
    RequestRule,
    names_of,
    refuse_unknown,
)
from python_server.engineio.cors import AllowedOrigins
from python_server.engineio.options import EngineOptions
from python_server.http1.parser import Request
from python_server.observe import log
from python_server.socketio.cluster.broker.url import read_broker
from python_server.socketio.cluster.port import BrokerOptions
from python_server.socketio.jsoncodec import words_of
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.packet import Codec, TextCodec
from python_server.socketio.recovery.log import recovery_log
from python_server.socketio.services import ClientTimeouts, Configuration
from python_server.wsgi.environ import ServerFacts, build_environ

# The engine's options that have another name there than python-engineio's.
ENGINE_NAMES: Final = {
    "ping_interval": "ping_interval_seconds",
    "ping_timeout": "ping_timeout_seconds",
    "max_http_buffer_size": "max_payload_bytes",
    "compression_threshold": "compression_threshold_bytes",
    "upgrade_timeout": "upgrade_timeout_seconds",
    "max_decode_packets": "max_packets_per_payload_count",
}
# Numbers of seconds, the engine's and the hub's.
ENGINE_TIMES: Final = ("ping_interval", "ping_timeout", "upgrade_timeout")
# Told to clients in milliseconds, which infinity has none of.
TOLD_TIMES: Final = ("ping_interval", "ping_timeout")
HUB_TIMES: Final = ("connect_timeout", "attachments_timeout")
ASYNC_MODES: Final = (None, "threading", "eventlet", "gevent", "gevent_uwsgi")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The checked options of one Socket.IO server.

    Attributes:
        namespaces: that may be joined without a handler of their own; "*" among them: any. None: not said.
        broker: what joins the server to other machines.
        path, manage_session: Flask-SocketIO's.
    """

    configuration: Configuration
    engine: EngineOptions
    namespaces: frozenset[str] | None
    broker: BrokerOptions | None
    path: str
    manage_session: bool


def read_server_options(what: str, keywords: type, given: Keywords, channel: str) -> ServerOptions:
    """Check what is given of the keywords of `what`; `channel` is its broker's unless another is given.

    Raises:
        TypeError: a name that does not exist. ValueError: a value that cannot be, or is not served here.
        BrokerError: a message_queue whose URL or package is missing.
    """
    refuse_unknown(what, given, keywords)
    if given.get("async_mode") not in ASYNC_MODES:
        raise ValueError("Invalid async_mode specified: leave it out, handlers always run in threads")
    check_seconds(given, HUB_TIMES)
    patience = {f"{name}_seconds": given[name] for name in HUB_TIMES if name in given}
    namespaces = given.get("namespaces")
    return ServerOptions(
        configuration=Configuration(
            codec=codec_of(given.get("serializer", "default"), given.get("json")),
            recovery=recovery_log(given.get("connection_state_recovery")),
            always_connect=bool(given.get("always_connect", False)),
            patience=ClientTimeouts(**patience),
        ),
        engine=read_engine_options(given),
        namespaces=None if namespaces is None else frozenset(several(namespaces)),
        broker=read_broker(given, channel),
        path="/" + str(given.get("path") or given.get("resource") or "socket.io").strip("/") + "/",
        manage_session=bool(given.get("manage_session", True)),
    )


def read_engine_options(given: Keywords) -> EngineOptions:
    """The engine's keywords among the given ones, as ours. Raises ValueError: a value that cannot be."""
    chosen = dict(given)
    interval = chosen.get("ping_interval")
    if isinstance(interval, (tuple, list)):
        # python-engineio's pair is (interval, grace): the grace is time on top of ping_timeout.
        chosen["ping_interval"], grace_seconds = interval
        chosen["ping_timeout"] = float(chosen.get("ping_timeout", 20)) + float(grace_seconds)
    check_seconds(chosen, ENGINE_TIMES)
    for name, read in READERS.items():
        if name in chosen:
            chosen[name] = read(chosen[name])
    return EngineOptions(
        **{ENGINE_NAMES.get(name, name): chosen[name] for name in names_of(EngineKeywords) & chosen.keys()}
    )


def check_seconds(given: Keywords, names: Iterable[str]) -> None:
    """Raises ValueError: one of `names` is given, and is no number of seconds."""
    for name in names:
        value = given.get(name, 1)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and value > 0) or (value == inf and name in TOLD_TIMES):  # NaN is not above 0
            raise ValueError(f"{name} is a number of seconds above 0, not {value!r}")


def read_transports(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Raises ValueError: there is no such transport, or none at all."""
    names = ("polling", "websocket") if value is None else several(value)
    if not names or not set(names) <= {"polling", "websocket"}:
        raise ValueError("No valid transports provided: 'polling', 'websocket' or both")
    return names


def several(value: str | Iterable[str]) -> tuple[str, ...]:
    """One name, or several."""
    return (value,) if isinstance(value, str) else tuple(value)


def origin_rule(allowed: Any) -> AllowedOrigins:
    """`cors_allowed_origins`, where a function of two arguments gets the origin and the environ.

    It is called on the server's own thread, and must not block.
    """
    if not callable(allowed) or not takes(allowed, 2):
        verbatim: AllowedOrigins = allowed
        return verbatim
    return lambda origin, request: bool(allowed(origin, build_environ(request, ServerFacts(), BytesIO())))


def request_rule(allow: RequestRule | None) -> Callable[[Request], bool | str | None] | None:
    """`allow_request`: asked with the environ of each handshake; False or a sentence refuses (403, code 4).

    It is called on the server's own thread, and must not block; one that raises refuses.
    """
    if allow is None:
        return None

    def rule(request: Request) -> bool | str | None:
        try:
            return allow(build_environ(request, ServerFacts(), BytesIO()))
        except BaseException as error:
            log.report("allow_request", error)
            return False

    return rule


READERS: Final[dict[str, Callable[[Any], object]]] = {
    "transports": read_transports,
    "cors_allowed_origins": origin_rule,
    "allow_request": request_rule,
}


def codec_of(serializer: str, json: object = None) -> Codec:
    """The codec that the options `serializer` and `json` ask for.

    Raises ValueError: no such serializer; a module that cannot be one; both at once.
    """
    if serializer not in ("default", "msgpack"):
        raise ValueError("serializer is 'default' or 'msgpack'")
    if serializer == "msgpack":
        if json is not None:
            raise ValueError("serializer='msgpack' writes no JSON: leave the option json out")
        return MsgpackCodec()
    return TextCodec() if json is None or json is stdlib_json else TextCodec(words_of(json))


def takes(function: Function, count: int) -> bool:
    """Can it be called with so many arguments?"""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # some built-in functions have no signature
        return True
    return True
