"""Connection state recovery by raw bytes over both transports: docs/protocol.md 2.5.

It must not know how the packets are carried. The JavaScript client does it in plain4.mjs and in a browser.
"""

import json
from pathlib import Path
from typing import Any

import pytest

APPS = Path(__file__).parents[1] / "apps"
SessionIds = dict[str, str]


def join(session: Any, auth: Any = None, namespace: str = "") -> SessionIds:
    """CONNECT; the sid and pid of the reply."""
    session.send(f"40{namespace}" + ("" if auth is None else json.dumps(auth)))
    reply = session.next()
    assert reply.startswith(f"40{namespace}{{"), reply
    names: SessionIds = json.loads(reply[2 + len(namespace) :])
    assert set(names) == {"sid", "pid"}
    session.name = names["sid"]
    return names


def enter(session: Any, room: str) -> None:
    session.send(f'429["enter","{room}"]')
    assert session.next() == "439[true]"


def said(session: Any) -> list[Any]:
    """The arguments of the next event, its offset included."""
    event: list[Any] = json.loads(session.next()[2:])
    assert event[0] == "said"
    return event[1:]


def say(session: Any, room: str, *values: Any, how: str = "say") -> None:
    """Said, and in the room's log, once the ack is back."""
    session.send("421" + json.dumps([how, room, *values]))
    assert session.next() == "431[]"


def lose(wire: Any, session: Any) -> None:
    """The connection goes without a goodbye, and the server has noticed."""
    if session.way == "polling":
        wire.poll(session.sid).close()
        wire.server.wait_for(f"{session.name} is gone: transport error\n")
    else:
        session.close()
        wire.server.wait_for(f"{session.name} is gone: transport close\n")


@pytest.fixture
def wire(open_wire: Any, engine_server: Any) -> Any:
    return open_wire(engine_server)


@pytest.fixture
def pair(wire: Any, way: str) -> tuple[Any, Any, SessionIds]:
    """One who speaks, one who will be lost; both joined, the second in the room named by its sid."""
    speaker, listener = wire.session(way), wire.session(way)
    join(speaker)
    return speaker, listener, join(listener)


def back(
    wire: Any, way: str, names: SessionIds, offset: str | None = None, namespace: str = ""
) -> tuple[Any, SessionIds]:
    session = wire.session(way)
    auth = {"pid": names["pid"]} | ({} if offset is None else {"offset": offset})
    return session, join(session, auth, namespace)


def test_2_5_events_carry_an_offset_unless_volatile_or_asking_for_an_ack(wire: Any, pair: Any) -> None:
    speaker, listener, names = pair
    say(speaker, names["sid"], 1)
    number, offset = said(listener)
    assert (number, type(offset)) == (1, str)
    # What is volatile needs a poll that waits for it.
    poll = wire.poll(listener.sid) if listener.way == "polling" else None
    say(speaker, names["sid"], 2, how="murmur")
    assert (listener.next() if poll is None else poll.answer().text) == '42["said",2]'
    listener.send('425["ask","why"]')
    question = listener.next()
    assert question.endswith('["question","why"]')
    listener.send(f'43{question[2 : question.index("[")]}["because"]')
    assert listener.next() == '435["because"]'


def test_2_5_a_lost_client_comes_back_with_its_names_rooms_and_missed_events(
    wire: Any, pair: Any, way: str
) -> None:
    speaker, listener, names = pair
    room = "room of " + names["sid"]
    enter(listener, room)
    say(speaker, room, "seen")
    (_, offset) = said(listener)
    lose(wire, listener)
    for number in range(3):
        say(speaker, room, number)
    say(speaker, "another room", "not for it")
    say(speaker, room, "volatile", how="murmur")
    again, same = back(wire, way, names, offset)
    assert same == names
    assert [said(again)[0] for _ in range(3)] == [0, 1, 2]
    say(speaker, room, "new")
    assert said(again)[0] == "new"


def test_2_5_a_client_that_had_received_nothing_comes_back(wire: Any, pair: Any, way: str) -> None:
    """Beyond the official server, whose client without an offset is new."""
    speaker, listener, names = pair
    lose(wire, listener)
    say(speaker, names["sid"], "missed")
    again, same = back(wire, way, names)
    assert (same, said(again)[0]) == (names, "missed")


def test_2_5_a_client_whose_loss_was_not_noticed_comes_back(wire: Any, pair: Any, way: str) -> None:
    speaker, listener, names = pair
    again, same = back(wire, way, names)
    assert same == names
    wire.server.wait_for(f"{names['sid']} is gone: transport error\n")
    assert listener.ended()
    say(speaker, names["sid"], "once")
    assert said(again)[0] == "once"


@pytest.mark.parametrize(
    ("pid", "offset", "namespace"), [("unknown", None, ""), (None, "unknown", ""), (None, None, "/open,")]
)
def test_2_5_an_unknown_secret_or_offset_begins_anew(
    wire: Any, pair: Any, way: str, pid: str | None, offset: str | None, namespace: str
) -> None:
    speaker, listener, names = pair
    lose(wire, listener)
    say(speaker, names["sid"], "missed")
    again, new = back(wire, way, names | ({"pid": pid} if pid else {}), offset, namespace)
    assert not set(new.values()) & set(names.values())
    again.send("41" + namespace, "40")
    assert again.next().startswith("40{")  # and nothing was replayed before


@pytest.mark.parametrize(
    ("goodbye", "reason"), [("41", "client disconnect"), ('42["leave"]', "server disconnect")]
)
def test_2_5_who_said_goodbye_does_not_come_back(
    wire: Any, pair: Any, way: str, goodbye: str, reason: str
) -> None:
    _, listener, names = pair
    listener.send(goodbye)
    wire.server.wait_for(f"{names['sid']} is gone: {reason}\n")
    _, new = back(wire, way, names)
    assert not set(new.values()) & set(names.values())


@pytest.mark.parametrize("bounds", [{"max_disconnection_duration": 0.000001}, {"max_bytes": 5000}])
def test_2_5_what_is_kept_is_bounded_in_time_and_bytes(
    serve: Any, open_wire: Any, way: str, bounds: dict[str, float]
) -> None:
    """When anything it missed is gone, a client begins anew: no recovery has holes."""
    wire = open_wire(serve(APPS, "plain_app:app", env={"RECOVERY": json.dumps(bounds)}))
    speaker, listener = wire.session(way), wire.session(way)
    join(speaker)
    names = join(listener)
    lose(wire, listener)
    for number in range(20):
        say(speaker, names["sid"], number, "x" * 500)
    again, new = back(wire, way, names)
    assert not set(new.values()) & set(names.values())
    say(speaker, new["sid"], "new")
    assert said(again)[0] == "new"


def test_2_5_without_the_option_there_is_no_secret(start: Any, way: str) -> None:
    session = start().session(way)
    session.send('40{"pid":"x","offset":"y"}')
    assert set(json.loads(session.next()[2:])) == {"sid"}
