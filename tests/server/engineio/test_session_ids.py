"""Names that say where a session lives, and what the engine does with those of others.

It must not know sockets; the hand-over itself stands in tests/server/workers/test_handover.py.
"""

import json
from typing import Any

import pytest

from python_server.engineio.server import Engine
from python_server.engineio.session_ids import Home, SessionIds, tag_of

SECRET = "abcdefghij0123456_-z"


def test_one_process_alone_has_bare_secrets_and_no_siblings() -> None:
    names = SessionIds()
    assert len(names.make()) == 20
    assert "." not in names.make()
    assert names.find(f"3.{SECRET}") == (Home.NOWHERE, 0)
    assert names.find(f"Zk3b.3.{SECRET}") == (Home.NOWHERE, 0)


def test_the_workers_of_one_machine_begin_with_their_index() -> None:
    names = SessionIds(3)
    assert names.make().startswith("3.")
    assert len(names.make()) == 22
    assert names.find(SessionIds(12).make()) == (Home.SIBLING, 12)
    assert names.find(SessionIds(3).make()) == (Home.NOWHERE, 0)


def test_machines_with_a_broker_begin_with_a_tag() -> None:
    names = SessionIds(3, tag_of("one machine"))
    tag = tag_of("one machine")
    assert names.make().startswith(f"{tag}.3.")
    assert len(names.make()) == 27
    assert names.find(SessionIds(4, tag_of("one machine")).make()) == (Home.SIBLING, 4)
    assert names.find(SessionIds(4, tag_of("another")).make()) == (Home.ELSEWHERE, 0)
    assert names.find(SessionIds(3, tag_of("another")).make()) == (Home.ELSEWHERE, 0)
    assert names.find(SessionIds(3).make()) == (Home.NOWHERE, 0)


def test_names_of_other_processes_are_reserved_also_with_their_namespace() -> None:
    """As Socket.IO 2 clients have them."""
    names = SessionIds(3)
    other = SessionIds(4).make()
    assert names.reserves(other)
    assert names.reserves(f"/admin#{other}")
    assert not names.reserves(f"{other}#blue")
    assert not names.reserves("/admin#blue")
    assert not SessionIds().reserves(other)


def test_a_process_alone_with_a_broker_knows_other_machines() -> None:
    names = SessionIds(None, tag_of("one machine"))
    assert names.make().startswith(f"{tag_of('one machine')}.0.")
    assert names.find(SessionIds(2, tag_of("another")).make()) == (Home.ELSEWHERE, 0)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "4.",
        f".{SECRET}",
        f"4.{SECRET}x",
        f"4.{SECRET[1:]}",
        f"4.{SECRET}\n",
        f"-4.{SECRET}",
        "4" * 99,
        f"4..{SECRET}",
        f"{chr(0x664)}.{SECRET}",  # a digit, but not of ours
        f"{'9' * 10}.{SECRET}",
        f"4.4.{SECRET}",
        f"Zk3b.4.{SECRET}",
    ],
)
def test_what_no_server_has_made_lives_nowhere(name: str) -> None:
    assert SessionIds(3).find(name) == (Home.NOWHERE, 0)


class Street:
    """The Homes port: some homes answer."""

    def __init__(self, *living: int) -> None:
        self.living = living
        self.asked: list[int] = []

    def send_home(self, exchange: Any, index: int) -> bool:
        self.asked.append(index)
        if index in self.living:
            exchange.give_away(lambda transport, leftover: None)
            return True
        return False


def test_a_foreign_session_is_sent_home(make_world: Any) -> None:
    street = Street(2)
    world = make_world(names=SessionIds(1), homes=street)
    for method, query in (
        ("GET", "transport=polling"),
        ("POST", "transport=polling"),
        ("GET", "transport=websocket"),
    ):
        exchange = world.request(method, f"EIO=4&{query}&sid={SessionIds(2).make()}")
        assert exchange.given_away
        assert not exchange.status
    assert street.asked == [2, 2, 2]


def test_a_dead_home_is_error_1_at_once(make_world: Any) -> None:
    street = Street(2)
    exchange = make_world(names=SessionIds(1), homes=street).get(SessionIds(3).make())
    assert (exchange.status, exchange.code, street.asked) == (400, 1, [3])


def test_a_request_is_handed_once(make_world: Any) -> None:
    street = Street(2)
    world = make_world(names=SessionIds(1), homes=street)
    exchange = world.get(SessionIds(2).make(), handed=True)
    assert (exchange.status, exchange.code, street.asked) == (400, 1, [])


def test_own_sessions_of_a_worker_stay(make_world: Any) -> None:
    street = Street(2)
    world = make_world(names=SessionIds(1), homes=street)
    sid = world.open()
    assert sid.startswith("1.")
    assert not world.engine.is_foreign(f"EIO=4&transport=polling&sid={sid}")
    assert world.engine.is_foreign(f"EIO=4&transport=polling&sid={SessionIds(2).make()}")
    assert not world.engine.is_foreign("EIO=4&transport=polling")
    assert world.post(sid, "40").status == 200
    assert street.asked == []


def test_refusals_come_before_the_way_home(make_world: Any) -> None:
    street = Street(2)
    world = make_world(names=SessionIds(1), homes=street)
    assert world.get(SessionIds(2).make(), origin="http://evil.test").code == 4
    assert world.request(query=f"EIO=4&transport=carrier&sid={SessionIds(2).make()}").code == 0
    assert world.request("OPTIONS", f"sid={SessionIds(2).make()}").status == 204
    assert street.asked == []


def test_a_session_of_another_machine_is_refused_with_the_balancers_setting(make_world: Any) -> None:
    street = Street(2)
    world = make_world(names=SessionIds(2, "here"), homes=street)
    exchange = world.get(SessionIds(2, "there").make())
    assert (exchange.status, exchange.code) == (400, 1)
    for told in (json.loads(exchange.body)["message"], *world.complaints):
        assert "affinity" in told
        assert "ip_hash" in told
        assert "WebSocket only" in told
    assert len(world.complaints) == 1
    assert street.asked == []


def test_a_closing_engine_begins_no_session(world: Any) -> None:
    world.engine.close()
    exchange = world.request()
    assert (exchange.status, exchange.headers["retry-after"], exchange.keep_alive) == (503, "1", False)
    assert world.engine.sessions == {}


def test_names_of_this_machine() -> None:
    ours, theirs = SessionIds(1, tag_of("one machine")), SessionIds(2, tag_of("another"))
    assert ours.made_on_this_machine(SessionIds(7, tag_of("one machine")).make())
    assert not ours.made_on_this_machine(theirs.make())
    assert not ours.made_on_this_machine(SessionIds(1).make())
    assert not ours.made_on_this_machine("a name of the application's")
    without_broker = SessionIds(1)
    assert without_broker.made_on_this_machine(SessionIds(2).make())
    assert not without_broker.made_on_this_machine(ours.make())


@pytest.mark.parametrize("index", [None, 3])
def test_a_chosen_tag_begins_the_name_and_finds_its_machine(index: int | None) -> None:
    names = SessionIds(index, "web-1")
    assert names.make().startswith(f"web-1.{index or 0}.")
    assert names.find(SessionIds(4, "web-1").make()) == (Home.SIBLING, 4)
    for other in ("web-2", "web-11", "eb-1", tag_of("web-1")):
        assert names.find(SessionIds(4, other).make()) == (Home.ELSEWHERE, 0)


@pytest.mark.parametrize("tag", ["a.b", "a b", "a" * 64, "ü", "a\n", "/", '"'])
def test_a_tag_that_a_name_cannot_carry_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="a machine's tag has 1 to 63 letters, digits, - or _"):
        SessionIds(1, tag)


@pytest.mark.parametrize("index", [None, 3])
def test_the_worker_of_another_machine_that_has_made_a_name(index: int | None) -> None:
    names = SessionIds(index, "web-1")
    assert names.home_of(SessionIds(4, "web-2").make()) == ("web-2", 4)
    assert names.home_of(SessionIds(None, "web-2").make()) == ("web-2", 0)
    for ours in (names.make(), SessionIds(9, "web-1").make(), SessionIds(4).make(), SessionIds().make()):
        assert names.home_of(ours) is None
    for no_name in (
        "",
        f"web-2.{SECRET}",
        f"web-2.4.{SECRET}x",
        f"web-2.4.{SECRET[1:]}",
        f"web-2.-4.{SECRET}",
    ):
        assert names.home_of(no_name) is None
    assert names.home_of(f"web-2.{'9' * 10}.{SECRET}") is None
    assert SessionIds(3).home_of(SessionIds(4, "web-2").make()) == ("web-2", 4)


def test_an_engine_says_where_the_session_of_a_query_lives(world: Any) -> None:
    assert world.engine.home_of(f"sid={SessionIds(4, 'web-2').make()}") is None  # a process alone
    world.engine._names = SessionIds(3, "web-1")
    theirs = SessionIds(4, "web-2").make()
    assert world.engine.home_of(f"EIO=4&transport=polling&sid={theirs}") == ("web-2", 4)
    for query in ("EIO=4", "sid=", "sid=%zz", f"sid={world.engine._names.make()}", f"x={theirs}"):
        assert world.engine.home_of(query) is None


def test_a_poll_that_waits_is_hurried_and_a_post_is_not(world: Any) -> None:
    sid = json.loads(world.request().body[1:])["sid"]
    waiting = world.request(query=f"EIO=4&transport=polling&sid={sid}")
    assert waiting.status == 0
    Engine.hurry(waiting)
    assert (waiting.status, waiting.body) == (200, b"6")
    posting = world.request("POST", f"EIO=4&transport=polling&sid={sid}")
    Engine.hurry(posting)
    assert posting.status == 0
