"""Socket.IO 2 clients at a hub (socketio/protocol4.py): how they come in, their names, what they hear.

It must not know sockets, or how their payloads are framed.
"""

from typing import Any

import pytest

from python_server.engineio.packet import PROTOCOL4
from python_server.engineio.protocol3 import PROTOCOL3
from python_server.engineio.session import Session
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.client import ConnectionRefused
from python_server.socketio.recovery.option import recovery_log
from python_server.socketio.services import ClientTimeouts
from socketio_world import Link, Peer, World

PLACE = '{"_placeholder":true,"num":0}'


def old(world: Any) -> Peer:
    """A client that has opened its session, and nothing more."""
    peer = Peer(world, PROTOCOL3)
    world.run()
    return peer


def test_the_main_namespace_is_joined_by_opening(world: Any) -> None:
    """The answer has no data, and comes before what the connect handler emitted."""
    world.on(
        "connect",
        lambda socket, auth: world.hub.emit("hi", (auth,), to=BroadcastOptions(rooms=(socket.sid,))),
    )
    assert old(world).heard() == ["0", '2["hi",null]']


def test_the_sid_is_what_the_client_makes_up(world: Any) -> None:
    world.on("connect", namespace="/admin")
    peer = old(world)
    peer.say("0/admin,")
    assert peer.heard() == ["0", "0/admin,"]
    sockets = peer.session.context.sockets
    assert (sockets["/"].sid, sockets["/admin"].sid) == ("eio", "/admin#eio")
    assert world.hub.find("/admin", "/admin#eio") is sockets["/admin"]


@pytest.mark.parametrize(
    ("said", "auth"),
    [
        ("0/admin", None),
        ("0/admin,", None),
        ("0/admin?,", None),
        ("0/admin?&,", None),
        ("0/admin?token=x", {"token": "x"}),
        ("0/admin?token=x&n=%C3%A9%2C+%3F&empty=,", {"token": "x", "n": "é, ?", "empty": ""}),
        ("0/admin?token=" + "x" * 2000 + ",", {"token": "x" * 2000}),
        ("0/admin?a=1?b=2", {"a": "1?b=2"}),
    ],
)
def test_the_query_of_a_namespace_is_its_auth(world: Any, said: str, auth: Any) -> None:
    world.on("connect", namespace="/admin")
    peer = old(world)
    peer.say(said)
    assert peer.heard() == ["0", "0/admin,"]
    assert world.called == [("connect", (auth,))]


@pytest.mark.parametrize(
    "said",
    [
        "0",  # it has joined
        "0/?token=x",
        "0/" + "x" * 300,
        "0/admin?" + "&".join(f"a{number}=" for number in range(101)),
        "0/admin?sid=a&sid=b",
        '2/admin,["x"]',
        '2/?a=b,["x"]',
        "4/admin",
        "51-x",
        "51-" + "[" * 300,
        f'51-["x",{PLACE},{PLACE}]',
        "5" + "9" * 1000 + "-[]",
        "2" + "9" * 101 + '["x"]',
    ],
)
def test_what_the_protocol_refuses_ends_the_session(world: Any, said: str) -> None:
    world.on("connect", namespace="/admin")
    peer = old(world)
    peer.say(said, b"a")
    assert peer.link.closed


def test_text_where_an_attachment_is_due_ends_the_session(world: Any) -> None:
    peer = old(world)
    peer.say(f'51-["x",{PLACE}]', "0/admin?token=x,")
    assert peer.link.closed


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (False, '"Connection rejected by server"'),
        (ConnectionRefused("not you"), '"not you"'),
        (ConnectionRefused("not you", {"code": 7}), '{"code":7}'),
    ],
)
def test_a_refusal_is_its_data_or_its_sentence(world: Any, refusal: Any, said: str) -> None:
    def refuse(socket: Any, auth: Any) -> Any:
        if isinstance(refusal, Exception):
            raise refusal
        return refusal

    world.on("connect", refuse)
    world.on("connect", refuse, namespace="/admin")
    peer = old(world)
    peer.say("0/admin,", "0/x?a=b,")
    assert sorted(peer.heard()) == sorted(
        ["4" + said, "4/admin," + said, '4/x,{"message":"Invalid namespace"}']
    )
    assert not peer.link.closed


def test_a_refused_client_that_joins_nothing_is_sent_away() -> None:
    world = World(patience=ClientTimeouts(connect_timeout_seconds=10.0))
    world.on("connect", lambda socket, auth: False)
    peer = old(world)
    world.advance(10.0)
    assert peer.link.closed


def test_a_namespace_that_nobody_serves_is_an_error(world: Any) -> None:
    world.hub.handlers.only(["/shop"])
    peer = old(world)
    assert peer.heard() == ['4{"message":"Invalid namespace"}']


def test_always_connect_answers_first_and_then_sends_away() -> None:
    world = World(always_connect=True)
    world.on("connect", lambda socket, auth: False)
    assert old(world).heard() == ["0", "1"]


def test_events_acks_and_bytes_are_those_of_version_5(world: Any) -> None:
    """Over the WebSocket bytes have a type in front."""
    world.on("echo", lambda socket, *values: values)
    peer = old(world)
    peer.heard()
    peer.say('27["echo",1,"é"]', f'51-8["echo",{PLACE}]', b"\x04\x00\xff")
    assert peer.heard() == ['37[1,"é"]', f"61-8[{PLACE}]", b"\x04\x00\xff"]
    acks: list[Any] = []
    world.hub.emit(
        "q", (b"\x01",), BroadcastOptions(rooms=("eio",)), lambda socket, values: acks.append(values)
    )
    world.run()
    text, attachment = peer.heard()
    number = text[3:].partition("[")[0]
    assert (text, attachment) == (f'51-{number}["q",{PLACE}]', b"\x04\x01")
    peer.say(f"61-{number}[{PLACE}]", b"\x04\x02")
    assert acks == [[b"\x02"]]


def test_a_broadcast_reaches_both_versions(world: Any) -> None:
    former, current = old(world), world.peer()
    former.heard()
    for peer in (former, current):
        world.hub.join("/", peer.socket.sid, "blue")
    world.hub.emit("x", (b"\x00",), BroadcastOptions(rooms=("blue",)))
    world.run()
    assert former.heard() == [f'51-["x",{PLACE}]', b"\x04\x00"]
    assert current.heard() == [f'51-["x",{PLACE}]', b"\x00"]


@pytest.mark.parametrize("dialect", [PROTOCOL3, PROTOCOL4])
def test_who_joins_by_opening_is_counted_as_joined_once_it_polls(world: Any, dialect: Any) -> None:
    """On a WebSocket it is there already."""
    joined: list[Session] = []
    for on_websocket in (False, True):
        session = Session(
            "eio",
            world.sessions,
            None,
            lambda session, on: None,
            lambda session, reason: None,
            1000,
            joined.append,
            dialect,
        )
        if on_websocket:
            session.open_websocket(Link())
        world.sessions.session_opened(session)
        world.run()
        assert joined == [session] * (on_websocket and dialect is PROTOCOL3)


def test_there_is_no_recovery_for_them() -> None:
    """Their answer has no secret; that they are lost is the end; others keep theirs."""
    world = World(recovery=recovery_log(True))
    world.on("disconnect")
    former, current = old(world), world.peer(None)
    current.join()
    assert "pid" in current.names
    assert former.heard() == ["0"]
    assert former.socket.recovery is None
    former.lose()
    current.lose()
    assert [event for event, _ in world.called] == ["disconnect"] * 2
    again = old(world)
    assert again.heard() == ["0"]
    assert not again.socket.recovered


def test_leaving_a_namespace_and_being_sent_out_of_it(world: Any) -> None:
    for namespace in ("/a", "/b"):
        world.on("connect", namespace=namespace)
        world.on("disconnect", namespace=namespace)
    peer = old(world)
    peer.say("0/a,", "0/b,")
    peer.heard()
    world.called.clear()
    peer.say("1/a,")
    world.hub.disconnect("/b", "/b#eio")
    world.run()
    assert peer.heard() == ["1/b,"]
    assert [arguments for _, arguments in world.called] == [
        ("client namespace disconnect",),
        ("server namespace disconnect",),
    ]
    assert not peer.link.closed
