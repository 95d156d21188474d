"""A thread that reads a stream from a place on (stream_reader.py): each entry once, in order, or a hole.

It must not know what an entry says. Redis is started, stopped and made to stand still by the tests.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from python_server.net.system import REAL
from python_server.socketio.cluster.broker import connections
from python_server.socketio.cluster.broker.connections import BrokerLinkState, Stream
from python_server.socketio.cluster.broker.stream_reader import (
    NUMBER_MAX,
    StreamBatch,
    StreamReader,
    entries_of,
    id_of,
    place_from,
)
from python_server.socketio.cluster.broker.url import connector
from python_server.socketio.cluster.port import BrokerOptions

WAIT_SECONDS = 60.0
NAME = b"s"
STREAM = Stream(NAME, 10_000, b"hole", b"begin")


class Heard:
    """What a reader has told, and a wait for it. `held`: its thread stands still in the next batch."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.batches: list[StreamBatch] = []
        self.states: list[tuple[BrokerLinkState, str]] = []
        self.free = threading.Event()
        self.free.set()

    def batch(self, batch: StreamBatch) -> None:
        with self._changed:
            self.batches.append(batch)
            self._changed.notify_all()
        assert self.free.wait(WAIT_SECONDS)

    def state(self, state: BrokerLinkState, reason: str) -> None:
        with self._changed:
            self.states.append((state, reason))
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_SECONDS), (self.batches, self.states)

    @property
    def payloads(self) -> list[bytes | None]:
        return [payload for batch in self.batches for _, payload in batch.entries]

    @property
    def holes(self) -> list[bool]:
        return [batch.hole for batch in self.batches]

    @property
    def lost(self) -> list[str]:
        return [reason for state, reason in self.states if state is BrokerLinkState.LOST]


class World:
    """One Redis, and readers of a stream."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.client = redis.Redis.from_url(server.url)
        self.readers: list[StreamReader] = []
        self.heards: list[Heard] = []

    def read(self, place: int = 0, url: str = "", spoil: Callable[[Any], None] = lambda made: None) -> Heard:
        heard = Heard()
        make = connector(BrokerOptions(url or self.server.url, "s"))

        def connect() -> Any:
            made = make()
            spoil(made)
            return made

        self.readers.append(StreamReader(connect, heard.state, heard.batch, STREAM, place, REAL))
        self.heards.append(heard)
        self.readers[-1].start()
        return heard

    def read_behind_one(self) -> Heard:
        """By a reader that has told where it stands: on the stream's only entry."""
        self.add(b"0")
        heard = self.read()
        heard.wait(lambda: len(heard.batches) == 1)
        return heard

    def add(self, *payloads: bytes, max_count: int | None = None) -> int:
        """The place of the last one."""
        place = 0
        for payload in payloads:
            place = place_from(self.client.xadd(NAME, {"data": payload}, maxlen=max_count))
        return place

    def close(self) -> None:
        for heard in self.heards:
            heard.free.set()
        for reader in self.readers:
            reader.close()
        for reader in self.readers:
            reader.join(WAIT_SECONDS)
        self.client.close()


@pytest.fixture
def own(new_redis: Callable[..., Any]) -> Iterator[World]:
    """Kept on disk, so that a restart loses nothing."""
    world = World(new_redis("--appendonly", "yes", "--appendfsync", "always"))
    yield world
    world.close()


@pytest.fixture
def world(redis_server: Any) -> Iterator[World]:
    world = World(redis_server)
    world.client.flushall()
    yield world
    world.close()


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last + 1)]


def test_places_and_ids() -> None:
    assert place_from(b"1-0") < place_from(b"1-1") < place_from(b"2-0")
    assert id_of(place_from(b"1796038453427-17")) == b"1796038453427-17"
    assert place_from(b"7-99999999") == place_from(b"7-1048575"), "no server has counted so far"


def test_entries_and_what_is_none() -> None:
    told = [
        (b"1-0", [b"data", b"x"]),
        (b"1-1", [b"other", b"x"]),
        (b"1-2", [b"data", b"x", b"more", b"y"]),
        (b"1-3", None),
        (b"1-5000000", [b"data", b"x"]),
    ]
    place = place_from(b"1-0")
    assert entries_of(told) == [
        (place, b"x"),
        (place + 1, None),
        (place + 2, None),
        (place + 3, None),
        (place + NUMBER_MAX, None),
    ]


def test_an_empty_stream_is_read_from_its_first_entry_on(world: World) -> None:
    heard = world.read()
    heard.wait(lambda: len(heard.batches) == 1)
    begin = heard.batches[0].end
    assert heard.batches == [StreamBatch(0, begin, [])]
    assert world.client.xrange(NAME) == [(id_of(begin), {b"data": b"begin"})], "an entry to stand on"
    last = world.add(*numbers(1, 300))
    heard.wait(lambda: heard.batches[-1].end == last)
    assert heard.payloads == numbers(1, 300)
    assert not any(heard.holes)
    assert [batch.begin for batch in heard.batches[1:]] == [batch.end for batch in heard.batches[:-1]]


def test_what_is_said_while_an_empty_stream_is_begun_is_a_hole(world: World) -> None:
    """Behind the look at it, and before the entry to stand on."""

    def spoil(made: Any) -> None:
        send = made.send_command

        def late(*parts: Any, **options: Any) -> None:
            if parts[0] == b"XADD":
                world.add(b"of another machine")
            send(*parts, **options)

        made.send_command = late

    heard = world.read(spoil=spoil)
    heard.wait(lambda: len(heard.batches) == 1)
    assert heard.holes == [True]


def test_what_stood_before_a_reader_without_a_place_is_not_heard(world: World) -> None:
    newest = world.add(*numbers(1, 5))
    heard = world.read()
    heard.wait(lambda: len(heard.batches) == 1)
    assert heard.batches == [StreamBatch(0, newest, [], hole=True)]
    world.add(b"6")
    heard.wait(lambda: heard.payloads == [b"6"])


def test_a_reader_goes_on_behind_its_place(world: World) -> None:
    place = world.add(*numbers(1, 5))
    world.add(*numbers(6, 250))
    heard = world.read(place)
    heard.wait(lambda: len(heard.payloads) == 245)
    assert heard.payloads == numbers(6, 250)
    assert heard.batches[0] == StreamBatch(place, place, [])
    assert not any(heard.holes)


def test_a_place_that_was_trimmed_is_a_hole(world: World) -> None:
    place = world.add(*numbers(1, 5))
    world.add(*numbers(6, 20))
    world.client.xtrim(NAME, maxlen=3, approximate=False)
    heard = world.read(place)
    heard.wait(lambda: len(heard.payloads) == 3)
    assert heard.payloads == numbers(18, 20)
    assert heard.holes[0]


@pytest.mark.parametrize("kept_count", [10, 300], ids=["less than is read at once", "more"])
def test_a_reader_that_lags_behind_trimming_tells_a_hole(world: World, kept_count: int) -> None:
    heard = world.read_behind_one()
    heard.free.clear()
    world.add(b"1")
    heard.wait(lambda: heard.payloads == [b"1"])
    world.add(*numbers(2, 1000))
    world.client.xtrim(NAME, maxlen=kept_count, approximate=False)
    heard.free.set()
    heard.wait(lambda: heard.payloads[-1] == b"1000")
    assert heard.payloads == [b"1", *numbers(1001 - kept_count, 1000)]
    assert heard.holes[2]
    assert not any(heard.holes[3:])


def test_a_stream_that_was_deleted_is_a_hole(world: World) -> None:
    heard = world.read_behind_one()
    world.add(b"1")
    heard.wait(lambda: heard.payloads == [b"1"])
    heard.free.clear()
    world.add(b"2")
    heard.wait(lambda: heard.payloads[-1] == b"2")
    lost = world.add(b"never read")
    world.client.delete(NAME)
    later = id_of(lost + NUMBER_MAX + 1).decode()  # by a millisecond
    world.client.xadd(NAME, {"data": b"3"}, id=later)
    heard.free.set()
    heard.wait(lambda: heard.payloads[-1] == b"3")
    assert heard.holes[-1]


def test_a_broker_that_restarts_loses_nothing(own: World) -> None:
    heard = own.read_behind_one()
    own.add(b"1")
    heard.wait(lambda: heard.payloads == [b"1"])
    own.server.stop()
    heard.wait(lambda: len(heard.lost) == 1)
    own.server.start()
    own.add(b"2")
    heard.wait(lambda: heard.payloads == [b"1", b"2"])
    assert heard.holes == [True, False, False], "but for what stood there at first"


def test_a_broker_that_has_forgotten_all_is_a_hole(new_redis: Callable[..., Any], request: Any) -> None:
    world = World(new_redis())
    request.addfinalizer(world.close)
    heard = world.read_behind_one()
    world.add(b"1")
    heard.wait(lambda: heard.payloads == [b"1"])
    world.server.stop()
    world.server.start()
    world.add(b"2")
    heard.wait(lambda: heard.payloads == [b"1", b"2"])
    assert any(heard.holes[2:])


def test_an_id_that_no_server_chose_is_a_hole_and_does_not_stop_the_stream(world: World) -> None:
    heard = world.read_behind_one()
    soon = world.client.time()[0] * 1000 + 2000
    world.client.xadd(NAME, {"data": b"of nobody"}, id=f"{soon}-5000000")
    world.add(b"1")  # in the same millisecond
    heard.wait(lambda: heard.payloads == [None, None])
    world.client.xadd(NAME, {"data": b"2"}, id=f"{soon + 1}-0")
    heard.wait(lambda: heard.payloads[-1] == b"2")
    assert heard.batches[1].hole
    assert not heard.batches[-1].hole
    assert heard.lost == []


def test_an_id_of_a_distant_future_is_told_once(world: World) -> None:
    """None that is later can follow; whoever wrote it must delete the stream."""
    heard = world.read()
    heard.wait(lambda: len(heard.batches) == 1)
    world.client.xadd(NAME, {"data": b"x"}, id=f"{2**63}-0")
    heard.wait(lambda: heard.lost != [])
    assert heard.lost == ["its entry 9223372036854775808-0 is of a distant future: delete the stream"]
    world.client.delete(NAME)
    later = id_of(heard.batches[0].end + NUMBER_MAX + 1).decode()  # by a millisecond
    world.client.xadd(NAME, {"data": b"1"}, id=later)
    heard.wait(lambda: heard.payloads == [b"1"])
    assert len(heard.lost) == 1


@pytest.mark.parametrize("command", ["xread", "xrange", "xrevrange"])
def test_a_user_who_may_not_read_is_told_once_until_he_may(own: World, command: str) -> None:
    own.client.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", f"-{command}")
    heard = own.read(url=own.server.url.replace("redis://", "redis://u:p@"))
    heard.wait(lambda: heard.lost != [])
    while own.client.info("errorstats")["errorstat_NOPERM"]["count"] < 4:
        pass
    assert heard.lost == [f"this user has no permissions to run the '{command}' command"]
    assert BrokerLinkState.UP not in [state for state, _ in heard.states]
    own.client.execute_command("ACL", "SETUSER", "u", f"+{command}")
    heard.wait(lambda: BrokerLinkState.UP in [state for state, _ in heard.states])


def test_who_is_refused_waits_longer_each_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a broker lets a connection in, and answers something, is no reason to ask at once."""
    monkeypatch.setattr(connections, "BACK_OFF_MAX_SECONDS", 0.4)
    world.client.set(NAME, "no stream")
    heard = world.read(place_from(b"1-0"))
    heard.wait(lambda: heard.lost != [])
    assert "WRONGTYPE" in heard.lost[0]
    reader = world.readers[0]
    while reader._back_off_seconds < 0.4:
        pass
    world.client.delete(NAME)
    world.add(b"1")
    heard.wait(lambda: heard.payloads == [b"1"])
    assert len(heard.lost) == 1
    assert reader._back_off_seconds == connections.BACK_OFF_MIN_SECONDS
