"""What comes in: events to their handlers, packets that are refused, clients that send too much.

It must not know sockets.
"""

import json
from dataclasses import replace
from typing import Any

import pytest

from python_server.net.client_backlog import HARD_COUNT, SOFT_BYTES, SOFT_COUNT
from python_server.socketio.jsoncodec import OWN_WORDS
from python_server.socketio.packet import TextCodec
from python_server.socketio.traffic import Traffic

PLACE = '{"_placeholder":true,"num":0}'


def closed(peer: Any) -> bool:
    return bool(peer.link.closed)


def test_events_reach_their_handler_in_order_with_their_arguments(world: Any) -> None:
    world.on("a")
    world.on("b", namespace="/shop")
    peer = world.peer()
    peer.join("/shop")
    peer.say('2["a",1,[2]]', '2/shop,["b",{"c":null}]', '2["a"]')
    assert world.called == [("a", (1, [2])), ("b", ({"c": None},)), ("a", ())]


@pytest.mark.parametrize("name", ["connect", "disconnect", "connect_error", "disconnecting", "newListener"])
def test_reserved_names_never_reach_a_handler(world: Any, name: str) -> None:
    world.on(name)
    world.on("*")
    peer = world.peer()
    world.called.clear()
    peer.say(f'2["{name}",{{"who":"ROOT"}}]')
    assert closed(peer)
    assert [call for call in world.called if call[1] != ("parse error",)] == []


@pytest.mark.parametrize("packet", ["2[", "9", "4{}", "2{}", '50-["a"]', '2["a"]x'])
def test_a_malformed_packet_closes_and_only_this_client(world: Any, packet: str) -> None:
    world.on("disconnect")
    other, peer = world.peer(), world.peer()
    peer.say(packet)
    assert (closed(peer), closed(other)) == (True, False)
    assert world.called == [("disconnect", ("parse error",))]
    assert world.reports == []


def test_a_stray_binary_message_closes(world: Any) -> None:
    peer = world.peer()
    peer.say(b"x")
    assert closed(peer)


def test_text_between_attachments_closes(world: Any) -> None:
    world.on("a")
    peer = world.peer()
    peer.say(f'51-["a",{PLACE}]', '2["a"]')
    assert closed(peer)
    assert world.called == []


def test_attachments_that_do_not_come_in_time_close(world: Any) -> None:
    slow, quick = world.peer(), world.peer()
    slow.say(f'51-["a",{PLACE}]')
    world.advance(20.0)
    quick.say(f'51-["a",{PLACE}]')
    world.advance(15.0)
    assert (closed(slow), closed(quick)) == (True, False)
    quick.say(b"x")
    world.advance(60.0)
    assert not closed(quick)


def test_a_half_received_packet_is_dropped_with_its_client(world: Any) -> None:
    peer = world.peer()
    peer.say(f'51-["a",{PLACE}]')
    peer.lose()
    assert world.sessions._unfinished == {}


def test_an_inline_handler_runs_at_once_but_in_its_turn(world: Any) -> None:
    world.on("slow")
    world.on("quick", inline=True)
    peer = world.peer()
    peer.say('2["quick"]', run=False)
    assert world.called == [("quick", ())]
    peer.say('2["slow"]', '2["quick",2]', run=False)
    assert world.called == [("quick", ())]
    world.run()
    assert world.called == [("quick", ()), ("slow", ()), ("quick", (2,))]


def test_an_event_is_decoded_once(make_world: Any) -> None:
    decoded: list[str] = []

    def loads(text: str) -> Any:
        decoded.append(text)
        return OWN_WORDS.loads(text)

    world = make_world(codec=TextCodec(replace(OWN_WORDS, loads=loads)))
    world.on("a", lambda socket, *arguments: arguments)
    peer = world.peer()
    peer.say('27["a",{"b":[1]}]', f'51-["a",{PLACE}]', b"x")
    assert decoded == ['["a",{"b":[1]}]', f'["a",{PLACE}]']
    assert peer.heard() == ['37[{"b":[1]}]']


def test_reading_pauses_at_the_soft_bound_and_goes_on_below_it(world: Any) -> None:
    world.on("a")
    peer = world.peer()
    peer.say(*['2["a"]'] * (SOFT_COUNT + 10), run=False)
    assert peer.link.paused
    world.run()
    assert not peer.link.paused
    assert len(world.called) == SOFT_COUNT + 10


def test_events_that_still_come_while_a_client_is_paused(world: Any) -> None:
    """A POST is read to its end: its later events must not swallow the word that the earlier are done."""
    world.on("a")
    peer = world.peer()
    peer.say(*['2["a"]'] * (SOFT_COUNT + 10), run=False)
    while world.jobs.waiting:  # the worker is done before the loop hears of it
        world.jobs.waiting.popleft()()
    peer.say(*['2["a"]'] * 100, run=False)
    world.drain()
    assert peer.link.paused
    world.run()
    assert not peer.link.paused


@pytest.mark.parametrize("ordered", [True, False])
def test_large_events_count_by_their_size(world: Any, ordered: bool) -> None:
    world.on("a", ordered=ordered)
    peer = world.peer()
    text = json.dumps(["a", "x" * (SOFT_BYTES // 8)])
    peer.say(*["2" + text] * 8, run=False)
    assert peer.link.paused
    world.run()
    assert not peer.link.paused
    assert peer.session.context.backlog.held_bytes == 0


def test_a_client_that_owes_an_ack_is_not_paused(world: Any) -> None:
    world.on("a")
    peer = world.peer()
    world.hub.emit("q", (), callback=lambda socket, values: None)
    world.run()
    peer.say(*['2["a"]'] * (SOFT_COUNT + 10), run=False)
    assert not peer.link.paused


def test_a_paused_client_is_read_again_when_it_is_asked(world: Any) -> None:
    world.on("a")
    peer = world.peer()
    peer.say(*['2["a"]'] * (SOFT_COUNT + 10), run=False)
    assert peer.link.paused
    world.hub.emit("q", (), callback=lambda socket, values: None)
    world.drain()
    assert not peer.link.paused


def test_the_hard_bound_ends_the_session(world: Any) -> None:
    world.on("a")
    peer = world.peer()
    world.hub.emit("q", (), callback=lambda socket, values: None)  # so that it is never paused
    world.run()
    peer.say(*['2["a"]'] * (HARD_COUNT + 2), run=False)
    assert closed(peer)
    assert "faster than they were handled" in world.complaints[0]


def test_events_and_acks_that_come_are_counted(world: Any) -> None:
    traffic = Traffic(lambda: world.now, {"say": lambda seconds: None})
    world.hub.count_meanwhile(lambda namespace: traffic)
    world.on("say")
    peer = world.peer()
    peer.say('2["say","x"]', '2["nobody"]', '37["late"]')
    assert (traffic.received_count, traffic.received_bytes) == (2, len('2["say","x"]2["nobody"]'))
    assert (traffic.unhandled_count, traffic.acks_count) == (1, 1)
