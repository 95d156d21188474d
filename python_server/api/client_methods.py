"""The methods of python-socketio's Server that ask or move one client, over a hub.

Must not know: Flask, WSGI, options, how handlers are registered; the handshake's environ comes from the
function it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, overload

from python_server.api.keywords import SessionData
from python_server.socketio.broadcast import DEFAULT_NAMESPACE, as_arguments
from python_server.socketio.client import Socket
from python_server.socketio.server import Hub
from python_server.socketio.values import JSONValue, RoomName
from python_server.wsgi.environ import Environ


class ClientMethods:
    """python-socketio's methods that ask or move one client, in `namespace` where it is given.

    Attributes:
        namespace: the one that is meant where none is said.
    """

    namespace: str = DEFAULT_NAMESPACE
    _hub: Hub
    _environ_of: Callable[[Socket], Environ]

    def _speak_through(self, other: ClientMethods) -> None:
        self._hub, self._environ_of = other._hub, other._environ_of

    def call(
        self,
        event: str,
        data: object = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float | None = 60,
        ignore_queue: bool = False,
    ) -> JSONValue:
        """Send an event to one client of `namespace` and wait for its acknowledgement.

            answer = server.call("sure?", "tea", to=sid, timeout=10)

        Args:
            data: None sends no argument, a tuple several, anything else one. to: the client's sid.
            timeout: seconds; None waits without a limit. ignore_queue: has no effect.

        Returns: the values of the acknowledgement: None, a single value, or a tuple.

        Raises:
            ValueError: no client is given, or more than one. RuntimeError: it could never return.
            TimeoutError: no acknowledgement within `timeout` seconds, or the client has left.
        """
        target = to if to is not None else sid
        if not isinstance(target, str):
            raise ValueError("Cannot use call() to broadcast. It asks one client: `to` is its sid")
        values = self._hub.call(event, as_arguments(data), namespace or self.namespace, target, timeout)
        return None if not values else values[0] if len(values) == 1 else tuple(values)

    def enter_room(
        self,
        sid: str,
        room: RoomName,
        namespace: str | None = None,
        *,
        meta: Mapping[str, object] | None = None,
        key: str | None = None,
    ) -> None:
        """Put a client into a room of `namespace`; `meta` and `key` as of `python_server.join_room`.

            server.enter_room(sid, "readers")

        Raises ValueError: the client is not connected, or the room is the private room of another client;
            `meta` is too large. TypeError: `meta` cannot be written as JSON.
        """
        self._hub.enter(namespace or self.namespace, sid, room, meta, key)

    def update_meta(
        self, sid: str, room: RoomName, meta: Mapping[str, object], namespace: str | None = None
    ) -> None:
        """Replace what is known of a client in a room of `namespace`. Nothing happens if it is not there.

            server.update_meta(sid, "readers", {"name": "Ann"})

        Raises ValueError, TypeError: `meta` is too large, or cannot be written as JSON.
        """
        self._hub.update(namespace or self.namespace, sid, room, meta)

    @overload
    def room_members(self, room: RoomName, namespace: str | None = None) -> list[str]: ...

    @overload
    def room_members(self, room: RoomName, namespace: str | None = None, *, meta: bool) -> list[Any]: ...

    def room_members(
        self, room: RoomName, namespace: str | None = None, *, meta: bool = False
    ) -> list[str] | list[dict[str, object]]:
        """Return the clients in a room of `namespace`, on all workers and machines; in None: all.

            sids = server.room_members("readers")

        Returns: their sids; with `meta` of each {"sid": "...", "key": "..." or None, "meta": {...} or None}.
        """
        find = self._hub.details_of if meta else self._hub.members_of
        found: list[Any] = find(namespace or self.namespace, room)
        return found

    def leave_room(self, sid: str, room: RoomName, namespace: str | None = None) -> None:
        """Take a client out of a room of `namespace`.

            server.leave_room(sid, "readers")

        Nothing happens for a client that has gone.
        """
        self._hub.leave(namespace or self.namespace, sid, room)

    def rooms(self, sid: str, namespace: str | None = None) -> list[JSONValue]:
        """Return the rooms of a client in `namespace`.

            names = server.rooms(sid)

        Returns: their names, including the client's private room (its sid).
        """
        return self._hub.rooms_of(namespace or self.namespace, sid)

    def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Disconnect a client from `namespace`.

            server.disconnect(sid)

        `ignore_queue` has no effect.
        """
        self._hub.disconnect(namespace or self.namespace, sid)

    def expire(self, sid: str, at: float | None, namespace: str | None = None) -> None:
        """End a client's connection to `namespace` when its credentials end. A later call replaces this one.

            server.expire(sid, claims["exp"])

        Then the client gets the event `closing` and is disconnected; the reason is `auth expired`.

        Args:
            at: in seconds since 1970; None: never.

        Raises:
            TypeError: `at` is not a number, or `sid` no text.
            ValueError: `at` has passed, or is more than ten years away.
        """
        self._hub.expire(namespace or self.namespace, sid, at)

    def transport(self, sid: str, namespace: str | None = None) -> str:
        """Return the transport of a client of `namespace`.

            if server.transport(sid) == "websocket": ...

        Returns: "polling" or "websocket". Raises KeyError: no such client.
        """
        return self._find(sid, namespace).client.session.transport

    def get_environ(self, sid: str, namespace: str | None = None) -> Environ | None:
        """Return the environ of the handshake request of a client in `namespace`.

            agent = server.get_environ(sid).get("HTTP_USER_AGENT")

        Returns: a dictionary; None for an unknown client.
        """
        socket = self._hub.find(namespace or self.namespace, sid)
        return None if socket is None else self._environ_of(socket)

    def get_session(self, sid: str, namespace: str | None = None) -> SessionData:
        """Return the program's data for a client in `namespace`. This is not Flask's session.

            name = server.get_session(sid)["name"]

        Returns: the client's dictionary. Raises KeyError: no such client.
        """
        socket = self._find(sid, namespace)
        if socket.data is None:
            socket.data = {}
        data: SessionData = socket.data
        return data

    def save_session(self, sid: str, session: SessionData, namespace: str | None = None) -> None:
        """Replace the client's dictionary in `namespace` by `session`.

            server.save_session(sid, {"name": "ann"})

        Raises KeyError: no such client.
        """
        self._find(sid, namespace).store(session)

    @contextmanager
    def session(self, sid: str, namespace: str | None = None) -> Iterator[SessionData]:
        """Open the client's dictionary in `namespace`; it is saved at the end of the block.

            with server.session(sid) as session: session["name"] = "ann"

        Returns: a context manager. Raises KeyError: no such client.
        """
        session = self.get_session(sid, namespace)
        yield session
        self.save_session(sid, session, namespace)

    def is_asyncio_based(self) -> bool:
        """Tell whether the methods are coroutines.

            assert not server.is_asyncio_based()

        Returns: False.
        """
        return False

    def _find(self, sid: str, namespace: str | None) -> Socket:
        socket = self._hub.find(namespace or self.namespace, sid)
        if socket is None:
            raise KeyError(f"no client {sid!r} in namespace {namespace or self.namespace!r}")
        return socket
