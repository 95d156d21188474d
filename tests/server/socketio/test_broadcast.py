"""What names no room, or is no time, is refused where it is said (broadcast.py, broadcaster.py).

It must not know sockets: a hub on a clock of our own.
"""

from typing import Any

import pytest

from python_server.socketio.broadcast import BroadcastOptions, arguments_of, broadcast_options


@pytest.mark.parametrize("room", [{}, {"a": 1}, [[1]], [{}, "a"], bytearray(b"a")])
def test_what_cannot_be_a_key_is_no_room(room: Any) -> None:
    for words in ({"to": room}, {"room": room}, {"skip_sid": room}, {"except_rooms": room}):
        with pytest.raises(TypeError, match="cannot be rooms"):
            broadcast_options(**words)


@pytest.mark.parametrize("room", ["a", 5, ("a", 1), ["a", 5], {"a"}, None, "", frozenset({1}), b"a"])
def test_what_can_be_one_is(room: Any) -> None:
    assert broadcast_options(to=room).excepted == ()


def test_a_whole_room_that_is_none_is_not_waited_for(world: Any) -> None:
    """The question failed on the loop, and its asker waited for ever."""
    with pytest.raises(TypeError, match="cannot be rooms"):
        world.hub.call_room("q", (), BroadcastOptions(rooms=({},)), 1.0)
    sid = world.peer(None).join()
    for change in (world.hub.join, world.hub.leave):
        with pytest.raises(TypeError, match="cannot be rooms"):
            change("/", sid, [])


@pytest.mark.parametrize("seconds", [float("nan"), "5", b"5", [5]])
def test_a_time_that_is_none_is_refused(world: Any, seconds: Any) -> None:
    world.peer(None).join()
    with pytest.raises(TypeError, match="it is a number of seconds, or None"):
        world.hub.emit("q", (), callback=lambda socket, values: None, timeout_seconds=seconds)


@pytest.mark.parametrize(
    ("args", "data", "arguments"),
    [
        ((), None, ()),
        ((None,), None, ()),
        ((1,), None, (1,)),
        (((1, 2),), None, (1, 2)),
        (([1, 2],), None, ([1, 2],)),
        ((1, None), None, (1, None)),
        (((), 1), None, ((), 1)),
        ((), (1, 2), (1, 2)),
        ((), 0, (0,)),
    ],
)
def test_arguments_of_an_event(args: tuple[Any, ...], data: Any, arguments: tuple[Any, ...]) -> None:
    """None is none, a tuple is several, all else is one; by place or by name."""
    assert arguments_of(args, data) == arguments


def test_arguments_are_given_once() -> None:
    with pytest.raises(TypeError, match=r"^emit\(\) got multiple values for argument 'data'$"):
        arguments_of((1,), 2)
