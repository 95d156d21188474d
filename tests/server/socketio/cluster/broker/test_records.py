"""Lost clients kept at a broker (records.py): for one asker, for a time; and a part of the stream once more.

It must not know what a record says. The calls on the loop are made by the test's thread.
"""

import queue
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from python_server.socketio.cluster.broker import records
from python_server.socketio.cluster.broker.connections import BrokerLinkState, Publisher, Stream
from python_server.socketio.cluster.broker.foreign_messages import write_command, write_emit
from python_server.socketio.cluster.broker.messages import ChannelReader, Channels
from python_server.socketio.cluster.broker.records import BrokerRecords
from python_server.socketio.cluster.broker.stream_reader import place_from
from python_server.socketio.cluster.broker.url import connector
from python_server.socketio.cluster.port import BrokerOptions, CommandKind, Envelope
from python_server.socketio.packet import EVENT, TextCodec

WAIT_SECONDS = 60.0


class Kept:
    """One worker's half of the store, and the broker itself."""

    def __init__(self, url: str) -> None:
        self.channels = Channels(f"test-{uuid.uuid4().hex}", "host.1", False)
        self.client = redis.Redis.from_url(url)
        self._posted: queue.Queue[Any] = queue.Queue()
        stream = Stream(self.channels.shared, 1000, b"hole")
        self.publisher = Publisher(
            connector(BrokerOptions(url, "c")), self._changed, lambda count: None, stream=stream
        )
        reader = ChannelReader(self.channels, "host.", TextCodec, lambda: None, lambda: None)
        self.records = BrokerRecords(
            "host.1",
            self.channels.record_of,
            self.publisher.ask,
            lambda function, *args, nbytes=0: self._posted.put((function, args)),
            b"secret",
            self.channels.shared,
            reader,
        )
        self.publisher.start()

    def _changed(self, state: BrokerLinkState, reason: str) -> None: ...

    def answer(self, method: str, *given: Any) -> Any:
        """What it tells, on the loop."""
        told: list[Any] = []
        getattr(self.records, method)(*given, told.append)
        function, args = self._posted.get(timeout=WAIT_SECONDS)
        assert told == []
        function(*args)
        (answer,) = told
        return answer

    def say(self, payload: bytes, field: str = "data") -> int:
        return place_from(self.client.xadd(self.channels.shared, {field: payload}))

    def emit(self, number: int, host: str = "other.1", **changes: Any) -> int:
        name = f"tag-{number:x}"
        envelope = Envelope("/", None, (), TextCodec().prepare(EVENT, "/", ("e", number, name)), name)
        return self.say(write_emit(envelope._replace(**changes), host, TextCodec()))

    def close(self) -> None:
        self.publisher.close()
        self.publisher.join(WAIT_SECONDS)
        self.client.close()


@pytest.fixture
def kept(redis_server: Any) -> Iterator[Kept]:
    kept = Kept(redis_server.url)
    yield kept
    kept.close()


def test_a_record_goes_to_one_asker_alone(kept: Kept) -> None:
    assert kept.answer("put", "pid", b"\0record\xff", 60.0) is True
    assert kept.answer("take", "pid") == b"\0record\xff"
    assert kept.answer("take", "pid") is None


def test_a_later_record_takes_the_place_of_the_one_before(kept: Kept) -> None:
    for record in (b"1", b"2"):
        kept.answer("put", "pid", record, 60.0)
    assert kept.answer("take", "pid") == b"2"


@pytest.mark.parametrize(("seconds", "expiry"), [(120.0, 120), (0.3, 1)])
def test_a_record_is_kept_for_a_time(kept: Kept, seconds: float, expiry: int) -> None:
    kept.answer("put", "pid", b"x", seconds)
    left: Any = kept.client.pttl(kept.channels.record_of("pid"))
    assert 0 < left <= expiry * 1000
    assert left > expiry * 1000 - WAIT_SECONDS * 1000


def test_a_record_that_nobody_will_ask_for(kept: Kept) -> None:
    kept.answer("put", "pid", b"x", 60.0)
    kept.records.drop("pid")
    assert kept.answer("take", "pid") is None


def test_a_secret_of_any_characters_is_a_key_of_its_own(kept: Kept) -> None:
    for pid in ("a", "a b\r\n", "\ud800", "*"):
        assert kept.answer("take", pid) is None
        kept.answer("put", pid, pid.encode("utf-8", "replace"), 60.0)
        assert kept.answer("take", pid) == pid.encode("utf-8", "replace")


def test_a_part_of_the_stream_is_read_once_more(kept: Kept) -> None:
    """Events of all machines, this one's as well; none that cannot be recovered, and nothing else."""
    kept.emit(0)
    begin = kept.emit(1)
    places = [kept.emit(2), kept.emit(3, "host.2")]
    kept.say(b"garbage")
    kept.say(b"{}", field="other")
    kept.say(write_command(CommandKind.CLOSE_ROOM, "other.1", "/", room="r"))
    kept.emit(4, volatile=True)
    kept.emit(5, rooms=())
    unnamed = kept.emit(6, offset=None, prepared=TextCodec().prepare(EVENT, "/", ("e", 6)))
    end = kept.emit(7)
    kept.emit(8)
    told = kept.answer("between", begin, end)
    assert [(each.place, each.offset) for each in told] == [
        (places[0], "tag-2"),
        (places[1], "tag-3"),
        (unnamed, f"~~~~~~~~{unnamed:x}"),
        (end, "tag-7"),
    ]
    assert told[0].prepared.packets == ['42["e",2,"tag-2"]']
    assert told[2].prepared.packets == [f'42["e",6,"~~~~~~~~{unnamed:x}"]']


def test_a_part_that_is_gone_or_too_long_is_none(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = kept.emit(1)
    end = [kept.emit(number) for number in range(2, 5)][-1]
    assert kept.answer("between", begin, end) is not None
    monkeypatch.setattr(records, "BETWEEN_MAX_COUNT", 4)
    assert kept.answer("between", begin, end) is None
    monkeypatch.undo()
    kept.client.xtrim(kept.channels.shared, maxlen=3, approximate=False)
    assert kept.answer("between", begin, end) is None
    kept.client.delete(kept.channels.shared)
    assert kept.answer("between", begin, end) is None


def test_a_store_that_refuses_has_nothing_and_keeps_nothing(new_redis: Any, request: Any) -> None:
    server = new_redis()
    kept = Kept(server.url)
    request.addfinalizer(kept.close)
    begin = kept.emit(1)
    kept.client.delete(kept.channels.shared)
    kept.client.set(kept.channels.shared, "no stream")
    kept.client.config_set("maxmemory", 1)
    assert kept.answer("put", "pid", b"x", 60.0) is False
    assert kept.answer("between", begin, begin + 1) is None
    assert kept.answer("take", "pid") is None
