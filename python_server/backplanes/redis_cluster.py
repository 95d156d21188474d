"""Redis Cluster by sharded channels: each channel, and so each room, is one shard's and nobody else's work.

Must not know: anything of this server, what a message says. Methods stand in
python_server/socketio/cluster/broker/plugins.py. https://redis.io/docs/latest/develop/pubsub/#sharded-pubsub
"""

from __future__ import annotations

import selectors
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

import hiredis  # noqa: F401  # else each message costs several times as much
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import MovedError, ResponseError

# Of any answer; the library has no bound.
PATIENCE_SECONDS: Final = 5.0
# Of one receive, of each node.
BATCH_MAX_COUNT: Final = 256
BATCH_MAX_BYTES: Final = 256 * 1024
# What a connection to a node takes, of those to a cluster.
OF_A_NODE: Final = {"socket_timeout": PATIENCE_SECONDS, "socket_connect_timeout": PATIENCE_SECONDS}


def open_broker(url: str, channel: str, options: Mapping[str, object]) -> ShardedRedis:
    """The cluster of redis+cluster://user:password@host:port,host:port; some of its nodes are enough.

    Args:
        options: keyword arguments of redis.RedisCluster; in the URL's query `ssl_ca_certs` and its like.

    Raises:
        ValueError, TypeError: what cannot be.
    """
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.fragment:
        raise ValueError("a cluster has no databases: nothing stands behind its nodes")
    credentials, _, places = parts.netloc.rpartition("@")
    nodes = [place_of_node(place) for place in places.split(",")]
    settings: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in settings:
        if not name.startswith("ssl_"):
            raise ValueError(f"it has an unknown field {name!r}")
    if settings:
        settings["ssl"] = True
    user, _, password = credentials.partition(":")
    if user:
        settings["username"] = unquote(user)
    if password:
        settings["password"] = unquote(password)
    return ShardedRedis(nodes, {**settings, **options})


def place_of_node(place: str) -> tuple[str, int]:
    """Host and port. Raises ValueError."""
    host, colon, port = place.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not host or not 0 < int(port) < 65536:
        raise ValueError(f"{place!r} is not the host:port of a node: write for example localhost:7000")
    return host.strip("[]"), int(port)


class ShardedRedis:
    """Makes connections."""

    def __init__(self, nodes: Sequence[tuple[str, int]], settings: Mapping[str, Any]) -> None:
        self._nodes = nodes
        self._settings = settings

    def publisher(self) -> ShardedPublisher:
        return ShardedPublisher(self._nodes, self._settings)

    def subscriber(self) -> ShardedSubscriber:
        return ShardedSubscriber(self._nodes, self._settings)


class _Shards:
    """One connection to each node that has been needed, by the cluster's own table of slots."""

    def __init__(self, nodes: Sequence[tuple[str, int]], settings: Mapping[str, Any]) -> None:
        self._nodes = nodes
        self._settings = settings
        self._cluster: Any = None
        self._links: dict[str, Any] = {}

    def connect(self) -> None:
        given = {"require_full_coverage": True, "protocol": 2, **OF_A_NODE, **self._settings}
        make: Any = ClusterNode
        nodes = [make(host, port) for host, port in self._nodes]
        self._cluster = RedisCluster(startup_nodes=nodes, **given)
        self.ping()

    def link_of(self, channel: str) -> Any:
        """The connection to the node whose channel it is."""
        return self._link_to(self._cluster.get_node_from_key(channel.encode()))

    def _link_to(self, node: Any) -> Any:
        link = self._links.get(node.name)
        if link is None:
            pool = self._cluster.get_redis_connection(node).connection_pool
            link = pool.connection_class(**pool.connection_kwargs)
            link.connect()
            self._links[node.name] = link
            self.connected(link)
        return link

    def connected(self, link: Any) -> None:
        """There is one more."""

    def ping(self) -> None:
        """Every shard: a channel of one that is gone would be silent."""
        links = [self._link_to(node) for node in self._cluster.get_primaries()]
        for link in links:
            link.send_command("PING", check_health=False)
        for link in links:
            self.wait_pong(link)

    def wait_pong(self, link: Any) -> None:
        link.read_response()

    def close(self) -> None:
        links, self._links = self._links, {}
        cluster, self._cluster = self._cluster, None
        for link in links.values():
            with suppress(Exception):
                link.disconnect()
        if cluster is not None:
            with suppress(Exception):
                cluster.close()


class ShardedPublisher(_Shards):
    def publish(self, messages: Sequence[tuple[str, bytes]]) -> list[int | None]:
        counts = self._publish(messages)
        moved = [number for number, count in enumerate(counts) if count is None]
        if moved:  # slots have gone to another node
            self._cluster.nodes_manager.initialize()
            for number, count in zip(moved, self._publish([messages[each] for each in moved]), strict=True):
                if count is None:
                    raise ConnectionError("the cluster gives its slots to other nodes")
                counts[number] = count
        return counts

    def _publish(self, messages: Iterable[tuple[str, bytes]]) -> list[int | None]:
        """None: its slot is not there."""
        links = []
        commands: dict[Any, list[tuple[str | bytes, ...]]] = {}
        for channel, payload in messages:
            link = self.link_of(channel)
            links.append(link)
            commands.setdefault(link, []).append(("SPUBLISH", channel.encode(), payload))
        for link, those in commands.items():
            link.send_packed_command(link.pack_commands(those), check_health=False)
        counts: list[int | None] = []
        for link in links:
            try:
                counts.append(link.read_response())
            except MovedError:
                counts.append(None)
        return counts


class ShardedSubscriber(_Shards):
    def __init__(self, nodes: Sequence[tuple[str, int]], settings: Mapping[str, Any]) -> None:
        super().__init__(nodes, settings)
        self._poller = selectors.DefaultSelector()
        self._came: list[tuple[str, bytes]] = []
        self._came_bytes = 0
        self._fault: Exception | None = None
        self._subscribed: set[bytes] = set()

    def connected(self, link: Any) -> None:
        self._poller.register(link._sock, selectors.EVENT_READ, link)

    def subscribe(self, channels: Sequence[str]) -> None:
        links = {channel: self.link_of(channel) for channel in channels}
        for channel, link in links.items():
            link.send_command("SSUBSCRIBE", channel.encode(), check_health=False)
        for channel, link in links.items():
            while channel.encode() not in self._subscribed:
                self._read(link)

    def unsubscribe(self, channels: Sequence[str]) -> None:
        for channel in channels:
            link = self.link_of(channel)
            self._subscribed.discard(channel.encode())
            link.send_command("SUNSUBSCRIBE", channel.encode(), check_health=False)

    def wait_pong(self, link: Any) -> None:
        while self._read(link) != b"pong":
            pass

    def _read(self, link: Any) -> bytes:
        """One thing that a node says, and its kind."""
        said = link.read_response()
        if said == b"PONG":  # nothing is subscribed to there
            return b"pong"
        if isinstance(said, ResponseError):
            raise said
        kind, channel, *values = said
        if kind == b"smessage":
            self._came.append((channel.decode(), values[0]))
            self._came_bytes += len(values[0])
        elif kind == b"ssubscribe":
            self._subscribed.add(channel)
        elif kind == b"sunsubscribe" and channel in self._subscribed:
            self._moved(channel)
        return bytes(kind)

    def _moved(self, channel: bytes) -> NoReturn:
        raise ConnectionError(f"the cluster gives the channel {channel.decode()!r} to another node")

    def _read_all(self) -> None:
        """What has come, some of each node's."""
        for link in self._links.values():
            most_count = len(self._came) + BATCH_MAX_COUNT
            most_bytes = self._came_bytes + BATCH_MAX_BYTES
            while len(self._came) < most_count and self._came_bytes < most_bytes and link.can_read(0):
                self._read(link)

    def receive(self, timeout_seconds: float) -> list[tuple[str, bytes]]:
        if self._fault is not None:
            raise self._fault
        try:
            self._read_all()
            if not self._came:
                self._poller.select(timeout_seconds)
                self._read_all()
        except Exception as error:
            if not self._came:
                raise
            self._fault = error  # the nodes have forgotten what has come: it is given first
        came, self._came, self._came_bytes = self._came, [], 0
        return came

    def close(self) -> None:
        super().close()
        self._poller.close()
