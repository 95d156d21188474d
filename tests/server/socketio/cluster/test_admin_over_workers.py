"""The Admin UI over workers and machines: one page sees and moves the clients of all of them.

It must not know how they are joined.
"""

from typing import Any

import pytest

from admin_world import AdminPage, AdminWorld
from python_server.socketio.cluster.port import PeerRequest, Question, QuestionKind


@pytest.fixture(scope="session")
def make_world() -> type[AdminWorld]:
    """Of every cluster here: its clients are cluster."""
    return AdminWorld


def look(cluster: Any, page: AdminPage, seconds: float = 0.5) -> list[Any]:
    cluster.advance(seconds)
    return page.heard()


def named(heard: list[Any], name: str) -> list[Any]:
    return [event[1:] for event in heard if event[0] == name]


def page_of(cluster: Any, index: int = 0) -> tuple[AdminPage, list[Any]]:
    page = AdminPage(cluster.worlds[index])
    cluster.settle()
    return page, page.heard()


def test_a_page_sees_the_clients_of_all_workers_come_and_go(cluster: Any) -> None:
    peers = [world.peer() for world in cluster.worlds]
    page, heard = page_of(cluster)
    ((sockets,),) = named(heard, "all_sockets")
    assert sorted(socket["id"] for socket in sockets) == sorted(peer.names["sid"] for peer in peers)
    figures = [each for (each,) in named(heard, "server_stats")]
    assert sorted(each["clientsCount"] for each in figures) == [1, 1, 1]
    assert all(each["serverId"].startswith("here#") for each in figures)
    look(cluster, page)
    late = cluster.worlds[2].peer()
    peers[1].lose()
    cluster.worlds[2].hub.join("/", late.names["sid"], "blue")
    late.say('2["say","x"]')
    cluster.worlds[1].hub.emit("news", ["y"])
    heard = look(cluster, page)
    assert [socket["id"] for socket, _ in named(heard, "socket_connected")] == [late.names["sid"]]
    assert [row[:2] for row in named(heard, "socket_disconnected")] == [["/", peers[1].names["sid"]]]
    assert [row[:3] for row in named(heard, "room_joined")] == [["/", "blue", late.names["sid"]]]
    assert [row[:3] for row in named(heard, "event_received")] == [["/", late.names["sid"], ["say", "x"]]]
    assert [row[1:3] for row in named(heard, "event_sent")] == [["everybody", ["news", "y"]]]


def test_orders_reach_clients_of_any_worker(cluster: Any) -> None:
    page, _ = page_of(cluster)
    peers = [world.peer() for world in cluster.worlds]
    sids = [peer.names["sid"] for peer in peers]
    hub, services = cluster.worlds[0].hub, cluster.worlds[0].services
    admin = cluster.worlds[0].instrumented
    socket = page.peer.socket

    def order(*words: Any) -> None:
        name, *arguments = words
        cluster.ask(lambda: admin._order(socket, name, tuple(arguments)))
        cluster.settle()

    services.door.post(lambda: None)
    for sid in sids[1:]:
        order("join", "/", "blue", sid)
    assert sorted(cluster.ask(lambda: hub.members_of("/", "blue"))) == sorted(sids[1:])
    order("emit", "/", "blue", "news", 1)
    assert [peer.heard() for peer in peers] == [[], ['2["news",1]'], ['2["news",1]']]
    order("leave", "/", "blue", sids[1])
    assert cluster.ask(lambda: hub.members_of("/", "blue")) == [sids[2]]
    order("_disconnect", "/", False, "blue")
    assert [peer.heard() for peer in peers] == [[], [], ["1"]]
    order("_disconnect", "/")
    assert [peer.heard() for peer in peers] == [["1"], ["1"], []]


def test_two_pages_at_two_workers_see_the_same(cluster: Any) -> None:
    first, _ = page_of(cluster, 0)
    second, heard = page_of(cluster, 1)
    assert [len(sockets) for (sockets,) in named(heard, "all_sockets")] == [1]  # the other page
    cluster.advance(0.5)
    first.heard(), second.heard()
    sid = cluster.worlds[2].peer().names["sid"]
    cluster.advance(0.5)
    for page in (first, second):
        assert [socket["id"] for socket, _ in named(page.heard(), "socket_connected")] == [sid]


def test_without_a_page_nobody_is_asked_and_nothing_kept(cluster: Any) -> None:
    page, _ = page_of(cluster)
    page.peer.lose()
    cluster.advance(6)
    for world in cluster.worlds:
        world.peer().say('2["x"]')
        assert len(world.instrumented._feed._rows) < 20
    cluster.advance(1)
    for world in cluster.worlds:
        rows = list(world.instrumented._feed._rows)
        world.peer()
        assert list(world.instrumented._feed._rows) == rows


def test_who_shows_nothing_has_nothing_to_say(cluster: Any) -> None:
    parts: list[Any] = []
    ended: list[int] = []
    question = Question(QuestionKind.WATCH, "/other", {"marks": {}, "figures": True})
    cluster.worlds[0].services.backplane.request(PeerRequest(question, parts.append, ended.append, 2.0))
    cluster.settle()
    assert (set(parts) - {None}, ended) == (set(), [0])


def test_a_worker_that_ends_takes_its_clients_from_the_page(piped: Any) -> None:
    cluster = piped(3)
    peers = [world.peer() for world in cluster.worlds]
    page, _ = page_of(cluster)
    look(cluster, page)
    cluster.joint.lose(2)
    cluster.worlds = cluster.worlds[:2]
    heard = look(cluster, page) + look(cluster, page) + look(cluster, page, 2)
    ((sockets,),) = named(heard, "all_sockets")
    known = {socket["id"] for socket in sockets if socket["nsp"] == "/"}
    assert known == {peer.names["sid"] for peer in peers[:2]}


def test_a_worker_that_stands_still_is_not_waited_for(piped: Any) -> None:
    cluster = piped(3)
    page, _ = page_of(cluster)
    look(cluster, page)
    still, cluster.joint.siblings[2].send = cluster.joint.siblings[2], lambda *pieces, **more: True
    cluster.advance(0.5)
    cluster.advance(2)  # its answer is late
    page.heard()
    sid = cluster.worlds[1].peer().names["sid"]
    heard = look(cluster, page) + look(cluster, page)
    assert [socket["id"] for socket, _ in named(heard, "socket_connected")] == [sid]
    del still.send
