"""To whom an event goes, said once by whoever emits, in the words of all who may. Sans-I/O.

Must not know: who is in a room, how a message is written, where it is sent.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from python_server.socketio.values import RoomName, Rooms

DEFAULT_NAMESPACE: Final = "/"


class BroadcastOptions(NamedTuple):
    """The recipients of one event: the BroadcastOptions of Socket.IO's adapters.

    A tuple, because every emit makes one.

    Attributes:
        rooms: a client in any of them receives the event once; None is the whole namespace.
        excepted: rooms, or sids, whose members do not receive it.
        local: to the clients of this process only. volatile: dropped for who cannot take it at once.
    """

    namespace: str = DEFAULT_NAMESPACE
    rooms: tuple[RoomName, ...] | None = None
    excepted: tuple[RoomName, ...] = ()
    local: bool = False
    volatile: bool = False


EVERYBODY: Final = BroadcastOptions()


def broadcast_options(
    to: Rooms = None,
    room: Rooms = None,
    skip_sid: Rooms = None,
    except_rooms: Rooms = None,
    namespace: str | None = None,
    ignore_queue: bool = False,
    volatile: bool = False,
) -> BroadcastOptions:
    """The keywords of every `emit` as one value.

    Args:
        to, room: a room, a sid, or a list of them; `to` goes before `room`. skip_sid, except_rooms: whom to
            leave out. ignore_queue: to the clients of this process only.

    Raises:
        TypeError: a list or a dict instead of a room's name.
    """
    excepted: tuple[RoomName, ...] = ()
    if skip_sid is not None:
        excepted = as_rooms(skip_sid) or ()
    if except_rooms is not None:
        excepted += as_rooms(except_rooms) or ()
    return BroadcastOptions(
        namespace or DEFAULT_NAMESPACE, as_rooms(room if to is None else to), excepted, ignore_queue, volatile
    )


def as_rooms(value: Rooms) -> tuple[RoomName, ...] | None:
    """One room, or a list of them; None is everybody. Raises TypeError: one of them can be no room."""
    if type(value) is str:
        return (value,)
    if value is None:
        return None
    return check_hashable(tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else (value,))


def check_hashable(rooms: tuple[RoomName, ...]) -> tuple[RoomName, ...]:
    """Refuse with TypeError, in the caller's thread, what the loop could find nobody by."""
    try:
        hash(rooms)
    except TypeError:
        raise TypeError(
            f"{rooms!r:.200} cannot be rooms: a room is a string, an integer or another hashable value"
        ) from None
    return rooms


def as_arguments(data: object) -> tuple[object, ...]:
    """An event's arguments: None is none, a tuple is several, all else is one."""
    if data is None:
        return ()
    return data if isinstance(data, tuple) else (data,)


def arguments_of(args: tuple[object, ...], data: object) -> tuple[object, ...]:
    """`as_arguments` of what an `emit` was given by place, or by the name `data`. Raises TypeError: both."""
    if data is not None:
        if args:
            raise TypeError("emit() got multiple values for argument 'data'")
        args = (data,)
    return as_arguments(args[0]) if len(args) == 1 else args
