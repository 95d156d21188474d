"""What happens around a handler: its result, its faults, and the handler of rooms.

It must not know sockets.
"""

from typing import Any

import pytest

from python_server.observe.masking import short
from python_server.socketio import handler_runner
from python_server.socketio.client import InvalidArguments

PLACE = '{"_placeholder":true,"num":0}'


def closed(peer: Any) -> bool:
    return bool(peer.link.closed)


@pytest.mark.parametrize(
    ("result", "ack"),
    [(None, "37[]"), (1, "37[1]"), ((1, 2), "37[1,2]"), ([1, 2], "37[[1,2]]"), ((), "37[]")],
)
def test_the_result_is_the_ack(world: Any, result: Any, ack: str) -> None:
    world.on("a", lambda socket: result)
    peer = world.peer()
    peer.say('27["a"]', '2["a"]')
    assert peer.heard() == [ack]


def test_a_binary_ack(world: Any) -> None:
    world.on("a", lambda socket, data: data)
    peer = world.peer()
    peer.say(f'51-7["a",{PLACE}]', b"\x01")
    assert peer.heard() == [f"61-7[{PLACE}]", b"\x01"]


def test_refused_arguments_are_answered_and_told_without_what_they_were(world: Any) -> None:
    def refuse(socket: Any, value: Any) -> None:
        raise InvalidArguments(f"Invalid value {value!r}", "$[0].a")

    world.on("a", refuse)
    peer = world.peer()
    peer.say('2["a","secret"]', '27["a","secret"]')
    assert peer.heard() == ["""37[{"error":"Invalid value 'secret'","path":"$[0].a"}]"""]
    assert world.reports == []
    line = f"event 'a' of {short(peer.socket.sid)} in '/' was refused: at $[0].a it is not what its handler"
    assert [each.startswith(line) for each in world.complaints] == [True, True]
    assert not closed(peer)


def test_no_ack_without_a_handler_and_none_from_one_that_failed(world: Any) -> None:
    def fail(socket: Any) -> None:
        raise RuntimeError("a bug")

    world.on("b", fail)
    peer = world.peer()
    peer.say('27["a"]', '28["b"]')
    assert peer.heard() == []
    assert [what for what, _ in world.reports] == ["handler of event 'b'"]
    assert world.reports[0][0].fields == {"event": "b", "namespace": "/", "sid": short(peer.socket.sid)}
    assert not closed(peer)


@pytest.mark.parametrize("event", ["connect", "disconnect"])
def test_a_fault_of_a_clients_begin_or_end_names_its_client(world: Any, event: str) -> None:
    sids: list[str] = []

    def fail(socket: Any, *values: Any) -> None:
        sids.append(socket.sid)
        raise RuntimeError("a bug")

    world.on(event, fail, namespace="/chat")
    peer = world.peer(None)
    peer.say("0/chat,")
    peer.lose()
    (what, _), *_ = world.reports
    assert what == f"handler of event '{event}'"
    assert what.fields == {"event": event, "namespace": "/chat", "sid": short(sids[0])}


def test_moves_that_nobody_hears_fast_enough_are_bounded(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_runner, "PRESENCE_MAX_COUNT", 3)
    told: list[Any] = []
    world.on("x")
    peer = world.peer()
    world.hub.handlers.on_presence(lambda kind, namespace, sid, room: told.append((kind, room)))
    sid = peer.names["sid"]
    for room in range(10):
        world.hub.join("/", sid, room)
    assert all("on_room_join" in sentence for sentence in world.complaints)
    assert len(world.complaints) == 7
    world.run()
    assert told == [("join", room) for room in range(3)]
    world.hub.leave("/", sid, 0)
    world.run()
    assert told[3:] == [("leave", 0)]


def held_back(results: list[Any], begun: list[Any]) -> Any:
    """A handler whose result comes when the test calls what it has put into `begun`."""
    return lambda socket, *arguments: handler_runner.Waiting(
        lambda resume: begun.append(lambda: resume(lambda: results.pop(0)))
    )


def test_the_next_event_waits_for_a_result_that_is_not_there_yet(world: Any) -> None:
    begun: list[Any] = []
    world.on("slow", held_back([7], begun))
    world.on("next")
    peer = world.peer()
    peer.say('21["slow"]', '22["next"]')
    assert [name for name, _ in world.called] == ["slow"]
    assert peer.heard() == []
    begun[0]()
    world.run()
    assert peer.heard() == ["31[7]", "32[]"]
    assert [name for name, _ in world.called] == ["slow", "next"]


def test_an_unordered_handler_that_waits_holds_nobody_back(world: Any) -> None:
    begun: list[Any] = []
    world.on("slow", held_back([(1, 2)], begun), ordered=False)
    world.on("next")
    peer = world.peer()
    peer.say('21["slow"]', '22["next"]')
    assert peer.heard() == ["32[]"]
    begun[0]()
    world.run()
    assert peer.heard() == ["31[1,2]"]


def test_a_fault_that_comes_late_is_logged_once_and_the_next_event_goes_on(world: Any) -> None:
    begun: list[Any] = []

    def wait_and_fail(socket: Any) -> Any:
        def fail() -> None:
            raise LookupError("late")

        return handler_runner.Waiting(lambda resume: begun.append(lambda: resume(fail)))

    world.on("slow", wait_and_fail)
    world.on("next")
    peer = world.peer()
    peer.say('21["slow"]', '22["next"]', run=True)
    begun[0]()
    world.run()
    assert [(what, str(error)) for what, error in world.reports] == [("handler of event 'slow'", "late")]
    assert peer.heard() == ["32[]"]


def test_a_fault_of_the_handler_of_rooms_is_logged(world: Any) -> None:
    told: list[Any] = []

    def presence(kind: str, namespace: str, sid: str, room: Any) -> None:
        told.append((kind, namespace, room == sid or room))
        raise ValueError("told")

    world.hub.handlers.presence = presence
    peer = world.peer(None)
    sid = peer.join()
    world.hub.join("/", sid, "red")
    world.run()
    assert ("join", "/", "red") in told
    assert {(what, str(error)) for what, error in world.reports} == {("presence handler", "told")}
