"""The URL of a Redis or Valkey broker becomes connections of its client library.

Must not know: what is said through a connection, threads. Alone imports redis, when asked to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from python_server.net.sockets import Socket
from python_server.socketio.cluster.broker.plugins import (
    GROUP,
    BrokerClient,
    fault_of,
    installed,
    open_client,
    without_password,
)
from python_server.socketio.cluster.broker.plugins import BrokerError as BrokerError
from python_server.socketio.cluster.port import BrokerOptions

# Flask-SocketIO's, and python-socketio's for a manager that was given none.
FLASK_CHANNEL: Final = "flask-socketio"
SERVER_CHANNEL: Final = "socketio"
# Silence after which a connection is pinged, and the time any answer may take. redis-py has no bound.
PATIENCE_SECONDS: Final = 5.0
# Of a URL, and the package that knows it.
SCHEMES: Final = {
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "redis+sentinel": "redis",
    "valkey": "valkey",
    "valkeys": "valkey",
    "valkey+sentinel": "valkey",
}


# Behind the scheme: what is published is kept for a while, as entries of a stream. How many of them, if the
# URL has no `maxlen`: a cut of ten seconds at 10,000 events a second, 50 MB of small ones.
STREAMS: Final = "+streams"
STREAM_MAX_COUNT: Final = 100_000
# What Redis reads as one: an integer of 64 bits.
COUNT: Final = re.compile(r"[1-9][0-9]{0,17}")


class BrokerConnection(Protocol):
    """What is used of redis-py's Connection."""

    _sock: Socket | None  # there is no public way to it

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def pack_commands(self, commands: Iterable[tuple[str | bytes, ...]]) -> list[bytes]: ...
    def send_command(self, *parts: str | bytes, check_health: bool = True) -> None: ...
    def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None: ...
    def read_response(self) -> str | bytes | int: ...


def refuses(error: Exception) -> bool:
    """Is it the broker's own answer, after which the connection is as good as before?"""
    return any(kind.__name__ == "ResponseError" for kind in type(error).__mro__)


def read_broker(given: Mapping[str, Any], default_channel: str) -> BrokerOptions | None:
    """The options message_queue, channel, redis_options and channel_per_room; None without a message_queue.

    A `client_manager` of python-socketio's RedisManager kind is taken for the URL it holds.

    Raises:
        ValueError: a client_manager of another kind. BrokerError: as `connector`.
    """
    manager = given.get("client_manager")
    if manager is not None:
        kombu = getattr(manager, "name", None) == "kombu"
        url = getattr(manager, "url" if kombu else "redis_url", None)
        if not isinstance(url, str):
            raise ValueError(
                f"client_manager {type(manager).__name__} is not served: give message_queue='redis://...'"
            )
        its_options = manager.connection_options if kombu else manager.redis_options
        found = {"channel": manager.channel, "redis_options": its_options}
        given = {**found, **given, "message_queue": url}
    if given.get("message_queue") is None:
        return None
    options = broker_options(
        str(given["message_queue"]),
        str(given.get("channel") or default_channel),
        bool(given.get("channel_per_room", url_shards(str(given["message_queue"])))),
        dict(given.get("redis_options") or {}),
    )
    if client_of(options) is None:
        connector(options)
    return options


def url_shards(url: str) -> bool:
    """Does the broker spread its channels over nodes, so that each room has one of its own by itself?"""
    return url.partition("://")[0].lower().endswith("+cluster")


def broker_options(
    url: str, channel: str, per_room: bool = False, redis_options: Mapping[str, object] | None = None
) -> BrokerOptions:
    """A URL, perhaps with `+streams` behind its scheme and `maxlen` in its query. Raises BrokerError."""
    scheme, separator, rest = url.partition("://")
    stream_max_count = 0
    if scheme.lower().endswith(STREAMS):
        if per_room:
            raise BrokerError(
                "channel_per_room: a stream is read whole, so no room has one of its own [message-queue]"
            )
        rest, _, query = rest.partition("?")
        fields = dict(parse_qsl(query, keep_blank_values=True))
        told = fields.pop("maxlen", str(STREAM_MAX_COUNT))
        if not COUNT.fullmatch(told):
            raise BrokerError(f"message_queue: maxlen={told!r} is no number of entries [message-queue]")
        stream_max_count = int(told)
        url = scheme[: -len(STREAMS)] + separator + rest + (f"?{urlencode(fields)}" if fields else "")
    return BrokerOptions(url, channel, per_room, stream_max_count, redis_options or {})


def url_of(options: BrokerOptions) -> str:
    """The URL that `broker_options` has read."""
    if not options.stream_max_count:
        return options.url
    scheme, separator, rest = options.url.partition("://")
    joint = "&" if "?" in rest else "?"
    return f"{scheme}{STREAMS}{separator}{rest}{joint}maxlen={options.stream_max_count}"


def client_of(options: BrokerOptions) -> BrokerClient | None:
    """What a package brings for the URL; None where it is Redis' or Valkey's, or nobody's.

    Raises:
        BrokerError: as `connector`.
    """
    if options.url.partition("://")[0].lower() in SCHEMES or options.stream_max_count:
        return None
    return open_client(options.url, options.channel, options.redis_options)


def connector(options: BrokerOptions) -> Callable[[], BrokerConnection]:
    """A function that makes a connection to the broker, not connected yet.

    Raises:
        BrokerError: the URL is malformed, or its package is not installed.
    """
    scheme = options.url.partition("://")[0].lower()
    if "://" not in options.url or scheme not in SCHEMES:
        others = "".join(f", {name}://" for name in sorted(installed()))
        raise BrokerError(
            f"message_queue {without_password(options.url)!r} is served by no broker here: "
            f"the URL begins with {', '.join(f'{name}://' for name in SCHEMES)}, with or without {STREAMS} "
            f"behind its scheme{others}; packages bring others by entry points of the group {GROUP} "
            "[message-queue]"
        )
    package = SCHEMES[scheme]
    try:
        module = import_module(package)
        import_module("hiredis")  # reads what is subscribed to: resp.py
    except ImportError:
        raise BrokerError(
            f"message_queue {scheme}:// needs packages that are not installed: pip install {package} hiredis "
            "[missing-package]"
        ) from None
    settings: dict[str, object] = {
        "socket_timeout": PATIENCE_SECONDS,
        "socket_connect_timeout": PATIENCE_SECONDS,
        "protocol": 2,
        "retry": import_module(f"{package}.retry").Retry(import_module(f"{package}.backoff").NoBackoff(), 0),
        **options.redis_options,
        "decode_responses": False,
    }
    try:
        if scheme.endswith("+sentinel"):
            sentinels, service, credentials = sentinel_places(options.url)
            sentinel = import_module(f"{package}.sentinel").Sentinel(sentinels, **settings, **credentials)
            client = sentinel.master_for(service or options.channel)
        else:
            name = "Redis" if package == "redis" else "Valkey"
            client = getattr(module, name).from_url(options.url, **settings)
        pool = client.connection_pool

        def make() -> BrokerConnection:
            # Not the pool's own way: it counts what it makes, and refuses the hundredth for good.
            connection: BrokerConnection = pool.connection_class(**pool.connection_kwargs)
            return connection

        make()  # options that no connection takes are refused here, not at every attempt
    except (TypeError, ValueError) as error:
        raise BrokerError(
            f"message_queue {without_password(options.url)!r}: {fault_of(options.url, error)} [message-queue]"
        ) from None
    return make


def sentinel_places(url: str) -> tuple[list[tuple[str, int]], str | None, dict[str, str | int]]:
    """The hosts, service and credentials of redis+sentinel://user:password@host:port,host:port/db/service."""
    parts = urlsplit(url)
    credentials, _, places = parts.netloc.rpartition("@")
    sentinels = []
    for place in places.split(","):
        host, colon, port = place.rpartition(":")
        if not colon or not port.isdigit():
            raise ValueError(
                f"{place!r} is not the host:port of a sentinel: write for example localhost:26379"
            )
        sentinels.append((host.strip("[]"), int(port)))
    given: dict[str, str | int] = {}
    user, _, password = credentials.partition(":")
    if user:
        given["username"] = unquote(user)
    if password:
        given["password"] = unquote(password)
    database, _, service = parts.path.strip("/").partition("/")
    if database:
        given["db"] = int(database)
    return sentinels, service or None, given
