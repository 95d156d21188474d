"""What travels between processes (port.py): rooms that can be named there; the backplane of a process alone.

It must not know how anything travels.
"""

from typing import Any

import pytest

from python_server.socketio.cluster.port import (
    ROOM_LIMIT,
    Backplane,
    BrokerOptions,
    Command,
    CommandKind,
    NoBackplane,
    PeerRequest,
    Question,
    QuestionKind,
    check_rooms,
)


@pytest.mark.parametrize("rooms", [None, (), ("red", "caf\u00e9", 0, -ROOM_LIMIT, ROOM_LIMIT - 1)])
def test_rooms_that_travel(rooms: tuple[Any, ...] | None) -> None:
    check_rooms(None, rooms)


@pytest.mark.parametrize("room", [("a", 1), 1.5, None, True, ROOM_LIMIT, -ROOM_LIMIT - 1, b"red", object()])
def test_rooms_that_do_not(room: Any) -> None:
    with pytest.raises(TypeError, match="cannot be named to other processes"):
        check_rooms(("red",), ("red", room))


def test_a_room_that_is_no_text() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        check_rooms(("\ud800",))


def test_a_process_alone_asks_nobody() -> None:
    backplane: Backplane = NoBackplane()
    ended: list[int] = []
    backplane.start(None)  # type: ignore[arg-type]
    backplane.publish(Command(CommandKind.CLOSE_ROOM, "/", room="red"))
    question = Question(QuestionKind.MEMBERS, "/")
    backplane.request(PeerRequest(question, lambda part: pytest.fail("nobody answers"), ended.append))
    backplane.close()
    assert (backplane.alone, ended) == (True, [0])


def test_what_travels_cannot_change_on_its_way() -> None:
    for value, name in (
        (Command(CommandKind.ENTER, "/", "sid", "red"), "room"),
        (Question(QuestionKind.ROOMS, "/", "sid"), "data"),
        (BrokerOptions("redis://h", "c"), "url"),
    ):
        with pytest.raises(AttributeError):
            setattr(value, name, "other")
