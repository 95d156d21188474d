"""Emitter: events for a server's clients from a process that serves nobody: a task queue, a console.

Must not know: hubs, rooms' members, frameworks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Self, TypeVar, Unpack

import msgspec

from python_server.api.keywords import Recipients, refuse_unknown
from python_server.net.sockets import Socket, connect_unix
from python_server.net.system import REAL
from python_server.net.threads import Lock
from python_server.socketio.broadcast import (
    DEFAULT_NAMESPACE,
    BroadcastOptions,
    arguments_of,
    broadcast_options,
)
from python_server.socketio.cluster.broker.connections import Stream
from python_server.socketio.cluster.broker.foreign_messages import write_command, write_emit
from python_server.socketio.cluster.broker.plugin_links import PluginConnection
from python_server.socketio.cluster.broker.plugins import without_password
from python_server.socketio.cluster.broker.url import (
    FLASK_CHANNEL,
    BrokerConnection,
    broker_options,
    client_of,
    connector,
)
from python_server.socketio.cluster.port import (
    BrokerOptions,
    CommandKind,
    Envelope,
    check_expiry,
    check_rooms,
)
from python_server.socketio.packet import PacketType, TextCodec

Connection = TypeVar("Connection")
TIMEOUT_SECONDS: Final = 5.0
ANSWER_MAX_BYTES: Final = 64 * 1024


class EmitError(ConnectionError):
    """The event could not be sent: no server or broker answers there, or it refused."""


class Emitter:
    """Emits events to the clients of running servers, from any process and any thread.

        with Emitter("redis://localhost") as emitter:
            emitter.emit("news", {"title": "hello"}, to="readers")

    Args:
        url: the URL of a broker, as for `message_queue` (redis://host, unix:///run/redis.sock, ...), or
            "unix:/path" (no double slash), the control socket of a server on this machine.
        channel: the same as the servers' option `channel`.
        redis_options: keyword arguments for the connection to the broker.
        path: the path of the Socket.IO server, if one process has several; only for a control socket.
        timeout_seconds: seconds for each step of connecting and sending.

    Raises:
        BrokerError: the URL is malformed, or the client library is not installed. ValueError: the URL is only
            "unix:".
    """

    def __init__(
        self,
        url: str,
        channel: str = FLASK_CHANNEL,
        *,
        redis_options: Mapping[str, object] | None = None,
        path: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._path = path
        self._host_id = REAL.entropy(16).hex()
        self._codec = TextCodec()
        self._lock = Lock()
        if url.startswith("unix:") and not url.startswith("unix://"):
            control_path = url.removeprefix("unix:")
            if not control_path:
                raise ValueError("Emitter('unix:') names no control socket: unix:/path/of/it")
            self._way: Way[Any] = control_way(control_path, timeout_seconds)
        else:
            options = broker_options(url, channel, redis_options=redis_options)
            self._way = broker_way(options, timeout_seconds)

    def emit(self, event: str, *args: object, data: object = None, **options: Unpack[Recipients]) -> None:
        """Send an event to all clients, or to the clients in some rooms.

            emitter.emit("news", {"title": "hello"}, to="readers")

        Args:
            args: the event's data; a single tuple is sent as several arguments, None as none.
            data: the same, as a keyword argument.
            options: to, room: a room, a sid, or a list of them. skip_sid, except_rooms: who is left out.
                namespace: default "/".

        Raises:
            TypeError, ValueError: the data cannot be written as JSON. EmitError: it could not be sent.
        """
        refuse_unknown("emit", options, Recipients)
        self.emit_to(broadcast_options(**options), event, arguments_of(args, data))

    def emit_to(self, to: BroadcastOptions, event: str, args: tuple[object, ...]) -> None:
        """Send an event with the arguments `args` to the recipients `to`; raises the same errors as `emit`.

            emitter.emit_to(broadcast_options(to="readers"), "news", ("hello",))

        For the package itself: programs call `emit`.
        """
        check_rooms(to.rooms, to.excepted)
        prepared = self._codec.prepare(PacketType.EVENT, to.namespace, (event, *args))
        envelope = Envelope(to.namespace, to.rooms, to.excepted, prepared)
        self._send(write_emit(envelope, self._host_id, self._codec, self._path))

    def send(self, data: object, json: bool = False, **options: Unpack[Recipients]) -> None:
        """Send the event `message`, or `json`, with one argument.

            emitter.send("hello", to="readers")

        Args:
            data: the argument of the event.
            json: True sends the event `json` instead of `message`.
            options: as of `emit`; the errors are also the same.
        """
        self.emit("json" if json else "message", data, **options)

    def disconnect(self, sid: str, namespace: str | None = None, reason: str | None = None) -> None:
        """Disconnect a client from a namespace.

            emitter.disconnect(sid, reason="the account was closed")

        Args:
            namespace: default "/".
            reason: sent to the client in the event `closing`, if it is connected to a server of this package.

        Raises:
            EmitError: the message could not be sent. It is no error if no server has the client.
        """
        detail = {} if reason is None else {"detail": reason}
        self._command(CommandKind.DISCONNECT, namespace, sid=sid, **detail)

    def expire(self, sid: str, at: float | None, namespace: str | None = None) -> None:
        """End a client's connection to "/" or `namespace` at the moment `at`, as `SocketIO.expire` does.

            emitter.expire(sid, claims["exp"])

        Raises TypeError, ValueError: as `SocketIO.expire`. EmitError: the message could not be sent.
        """
        moment = check_expiry(at, REAL.wall())
        self._command(CommandKind.EXPIRE, namespace, sid=sid, **({} if moment is None else {"at": moment}))

    def enter_room(self, sid: str, room: str | int, namespace: str | None = None) -> None:
        """Put a client into a room of "/" or `namespace`.

            emitter.enter_room(sid, "readers")

        Raises EmitError: the message could not be sent.
        """
        self._command(CommandKind.ENTER, namespace, sid=sid, room=room)

    def leave_room(self, sid: str, room: str | int, namespace: str | None = None) -> None:
        """Take a client out of a room of "/" or `namespace`.

            emitter.leave_room(sid, "readers")

        Raises EmitError: the message could not be sent.
        """
        self._command(CommandKind.LEAVE, namespace, sid=sid, room=room)

    def close_room(self, room: str | int, namespace: str | None = None) -> None:
        """Remove all clients from a room of "/" or `namespace`.

            emitter.close_room("readers")

        Raises EmitError: the message could not be sent.
        """
        self._command(CommandKind.CLOSE_ROOM, namespace, room=room)

    def close(self) -> None:
        """Close the connection. The end of a `with` block does this too.

            emitter.close()

        The next `emit` connects again.
        """
        with self._lock:
            self._way.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()

    def _command(self, method: CommandKind, namespace: str | None, **names: str | float) -> None:
        if "room" in names:
            check_rooms((names["room"],))
        if self._path is not None:
            names["path"] = self._path
        self._send(write_command(method, self._host_id, namespace or DEFAULT_NAMESPACE, **names))

    def _send(self, message: bytes) -> None:
        with self._lock:
            self._way.send(message)


@dataclass(slots=True)
class Way(Generic[Connection]):
    """How messages leave: each once more over a new connection when the old one turns out to be broken.

    Attributes:
        failure: what is said of a message that did not arrive.
        exchange: sends one and reads its answer; it raises EmitError when that is a refusal.
    """

    failure: str
    connect: Callable[[], Connection]
    exchange: Callable[[Connection, bytes], None]
    disconnect: Callable[[Connection], None]
    connection: Connection | None = None

    def send(self, message: bytes) -> None:
        """Raises EmitError."""
        fresh = self.connection is None
        while True:
            try:
                if self.connection is None:
                    self.connection = self.connect()
                self.exchange(self.connection, message)
                return
            except EmitError:
                raise
            except Exception as error:  # redis-py's own kinds have no common root with OSError
                self.close()
                if fresh:
                    reason = getattr(error, "strerror", None) or error
                    raise EmitError(f"{self.failure}: {reason}") from None
                fresh = True

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            self.disconnect(connection)


def broker_way(options: BrokerOptions, timeout_seconds: float) -> Way[BrokerConnection]:
    """PUBLISH to a broker, or XADD; what a package brings has times of its own."""
    channel = options.channel.encode()
    stream = Stream(channel, options.stream_max_count) if options.stream_max_count else None
    client = client_of(options)
    if client is None:
        times = {"socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds}
        make = connector(replace(options, redis_options={**times, **options.redis_options}))
    else:
        make = lambda: PluginConnection(client.publisher())  # noqa: E731

    def connect() -> BrokerConnection:
        connection = make()
        try:
            # One of a sentinel's does not ask it for the master when it connects by itself.
            connection.connect()
        except BaseException:
            connection.disconnect()  # it may be half there
            raise
        return connection

    def publish(connection: BrokerConnection, message: bytes) -> None:
        command = (b"PUBLISH", channel, message) if stream is None else stream.add(message)
        connection.send_command(*command, check_health=False)
        connection.read_response()

    failure = f"nothing was sent through the broker {without_password(options.url)}"
    return Way(failure, connect, publish, lambda connection: connection.disconnect())


def control_way(path: str, timeout_seconds: float) -> Way[Socket]:
    """A line to a server's control socket, and its answer."""
    failure = f"no server answers at the control socket {path}"
    return Way(failure, lambda: connect_unix(path, timeout_seconds), ask_control, Socket.close)


def ask_control(connection: Socket, message: bytes) -> None:
    """Raises EmitError: the server refuses. OSError: it is not there any more."""
    connection.sendall(message + b"\n")
    with connection.makefile("rb") as lines:
        answer = lines.readline(ANSWER_MAX_BYTES)
    if not answer.endswith(b"\n"):
        raise ConnectionError("the connection was closed before the answer")
    try:
        told = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        told = {}
    if not isinstance(told, dict) or told.get("ok") is not True:
        said = told.get("error") if isinstance(told, dict) else None
        raise EmitError(f"the server refused: {said or 'it does not speak this protocol'}")
