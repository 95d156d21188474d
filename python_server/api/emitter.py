"""Emitter: events for a server's clients from a process that serves nobody: a task queue, a console.

Must not know: hubs, rooms' members, frameworks.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Final, Protocol, Self

import msgspec

from python_server.net.sockets import Socket, connect_unix
from python_server.net.system import REAL
from python_server.net.threads import Lock
from python_server.socketio.broadcast import (
    DEFAULT_NAMESPACE,
    BroadcastOptions,
    as_arguments,
    broadcast_options,
)
from python_server.socketio.cluster.broker.url import (
    FLASK_CHANNEL,
    BrokerConnection,
    connector,
    without_password,
)
from python_server.socketio.cluster.broker.wire_json import write_command, write_emit
from python_server.socketio.cluster.port import BrokerOptions, CommandKind, Envelope, check_rooms
from python_server.socketio.packet import PacketType, TextCodec
from python_server.socketio.values import Rooms

TIMEOUT_SECONDS: Final = 5.0
ANSWER_MAX_BYTES: Final = 64 * 1024


class EmitError(ConnectionError):
    """What was said reached nobody: no server or no broker there, or it refused."""


class Way(Protocol):
    """Port: how one message leaves."""

    def send(self, message: bytes) -> None:
        """Raises EmitError."""

    def close(self) -> None: ...


class Emitter:
    """Speaks to the clients of running servers. Any thread.

    Args:
        url: a broker's, as `message_queue` takes it (redis://host, unix:///run/redis.sock, ...), or
            "unix:/path" (one colon, no double slash): the control socket of a server on this machine.
        channel: as the servers' option `channel`.
        path: of the Socket.IO server, where one process has several; control socket only.
        timeout_seconds: for each step of connecting and sending.

    Raises:
        BrokerError: the URL is malformed, or its package is not installed. ValueError: "unix:" alone.
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
            self._way: Way = ControlWay(control_path, timeout_seconds)
        else:
            times = {"socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds}
            options = BrokerOptions(url, channel, redis_options={**times, **(redis_options or {})})
            self._way = BrokerWay(options)

    def emit(
        self,
        event: str,
        *args: object,
        to: Rooms = None,
        room: Rooms = None,
        skip_sid: Rooms = None,
        except_rooms: Rooms = None,
        namespace: str | None = None,
    ) -> None:
        """Send an event to everybody, or to rooms.

        Args:
            args: the event's data; a tuple as the only one is several arguments, None is none.
            to, room: a room, a sid, or a list of them. skip_sid, except_rooms: whom to leave out.

        Raises:
            TypeError, ValueError: the data cannot be written as JSON. EmitError: it could not be sent.
        """
        options = broadcast_options(to, room, skip_sid, except_rooms, namespace)
        self.emit_to(options, event, as_arguments(args[0]) if len(args) == 1 else args)

    def emit_to(self, to: BroadcastOptions, event: str, args: tuple[object, ...]) -> None:
        """`emit` to whom `to` says; raises what `emit` does."""
        check_rooms(to.rooms, to.excepted)
        prepared = self._codec.prepare(PacketType.EVENT, to.namespace, (event, *args))
        envelope = Envelope(to.namespace, to.rooms, to.excepted, prepared)
        self._send(write_emit(envelope, self._host_id, self._codec, self._path))

    def send(
        self,
        data: object,
        json: bool = False,
        *,
        to: Rooms = None,
        room: Rooms = None,
        skip_sid: Rooms = None,
        except_rooms: Rooms = None,
        namespace: str | None = None,
    ) -> None:
        """`emit` of the event `message`, or `json`."""
        options = broadcast_options(to, room, skip_sid, except_rooms, namespace)
        self.emit_to(options, "json" if json else "message", as_arguments(data))

    def disconnect(self, sid: str, namespace: str | None = None, reason: str | None = None) -> None:
        """Send a client out; a reason reaches it as the event `closing` where our servers hold it."""
        detail = {} if reason is None else {"detail": reason}
        self._command(CommandKind.DISCONNECT, namespace, sid=sid, **detail)

    def enter_room(self, sid: str, room: str | int, namespace: str | None = None) -> None:
        """Put a client into a room."""
        self._command(CommandKind.ENTER, namespace, sid=sid, room=room)

    def leave_room(self, sid: str, room: str | int, namespace: str | None = None) -> None:
        """Take a client out of a room."""
        self._command(CommandKind.LEAVE, namespace, sid=sid, room=room)

    def close_room(self, room: str | int, namespace: str | None = None) -> None:
        """Everyone leaves the room."""
        self._command(CommandKind.CLOSE_ROOM, namespace, room=room)

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            self._way.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _command(self, method: CommandKind, namespace: str | None, **names: str | int) -> None:
        if "room" in names:
            check_rooms((names["room"],))
        if self._path is not None:
            names["path"] = self._path
        self._send(write_command(method, self._host_id, namespace or DEFAULT_NAMESPACE, **names))

    def _send(self, message: bytes) -> None:
        with self._lock:
            self._way.send(message)


class BrokerWay:
    """PUBLISH to a broker, once more over a new connection when the old one turns out to be broken."""

    def __init__(self, options: BrokerOptions) -> None:
        self._connect = connector(options)
        self._options = options
        self._connection: BrokerConnection | None = None

    def send(self, message: bytes) -> None:
        """Raises EmitError."""
        fresh = self._connection is None
        while True:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                    self._connection.connect()
                self._connection.send_command("PUBLISH", self._options.channel, message, check_health=False)
                self._connection.read_response()
                return
            except Exception as error:  # redis-py's own kinds have no common root with OSError
                self.close()
                if fresh:
                    place = without_password(self._options.url)
                    raise EmitError(f"nothing was sent through the broker {place}: {error}") from None
                fresh = True

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


class ControlWay:
    """A line to a server's control socket, and its answer."""

    def __init__(self, path: str, timeout_seconds: float) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._socket: Socket | None = None

    def send(self, message: bytes) -> None:
        """Raises EmitError."""
        fresh = self._socket is None
        while True:
            try:
                if self._socket is None:
                    self._socket = connect_unix(self._path, self._timeout_seconds)
                self._socket.sendall(message + b"\n")
                answer = self._read_line(self._socket)
                break
            except OSError as error:
                self.close()
                if fresh:
                    reason = error.strerror or str(error)
                    raise EmitError(
                        f"no server answers at the control socket {self._path}: {reason}"
                    ) from None
                fresh = True
        try:
            told = msgspec.json.decode(answer)
        except msgspec.DecodeError:
            told = {}
        if not isinstance(told, dict) or told.get("ok") is not True:
            said = told.get("error") if isinstance(told, dict) else None
            raise EmitError(f"the server refused: {said or 'it does not speak this protocol'}")

    @staticmethod
    def _read_line(sock: Socket) -> bytes:
        answer = b""
        while not answer.endswith(b"\n"):
            chunk = sock.recv(ANSWER_MAX_BYTES)
            if not chunk or len(answer) > ANSWER_MAX_BYTES:
                raise ConnectionError("the connection was closed before the answer")
            answer += chunk
        return answer

    def close(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()
