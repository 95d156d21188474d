"""Polls, posts and WebSockets that come to another machine than their session's.

It must not know how the other machine is found.
"""

import socket
from typing import Any

import pytest

from machine_world import World
from python_server.net.pauses import Pause
from worker_town import ENGINE_PATH, frame, frames_decoder, get, post, upgrade

UNKNOWN = b'{"code":1,"message":"Session ID unknown"}'

POST_UPGRADE = (
    b"POST %%s?%%s HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: %s\r\nContent-Length: 2\r\n\r\n4a"
)


def query(sid: str) -> str:
    return f"EIO=4&transport=polling&sid={sid}"


def parked(world: World, tag: str) -> Any:
    """The link of another machine at which one request waits."""
    found: list[Any] = []

    def one() -> bool:
        found[:] = [link for link in world[tag].entrance._links if link._waiting]
        return bool(found)

    world.until(one)
    return found[0]


def test_a_poll_and_a_post_are_answered_by_their_home(world: World) -> None:
    sid = world.session("m1")
    client = world.connect("m2")
    assert client.post(sid, b"4hello") == (200, b"ok")
    assert client.poll(sid) == (200, b"4hello")
    assert world["m1"].heard.messages == ["hello"]
    assert client.ask(get("EIO=4&transport=polling"))[0] == 200  # the same connection, a session of here
    assert client.poll(sid.replace("m1.0.", "m1.0.x", 1)[:-1]) == (400, UNKNOWN)


def test_a_request_is_logged_once_at_its_home_with_the_clients_address(world: World) -> None:
    sid = world.session("m1")
    world["m1"].answered.clear()
    client = world.connect("m2")
    client.post(sid, b"4hello")
    client.poll(sid)
    address = client.sock.getsockname()
    assert world["m1"].answered == [(ENGINE_PATH, 200, address)] * 2
    assert world["m2"].answered == []
    assert world["m2"].given == [ENGINE_PATH] * 2
    assert world["m1"].given == []


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_a_post_comes_in_pieces(world: World, chunked: bool, piece_bytes: int) -> None:
    sid = world.session("m1")
    client = world.connect("m2")
    data = post(sid, b"4" + b"a" * 30, chunked=chunked)
    for at in range(0, len(data), piece_bytes):
        client.send(data[at : at + piece_bytes])
        world.turn(2)
    assert client.response() == (200, b"ok")
    assert world["m1"].heard.messages == ["a" * 30]


def test_pipelined_requests_are_answered_in_order(world: World) -> None:
    here, there = world.session("m2"), world.session("m1")
    client = world.connect("m2")
    client.send(
        post(there, b"4a")
        + post(here, b"4b")
        + get(query(there))
        + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        + get(query(here))
    )
    answers = [client.response() for _ in range(5)]
    assert answers == [(200, b"ok"), (200, b"ok"), (200, b"4a"), (200, b"worker 0:"), (200, b"4b")]


def test_a_poll_that_waits_costs_a_connection_of_its_client_and_no_other(world: World) -> None:
    sids = [world.session("m1") for _ in range(20)]
    first = world.connect("m2")
    first.post(sids[0], b"4x")
    held = len(world.loop.sockets)
    waiting = [world.connect("m2") for _ in sids[1:]]
    for client, sid in zip(waiting, sids[1:], strict=True):
        client.send(get(query(sid)))
    world.until(lambda: sum(len(link._waiting) for link in world["m1"].entrance._links) == 19)
    assert len(world.loop.sockets) == held + 19
    for session in world["m1"].heard.sessions[1:]:
        world["m1"].heard.on_message(session, "now")
    assert [client.response() for client in waiting] == [(200, b"4now")] * 19


@pytest.mark.parametrize(
    ("data", "status", "goes_on"),
    [
        (b"HEAD %s?%s HTTP/1.1\r\nHost: a\r\n\r\n", 400, True),
        (b"OPTIONS %s?%s HTTP/1.1\r\nHost: a\r\n\r\n", 204, True),
        (b"PUT %s?%s HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", 400, True),
        (b"POST %s?%s HTTP/1.0\r\nContent-Length: 2\r\n\r\n4a", 200, False),
        (b"POST %s?%s HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n4a", 200, True),
        (b"POST %s?%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n4a", 200, False),
        (POST_UPGRADE % b"h2c", 200, True),
        (POST_UPGRADE % b"websocket", 200, True),
        (b"POST %s?%s HTTP/1.1\r\nHost: a\r\nContent-Length: 1000001\r\n\r\n", 413, False),
    ],
)  # fmt: skip
def test_each_request_in_its_way(world: World, data: bytes, status: int, goes_on: bool) -> None:
    """As at home: the same status, and the connection goes on or ends as there."""
    sid = world.session("m1")
    other = world.connect("m2")
    other.send(get(query(world.session("m1"))))
    parked(world, "m1")
    for tag in ("m1", "m2"):
        client = world.connect(tag)
        client.send(data % (ENGINE_PATH.encode(), query(sid).encode()))
        world.until(lambda client=client: b"\r\n\r\n" in client.received)  # type: ignore[misc]
        assert int(client.received.split()[1]) == status
        if goes_on:
            world.turn()
            client.received.clear()
            assert client.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == (200, b"worker 0:")
        else:
            world.until(lambda client=client: client.ended)  # type: ignore[misc]
    assert not other.ended
    parked(world, "m1")


def test_a_client_that_waits_for_100_is_told_it_where_it_came(world: World) -> None:
    sid = world.session("m1")
    client = world.connect("m2")
    data = post(sid, b"4hello").replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n", 1)
    head, _, body = data.partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    world.until(lambda: client.received == b"HTTP/1.1 100 Continue\r\n\r\n")
    client.received.clear()
    assert client.ask(body) == (200, b"ok")


def test_a_body_above_the_bound_goes_nowhere(world: World) -> None:
    sid = world.session("m1")
    client = world.connect("m2")
    head = post(sid, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    client.send(head + b"f4241\r\n" + b"x" * 1_000_001)
    assert client.response()[0] == 413
    assert world["m2"].links._links == {}
    assert world["m2"].answered[-1][1] == 413


@pytest.mark.parametrize("when", ["found", "called", "parked"])
@pytest.mark.parametrize("how", ["reset", "half-closed"])
def test_a_client_that_leaves_is_forgotten_at_its_home(world: World, when: str, how: str) -> None:
    sid = world.session("m1")
    client = world.connect("m2")
    client.send(get(query(sid)))
    if when == "parked":
        parked(world, "m1")
    elif when == "called":
        world.until(lambda: any(attempt.calling for attempt in world["m2"].links._attempts))
    else:
        world.until(lambda: bool(world["m2"].links._attempts))
    if how == "reset":
        client.leave()
    else:
        client.sock.shutdown(1)
    world.until(lambda: not world["m2"].acceptor.channels or client.ended)
    world.until(lambda: bool(world["m2"].links._links))
    world.turn()
    [link] = world["m1"].entrance._links
    assert link._waiting == {}
    # A poll that has reached its session ends it, as at home.
    ended = when == "parked"
    assert world["m1"].heard.closed == (["transport error"] if ended else [])
    assert world.connect("m2").post(sid, b"4still")[0] == (400 if ended else 200)


def test_a_home_that_has_gone_is_error_1_at_once(world: World) -> None:
    sid = world.session("m1")
    client, other = world.connect("m2"), world.connect("m2")
    client.send(get(query(sid)))
    parked(world, "m1")
    world["m1"].close()
    assert client.response() == (400, UNKNOWN)
    assert other.poll(sid) == (400, UNKNOWN)  # no time has passed
    assert [kind for kind, _ in world["m2"].complaints] == ["cluster link", "cluster call"]
    assert world["m2"].answered[-1][1] == 400


def test_a_silent_home_is_error_1_within_a_bound(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        world.lists("m9", silent.getsockname()[1])
        client, websocket = world.connect("m2"), world.connect("m2")
        client.send(get(query("m9.0." + "a" * 20)))
        websocket.send(upgrade("m9.0." + "a" * 20))
        world.turn()
        for _ in range(8):
            world.advance(1.0)
        assert client.response() == (400, UNKNOWN)
        assert websocket.response()[0] == 400
    assert not world["m2"].links._attempts


def test_one_hop_and_no_further(world: World) -> None:
    """The broker says that m3 is at m1's address, where nobody is called so."""
    world.lists("m3", world["m1"].port)
    client = world.connect("m2")
    assert client.poll("m3.0." + "a" * 20) == (400, UNKNOWN)
    assert world.broker.asked["m3"] == 2


def test_a_worker_that_ends_lets_what_waits_elsewhere_go(world: World) -> None:
    first, second = world.session("m1"), world.session("m1")
    client, late = world.connect("m2"), world.connect("m2")
    client.send(get(query(first)))
    parked(world, "m1")
    world["m2"].drain()
    assert client.response() == (200, b"6")
    world.until(lambda: client.ended)
    late.send(get(query(second)))  # it was on its way
    assert late.response() == (200, b"6")
    world.until(lambda: late.ended)
    assert world.connect("m1").post(first, b"4still here") == (200, b"ok")


def test_a_home_that_ends_answers_what_waits_elsewhere(world: World) -> None:
    sid = world.session("m1")
    client = world.connect("m2")
    client.send(get(query(sid)))
    parked(world, "m1")
    world["m1"].drain()
    status, body = client.response()
    assert (status, body) in ((200, b"1"), (200, b"6"), (400, UNKNOWN))


def test_a_connection_that_is_to_end_says_so_though_its_answer_comes_from_elsewhere(world: World) -> None:
    sid = world.session("m1")
    client = world.connect("m2")
    client.post(sid, b"4a")
    [channel] = world["m2"].acceptor.channels
    assert channel.part()  # type: ignore[union-attr]
    client.send(post(sid, b"4b"))
    world.until(lambda: client.ended)
    assert b"Connection: close\r\n" in client.received


# WebSockets


def test_a_websocket_is_relayed_with_what_came_behind_its_head(world: World) -> None:
    sid = world.session("m1")
    client = world.connect("m2")
    client.send(upgrade(sid) + frame("2probe"))
    assert client.response()[0] == 101
    decoder = frames_decoder()
    assert client.messages(1, decoder) == ["3probe"]
    client.send(frame("5") + frame("4hello"))
    assert client.messages(1, decoder) == ["4hello"]
    [session] = world["m1"].heard.sessions
    assert world["m2"].given == [ENGINE_PATH]
    client.leave()
    world.until(lambda: bool(world["m1"].heard.closed))
    world.until(lambda: not world["m1"].acceptor.channels and not world["m2"].acceptor.channels)
    assert session.sid == sid


def test_a_websockets_frames_come_byte_by_byte(world: World) -> None:
    sid = world.session("m1")
    client = world.connect("m2")
    for byte in upgrade(sid):
        client.send(bytes([byte]))
        world.turn(1)
    assert client.response()[0] == 101
    for byte in frame("2probe"):
        client.send(bytes([byte]))
        world.turn(1)
    assert client.messages(1, frames_decoder()) == ["3probe"]


def test_much_through_a_slow_client_is_held_back(world: World) -> None:
    """What a client does not take presses back to its home, which counts it as its own."""
    sid = world.session("m1")
    client = world.connect("m2")
    client.send(upgrade(sid) + frame("2probe"))
    decoder = frames_decoder()
    assert client.response()[0] == 101
    client.messages(1, decoder)
    client.send(frame("5") + frame("4up"))
    assert client.messages(1, decoder) == ["4up"]
    [session] = world["m1"].heard.sessions
    client.reading = False
    for _ in range(4):
        world["m1"].heard.on_message(session, "x" * 9_000_000)
    world.turn(200)
    home = next(iter(world["m1"].acceptor.channels))
    assert home.held_bytes > 0
    [relay] = world["m2"].acceptor.channels
    assert relay.held_bytes < 1_000_000
    client.reading = True
    world.until(lambda: client.received.count(b"x") == 36_000_000)
    world.until(lambda: home.held_bytes == 0)


def test_a_websocket_of_nobody_is_refused_as_at_home(world: World) -> None:
    for sid in ("m1.0." + "a" * 20, "m1.7." + "a" * 20, "m9.0." + "a" * 20):
        client = world.connect("m2")
        client.send(upgrade(sid))
        world.until(lambda client=client: world.advance(0.1) or client.ended)  # type: ignore[misc]
        assert client.received.startswith(b"HTTP/1.1 400")
        assert client.received.endswith(b"Session ID unknown")


@pytest.mark.parametrize("when", ["found", "called"])
def test_a_client_that_leaves_before_its_websocket_is_made_leaves_nothing(world: World, when: str) -> None:
    sid = world.session("m1")
    before = len(world.loop.sockets)
    client = world.connect("m2")
    client.send(upgrade(sid))
    links = world["m2"].links
    world.until(lambda: bool(links._attempts))
    if when == "called":
        world.until(lambda: any(attempt.calling for attempt in links._attempts))
    client.leave()
    world.until(lambda: not world["m2"].acceptor.channels)
    assert not links._attempts
    world.until(lambda: len(world.loop.sockets) == before)
    assert world["m2"].complaints == []


def test_a_stopping_worker_lets_its_relays_go_with_the_idle(world: World) -> None:
    sid = world.session("m1")
    client = world.connect("m2")
    client.send(upgrade(sid) + frame("2probe"))
    assert client.response()[0] == 101
    client.messages(1, frames_decoder())
    world["m2"].drain()
    world.turn()
    assert not client.ended
    world["m2"].acceptor.close_idle()
    world.until(lambda: client.ended)
    client.leave()
    world.until(lambda: not world["m2"].acceptor.channels)


def test_reading_is_not_left_paused(world: World) -> None:
    """Behind a passed answer the connection reads on, whatever made it wait."""
    sid = world.session("m1")
    client = world.connect("m2")
    client.send(get(query(sid)))
    parked(world, "m1")
    [channel] = world["m2"].acceptor.channels
    client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" * 4000)
    transport = channel._transport  # type: ignore[union-attr]
    world.until(lambda: bool(transport.pauses & Pause.PIPELINED))
    world["m1"].heard.on_message(world["m1"].heard.sessions[0], "now")
    assert client.response() == (200, b"4now")
    assert [client.response() for _ in range(4000)] == [(200, b"worker 0:")] * 4000


# Machines that are slow, or end


def test_many_bodies_at_once_fill_no_link_and_cost_no_session(world: World) -> None:
    """Whoever sends much to a home that takes nothing waits; polls on the same link live on."""
    waiting, sids = world.session("m1"), [world.session("m1") for _ in range(80)]
    poll = world.connect("m2")
    poll.send(get(query(waiting)))
    theirs = parked(world, "m1")
    theirs.stream.transport.pause_reading(Pause.UNSENT, True)
    clients = [world.connect("m2") for _ in sids]
    for client, sid in zip(clients, sids, strict=True):
        client.send(post(sid, b"4" + b"x" * 900_000))
    [ours] = world["m2"].links._links.values()
    world.until(lambda: len(ours._asked) == 81)
    assert ours.stream.transport.queued_bytes < 2_000_000
    for client in clients[:40]:
        client.leave()
    world.until(lambda: len(world["m2"].acceptor.channels) == 41)
    assert len(ours.stream.held) <= 40  # those who have left wait no more
    theirs.stream.transport.pause_reading(Pause.UNSENT, False)
    assert [client.response() for client in clients[40:]] == [(200, b"ok")] * 40
    world["m1"].heard.on_message(next(s for s in world["m1"].heard.sessions if s.sid == waiting), "alive")
    assert poll.response() == (200, b"4alive")
    assert world["m2"].complaints == []


def test_a_large_answer_to_many_that_wait_fills_no_link(world: World) -> None:
    sids = [world.session("m1") for _ in range(80)]
    clients = [world.connect("m2") for _ in sids]
    for client, sid in zip(clients, sids, strict=True):
        client.send(get(query(sid)))
    world.until(lambda: sum(len(link._waiting) for link in world["m1"].entrance._links) == 80)
    [ours] = world["m2"].links._links.values()
    ours.stream.transport.pause_reading(Pause.UNSENT, True)  # type: ignore[attr-defined]
    for session in world["m1"].heard.sessions:
        world["m1"].heard.on_message(session, "x" * 900_000)
    world.turn()
    [theirs] = world["m1"].entrance._links
    assert theirs.stream.transport.queued_bytes < 2_000_000
    assert world["m1"].entrance.queued_bytes > 50_000_000
    ours.stream.transport.pause_reading(Pause.UNSENT, False)
    assert [client.response() for client in clients] == [(200, b"4" + b"x" * 900_000)] * 80
    assert world["m1"].entrance.queued_bytes == 0


@pytest.mark.parametrize("turns", range(8))
def test_a_worker_ends_while_its_calls_are_under_way(world: World, turns: int) -> None:
    sid = world.session("m1")
    client = world.connect("m2")
    client.send(get(query(sid)))
    world.until(lambda: bool(world["m2"].links._attempts))
    world.turn(turns)
    world["m2"].drain()
    assert client.response() == (200, b"6")
    world.until(lambda: client.ended)
    assert world.connect("m1").post(sid, b"4still here") == (200, b"ok")


def test_two_machines_that_end_at_once_keep_nobody(world: World) -> None:
    here, there = world.session("m2"), world.session("m1")
    ours, theirs, websocket = world.connect("m2"), world.connect("m1"), world.connect("m2")
    ours.send(get(query(there)))
    theirs.send(get(query(here)))
    websocket.send(upgrade(world.session("m1")) + frame("2probe"))
    assert websocket.response()[0] == 101
    parked(world, "m1")
    parked(world, "m2")
    for tag in ("m1", "m2"):
        world[tag].drain()
    for client in (ours, theirs):
        assert client.response()[0] in (200, 400)
        world.until(lambda client=client: client.ended)  # type: ignore[misc]
        client.leave()
    for tag in ("m1", "m2"):
        world[tag].acceptor.close_idle()
    world.until(lambda: websocket.ended)
    websocket.leave()
    world.until(lambda: not world["m1"].acceptor.channels and not world["m2"].acceptor.channels)


def test_a_thousand_guessed_sessions_keep_no_honest_client_out(world: World) -> None:
    """Of machines that are not there, within one second: the broker is asked within a bound."""
    sid = world.session("m1")
    assert world.connect("m2").post(sid, b"4a") == (200, b"ok")
    guesser, honest = world.connect("m2"), world.connect("m2")
    for n in range(1000):
        assert guesser.poll(f"u{n}.0." + "a" * 20) == (400, UNKNOWN)
    websocket = world.connect("m2")  # which needs a connection of its own
    websocket.send(upgrade(sid) + frame("2probe"))
    assert websocket.response()[0] == 101
    assert honest.post(world.session("m1"), b"4b") == (200, b"ok")
    assert sum(world.broker.asked.values()) <= 201
    assert {kind for kind, _ in world["m2"].complaints} == {"cluster searches"}
    assert not world["m2"].links._attempts
