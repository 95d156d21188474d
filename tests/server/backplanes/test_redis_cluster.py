"""Redis Cluster as a package would bring it: its URLs, and the tests that every backplane has to pass.

It must not know how servers use it.
"""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from own_redis_cluster import OwnRedisCluster
from python_server.api.backplane_kit import CHANNEL, BackplaneTests
from python_server.backplanes.redis_cluster import open_broker
from python_server.socketio.cluster.broker.url import BrokerError, read_broker


def test_a_url_is_read() -> None:
    made = open_broker("redis+cluster://u:p%40@a:1,[::1]:2?ssl_ca_certs=/a%20b", "c", {"max_connections": 9})
    assert made._nodes == [("a", 1), ("::1", 2)]
    assert made._settings == {
        "username": "u",
        "password": "p@",
        "ssl": True,
        "ssl_ca_certs": "/a b",
        "max_connections": 9,
    }


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+cluster://", "'' is not the host:port of a node"),
        ("redis+cluster://a:1,b", "'b' is not the host:port of a node: write for example localhost:7000"),
        ("redis+cluster://a:\u00b2", "is not the host:port of a node"),
        ("redis+cluster://a:0", "'a:0' is not the host:port of a node"),
        ("redis+cluster://a:65536", "'a:65536' is not the host:port of a node"),
        ("redis+cluster://a:1/3", "nothing stands behind its nodes"),
        ("redis+cluster://a:1#x", "nothing stands behind its nodes"),
        ("redis+cluster://a:1?db=2", "it has an unknown field 'db'"),
    ],
)
def test_a_url_that_cannot_be_is_one_line(url: str, said: str) -> None:
    with pytest.raises(BrokerError, match=said) as raised:
        read_broker({"message_queue": url}, "c")
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def cluster(redis_program: str) -> Iterator[OwnRedisCluster]:
    made = OwnRedisCluster(redis_program)
    yield made
    made.close()


@pytest.mark.extended
class TestRedisCluster(BackplaneTests):
    @pytest.fixture
    def broker(self, cluster: OwnRedisCluster) -> OwnRedisCluster:
        return cluster

    def test_channels_are_spread_over_all_nodes(self, connect: Any, cluster: OwnRedisCluster) -> None:
        """In the order of each; a message goes to one node alone."""
        subscriber, publisher = connect("subscriber"), connect("publisher")
        rooms = [f"{CHANNEL}#/#{number}" for number in range(30)]
        subscriber.subscribe(rooms)
        sent = [(room, b"%d" % number) for number in range(20) for room in rooms]
        assert publisher.publish(sent) == [1] * len(sent)
        came: list[tuple[str, bytes]] = []
        while len(came) < len(sent):
            came += subscriber.receive(5.0)
        for room in rooms:
            assert [each for each in came if each[0] == room] == [each for each in sent if each[0] == room]
        held = []
        for node in cluster.nodes:
            with redis.Redis(port=node.port) as asked:
                held.append(len(asked.pubsub_shardchannels()))
        assert sum(held) == len(rooms)
        assert all(held)

    def test_what_came_before_a_cut_is_given(self, connect: Any) -> None:
        subscriber, publisher = connect("subscriber"), connect("publisher")
        subscriber.subscribe([CHANNEL])
        publisher.publish([(CHANNEL, b"%d" % number) for number in range(9)] + [(CHANNEL, b"the last one")])
        sock = subscriber.link_of(CHANNEL)._sock
        sock.setblocking(True)
        while b"the last one" not in sock.recv(65536, socket.MSG_PEEK):
            pass
        sock.shutdown(socket.SHUT_RDWR)
        assert len(subscriber.receive(5.0)) == 10
        with pytest.raises(redis.ConnectionError):
            subscriber.receive(5.0)

    def test_large_messages_are_not_gathered(self, gathered_counts: Any) -> None:
        assert max(gathered_counts(4, 200_000)) <= 2

    def test_a_slot_that_moves_is_followed(self, connect: Any, cluster: OwnRedisCluster) -> None:
        """The subscriber is told, and subscribes anew over another connection; the writer asks again."""
        subscriber, publisher = connect("subscriber"), connect("publisher")
        subscriber.subscribe([CHANNEL])
        asked = [redis.Redis(port=node.port, decode_responses=True) for node in cluster.nodes]
        ids = [each.cluster("MYID") for each in asked]
        slot = asked[0].cluster("KEYSLOT", CHANNEL)
        home = 3 * slot // 16384
        other = (home + 1) % 3
        asked[other].cluster("SETSLOT", slot, "IMPORTING", ids[home])
        asked[home].cluster("SETSLOT", slot, "MIGRATING", ids[other])
        for index in (other, home, 3 - home - other):
            asked[index].cluster("SETSLOT", slot, "NODE", ids[other])
        with pytest.raises(ConnectionError, match="to another node"):
            subscriber.receive(60.0)
        again = connect("subscriber")
        again.subscribe([CHANNEL])
        assert publisher.publish([(CHANNEL, b"moved")]) == [1]
        assert again.receive(5.0) == [(CHANNEL, b"moved")]
        for each in asked:
            each.close()
