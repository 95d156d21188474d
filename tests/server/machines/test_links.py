"""Connections to workers of other machines: made once, made anew, given up, and let go of in each state.

It must not know what is asked over them.
"""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from machine_world import World
from python_server.machines import links as module
from python_server.machines.asking import AskingLink
from python_server.machines.directory import AGAIN_SECONDS, ANSWER_SECONDS
from python_server.machines.greeting import GREETING_SECONDS
from python_server.machines.links import RemoteWorker
from python_server.machines.stream import FrameStream
from python_server.machines.words import About, Kind
from python_server.net.certificates import make_calling_context, make_context
from python_server.settings import TLSSettings
from worker_town import get

M1, M9 = RemoteWorker("m1", 0), RemoteWorker("m9", 0)
Ready = list[AskingLink | FrameStream | None]


def ask(world: World, home: RemoteWorker = M1, *, websocket: bool = False, count: int = 1) -> Ready:
    """What m2's links give for each."""
    ready: Ready = []
    for _ in range(count):
        if websocket:
            world["m2"].links.websocket(home, ready.append)
        else:
            world["m2"].links.link(home, ready.append)
    return ready


def linked(world: World, home: RemoteWorker = M1) -> AskingLink:
    ready = ask(world, home)
    world.until(lambda: bool(ready))
    [link] = ready
    assert isinstance(link, AskingLink)
    return link


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A machine that the system connects to, and that says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_all_requests_share_one_connection_which_is_kept(world: World) -> None:
    ready = ask(world, count=20)
    assert ready == []
    world.until(lambda: len(ready) == 20)
    assert len(set(map(id, ready))) == 1
    assert ask(world) == ready[:1]  # at once
    assert world.broker.asked["m1"] == 1
    assert len(world["m1"].entrance._links) == 1


def test_each_websocket_has_a_connection_of_its_own(world: World) -> None:
    ready = ask(world, websocket=True, count=3)
    world.until(lambda: len(ready) == 3)
    streams = [stream for stream in ready if isinstance(stream, FrameStream)]
    assert len(set(map(id, streams))) == 3
    assert len(world["m1"].entrance._streams) == 3
    for stream in streams:
        stream.close("over")
    world.until(lambda: not world["m1"].entrance._streams)


def test_two_machines_that_call_each_other_have_a_connection_for_each_direction(world: World) -> None:
    ready: Ready = []
    world["m1"].links.link(RemoteWorker("m2", 0), ready.append)
    linked(world)
    world.until(lambda: bool(ready))
    assert len(world["m1"].entrance._links) == len(world["m2"].entrance._links) == 1


def test_a_link_that_has_ended_is_made_anew(world: World) -> None:
    first = linked(world)
    [theirs] = world["m1"].entrance._links
    theirs.stream.close("crashed")
    world.until(lambda: not world["m2"].links._links)
    assert linked(world) is not first
    assert world["m2"].complaints == []  # nothing waited


def test_who_is_nowhere_is_not_waited_for(world: World) -> None:
    ready = ask(world, M9)
    world.until(lambda: bool(ready))
    assert ready == [None]
    with socket.create_server(("127.0.0.1", 0)) as gone:
        world.lists("m9", gone.getsockname()[1])
    ready = ask(world, M9)
    world.until(lambda: bool(ready))
    assert ready == [None]
    assert world["m2"].complaints == [
        ("cluster call", f"machine m9 at 127.0.0.1:{gone_port(world)} is not reached: Connection refused")
    ]
    assert world.broker.asked["m9"] == 3  # it was looked for anew before the second try


def gone_port(world: World) -> str:
    return world["m2"].complaints[0][1].split(":")[1].split(" ")[0]


def test_a_worker_that_is_not_there_is_looked_for_once_more(world: World) -> None:
    world.lists("m1", world["m1"].port, (0, 7))
    ready = ask(world, RemoteWorker("m1", 7))  # there is none of that index, and it says so
    world.until(lambda: bool(ready))
    assert ready == [None]
    assert world["m2"].complaints == []
    ready = ask(world, RemoteWorker("m1", 8))  # no entry says that there is one
    world.turn()
    world.advance(AGAIN_SECONDS)
    world.until(lambda: bool(ready))
    assert ready == [None]


@pytest.mark.parametrize("websocket", [False, True])
def test_a_silent_one_is_tried_twice_within_a_bound(
    world: World, silent: socket.socket, websocket: bool
) -> None:
    world.lists("m9", silent.getsockname()[1])
    ready = ask(world, M9, websocket=websocket, count=2)
    world.until(lambda: any(attempt.calling for attempt in world["m2"].links._attempts))
    for _ in range(2):
        world.turn()
        assert ready == []
        world.advance(GREETING_SECONDS)
    world.until(lambda: len(ready) == 2)
    assert ready == [None, None]
    assert {kind for kind, _ in world["m2"].complaints} == {"cluster call"}
    assert world["m2"].complaints[0][1].endswith("is not reached: no answer in time")


def test_one_that_closes_within_the_greeting_is_called_once_more(world: World, silent: socket.socket) -> None:
    """A worker that ends has a connection that it does not let in; its successor does."""
    world.lists("m1", silent.getsockname()[1])
    ready = ask(world)
    world.until(lambda: any(attempt.calling for attempt in world["m2"].links._attempts))
    ending, _ = silent.accept()
    world.turn()
    world["m1"].directory.announce()
    assert ending.recv(1000)
    ending.close()
    world.until(lambda: bool(ready))
    assert isinstance(ready[0], AskingLink)
    assert world["m2"].complaints == []


def test_another_secret_is_refused_on_both_sides_and_said_once_each(world: World) -> None:
    world.machines["m3"] = stranger = world.machine("m3", b"another")
    world.lists("m3", stranger.port)  # as if its entry were ours
    ready = ask(world, RemoteWorker("m3", 0))
    world.until(lambda: bool(ready))
    assert ready == [None]
    [(kind, sentence)] = world["m2"].complaints
    assert kind == "cluster call"
    assert "--cluster-secret" in sentence
    assert {kind for kind, _ in stranger.complaints} == {"cluster port"}
    stranger.directory.announce()
    ready = ask(world, RemoteWorker("m3", 0))
    world.until(lambda: bool(ready))
    assert world["m2"].complaints[1:] == [
        (
            "cluster entry",
            "the broker's entry of machine m3 is refused: it was signed with another --cluster-secret, "
            "or by nobody",
        )
    ]


def test_a_broker_that_is_away_keeps_nobody_waiting_for_long(world: World) -> None:
    linked(world)
    world.broker.away = True
    assert len(ask(world)) == 1
    ready = ask(world, websocket=True) + ask(world, M9, websocket=True)
    assert ready == []
    waiting = [ask(world, home, websocket=True) for home in (M1, M9)]
    world.advance(ANSWER_SECONDS)
    world.until(lambda: all(waiting))
    assert isinstance(waiting[0][0], FrameStream)  # where it was last
    assert waiting[1] == [None]


def test_who_gives_up_a_websocket_leaves_nothing(world: World) -> None:
    links, before = world["m2"].links, len(world.loop.sockets)
    ready: Ready = []
    for turns in range(8):  # found, called, greeted
        give_up = links.websocket(M1, ready.append)
        world.turn(turns)
        give_up()
        give_up()
        assert not links._attempts
        for stream in ready:
            assert isinstance(stream, FrameStream)
            stream.close("over")
        ready.clear()
        world.until(lambda: len(world.loop.sockets) == before)


def test_no_more_than_so_many_connections_are_made_at_once(
    world: World, silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CALLS_MAX_COUNT", 3)
    world.lists("m9", silent.getsockname()[1])
    waiting = ask(world, M9, websocket=True, count=3)
    world.until(lambda: sum(attempt.calling for attempt in world["m2"].links._attempts) == 3)
    refused = ask(world, M9, websocket=True)
    world.until(lambda: bool(refused))
    assert refused == [None]
    assert [kind for kind, _ in world["m2"].complaints] == ["cluster calls"]
    world.advance(GREETING_SECONDS)
    world.advance(GREETING_SECONDS)
    world.until(lambda: len(waiting) == 3)
    linked(world)


def test_made_up_workers_of_a_machine_keep_no_place_from_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is looked for twice; that costs no connection."""
    monkeypatch.setattr(module, "CALLS_MAX_COUNT", 3)
    ready: Ready = []
    for worker in range(1, 200):
        world["m2"].links.link(RemoteWorker("m1", worker), ready.append)
    linked(world)
    assert ready == []
    world.advance(AGAIN_SECONDS)
    world.until(lambda: len(ready) == 199)
    assert set(ready) == {None}
    assert world.broker.asked["m1"] < 10
    assert world["m2"].complaints == []


@pytest.mark.parametrize("turns", range(10))
@pytest.mark.parametrize("websocket", [False, True])
def test_a_worker_closes_with_calls_in_each_state(turns: int, websocket: bool) -> None:
    world = World()
    ready = ask(world, websocket=websocket)
    world.turn(turns)
    if websocket and ready:
        stream = ready.pop()
        assert isinstance(stream, FrameStream)
        stream.close("as the request does whose client has gone")
    world.close()  # which sees that nothing is held
    count = len(ready)
    assert ask(world, websocket=websocket) == [None]
    assert len(ready) == count
    assert world.faults == []


def test_a_worker_closes_while_a_home_is_silent(silent: socket.socket) -> None:
    world = World()
    world.lists("m9", silent.getsockname()[1])
    ask(world, M9)
    ask(world, M9, websocket=True)
    world.until(lambda: sum(attempt.calling for attempt in world["m2"].links._attempts) == 2)
    world.turn()
    world.close()
    assert world.faults == []


def test_what_waits_is_hurried_and_what_a_later_release_says_is_counted(world: World) -> None:
    sid = world.session("m1")
    client = world.connect("m2")
    client.send(get(f"EIO=4&transport=polling&sid={sid}"))
    world.until(lambda: any(link._waiting for link in world["m1"].entrance._links))
    [theirs] = world["m1"].entrance._links
    theirs.stream.send(99, About(1))  # type: ignore[arg-type]
    world.until(lambda: bool(world["m2"].complaints))
    assert world["m2"].complaints == [("cluster words", "a frame of unknown kind 99 from another machine")]
    world["m2"].links.hurry()
    assert client.response() == (200, b"6")


def test_a_link_that_ends_tells_every_client_that_waits(world: World) -> None:
    sids = [world.session("m1") for _ in range(3)]
    clients = [world.connect("m2") for _ in sids]
    for client, sid in zip(clients, sids, strict=True):
        client.send(get(f"EIO=4&transport=polling&sid={sid}"))
    world.until(lambda: sum(len(link._waiting) for link in world["m1"].entrance._links) == 3)
    [theirs] = world["m1"].entrance._links
    theirs.stream.send(Kind.ANSWER, About(1))  # no answer is so short
    assert [client.response()[0] for client in clients] == [400] * 3
    [(kind, sentence)] = world["m2"].complaints
    assert kind == "cluster link"
    assert "a malformed ForeignAnswer" in sentence
    world.until(lambda: not theirs._waiting)


# TLS


def contexts(tmp_path: Path, name: str = "localhost") -> Any:
    authority = trustme.CA()
    issued = authority.issue_cert(name)
    cert, ca = tmp_path / "cert.pem", tmp_path / "ca.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(cert))
    authority.cert_pem.write_to_path(str(ca))
    return make_context(TLSSettings(certfile=str(cert)), []), make_calling_context(str(ca))


@pytest.mark.parametrize(("name", "reached"), [("localhost", True), ("other.example", False)])
def test_over_tls_a_machine_is_who_its_certificate_says(tmp_path: Path, name: str, reached: bool) -> None:
    world = World(contexts=contexts(tmp_path, name))
    ready = ask(world, count=2)
    world.until(lambda: len(ready) == 2)
    assert [link is not None for link in ready] == [reached] * 2
    if not reached:
        assert "certificate verify failed" in world["m2"].complaints[0][1]
    world.close()
    assert world.faults == []


@pytest.mark.parametrize("turns", range(12))
def test_over_tls_a_worker_closes_with_calls_in_each_state(tmp_path: Path, turns: int) -> None:
    world = World(contexts=contexts(tmp_path))
    ask(world)
    world.turn(turns)
    world["m2"].close()
    for _ in range(5):
        world.turn()
    world.close()
    assert world.faults == []
