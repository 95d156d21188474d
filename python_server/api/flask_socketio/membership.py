"""The methods of SocketIO about clients and rooms, of any worker or machine.

Must not know: selectors, frames, transports; how an event's context is made.
"""

from __future__ import annotations

from typing import Any, cast, overload

from python_server.api.emitter import Emitter
from python_server.api.flask_socketio.registration import Registration
from python_server.api.flask_socketio.server import Server
from python_server.socketio.broadcast import DEFAULT_NAMESPACE
from python_server.socketio.values import RoomName


class RoomMembership(Registration):
    """Who is connected, and in which rooms.

    Attributes:
        server: python-socketio's methods.
    """

    server: Server
    _outside: Emitter | None = None  # of a process that serves nobody: a task queue, a console

    def close_room(self, room: RoomName, namespace: str | None = None) -> None:
        """Remove all clients from the room, in "/" or `namespace`.

            socketio.close_room("quiz 7")

        Raises ValueError: the room is the private room of a client (its sid).
        """
        if self._outside is not None:
            self._outside.close_room(cast("str | int", room), namespace)  # which looks
        else:
            self.server.close_room(room, namespace)

    @overload
    def room_members(self, room: RoomName = None, namespace: str | None = None) -> list[str]: ...

    @overload
    def room_members(
        self, room: RoomName = None, namespace: str | None = None, *, meta: bool
    ) -> list[Any]: ...

    def room_members(
        self, room: RoomName = None, namespace: str | None = None, *, meta: bool = False
    ) -> list[str] | list[dict[str, object]]:
        """Return the clients in a room of "/" or `namespace`, on all workers and machines.

            sids = socketio.room_members("quiz 7")

        Returns: their sids; with `meta` of each {"sid": "...", "key": "..." or None, "meta": {...} or None}.
        Without a room, all clients in the namespace.
        """
        return self.server.room_members(room, namespace, meta=meta)

    def disconnect(self, sid: str, namespace: str | None = None, reason: str | None = None) -> None:
        """Disconnect a client from the namespace.

            socketio.disconnect(sid, reason="the quiz is over")

        Args:
            namespace: default "/". reason: sent to the client just before, in the event `closing`.
        """
        if self._outside is not None:
            self._outside.disconnect(sid, namespace, reason)
        else:
            self._hub.disconnect(namespace or DEFAULT_NAMESPACE, sid, reason)

    def expire(self, sid: str, at: float | None, namespace: str | None = None) -> None:
        """End a client's connection to the namespace when its credentials end; a later call replaces this.

            socketio.expire(request.sid, claims["exp"])

        Then the client gets the event `closing` and is disconnected; the reason is `auth expired`.

        Args:
            at: in seconds since 1970; None: never. namespace: default "/".

        Raises:
            TypeError: `at` is not a number, or `sid` no text.
            ValueError: `at` has passed, or is more than ten years away.
        """
        if self._outside is not None:
            self._outside.expire(sid, at, namespace)
        else:
            self._hub.expire(namespace or DEFAULT_NAMESPACE, sid, at)
