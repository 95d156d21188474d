"""Redis as it is run in earnest: sentinels and a master that is killed, a user with few rights, TLS, Valkey.

It must not know how a message is written. Every wait is for something that was said.
"""

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from joined_machines import APPS, JOINED, WAIT_SECONDS, Client, repeat
from outside_tools import outside_tool
from own_redis import RedisServer
from own_redis_cluster import OwnRedisCluster
from page_blocks import PAGES, blocks_of
from python_server import Emitter
from python_server.api.emitter import EmitError
from wanderers import PythonWanderer

SCAN_SECONDS = 0.05
# The line of an access list for the channel "shop", and what streams need beside it.
PAGE = "docs/scaling.md"
(LINE,) = blocks_of(PAGE, "none")
STREAM_WORDS = re.findall(r"it also needs `(.*)`\. A database", PAGES[PAGE])[0]
FORMS = pytest.mark.parametrize(
    "streams",
    [pytest.param("", id="channel"), pytest.param("+streams", id="stream", marks=pytest.mark.extended)],
)


def hear_until(client: Client, last: Any) -> list[Any]:
    """What a client hears, with the word that is the last."""
    heard = [client.hear()]
    while heard[-1] != [last]:
        heard.append(client.hear())
    return [word for (word,) in heard]


def talk(one: Client, other: Client) -> None:
    """They are of two machines, and each hears the other."""
    for speaker, listener in ((one, other), (other, one)):
        listener.ask("join", "readers")
        # A channel of the room's own is heard a moment after the room has filled.
        repeat(lambda speaker=speaker: speaker.ask("say", "?", {"to": "readers"}), listener)  # type: ignore[misc]
        for word in ("1", "2", "end"):
            speaker.ask("say", word, {"to": "readers"})
        assert [word for word in hear_until(listener, "end") if word != "?"] == ["1", "2", "end"]
        assert list(speaker.ask("call", listener.sid)) == [f"7 from {listener.sid}", 7]
        while not speaker.heard.empty():
            speaker.heard.get()


# A master that is killed


class Watched:
    """A master, its replica, and a sentinel that makes the one of them the other."""

    def __init__(self, new_redis: Callable[..., Any], folder: Path) -> None:
        kept = ("--appendonly", "yes", "--appendfsync", "always")
        self.master = new_redis(*kept)
        self.replica = new_redis(*kept, "--replicaof", f"127.0.0.1 {self.master.port}")
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"sentinel monitor mine 127.0.0.1 {self.master.port} 1\n"
            "sentinel down-after-milliseconds mine 300\n"
            "sentinel failover-timeout mine 3000\n"
        )
        sentinel = new_redis("--sentinel", settings=settings)
        self.place = f"127.0.0.1:{sentinel.port}/0/mine"
        with redis.Redis.from_url(f"redis://127.0.0.1:{sentinel.port}") as asked:
            while not any(each["port"] == self.replica.port for each in asked.sentinel_slaves("mine")):
                time.sleep(SCAN_SECONDS)  # nobody tells that a sentinel has found one
        with redis.Redis.from_url(self.replica.url) as asked:
            while asked.info("replication")["master_link_status"] != "up":
                time.sleep(SCAN_SECONDS)


@pytest.mark.parametrize(
    "streams",
    [pytest.param("", id="channel", marks=pytest.mark.extended), pytest.param("+streams", id="stream")],
)
def test_sentinels_fail_over_to_the_replica_of_a_killed_master(
    new_redis: Callable[..., Any], join: Any, tmp_path: Path, streams: str
) -> None:
    """Events go on; those that were said meanwhile wait. A stream loses none that the replica had."""
    watched = Watched(new_redis, tmp_path)
    machines = join(f"redis+sentinel{streams}://{watched.place}")
    first, second = machines.ours(), machines.ours()
    speaker, listener = machines.client(first.url), machines.client(second.url)
    talk(speaker, listener)
    if streams:  # a master answers before its replica has what it was told
        with redis.Redis.from_url(watched.master.url) as asked:
            asked.execute_command("WAIT", 1, 0)
    watched.master.stop()
    for server in (first, second):
        server.wait_for("is lost")
    for number in range(20):
        speaker.ask("say", f"meanwhile {number}", {"to": [listener.sid]})
    for server in (first, second):
        server.wait_for("is there again")
    if not streams:  # a subscriber may have come back later than its speaker
        repeat(lambda: speaker.ask("say", "?", {}), listener)
    speaker.ask("say", "then", {})
    heard = hear_until(listener, "then")
    if streams:
        assert heard == [*(f"meanwhile {number}" for number in range(20)), "then"]
    talk(speaker, listener)
    with redis.Redis.from_url(watched.replica.url) as asked:
        assert asked.info("replication")["role"] == "master"
    for server in (first, second):
        assert server.log.count("is lost") == server.log.count("is there again") == 1, server.log


def test_a_service_that_the_sentinels_do_not_know(
    new_redis: Callable[..., Any], tmp_path: Path, join: Any
) -> None:
    settings = tmp_path / "sentinel.conf"
    settings.write_text("sentinel monitor mine 127.0.0.1 1 1\n")
    sentinel = new_redis("--sentinel", settings=settings)
    server = join(f"redis+sentinel://127.0.0.1:{sentinel.port}/0/other").server()
    server.wait_for("cannot be reached: No master found for 'other'")


# A user with few rights


class Owner:
    """Of a broker with a user who may do little."""

    def __init__(self, broker: Any, channel: str, words: str) -> None:
        user, name, *given = words.replace("shop", channel).split()
        assert (user, name) == ("user", "app")
        self._rights = {word.removeprefix("+") for word in given if word[0] == "+"}
        self._client = redis.Redis.from_url(broker.url)
        self._client.execute_command("ACL SETUSER", name, *given)

    def _used(self) -> set[str]:
        return {name.removeprefix("cmdstat_") for name in self._client.info("commandstats")}

    def wait_kept(self, channel: str, pid: str) -> None:
        """Until the record of a connected client is there."""
        while not self._client.exists(f"{channel}#wsframe#client#{pid}"):
            time.sleep(SCAN_SECONDS)

    def wait_all_used(self) -> None:
        """Until each command that the user may give was given; none was refused."""
        deadline = time.monotonic() + WAIT_SECONDS
        while missing := self._rights - self._used():
            assert time.monotonic() < deadline, f"never given: {missing}"
            time.sleep(SCAN_SECONDS)
        # The client library tells its name, and passes over the refusal.
        refused = [each for each in self._client.acl_log() if not each["object"].startswith("client")]
        assert refused == []
        self._client.close()


def roll(server: Any) -> None:
    """Both its workers leave to successors."""
    server.signal(signal.SIGHUP)
    server.wait_ended(2)


@pytest.mark.parametrize(
    "per_room", [False, pytest.param(True, marks=pytest.mark.extended)], ids=["channel", "channel per room"]
)
def test_a_user_may_do_what_the_page_says_and_nothing_else(
    new_redis: Callable[..., Any], join: Any, per_room: bool
) -> None:
    """Workers leave to others: each command of a server's life is sent."""
    broker = new_redis()
    machines = join(broker.url.replace("redis://", "redis://app:secret@"))
    owner = Owner(broker, machines.channel, LINE)
    machines.options = {"channel_per_room": per_room}
    first, second = machines.ours("--workers", "2"), machines.ours()
    talk(machines.client(first.url), machines.client(second.url))
    roll(first)
    talk(machines.client(first.url), machines.client(second.url))
    owner.wait_all_used()
    for server in (first, second):
        assert "the broker refuses" not in server.log
        assert "is lost" not in server.log


@pytest.mark.long
def test_a_user_of_streams_may_do_what_the_page_says_and_nothing_else(
    new_redis: Callable[..., Any], serve: Any
) -> None:
    """A client that is lost is kept, found by the other machine, and forgotten."""
    broker = new_redis()
    url = broker.url.replace("redis://", "redis+streams://app:secret@")
    owner = Owner(broker, "shop", f"{LINE} {STREAM_WORDS}")
    environment = {"BROKER": url, "CHANNEL": "shop"}
    options = ("--workers", "2", "--cluster-secret", "of all")
    first, second = (serve(APPS, "streams_app:app", *options, env=environment) for _ in range(2))
    for server in (first, second):
        server.wait_for(JOINED)
        server.wait_serving(2)
    wanderer, leaver = PythonWanderer(), PythonWanderer()
    wanderer.come(first.url, "websocket")
    leaver.come(first.url, "websocket")
    wanderer.ask("enter", "readers")
    with Emitter(url, "shop") as emitter:
        for number in range(2):
            emitter.emit("told", "outside", number, to="readers")
            wanderer.heard("outside", number)
            wanderer.cut()
            assert wanderer.come((second, first)[number].url, "websocket")
    owner.wait_kept("shop", leaver.pid)
    leaver.ask("enter", "readers")  # its record is not true any more
    roll(first)
    wanderer.wait_gone()
    assert wanderer.come(second.url, "websocket")
    wanderer.leave()
    leaver.leave()
    owner.wait_all_used()
    for server in (first, second):
        assert "the broker refuses" not in server.log
        assert "is lost" not in server.log


def test_a_wrong_password_is_told(new_redis: Callable[..., Any], join: Any) -> None:
    broker = new_redis()
    with redis.Redis.from_url(broker.url) as owner:
        owner.execute_command("ACL SETUSER", "app", "on", ">secret", "allkeys", "allchannels", "+@all")
    server = join(broker.url.replace("redis://", "redis://app:guessed@")).server()
    server.wait_for("cannot be reached: invalid username-password pair or user is disabled.")
    assert "guessed" not in server.log


# TLS


@pytest.fixture
def over_tls(new_redis: Callable[..., Any], tmp_path: Path) -> str:
    """The URL of a broker whose authority is in ca.pem; another one's is in other.pem."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    files = {"--tls-cert-file": "cert.pem", "--tls-key-file": "key.pem", "--tls-ca-cert-file": "ca.pem"}
    options = [word for name, file in files.items() for word in (name, str(tmp_path / file))]
    return str(new_redis(*options, "--tls-auth-clients", "no", tls=True).url)


@FORMS
def test_servers_meet_over_tls(over_tls: str, join: Any, tmp_path: Path, streams: str) -> None:
    machines = join(f"{over_tls.replace('rediss', f'rediss{streams}')}?ssl_ca_certs={tmp_path}/ca.pem")
    first, second = machines.ours(), machines.ours()
    talk(machines.client(first.url), machines.client(second.url))


@FORMS
def test_an_authority_that_is_not_the_brokers_is_told(
    over_tls: str, join: Any, tmp_path: Path, streams: str
) -> None:
    """By a server, which serves alone, and by a writer."""
    url = f"{over_tls.replace('rediss', f'rediss{streams}')}?ssl_ca_certs={tmp_path}/other.pem"
    server = join(url).server()
    server.wait_for("cannot be reached: ")
    server.wait_for("certificate verify failed")
    with Emitter(url) as emitter, pytest.raises(EmitError, match="certificate verify failed"):
        emitter.emit("news")


# A cluster


def test_redis_cluster(join: Any, redis_program: str) -> None:
    """Three nodes; each room has a channel of its own on one of them."""
    cluster = OwnRedisCluster(redis_program)
    try:
        machines = join(cluster.url)
        first, second = machines.ours("--workers", "2"), machines.ours()
        talk(machines.client(first.url), machines.client(second.url))
        channels = set()
        for node in cluster.nodes:
            with redis.Redis(port=node.port) as asked:
                channels.update(asked.pubsub_shardchannels())
                assert asked.pubsub_channels() == []
        assert f"{machines.channel}#/#readers".encode() in channels
    finally:
        cluster.close()


@pytest.mark.extended
def test_a_replica_follows_a_killed_master_of_a_cluster(join: Any, redis_program: str) -> None:
    cluster = OwnRedisCluster(redis_program, replicas_count=1)
    try:
        machines = join(cluster.url)
        first, second = machines.ours(), machines.ours()
        speaker, listener = machines.client(first.url), machines.client(second.url)
        talk(speaker, listener)
        cluster.nodes[0].stop()
        for server in (first, second):
            server.wait_for("is lost")
            server.wait_for("is there again")
        repeat(lambda: speaker.ask("say", "?", {"to": "readers"}), listener)
        speaker.ask("say", "then", {})
        hear_until(listener, "then")
        talk(speaker, listener)
    finally:
        cluster.close()


# Valkey


@pytest.mark.extended
@FORMS
def test_valkeys_own_server(join: Any, streams: str) -> None:
    """Debian has it since trixie; `make test-python` brings sid's."""
    broker = RedisServer(outside_tool("valkey-server"))
    try:
        with redis.Redis.from_url(broker.url) as asked:
            assert asked.info("server")["server_name"] == "valkey"
        machines = join(broker.url.replace("redis://", f"valkey{streams}://"))
        first, second = machines.ours(), machines.ours()
        talk(machines.client(first.url), machines.client(second.url))
    finally:
        broker.close()
