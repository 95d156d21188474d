"""The two connections to a broker: in order, bounded, made again whenever they are lost.

It must not know what a message says. Redis is started, stopped and made to stand still by the tests.
"""

import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import trustme

from link_log import WAIT_SECONDS, LinkLog
from python_server.socketio.cluster.broker import url as broker
from python_server.socketio.cluster.broker.connections import (
    BrokerLinkState,
    Publisher,
    Stream,
    Subscriber,
)
from python_server.socketio.cluster.broker.post_queue import QUEUE_MAX_BYTES, QUEUE_MAX_COUNT
from python_server.socketio.cluster.broker.url import connector
from python_server.socketio.cluster.port import BrokerOptions


@pytest.fixture
def made() -> Iterator[list[Any]]:
    links: list[Any] = []
    yield links
    for link in links:
        link.close()
        link.join(WAIT_SECONDS)


Pair = Callable[[str], tuple[Publisher, Subscriber, LinkLog]]


@pytest.fixture
def pair(made: list[Any]) -> Pair:
    def make(url: str) -> tuple[Publisher, Subscriber, LinkLog]:
        log = LinkLog()
        connect = connector(BrokerOptions(url, "c"))
        publisher = Publisher(connect, log.state, log.dropped)
        subscriber = Subscriber(connect, log.state, log.heard, 1_000_000)
        made.extend([publisher, subscriber])
        subscriber.want(b"c")
        subscriber.start()
        publisher.start()
        return publisher, subscriber, log

    return make


def test_messages_arrive_in_order_with_the_number_of_ears(redis_server: Any, pair: Pair) -> None:
    publisher, _, log = pair(redis_server.url)
    log.wait(lambda: (b"c", None) in log.messages)
    sent = [b"%d\r\n" % number for number in range(5000)]
    for payload in sent:
        publisher.publish(b"c", payload, log.done)
    assert publisher.flush(WAIT_SECONDS)
    log.wait(lambda: len(log.payloads(b"c")) == 5000)
    assert log.payloads(b"c") == sent
    assert log.reached == [1] * 5000
    assert publisher.queued_bytes == publisher.queued_count == 0


def test_channels_change_while_it_listens(redis_server: Any, pair: Pair) -> None:
    publisher, subscriber, log = pair(redis_server.url)
    log.wait(lambda: (b"c", None) in log.messages)
    subscriber.want(b"d", b"e")
    publisher.publish(b"c", b"poke")
    log.wait(lambda: (b"d", None) in log.messages and (b"e", None) in log.messages)
    subscriber.unwant(b"d")
    publisher.publish(b"c", b"poke")
    log.wait(lambda: len(log.payloads(b"c")) == 2)
    publisher.publish(b"c", b"poke")  # behind the word that takes d away
    log.wait(lambda: len(log.payloads(b"c")) == 3)
    publisher.publish(b"d", b"1", log.done)
    publisher.publish(b"e", b"2", log.done)
    log.wait(lambda: len(log.reached) == 2)
    assert log.reached == [0, 1]


def test_a_channel_given_up_and_wanted_again_is_confirmed_again(redis_server: Any, pair: Pair) -> None:
    """A leader that hands over and leads again at once waits for the word that it hears the channel."""
    publisher, subscriber, log = pair(redis_server.url)
    log.wait(lambda: (b"c", None) in log.messages)
    subscriber.unwant(b"c")
    subscriber.want(b"c", b"d")
    publisher.publish(b"c", b"poke")
    log.wait(lambda: (b"d", None) in log.messages)
    assert log.messages.count((b"c", None)) == 2


def test_a_broker_that_goes_and_comes_back(new_redis: Callable[..., Any], pair: Pair) -> None:
    server = new_redis()
    publisher, _, log = pair(server.url)
    log.wait(lambda: (b"c", None) in log.messages and len(log.states) == 2)
    server.stop()
    log.wait(lambda: BrokerLinkState.LOST in [state for state, _ in log.states])
    publisher.doubt()  # it would look by itself after a while
    publisher.publish(b"c", b"meanwhile", log.done)
    log.wait(lambda: sum(state is BrokerLinkState.LOST for state, _ in log.states) == 2)
    server.start()
    log.wait(lambda: sum(state is BrokerLinkState.UP for state, _ in log.states) == 4)
    publisher.publish(b"c", b"afterwards", log.done)
    log.wait(lambda: b"afterwards" in log.payloads(b"c") and log.reached != [])  # its answer may be later
    assert [state for state, _ in log.states].count(BrokerLinkState.LOST) == 2, "one word for each connection"
    assert log.reached[0] is not None, "what was said meanwhile was kept"
    assert log.dropped_count == 0


def test_a_broker_that_is_not_there_at_first(new_redis: Callable[..., Any], pair: Pair) -> None:
    server = new_redis()
    server.stop()
    publisher, _, log = pair(server.url)
    log.wait(lambda: sum(state is BrokerLinkState.LOST for state, _ in log.states) == 2)
    publisher.publish(b"c", b"kept", log.done)
    server.start()
    log.wait(lambda: log.reached != [])
    assert publisher.flush(WAIT_SECONDS)


@pytest.mark.parametrize("kind", [Publisher, Subscriber])
def test_a_link_that_is_closed_while_it_connects_ends(redis_server: Any, made: list[Any], kind: type) -> None:
    """There is no socket yet that could be shut down."""
    log, connections = LinkLog(), []
    make = connector(BrokerOptions(redis_server.url, "c"))

    def connect() -> Any:
        connection: Any = make()
        connect_really = connection.connect

        def connect_late() -> None:
            link.close()
            connect_really()

        connection.connect = connect_late
        connections.append(connection)
        return connection

    link: Any = Publisher(connect, log.state, log.dropped)
    if kind is Subscriber:
        link = Subscriber(connect, log.state, log.heard, 1_000_000)
        link.want(b"c")
    made.append(link)
    link.start()
    link.join(WAIT_SECONDS)
    assert [connection._sock for connection in connections] == [None], "given back by the thread's end"
    assert log.states == []


def test_what_waits_is_bounded_and_the_oldest_goes_first(new_redis: Callable[..., Any], pair: Pair) -> None:
    server = new_redis()
    server.stop()
    publisher, _, log = pair(server.url)
    for number in range(QUEUE_MAX_COUNT + 5):
        publisher.publish(b"c", b"%d" % number, log.done)
    assert publisher.queued_count == QUEUE_MAX_COUNT
    assert log.dropped_count == 5
    assert log.reached == [None] * 5
    publisher.publish(b"c", b"x" * QUEUE_MAX_BYTES)
    assert publisher.queued_count == 1
    assert publisher.queued_bytes == QUEUE_MAX_BYTES
    publisher.publish(b"c", b"x" * (QUEUE_MAX_BYTES + 1), log.done)
    assert publisher.queued_count == 0
    assert publisher.queued_bytes == 0
    assert log.dropped_count == QUEUE_MAX_COUNT + 5 + 2


class ToldSocket:
    """A subscriber's; a wait for the next word takes too long when the test says so, once for each time."""

    def __init__(self, sock: Any, over: threading.Semaphore) -> None:
        self._sock, self._over = sock, over

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, nbytes: int) -> bytes:
        while not select.select([self._sock], [], [], 0.01)[0]:
            if self._over.acquire(blocking=False):
                raise TimeoutError
        return bytes(self._sock.recv(nbytes))


@pytest.fixture
def told_pair(
    new_redis: Callable[..., Any], made: list[Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[float], tuple[Any, Publisher, Subscriber, LinkLog, threading.Semaphore]]:
    """told_pair(seconds): both are up, on their own broker. So long the publisher waits for an answer, and
    it says nothing by itself; the subscriber waits until the semaphore is released."""

    def make_pair(answer_seconds: float) -> tuple[Any, Publisher, Subscriber, LinkLog, threading.Semaphore]:
        server, log, over = new_redis(), LinkLog(), threading.Semaphore(0)
        options = BrokerOptions(server.url, "c")
        monkeypatch.setattr(broker, "PATIENCE_SECONDS", answer_seconds)
        publisher = Publisher(connector(options), log.state, log.dropped)
        monkeypatch.setattr(broker, "PATIENCE_SECONDS", WAIT_SECONDS)
        make = connector(options)

        def connect() -> Any:
            connection: Any = make()
            connect_really = connection.connect

            def connect_told() -> None:
                connect_really()
                connection._sock = ToldSocket(connection._sock, over)

            connection.connect = connect_told
            return connection

        subscriber = Subscriber(connect, log.state, log.heard, 1_000_000)
        made.extend([publisher, subscriber])
        subscriber.want(b"c")
        for link in (publisher, subscriber):
            link.start()
        log.wait(lambda: (b"c", None) in log.messages and publisher.state is BrokerLinkState.UP)
        return server, publisher, subscriber, log, over

    return make_pair


def test_a_broker_that_stands_still(told_pair: Any) -> None:
    """Its connections stay open and say nothing: both sides find out by themselves, and come back."""
    server, publisher, subscriber, log, over = told_pair(1.0)
    server.pause()
    try:
        publisher.publish(b"c", b"lost", log.done)
        over.release(2)  # the wait for a word, and that for the answer to a ping
        log.wait(lambda: publisher.state is subscriber.state is BrokerLinkState.LOST)
        assert log.reached == [None], "what was not answered counts as dropped"
        assert log.dropped_count == 1
    finally:
        server.resume()
    log.wait(lambda: log.messages.count((b"c", None)) == 2 and publisher.state is BrokerLinkState.UP)
    publisher.publish(b"c", b"afterwards", log.done)
    log.wait(lambda: b"afterwards" in log.payloads(b"c"))


def test_an_idle_connection_is_kept(told_pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is no fault: pings are answered."""
    server, publisher, subscriber, log, over = told_pair(WAIT_SECONDS)
    before = [*log.states]

    def until_pinged(count: int) -> None:
        while witness.info("commandstats")["cmdstat_ping"]["calls"] < count:
            time.sleep(0.05)

    with redis.Redis.from_url(server.url) as witness:
        for count in (2, 3):  # behind that with which the publisher begins
            over.release()
            until_pinged(count)
            while subscriber.state is not BrokerLinkState.UP:
                time.sleep(0.05)
        monkeypatch.setattr(broker, "PATIENCE_SECONDS", 0.01)
        publisher.publish(b"c", b"from now on it is soon idle")
        until_pinged(5)
    publisher.publish(b"c", b"still here", log.done)
    log.wait(lambda: b"still here" in log.payloads(b"c"))
    assert log.states == before


def test_a_message_too_large_is_passed_over(redis_server: Any, pair: Pair) -> None:
    publisher, _, log = pair(redis_server.url)
    log.wait(lambda: (b"c", None) in log.messages)
    publisher.publish(b"c", b"x" * 1_000_001)
    publisher.publish(b"c", b"next")
    log.wait(lambda: log.payloads(b"c") == [b"next"])
    assert log.oversized_count == 1


def test_a_password(new_redis: Callable[..., Any], pair: Pair) -> None:
    server = new_redis("--requirepass", "s3cret/@")
    _, _, refused = pair(server.url)
    refused.wait(lambda: len(refused.states) == 2)
    assert all(state is BrokerLinkState.LOST for state, _ in refused.states)
    assert "uthentication" in refused.states[0][1]
    publisher, _, log = pair(server.url.replace("redis://", "redis://:s3cret%2F%40@"))
    log.wait(lambda: (b"c", None) in log.messages)
    publisher.publish(b"c", b"in")
    log.wait(lambda: log.payloads(b"c") == [b"in"])


def test_a_unix_socket(new_redis: Callable[..., Any], pair: Pair, tmp_path: Any) -> None:
    new_redis("--unixsocket", str(tmp_path / "redis.sock"))
    publisher, _, log = pair(f"unix://{tmp_path}/redis.sock?db=0")
    log.wait(lambda: (b"c", None) in log.messages)
    publisher.publish(b"c", b"in")
    log.wait(lambda: log.payloads(b"c") == [b"in"])


def test_valkeys_library(redis_server: Any, pair: Pair) -> None:
    """It speaks to the same kind of server."""
    publisher, _, log = pair(redis_server.url.replace("redis://", "valkey://"))
    log.wait(lambda: (b"c", None) in log.messages)
    publisher.publish(b"c", b"in")
    log.wait(lambda: log.payloads(b"c") == [b"in"])


def test_tls(new_redis: Callable[..., Any], pair: Pair, tmp_path: Any) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    files = {"--tls-cert-file": "cert.pem", "--tls-key-file": "key.pem", "--tls-ca-cert-file": "ca.pem"}
    options = [word for name, file in files.items() for word in (name, str(tmp_path / file))]
    server = new_redis(*options, "--tls-auth-clients", "no", tls=True)
    publisher, _, log = pair(f"{server.url}?ssl_ca_certs={tmp_path}/ca.pem")
    log.wait(lambda: (b"c", None) in log.messages)
    payload = b"x" * 900_000
    publisher.publish(b"c", payload)
    log.wait(lambda: log.payloads(b"c") == [payload])


def test_a_sentinel_names_the_master(new_redis: Callable[..., Any], pair: Pair, tmp_path: Any) -> None:
    master = new_redis()
    settings = tmp_path / "sentinel.conf"
    settings.write_text(f"sentinel monitor mine 127.0.0.1 {master.port} 1\n")
    sentinel = new_redis("--sentinel", settings=settings)
    publisher, _, log = pair(f"redis+sentinel://127.0.0.1:{sentinel.port}/0/mine")
    log.wait(lambda: (b"c", None) in log.messages)
    publisher.publish(b"c", b"in")
    log.wait(lambda: log.payloads(b"c") == [b"in"])


# Where a channel is a stream

HOLE = b"hole"


def in_stream(server: Any) -> list[bytes]:
    with redis.Redis.from_url(server.url) as witness:
        return [fields[b"data"] for _, fields in witness.xrange(b"s")]


@pytest.fixture
def streams(made: list[Any]) -> Callable[..., tuple[Publisher, LinkLog]]:
    def make(url: str, starts: bool = True) -> tuple[Publisher, LinkLog]:
        log, connect = LinkLog(), connector(BrokerOptions(url, "s"))
        stream = Stream(b"s", 100_000, HOLE)
        publisher = Publisher(connect, log.state, log.dropped, stream=stream, refused=log.refused)
        made.append(publisher)
        if starts:
            publisher.start()
            log.wait(lambda: log.states != [])
        return publisher, log

    return make


def test_what_is_published_to_the_stream_is_added_in_order(redis_server: Any, streams: Any) -> None:
    with redis.Redis.from_url(redis_server.url) as witness:
        witness.delete("s")
    publisher, log = streams(redis_server.url)
    sent = [b"%d" % number for number in range(1000)]
    for payload in sent:
        publisher.publish(b"s", payload, log.done)
    publisher.publish(b"another", b"x", log.done)
    assert publisher.flush(WAIT_SECONDS)
    assert in_stream(redis_server) == sent
    assert log.reached == [0] * 1001
    assert publisher.published_count == 1001


def test_a_command_and_its_answer(redis_server: Any, streams: Any) -> None:
    publisher, log = streams(redis_server.url)
    publisher.ask(log.done, b"SETEX", b"k", b"60", b"v")
    publisher.ask(log.done, b"GETDEL", b"k")
    publisher.ask(log.done, b"GETDEL", b"k")
    publisher.ask(None, b"DEL", b"k")
    assert publisher.flush(WAIT_SECONDS)
    assert log.reached == [b"OK", b"v", None]


def test_while_the_broker_is_away_the_stream_loses_nothing(
    new_redis: Callable[..., Any], streams: Any
) -> None:
    server = new_redis("--appendonly", "yes", "--appendfsync", "always")
    publisher, log = streams(server.url)
    publisher.publish(b"s", b"0", log.done)
    assert publisher.flush(WAIT_SECONDS)
    server.stop()
    publisher.doubt()
    sent = [b"%d" % number for number in range(1, 600)]
    for payload in sent:
        publisher.publish(b"s", payload, log.done)
    publisher.ask(log.done, b"SETEX", b"k", b"60", b"v")
    server.start()
    assert publisher.flush(WAIT_SECONDS)
    assert in_stream(server) == [b"0", *sent]
    assert log.reached == [0] * 600 + [b"OK"]
    assert log.dropped_count == 0


def test_what_was_not_answered_is_said_to_the_stream_again(
    new_redis: Callable[..., Any], streams: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be there twice; a message of a channel is given up."""
    monkeypatch.setattr(broker, "PATIENCE_SECONDS", 1.0)
    server = new_redis()
    publisher, log = streams(server.url)
    sent = [b"%d" % number for number in range(10)]
    server.pause()
    try:
        for payload in sent:
            publisher.publish(b"s", payload)
        publisher.publish(b"another", b"x", log.done)
        log.wait(lambda: BrokerLinkState.LOST in [state for state, _ in log.states])
        publisher.publish(b"s", b"10")
    finally:
        server.resume()
    assert publisher.flush(WAIT_SECONDS)
    said = in_stream(server)
    assert said[-11:] == [*sent, b"10"], "in their order"
    assert set(said) == {*sent, b"10"}
    assert log.dropped_count == len(log.reached) <= 1


def test_what_was_dropped_leaves_a_hole_in_its_place(new_redis: Callable[..., Any], streams: Any) -> None:
    server = new_redis()
    publisher, log = streams(server.url, starts=False)
    publisher.ask(log.done, b"GETDEL", b"k")
    for number in range(QUEUE_MAX_COUNT + 5):
        publisher.publish(b"s", b"%d" % number)
    assert log.reached == [None], "the command as well"
    publisher.start()
    assert publisher.flush(WAIT_SECONDS)
    said = in_stream(server)
    assert said.count(HOLE) == 1
    assert said[0] == HOLE
    assert said[1:] == [
        b"%d" % number for number in range(QUEUE_MAX_COUNT + 6 - len(said), QUEUE_MAX_COUNT + 5)
    ]
    assert log.dropped_count == 1 + QUEUE_MAX_COUNT + 5 - len(said[1:])


@pytest.mark.parametrize(
    ("size_bytes", "taken_count"), [(1, QUEUE_MAX_COUNT), (QUEUE_MAX_BYTES // 4, 4), (QUEUE_MAX_BYTES + 1, 0)]
)
def test_no_event_is_dropped_for_records_or_questions(
    new_redis: Callable[..., Any], streams: Any, size_bytes: int, taken_count: int
) -> None:
    """However many clients are lost, or ask for their record, while the broker is away."""
    server = new_redis()
    publisher, log = streams(server.url, starts=False)
    publisher.publish(b"s", b"the first")
    for number in range(taken_count + 5):
        if number % 2:
            publisher.publish(b"questions", b"x" * size_bytes, log.done)
        else:
            publisher.ask(log.done, b"SET", b"k%d" % number, b"x" * size_bytes)
    publisher.publish(b"s", b"the last")
    assert log.reached == [None] * 5
    publisher.start()
    assert publisher.flush(WAIT_SECONDS)
    assert in_stream(server) == [b"the first", b"the last"]
    assert log.dropped_count == 5


def fill(client: Any) -> None:
    client.config_set("maxmemory", 1)


def drain(client: Any) -> None:
    client.config_set("maxmemory", 0)


REFUSALS = [
    pytest.param(lambda it: it.set("s", "x"), lambda it: it.delete("s"), "WRONGTYPE", id="no stream"),
    pytest.param(fill, drain, "maxmemory", id="out of memory"),
    pytest.param(
        lambda it: it.replicaof("127.0.0.1", "1"),
        lambda it: it.replicaof("NO", "ONE"),
        "read only replica",
        id="read only",
    ),
    pytest.param(
        lambda it: it.execute_command("ACL SETUSER", "u", "-xadd"),
        lambda it: it.execute_command("ACL SETUSER", "u", "+xadd"),
        "no permissions",
        id="not permitted",
    ),
]


@pytest.mark.parametrize(("spoil", "mend", "reason"), REFUSALS)
def test_a_broker_that_takes_nothing_for_the_stream_is_lost_once_and_loses_nothing(
    new_redis: Callable[..., Any], streams: Any, spoil: Any, mend: Any, reason: str
) -> None:
    server = new_redis()
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL SETUSER", "u", "on", ">p", "~*", "&*", "+@all")
        publisher, log = streams(server.url.replace("redis://", "redis://u:p@"))
        spoil(client)
        publisher.publish(b"s", b"1", log.done)
        log.wait(lambda: len(log.states) == 2)
        for payload in (b"2", b"3"):
            publisher.publish(b"s", payload, log.done)
        while sum(each["count"] for each in client.info("errorstats").values()) < 4:
            pass
        assert [state for state, _ in log.states] == [BrokerLinkState.UP, BrokerLinkState.LOST]
        assert reason in log.states[1][1]
        mend(client)
    assert publisher.flush(WAIT_SECONDS)
    assert in_stream(server) == [b"1", b"2", b"3"]
    assert log.reached == [0, 0, 0]
    assert log.dropped_count == 0
    log.wait(lambda: len(log.states) == 3)


def test_a_command_that_is_refused_holds_up_nothing(new_redis: Callable[..., Any], streams: Any) -> None:
    """A broker that is too old for it, or an access list without it."""
    server = new_redis()
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-getdel")
    publisher, log = streams(server.url.replace("redis://", "redis://u:p@"))
    for number in range(5):
        publisher.publish(b"s", b"%d" % number)
        publisher.ask(log.done, b"GETDEL", b"k")
    assert publisher.flush(WAIT_SECONDS)
    assert in_stream(server) == [b"0", b"1", b"2", b"3", b"4"], "each once"
    assert log.reached == [None] * 5
    assert [state for state, _ in log.states] == [BrokerLinkState.UP]
    assert [command for command, _ in log.refusals] == ["GETDEL"] * 5
    assert "no permissions" in log.refusals[0][1]


class ResponseError(Exception):
    """By that name the client library calls a broker's own refusal."""


class Scripted:
    """A connection that answers PING, and then as it is told."""

    _sock = None

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[list[tuple[bytes, ...]]] = []

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def send_command(self, *parts: Any, check_health: bool = True) -> None: ...

    def pack_commands(self, commands: Any) -> list[Any]:
        return list(commands)

    def send_packed_command(self, command: list[Any], check_health: bool = True) -> None:
        self.sent.append([parts[-1] for parts in command])

    def read_response(self) -> Any:
        if not self.sent:
            return b"PONG"
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_nothing_is_said_behind_what_came_later(made: list[Any]) -> None:
    """The broker has refused one, and taken the next: that the first is missing is told in its place."""
    log = LinkLog()
    first = Scripted(ResponseError("no memory"), b"1-0", ResponseError("no memory"))
    connections = [first, Scripted(b"2-0", b"3-0", b"4-0")]
    connections[1].sent.append([])
    publisher = Publisher(
        lambda: connections.pop(0),
        log.state,
        log.dropped,
        stream=Stream(b"s", 1000, HOLE),
        refused=log.refused,
    )
    made.append(publisher)
    second = connections[1]
    for payload in (b"1", b"2", b"3"):
        publisher.publish(b"s", payload, log.done)
    publisher.start()
    assert publisher.flush(WAIT_SECONDS)
    assert first.sent == [[b"1", b"2", b"3"]]
    assert second.sent[1:] == [[HOLE]]
    assert log.reached == [0, None, None]
    assert log.dropped_count == 2
