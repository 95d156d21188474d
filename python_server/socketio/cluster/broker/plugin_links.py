"""The two connections to a broker that a package brings, as those to Redis: kept, made again, in threads.

Must not know: which broker it is, what a message says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from python_server.net.sockets import Socket
from python_server.net.system import System
from python_server.socketio.cluster.broker import url as broker
from python_server.socketio.cluster.broker.connections import BrokerLinkState, Changed, Subscriber
from python_server.socketio.cluster.broker.plugins import BrokerPublisher, BrokerSubscriber
from python_server.socketio.cluster.broker.requests import UNKNOWN_COUNT
from python_server.socketio.cluster.broker.resp import Push
from python_server.socketio.cluster.broker.url import BrokerConnection

# What Redis' connection answers to a ping.
PONG: Final = b"PONG"


class PluginConnection:
    """A package's publisher in the words of Redis' connection: PUBLISH and PING, each with one answer."""

    _sock: Socket | None = None

    def __init__(self, publisher: BrokerPublisher) -> None:
        self._publisher = publisher
        self._commands: list[tuple[str | bytes, ...]] = []
        self._answers: list[str | bytes | int] = []

    def connect(self) -> None:
        self._publisher.connect()

    def disconnect(self) -> None:
        self._publisher.close()

    def pack_commands(self, commands: Iterable[tuple[str | bytes, ...]]) -> list[bytes]:
        self._commands = [*commands]
        return []

    def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None:
        """All are answered when this returns."""
        messages = [
            (bytes(channel).decode(), bytes(payload))  # type: ignore[arg-type]
            for _, channel, payload in self._commands
        ]
        counts = self._publisher.publish(messages)
        if len(counts) != len(messages):
            raise ValueError(f"publish has told of {len(counts)} messages, and was given {len(messages)}")
        for count in counts:
            if count is not None and (not isinstance(count, int) or count < 0):
                raise ValueError(f"publish has told of {repr(count)[:100]} subscriptions")
        self._answers += [UNKNOWN_COUNT if count is None else count for count in reversed(counts)]

    def send_command(self, *parts: str | bytes, check_health: bool = True) -> None:
        if parts[0] == "PING":
            self._publisher.ping()
            self._answers.append(PONG)
        else:
            self.pack_commands([parts])
            self.send_packed_command([])

    def read_response(self) -> str | bytes | int:
        return self._answers.pop()


class _Heard:
    """A package's subscriber where a connection is expected."""

    _sock: Socket | None = None

    def __init__(self, subscriber: BrokerSubscriber) -> None:
        self.subscriber = subscriber
        self.connect = subscriber.connect
        self.disconnect = subscriber.close


class PluginSubscriber(Subscriber):
    """Messages from the channels that are wanted; see Subscriber. `close` takes effect as `want` does."""

    def __init__(
        self,
        make: Callable[[], BrokerSubscriber],
        changed: Changed,
        heard: Callable[[list[Push], int], None],
        max_bytes: int,
        system: System,
    ) -> None:
        def connect() -> BrokerConnection:
            return _Heard(make())  # type: ignore[return-value]  # only what `_Kept` calls of one

        super().__init__(connect, changed, heard, max_bytes, system)
        self._subscribed: set[bytes] = set()

    def _serve(self, connection: BrokerConnection) -> None:
        assert isinstance(connection, _Heard)
        subscriber = connection.subscriber
        with self._lock:
            self._changes = set(self._wanted)
        self._subscribed = set()
        self._follow(subscriber)
        self._work()
        while not self.closed:
            messages = subscriber.receive(broker.PATIENCE_SECONDS)
            if not messages:
                if self.state is BrokerLinkState.UP:
                    self.doubt()
                subscriber.ping()
            self._work()
            pushes: list[Push] = []
            oversized_count = 0
            for channel, payload in messages:
                if len(payload) > self._max_bytes:
                    oversized_count += 1
                else:
                    pushes.append((channel.encode(), payload))
            if messages:
                self._heard(pushes, oversized_count)
            if self._changes:
                self._follow(subscriber)

    def _follow(self, subscriber: BrokerSubscriber) -> None:
        """Subscribe to what is wanted anew; it is heard from here on.

        What was unwanted and wanted since the last time is heard already: the broker is not told again.
        """
        with self._lock:
            new, old = self._changes & self._wanted, self._changes - self._wanted
            self._changes = set()
        if added := sorted(new - self._subscribed):
            subscriber.subscribe([name.decode() for name in added])
            self._subscribed.update(added)
        if new:
            self._heard([(name, None) for name in sorted(new)], 0)
        if dropped := sorted(old & self._subscribed):
            subscriber.unsubscribe([name.decode() for name in dropped])
            self._subscribed.difference_update(dropped)
