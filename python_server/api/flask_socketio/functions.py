"""emit, send, call, join_room, ... for handlers: client, namespace and application come from the context.

Must not know: the hub; each asks the application's SocketIO.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack, cast, overload

import flask

from python_server.api.flask_socketio.api import EMIT_NAMES, SocketIO
from python_server.api.flask_socketio.context import current_application, current_request
from python_server.api.flask_socketio.event_runner import SOCKET_KEY
from python_server.api.keywords import CallKeywords, EmitKeywords, drop_unknown
from python_server.socketio.values import JSONValue, RoomName


def emit(event: str, *args: object, **options: Unpack[EmitKeywords]) -> None:
    """Send an event to the current client, to rooms, or to all clients.

        emit("told", {"a": 1}, to="room", include_self=False)

    Args:
        args: the event's data; a single tuple is sent as several arguments, None as none.
        options: as of `SocketIO.emit`, without `data`: to: a room, a sid, or a list of them.
            broadcast: True sends to all clients. namespace: default that of the current event.

    Raises:
        RuntimeError: outside a handler without recipients, because there is no current client. Other errors
            as of `SocketIO.emit`.
    """
    if not EMIT_NAMES.issuperset(options):
        options = cast("EmitKeywords", drop_unknown("emit", options, EmitKeywords))
    to_sender = options.get("to") is None and options.get("room") is None and not options.get("broadcast")
    if to_sender or "namespace" not in options:  # None there is the global one
        request = current_request("emit() without to= or broadcast=True" if to_sender else "emit()")
        if to_sender:
            options["to"] = request.sid
        options.setdefault("namespace", request.namespace)
    current_socketio().emit(event, *args, **options)


def send(message: object, json: bool = False, **options: Unpack[EmitKeywords]) -> None:
    """Send the event `message`, or `json`, with one argument.

        send("welcome", broadcast=True)

    Args:
        message: the argument of the event.
        json: True sends the event `json` instead of `message`.
        options: as of `emit`.

    Raises the same errors as `emit`.
    """
    emit("json" if json else "message", message, **options)


def call(event: str, *args: object, **options: Unpack[CallKeywords]) -> JSONValue:
    """Send an event to one client and wait for its acknowledgement.

        answer = call("sure?", "tea", timeout=10)

    Args:
        args: the event's data.
        options: as of `SocketIO.call`: to: a sid; default the current client. namespace: default that of the
            current event. timeout: seconds, default 60.

    Returns:
        The values of the acknowledgement: None, a single value, or a tuple.

    Raises:
        TimeoutError: no acknowledgement in time. Other errors as of `SocketIO.call`.
    """
    options = cast("CallKeywords", drop_unknown("call", options, CallKeywords))
    if "namespace" not in options:
        options["namespace"] = current_request("call()").namespace
    if options.get("room") is None and options.get("to") is None:
        options["to"] = current_request("call() without to=").sid
    return current_socketio().call(event, *args, **options)


def join_room(
    room: RoomName,
    sid: str | None = None,
    namespace: str | None = None,
    *,
    meta: Mapping[str, object] | None = None,
    key: str | None = None,
) -> None:
    """Put a client into a room. Events emitted afterwards reach it there.

        join_room("quiz 7", meta={"name": "Ann"}, key="user 1")

    Args:
        room: its name, a string or an integer. A room exists as long as a client is in it.
        sid: default the current client.
        namespace: default that of the current event.
        meta: what `room_members(meta=True)` and `on_room_join` tell of the client there, as JSON.
        key: clients with the same key are one member: it joins with the first and leaves with the last.

    Raises:
        RuntimeError: outside a handler, without `sid` or `namespace`.
        ValueError: `sid` is not connected, or the room is the private room of another client (its sid);
            `meta` and `key` are larger than `meta_max_bytes`. TypeError: `meta` cannot be written as JSON.
    """
    socketio, sid, namespace = _target("join_room()", sid, namespace)
    own = flask.request.__dict__.get(SOCKET_KEY) if flask.has_request_context() else None
    if own is not None and own.sid == sid and own.namespace == namespace and not _like_a_sid(room, sid):
        socketio._hub.join(namespace, sid, room, meta, key)  # nothing can be wrong with it: no need to wait
    else:
        socketio.server.enter_room(sid, room, namespace, meta=meta, key=key)


def update_meta(
    room: RoomName, meta: Mapping[str, object], sid: str | None = None, namespace: str | None = None
) -> None:
    """Replace what is known of a client in a room; `on_room_update` is told. It must be in the room.

        update_meta("quiz 7", {"name": "Ann", "typing": True})

    Args:
        room, meta: as of `join_room`. sid: default the current client.
        namespace: default that of the current event.

    Raises the same errors as `join_room`, but for a client that is not connected.
    """
    socketio, sid, namespace = _target("update_meta()", sid, namespace)
    socketio.server.update_meta(sid, room, meta, namespace)


def leave_room(room: RoomName, sid: str | None = None, namespace: str | None = None) -> None:
    """Take a client out of a room.

        leave_room("quiz 7")

    Args:
        sid: default the current client.
        namespace: default that of the current event.

    Raises:
        RuntimeError: outside a handler, without `sid` or `namespace`.
    """
    socketio, sid, namespace = _target("leave_room()", sid, namespace)
    socketio.server.leave_room(sid, room, namespace)


def close_room(room: RoomName, namespace: str | None = None) -> None:
    """Remove all clients from a room.

        close_room("quiz 7")

    Args:
        namespace: default that of the current event.

    Raises:
        RuntimeError: outside a handler, without `namespace`.
        ValueError: the room is the private room of a client (its sid).
    """
    namespace = namespace or current_request("close_room() without namespace=").namespace
    current_socketio().close_room(room, namespace)


def rooms(sid: str | None = None, namespace: str | None = None) -> list[JSONValue]:
    """Return the rooms of a client, including its private room (its sid).

        names = rooms()

    Args:
        sid: default the current client.
        namespace: default that of the current event.

    Returns:
        Their names.

    Raises:
        RuntimeError: outside a handler, without `sid` or `namespace`.
    """
    socketio, sid, namespace = _target("rooms()", sid, namespace)
    return socketio.server.rooms(sid, namespace)


@overload
def room_members(room: RoomName = None, namespace: str | None = None) -> list[str]: ...


@overload
def room_members(room: RoomName = None, namespace: str | None = None, *, meta: bool) -> list[Any]: ...


def room_members(
    room: RoomName = None, namespace: str | None = None, *, meta: bool = False
) -> list[str] | list[dict[str, object]]:
    """Return the clients in a room, on all workers and machines.

        sids = room_members("quiz 7")

    Args:
        room: the name of the room; None for all clients in the namespace.
        namespace: default that of the current event.
        meta: True also returns what `join_room` was told of them.

    Returns:
        Their sids; with `meta` of each {"sid": "...", "key": "user 1" or None, "meta": {...} or None}.

    Raises:
        RuntimeError: outside a handler, without `namespace`.
    """
    namespace = namespace or current_request("room_members() without namespace=").namespace
    return current_socketio().room_members(room, namespace, meta=meta)


def disconnect(
    sid: str | None = None, namespace: str | None = None, silent: bool = False, *, reason: str | None = None
) -> None:
    """Disconnect a client from the namespace.

        disconnect(reason="the quiz is over")

    Args:
        sid: default the current client.
        namespace: default that of the current event.
        silent: has no effect.
        reason: sent to the client just before, in the event `closing`.

    Raises:
        RuntimeError: outside a handler, without `sid` or `namespace`.
    """
    socketio, sid, namespace = _target("disconnect()", sid, namespace)
    socketio.disconnect(sid, namespace, reason)


def current_socketio() -> SocketIO:
    """The SocketIO of the current application."""
    found: SocketIO = current_application().extensions["socketio"]
    return found


def _target(what: str, sid: str | None, namespace: str | None) -> tuple[SocketIO, str, str]:
    sid = str(current_request(f"{what} without sid=").sid) if sid is None else sid
    if namespace is None:
        namespace = str(current_request(f"{what} without namespace=").namespace)
    return current_socketio(), sid, namespace


def _like_a_sid(room: RoomName, sid: str) -> bool:
    return isinstance(room, str) and len(room) == len(sid) and room != sid
