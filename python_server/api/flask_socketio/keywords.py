"""The keywords of the Flask face as editors and type checkers see them; their names are checked by them, too.

Must not know: what an option does, or anything that runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from python_server.api.python_engineio import EngineKeywords
from python_server.socketio.values import Rooms

Function = TypeVar("Function", bound=Callable[..., object])
# Of a test client's handshake.
HandshakeHeaders = Mapping[str, str] | Iterable[tuple[str, str]] | None
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
    callback: Callable[..., object] | None


class EmitOptions(SendOptions, total=False):
    """What `emit` takes besides its event and data."""


class SocketIOOptions(EngineKeywords, total=False):
    """What SocketIO and init_app take: Flask-SocketIO's, python-socketio's, python-engineio's and our own."""

    # Flask-SocketIO
    manage_session: bool
    message_queue: str | None
    channel: str
    channel_per_room: bool
    redis_options: Mapping[str, object]
    path: str | None
    resource: str | None
    async_mode: str | None
    # python-socketio
    client_manager: object
    logger: object
    serializer: str
    json: object
    async_handlers: bool
    always_connect: bool
    namespaces: str | Iterable[str] | None
    # python-engineio
    engineio_logger: object
    monitor_clients: bool
    # Ours
    connection_state_recovery: bool | Mapping[str, object]
    connect_timeout: float
    attachments_timeout: float


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
    return frozenset(options.__optional_keys__)
