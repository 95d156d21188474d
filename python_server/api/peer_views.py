"""What programs read below the peers' Server: its `manager`, its `eio`, its `environ`.

Must not know: who registered what, Flask; nothing is changed through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from python_server.api.keywords import Function, ManagerKeywords, Sids, drop_unknown
from python_server.api.options import ENGINE_NAMES
from python_server.api.thread_words import ThreadWords
from python_server.engineio.options import EngineOptions
from python_server.socketio.broadcast import as_arguments, broadcast_options
from python_server.socketio.client import Socket, SocketState
from python_server.socketio.server import Hub
from python_server.socketio.values import JSONValue, RoomName, Rooms
from python_server.wsgi.environ import Environ

# By namespace, by room (None: everybody): the Engine.IO sid of each sid.
RoomTables: TypeAlias = dict[str, dict[RoomName, dict[str, str]]]


class Manager:
    """python-socketio's client manager: of the clients of this process, unless a method says more."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    @property
    def rooms(self) -> RoomTables:
        """`rooms[namespace][room][sid]` is the Engine.IO sid; the room None holds everybody.

        A copy: made in one turn of the server's own thread, so keep it instead of asking for each client.
        """
        services = self._hub.services
        return {} if services is None else services.door.ask(self._tables)

    def _tables(self) -> RoomTables:
        tables: RoomTables = {}
        for socket in self._hub.sockets():
            namespace = tables.setdefault(socket.namespace, {})
            for room in (None, *self._hub.rooms_of(socket.namespace, socket.sid)):
                namespace.setdefault(room, {})[socket.sid] = socket.client.session.sid
        return tables

    def get_namespaces(self) -> Iterable[str]:
        """The namespaces that somebody has joined."""
        return dict.fromkeys(socket.namespace for socket in self._hub.sockets()).keys()

    def get_participants(self, namespace: str, room: RoomName) -> list[tuple[str, str]]:
        """(sid, Engine.IO sid) of each client in the room, in every process; of everybody for None.

        The Engine.IO sid is a secret of its worker: it is "" for clients of other processes.
        """
        own = {s.sid: s.client.session.sid for s in self._hub.sockets() if s.namespace == namespace}
        return [(sid, own.get(sid, "")) for sid in self._hub.members_of(namespace, room)]

    def get_rooms(self, sid: str, namespace: str) -> list[JSONValue]:
        """The rooms of a client of any process."""
        return self._hub.rooms_of(namespace, sid)

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Is the client there, its connect handler done?"""
        socket = self._hub.find(namespace, sid)
        return socket is not None and socket.state is SocketState.CONNECTED

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """The client's name in a namespace."""
        sockets = (socket for socket in self._hub.sockets() if socket.namespace == namespace)
        return next((socket.sid for socket in sockets if socket.client.session.sid == eio_sid), None)

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """The name of the client's Engine.IO session."""
        socket = self._hub.find(namespace, sid)
        return None if socket is None else socket.client.session.sid

    def emit(
        self,
        event: str,
        data: object,
        namespace: str,
        room: Rooms = None,
        skip_sid: Sids = None,
        callback: Function | None = None,
        to: Rooms = None,
        **others: object,
    ) -> None:
        """`emit` of the server; raises TypeError as SocketIO's."""
        if others:
            drop_unknown("manager.emit", others, ManagerKeywords)
        self._hub.emit(
            event,
            as_arguments(data),
            broadcast_options(to, room, skip_sid, namespace=namespace),
            None if callback is None else lambda socket, values: callback(*values),
        )


@dataclass(frozen=True, slots=True)
class QueueManager:
    """A message queue as programs find it in `server_options["client_manager"]`: in words of RedisManager."""

    redis_url: str
    channel: str
    redis_options: Mapping[str, object]
    write_only: bool


@dataclass(frozen=True, slots=True)
class EngineSocket:
    """One session, as python-engineio's Socket tells of it."""

    sid: str
    upgraded: bool
    connected: bool = True
    closed: bool = False


class EngineView(ThreadWords):
    """`server.eio`: the options in python-engineio's words, and the sessions that are there."""

    def __init__(self, hub: Hub, options_of: Callable[[], EngineOptions]) -> None:
        self._hub = hub
        self._options_of = options_of

    def __getattr__(self, name: str) -> object:
        return getattr(self._options_of(), ENGINE_NAMES.get(name, name))

    @property
    def sockets(self) -> dict[str, EngineSocket]:
        """By Engine.IO sid; of the clients that have joined a namespace."""
        sessions = {socket.client.session.sid: socket.client.session for socket in self._hub.sockets()}
        return {sid: EngineSocket(sid, session.transport == "websocket") for sid, session in sessions.items()}

    def transport(self, sid: str) -> str:
        """ "polling" or "websocket". Raises KeyError: no such session."""
        return "websocket" if self.sockets[sid].upgraded else "polling"


class Environs(Mapping[str, Environ]):
    """The environs of handshakes by Engine.IO sid: those of the clients that are there when it is asked."""

    def __init__(self, hub: Hub, environ_of: Callable[[Socket], Environ]) -> None:
        self._hub = hub
        self._environ_of = environ_of

    def __getitem__(self, eio_sid: str) -> Environ:
        return self._environ_of(self._sockets()[eio_sid])

    def __iter__(self) -> Iterator[str]:
        return iter(self._sockets())

    def __len__(self) -> int:
        return len(self._sockets())

    def _sockets(self) -> dict[str, Socket]:
        return {socket.client.session.sid: socket for socket in self._hub.sockets()}
