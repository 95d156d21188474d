"""The keywords of the Flask face as editors and type checkers see them; their names are checked by them, too.

Must not know: what an option does, or anything that runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
# One room, sid, or several; a room may be any value that can be a key, most often a text.
Rooms = Any
Rate = str | tuple[int, float] | None


class HandlerOptions(TypedDict, total=False):
    """What `event` takes besides the namespace."""

    inline: bool
    ordered: bool
    rate_limit: Rate


class Addressing(TypedDict, total=False):
    """What `Namespace.emit` takes besides its named arguments."""

    to: Rooms
    broadcast: bool
    skip_sid: str | Sequence[str] | None
    except_rooms: Rooms
    ignore_queue: bool
    volatile: bool


class SendOptions(Addressing, total=False):
    """What `send` takes besides its data."""

    namespace: str | None
    room: Rooms
    include_self: bool
    callback: Callable[..., Any] | None


class EmitOptions(SendOptions, total=False):
    """What `emit` takes besides its event and data."""


class SocketIOOptions(TypedDict, total=False):
    """What SocketIO and init_app take: Flask-SocketIO's, python-socketio's, python-engineio's and our own."""

    # Flask-SocketIO
    manage_session: bool
    message_queue: str | None
    channel: str
    channel_per_room: bool
    redis_options: dict[str, Any]
    path: str | None
    resource: str | None
    async_mode: str | None
    # python-socketio
    client_manager: Any
    logger: Any
    serializer: str
    json: Any
    async_handlers: bool
    always_connect: bool
    namespaces: str | Iterable[str] | None
    # python-engineio
    ping_interval: float | tuple[float, float]
    ping_timeout: float
    max_http_buffer_size: int
    allow_upgrades: bool
    http_compression: bool
    compression_threshold: int
    cookie: str | Mapping[str, Any] | None
    cors_allowed_origins: (
        str | Iterable[str] | Callable[[str], bool] | Callable[[str, dict[str, Any]], bool] | None
    )
    cors_credentials: bool | None
    engineio_logger: Any
    monitor_clients: bool
    transports: str | Sequence[str] | None
    # Ours
    connection_state_recovery: bool | Mapping[str, Any]
    connect_timeout: float
    attachments_timeout: float
    upgrade_timeout: float
    max_queued_bytes: int
    allow_request: Callable[[dict[str, Any]], bool | str | None] | None
    max_decode_packets: int | None
    jsonp: bool


class RunOptions(TypedDict, total=False):
    """What `run` takes besides application, host and port."""

    workers: int
    debug: bool
    log_output: bool
    use_reloader: bool
    reloader_options: Mapping[str, Any] | None
    extra_files: Iterable[str] | None
    allow_unsafe_werkzeug: bool
    certfile: str | None
    keyfile: str | None
    ca_certs: str | None
    cert_reqs: int | None
    ciphers: str | None
    ssl_context: tuple[str, str] | None


def names_of(options: Any) -> frozenset[str]:
    """The keywords that a class above lists."""
    names: frozenset[str] = options.__optional_keys__
    return names
