"""The options of the faces' servers as values: python-engineio's and python-socketio's names, checked.

Must not know: Flask, hubs, who asks; it turns keywords into values and refuses what cannot be.
"""

from __future__ import annotations

import json as stdlib_json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from python_server.api.event_checks import signature_of
from python_server.api.keywords import (
    EngineKeywords,
    Function,
    Keywords,
    RequestRule,
    TLSKeywords,
    drop_unknown,
    names_of,
)
from python_server.engineio.cors import AllowedOrigins
from python_server.engineio.options import EngineOptions
from python_server.http1.parser import Request
from python_server.observe import log
from python_server.serve.mounts import Mount
from python_server.settings import TLSSettings
from python_server.socketio.cluster.broker.url import read_broker
from python_server.socketio.cluster.port import BrokerOptions
from python_server.socketio.jsoncodec import OWN_WORDS, words_of
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.packet import Codec, TextCodec
from python_server.socketio.recovery.option import recovery_log
from python_server.socketio.server import Hub
from python_server.socketio.services import ClientTimeouts, Configuration
from python_server.wsgi.environ import Application, ServerFacts, build_environ

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
TRANSPORTS: Final = ("polling", "websocket")
ASYNC_MODES: Final = (None, "threading", "eventlet", "gevent", "gevent_uwsgi")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The checked options of one Socket.IO server.

    Attributes:
        namespaces: that may be joined without a handler of their own; "*" among them: any. None: not said.
        broker: what joins the server to other machines.
        serve_client: whether the client for browsers is served. path, manage_session: Flask-SocketIO's.
        loggers: what was given as `logger` and `engineio_logger`.
    """

    configuration: Configuration
    engine: EngineOptions
    namespaces: frozenset[str] | None
    broker: BrokerOptions | None
    serve_client: bool
    path: str
    manage_session: bool
    loggers: tuple[object, object]

    def mount(self, path: str, hub: Hub, serving: Callable[[ServerFacts, Application], None]) -> Mount:
        """The server under that path; `serving`: see `Mount`."""
        return Mount(
            path,
            hub,
            self.engine,
            serving,
            broker=self.broker,
            serve_client=self.serve_client,
            loggers=self.loggers,
        )


def read_server_options(what: str, keywords: type, given: Keywords, channel: str) -> ServerOptions:
    """Check what is given of the keywords of `what`; `channel` is its broker's unless another is given.

    Names that do not exist are named in the log.

    Raises:
        ValueError: a value that cannot be, or is not served here.
        BrokerError: a message_queue whose URL or package is missing.
    """
    given = with_numbers(drop_unknown(what, given, keywords), HUB_TIMES)
    if given.get("async_mode") not in ASYNC_MODES:
        raise ValueError("Invalid async_mode specified: leave it out, handlers always run in threads")
    if given.get("allow_eio3") and given.get("serializer", "default") != "default":
        raise ValueError("allow_eio3: Socket.IO 2 clients are served JSON, leave serializer='msgpack' out")
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
        broker=read_broker({**given, **queue_and_manager(given)}, channel),
        serve_client=bool(given.get("serve_client", True)),
        path="/" + str(given.get("path") or given.get("resource") or "socket.io").strip("/") + "/",
        manage_session=bool(given.get("manage_session", True)),
        loggers=(given.get("logger"), given.get("engineio_logger")),
    )


def queue_and_manager(given: Keywords) -> dict[str, object]:
    """What names a broker; "" names none, and python-socketio's own Manager is of one process, as the hub."""
    manager = given.get("client_manager")
    alone = type(manager).__module__ == "socketio.manager"
    return {"message_queue": given.get("message_queue") or None, "client_manager": None if alone else manager}


def read_engine_options(given: Keywords) -> EngineOptions:
    """The engine's keywords among the given ones, as ours. Raises ValueError: a value that cannot be."""
    chosen = dict(given)
    interval = chosen.get("ping_interval")
    if isinstance(interval, (tuple, list)):
        # python-engineio's pair is (interval, grace): the grace is time on top of ping_timeout.
        chosen["ping_interval"], grace_seconds = interval
        patience_seconds = with_numbers(chosen, ("ping_timeout",)).get("ping_timeout", 20)
        chosen["ping_timeout"] = patience_seconds + float(grace_seconds)
    chosen = with_numbers(chosen, ENGINE_TIMES)
    for name, read in READERS.items():
        if name in chosen:
            chosen[name] = read(chosen[name])
    return EngineOptions(
        **{ENGINE_NAMES.get(name, name): chosen[name] for name in names_of(EngineKeywords) & chosen.keys()}
    )


def with_numbers(given: Keywords, names: Iterable[str]) -> dict[str, Any]:
    """`given`, where those of `names` are numbers of seconds, which may be given as text.

    Raises ValueError: one of them is none, or 0; but ping_timeout=0 has its default.
    """
    chosen = dict(given)
    for name in chosen.keys() & set(names):
        value = chosen[name]
        try:
            seconds = float(value) if isinstance(value, str) else value
        except ValueError:
            seconds = None
        if name == "ping_timeout" and seconds == 0 and seconds is not False:
            del chosen[name]  # there it is "at once", which a client never notices that answers in time
            log.warn("ping_timeout=0 leaves no client time to answer: it has its default")
        elif (
            not isinstance(seconds, (int, float))
            or isinstance(seconds, bool)
            or not seconds > 0  # nor is NaN
            or (seconds == math.inf and name in TOLD_TIMES)
        ):
            raise ValueError(f"{name} is a number of seconds above 0, not {value!r}")
        else:
            chosen[name] = seconds
    return chosen


def read_transports(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Those of the two that are among the given ones. Raises ValueError: none is."""
    given = TRANSPORTS if value is None else several(value)
    names = tuple(name for name in given if name in TRANSPORTS)
    if not names:
        raise ValueError("No valid transports provided: 'polling', 'websocket' or both")
    if len(names) < len(given):
        log.warn(f"transports={given!r:.200}: the server uses {' and '.join(names)}, the others do not exist")
    return names


def several(value: str | Iterable[str]) -> tuple[str, ...]:
    """One name, or several."""
    return (value,) if isinstance(value, str) else tuple(value)


def origin_rule(allowed: Any) -> AllowedOrigins:
    """`cors_allowed_origins`, where a function of two arguments gets the origin and the environ.

    It is called on the server's own thread, and must not block. True is every origin, False only one's own.
    """
    if isinstance(allowed, bool):
        return "*" if allowed else None
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


def tls_settings(given: Keywords) -> TLSSettings | None:
    """The words of module ssl among the given ones, and its constants for `cert_reqs`; None for none."""
    known = {name: given[name] for name in names_of(TLSKeywords) if given.get(name) is not None}
    if not known:
        return None
    if "ssl_context" in known:
        return TLSSettings(context=known["ssl_context"])
    if "cert_reqs" in known:
        known["cert_reqs"] = ("none", "optional", "required")[known["cert_reqs"]]
    return TLSSettings(**known)


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
    return TextCodec(OWN_WORDS if json is None or json is stdlib_json else words_of(json))


def takes(function: Function, count: int) -> bool:
    """Can it be called with so many arguments?"""
    try:
        signature_of(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # some built-in functions have no signature
        return True
    return True
