"""How clients come into namespaces, are refused, and leave; jobs run when the test says so.

It must not know sockets.
"""

import json
from typing import Any

import pytest

from python_server.engineio.session import DisconnectReason
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.client import (
    HELD_MAX_BYTES,
    ConnectionRefused,
)
from python_server.socketio.connections import NAMESPACES_MAX_COUNT
from python_server.socketio.services import ClientTimeouts

PLACE = '{"_placeholder":true,"num":0}'


def closed(peer: Any) -> bool:
    return bool(peer.link.closed)


def test_connect_is_answered_with_a_public_sid_of_each_namespace(world: Any) -> None:
    world.on("x", namespace="/shop")
    peer = world.peer(None)
    assert len({peer.join(), peer.join("/shop"), peer.session.sid}) == 3


def test_the_handler_gets_auth(world: Any) -> None:
    world.on("connect")
    world.peer(None).join(auth={"key": "s3"})
    world.peer()
    assert world.called == [("connect", ({"key": "s3"},)), ("connect", (None,))]


def test_the_reply_comes_before_what_the_connect_handler_emitted(world: Any) -> None:
    world.on(
        "connect", lambda socket, auth: world.hub.emit("hi", (1,), to=BroadcastOptions(rooms=(socket.sid,)))
    )
    peer = world.peer(None)
    peer.say("0")
    reply, event = peer.heard()
    assert reply.startswith('0{"sid":')
    assert event == '2["hi",1]'


def test_an_unknown_namespace(world: Any) -> None:
    peer = world.peer(None)
    peer.say("0/x,")
    assert peer.heard() == ['4/x,{"message":"Invalid namespace"}']
    assert not closed(peer)


@pytest.mark.parametrize(
    ("refuse", "error"),
    [
        (lambda: False, {"message": "Connection rejected by server"}),
        (ConnectionRefused("no entry"), {"message": "no entry"}),
        (ConnectionRefused("no entry", {"code": 7}), {"message": "no entry", "data": {"code": 7}}),
        (RuntimeError("a bug"), {"message": "Connection rejected by server"}),
    ],
)
def test_a_refusal_has_message_and_data(world: Any, refuse: Any, error: Any) -> None:
    def connect(socket: Any, auth: Any) -> Any:
        if isinstance(refuse, Exception):
            raise refuse
        return refuse()

    world.on("connect", connect)
    peer = world.peer(None)
    peer.say("0")
    (packet,) = peer.heard()
    assert packet[0] == "4"
    assert json.loads(packet[1:]) == error
    assert len(world.reports) == isinstance(refuse, RuntimeError)
    assert world.hub.members_of("/", None) == []
    peer.say('2["a"]')
    assert closed(peer)


def test_a_second_connect_closes(world: Any) -> None:
    peer = world.peer()
    peer.say("0")
    assert closed(peer)


@pytest.mark.parametrize("packet", ['2["a"]', "30[]", "1", f'51-["a",{PLACE}]', "1/shop,", '2/shop,["a"]'])
def test_anything_but_connect_before_it_closes(world: Any, packet: str) -> None:
    peer = world.peer(None)
    peer.say(packet, *([b"x"] if packet[0] == "5" else []))
    assert closed(peer)


def test_who_joins_nothing_is_sent_away(world: Any) -> None:
    silent, joined, refused = world.peer(None), world.peer(), world.peer(None)
    refused.say("0/x,")
    world.advance(ClientTimeouts().connect_timeout_seconds)
    assert [closed(peer) for peer in (silent, joined, refused)] == [True, False, True]


def test_a_slow_connect_handler_is_not_the_clients_fault(world: Any) -> None:
    world.on("connect")
    peer = world.peer(None)
    peer.say("0", run=False)
    world.now += ClientTimeouts().connect_timeout_seconds
    for timer in list(world.timers):
        if timer.function and timer.when <= world.now:
            timer.function()
    assert not closed(peer)
    world.run()
    assert len(peer.heard()) == 1


def test_a_client_that_leaves_while_its_connect_handler_runs(world: Any) -> None:
    """Its disconnect handler runs behind it, with the reason, and nothing is left."""
    world.on("connect")
    world.on("disconnect")
    peer = world.peer(None)
    peer.say("0", run=False)
    peer.session.end(DisconnectReason.PING_TIMEOUT)
    assert world.called == []
    world.run()
    assert world.called == [("connect", (None,)), ("disconnect", ("ping timeout",))]
    assert world.hub.members_of("/", None) == []


def test_a_refused_client_that_left_already(world: Any) -> None:
    world.on("connect", lambda socket, auth: False)
    world.on("disconnect")
    peer = world.peer(None)
    peer.say("0", run=False)
    peer.session.end(DisconnectReason.TRANSPORT_CLOSE)
    world.run()
    assert world.called == [("connect", (None,))]


def test_what_is_held_behind_the_reply_is_bounded(world: Any) -> None:
    world.on("connect")
    peer = world.peer(None)
    peer.say("0", run=False)
    text = "x" * (1024 * 1024)
    for _ in range(HELD_MAX_BYTES // len(text) + 1):
        world.hub.emit("big", (text,))
        world.drain()
    assert closed(peer)


def test_a_client_cannot_join_namespaces_without_end(world: Any) -> None:
    world.hub.handlers.allow("*")
    peer = world.peer(None)
    for number in range(NAMESPACES_MAX_COUNT):
        peer.say(f"0/n{number},")
    assert not closed(peer)
    peer.say("0/one-more,")
    assert closed(peer)
    assert world.sessions._connections._rooms.adapters == {}


def test_a_client_leaves_a_namespace_and_its_transport_stays(world: Any) -> None:
    world.on("disconnect")
    peer = world.peer()
    peer.say("1")
    assert (peer.heard(), closed(peer)) == ([], False)
    assert world.called == [("disconnect", ("client namespace disconnect",))]
    peer.join()


def test_the_server_sends_a_client_out(world: Any) -> None:
    world.on("disconnect")
    peer = world.peer(None)
    sid = peer.join()
    world.hub.disconnect("/", sid)
    world.hub.disconnect("/", "nobody")
    world.run()
    assert (peer.heard(), closed(peer)) == (["1"], False)
    assert world.called == [("disconnect", ("server namespace disconnect",))]


def test_a_lost_client_leaves_every_namespace(world: Any) -> None:
    for namespace in ("/", "/shop"):
        world.on("disconnect", namespace=namespace)
    peer = world.peer()
    peer.join("/shop")
    peer.lose(DisconnectReason.TRANSPORT_ERROR)
    assert world.called == [("disconnect", ("transport error",))] * 2


@pytest.mark.parametrize("leave", ["1", "1/shop,"])
def test_a_disconnect_handler_still_knows_who_has_left(world: Any, leave: str) -> None:
    """Its rooms, and itself with session and environ; it is no member of anything any more."""
    namespace = leave[1:-1] or "/"
    known: list[Any] = []

    def gone(socket: Any, reason: str) -> None:
        found = world.hub.find(namespace, socket.sid)
        known.append([found is socket, world.hub.rooms_of(namespace, socket.sid)])
        known.append(world.hub.members_of(namespace, "blue"))

    world.on("disconnect", gone, namespace=namespace)
    peer = world.peer(None)
    sid = peer.join(namespace)
    world.hub.enter(namespace, sid, "blue")
    peer.say(leave)
    assert known == [[True, [sid, "blue"]], []]
    assert world.hub.find(namespace, sid) is None
    assert world.hub.rooms_of(namespace, sid) == []


def test_an_empty_auth_is_none(world: Any) -> None:
    """python-socketio's client sends `{}` where it was given none, and its server says None."""
    world.on("connect")
    world.peer(None).join(auth={})
    assert world.called == [("connect", (None,))]
