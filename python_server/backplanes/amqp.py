"""RabbitMQ by kombu, with the exchange and the messages of python-socketio's KombuManager.

Must not know: anything of this server, what a message says; nothing that comes is decoded, decompressed or
unpickled. Methods stand in python_server/socketio/cluster/broker/plugins.py.

https://www.rabbitmq.com/docs/amqp-0-9-1-reference, https://www.rabbitmq.com/docs/confirms
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import kombu
from kombu.utils.uuid import uuid

# Of any answer; the library has no bound.
PATIENCE_SECONDS: Final = 5.0
# RabbitMQ ends a connection, and with it a queue's consumer, after twice that silence.
HEARTBEAT_SECONDS: Final = 30
# As KombuManager's: a queue is kept for five minutes while nobody reads it, so its owner may come back.
QUEUE_ARGUMENTS: Final = {"x-expires": 300_000}
# AMQP's bound of a routing key, and of a name that others are made of.
KEY_MAX_BYTES: Final = 255
CHANNEL_MAX_BYTES: Final = 180
# Of one receive: a message may have 16 MiB, and the broker sends as fast as it is read.
BATCH_MAX_COUNT: Final = 256
BATCH_MAX_BYTES: Final = 256 * 1024
# Of a URL's query, as kombu calls them, and what the connection calls them.
TLS_FILES: Final = {"ssl_ca_certs": "ca_certs", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile"}


def open_broker(url: str, channel: str, options: Mapping[str, object]) -> RabbitMQ:
    """The broker at amqp://user:password@host:port/vhost, or amqps:// with `?ssl_ca_certs=FILE`.

    Args:
        options: keyword arguments of kombu.Connection.

    Raises:
        ValueError, TypeError: what cannot be.
    """
    parts = urlsplit(url)
    if parts.port == 0 or not parts.hostname:
        raise ValueError("it names no host: write for example amqp://guest:guest@localhost:5672//")
    if len(channel.encode()) > CHANNEL_MAX_BYTES:
        raise ValueError(f"the channel's name has more than {CHANNEL_MAX_BYTES} bytes")
    settings: dict[str, Any] = {
        "connect_timeout": PATIENCE_SECONDS,
        "heartbeat": HEARTBEAT_SECONDS,
        "transport_options": {"read_timeout": PATIENCE_SECONDS, "write_timeout": PATIENCE_SECONDS},
    }
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme.lower() == "amqps":
        files = {key: query.pop(name) for name, key in TLS_FILES.items() if name in query}
        settings["ssl"] = {"server_hostname": parts.hostname, **files}
    if query:
        raise ValueError(f"it has an unknown field {next(iter(query))!r}")
    place = parts._replace(query="", scheme=parts.scheme.lower()).geturl()
    connection: Any = kombu.Connection  # type: ignore[attr-defined]  # its package finds it late
    return RabbitMQ(connection(place, **{**settings, **options}), channel)


class RabbitMQ:
    """Makes connections.

    The channel that all servers share is a fanout exchange of its name, as KombuManager's. The others are
    routing keys of one direct exchange beside it.
    """

    def __init__(self, connection: Any, channel: str) -> None:
        self._connection = connection
        self._names = Names(channel)
        # The same queue after a connection was lost: what has come meanwhile is still there.
        self._queue = f"python-socketio.{uuid()}"
        self._bound: set[str] = set()
        self._subscribers_count = 0

    def publisher(self) -> RabbitMQPublisher:
        return RabbitMQPublisher(self._connection.clone(), self._names)

    def subscriber(self) -> RabbitMQSubscriber:
        self._subscribers_count += 1
        queue = self._queue, self._bound, self._subscribers_count
        return RabbitMQSubscriber(self._connection.clone(), self._names, *queue)


class Names:
    """Of exchanges, and of the queue whose consumers are counted: who reads questions is one."""

    def __init__(self, channel: str) -> None:
        self.shared = channel
        self.others = self.questions = f"{channel}#wsframe"
        self.counted = f"python-socketio.{self.questions}"

    def exchange_and_key(self, channel: str) -> tuple[str, str]:
        """Exchange and routing key of a channel."""
        if channel == self.shared:
            return self.shared, ""
        key = channel.encode()
        return self.others, channel if len(key) <= KEY_MAX_BYTES else sha256(key).hexdigest()

    def declare(self, channel: Any) -> None:
        """The exchanges, where there are none yet."""
        channel.exchange_declare(self.shared, "fanout", durable=False, auto_delete=False)
        channel.exchange_declare(self.others, "direct", durable=False, auto_delete=False)

    def declare_counted(self, channel: Any) -> int:
        """The queue that no message comes to; returns how many consumers it has."""
        declared = channel.queue_declare(self.counted, durable=False, auto_delete=True)
        return int(declared.consumer_count)


class _Link:
    """One connection and its channel."""

    def __init__(self, made: Any, names: Names) -> None:
        self._made = made
        self._names = names
        self._connection: Any = None
        self._channel: Any = None

    def connect(self) -> None:
        self._connection = self._made.transport.establish_connection()
        self._channel = self._connection.channel()
        self._channel.auto_decode = False
        self._names.declare(self._channel)

    def ping(self) -> None:
        self._connection.heartbeat_tick()
        self._channel.exchange_declare(self._names.shared, "fanout", passive=True)

    def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(Exception):
                connection.collect()  # at once, whatever the broker does


class RabbitMQPublisher(_Link):
    def __init__(self, made: Any, names: Names) -> None:
        super().__init__(made, names)
        self._number = 0
        self._unconfirmed: set[int] = set()
        self._is_refused = False

    def connect(self) -> None:
        super().connect()
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._confirmed)
        self._channel.events["basic_nack"].add(self._refused)

    def _confirmed(self, number: int, multiple: bool) -> None:
        if multiple:
            self._unconfirmed = {each for each in self._unconfirmed if each > number}
        else:
            self._unconfirmed.discard(number)

    def _refused(self, number: int, multiple: bool) -> None:
        self._is_refused = True

    def _send(self, payload: bytes, exchange: str, key: str) -> None:
        # As kombu writes text, which KombuManager gives it.
        message = self._channel.prepare_message(
            payload, content_type="text/plain", content_encoding="utf-8", properties={"delivery_mode": 1}
        )
        self._number += 1
        self._unconfirmed.add(self._number)
        self._channel.basic_publish(message, exchange, key)

    def _wait_confirmed(self) -> None:
        while self._unconfirmed:
            self._connection.drain_events(timeout=PATIENCE_SECONDS)
            if self._is_refused:
                raise ConnectionError("the broker has refused a message")

    def ping(self) -> None:
        """By messages that nobody reads: short of memory or disk, RabbitMQ answers all else.

        Also the first message of a connection, and none after it: https://www.rabbitmq.com/docs/alarms
        """
        self._connection.heartbeat_tick()
        for _ in range(2):
            self._send(b"", self._names.others, "")
            self._wait_confirmed()

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> list[int | None]:
        for name, payload in messages:
            self._send(payload, *self._names.exchange_and_key(name))
        self._wait_confirmed()
        asked = any(name == self._names.questions for name, _ in messages)
        readers_count = self._names.declare_counted(self._channel) if asked else 0
        return [readers_count if name == self._names.questions else None for name, _ in messages]


class RabbitMQSubscriber(_Link):
    """Reads a queue.

    Args:
        bound: channels that are bound to it. priority: higher than of the one before, which the broker may
            take for alive until its heartbeat fails: the two would share what comes.
    """

    def __init__(self, made: Any, names: Names, queue: str, bound: set[str], priority: int) -> None:
        super().__init__(made, names)
        self._queue = queue
        self._bound = bound
        self._priority = priority
        self._channels: dict[str, str] = {}  # by routing key
        self._came: list[tuple[str, bytes]] = []
        self._came_bytes = 0
        self._fault: Exception | None = None
        self._reads_questions = self._consumes = self._is_whole = False

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """For the broker: where that raises the connection is lost, and the queue is kept."""
        self._is_whole = False
        yield
        self._is_whole = True

    def ping(self) -> None:
        with self._waiting():
            super().ping()

    def subscribe(self, channels: Sequence[str]) -> None:
        with self._waiting():
            self._subscribe(channels)

    def _subscribe(self, channels: Sequence[str]) -> None:
        if not self._consumes:
            self._channel.queue_declare(
                self._queue, durable=False, auto_delete=False, arguments=QUEUE_ARGUMENTS
            )
        for name in channels:
            exchange, key = self._names.exchange_and_key(name)
            self._channels[key] = name
            self._channel.queue_bind(self._queue, exchange, key)
        stale = set() if self._consumes else self._bound.difference(channels)
        self._bound.update(channels)
        if not self._consumes:
            self._unsubscribe([*stale])
            self._channel.basic_consume(
                self._queue, no_ack=True, callback=self._hear, arguments={"x-priority": self._priority}
            )
            self._consumes = True
        if self._names.questions in channels and not self._reads_questions:
            self._names.declare_counted(self._channel)
            self._channel.basic_consume(
                self._names.counted, consumer_tag=self._queue, no_ack=True, callback=lambda message: None
            )
            self._reads_questions = True

    def unsubscribe(self, channels: Sequence[str]) -> None:
        with self._waiting():
            self._unsubscribe(channels)

    def _unsubscribe(self, channels: Sequence[str]) -> None:
        if self._names.questions in channels and self._reads_questions:
            self._channel.basic_cancel(self._queue)
            self._reads_questions = False
        for name in channels:
            exchange, key = self._names.exchange_and_key(name)
            self._channel.queue_unbind(self._queue, exchange, key)
            self._bound.discard(name)
            self._channels.pop(key, None)

    def _hear(self, message: Any) -> None:
        key = message.delivery_info["routing_key"]
        shared = message.delivery_info["exchange"] == self._names.shared
        body = message.body
        payload = body.encode("utf-8", "surrogateescape") if isinstance(body, str) else bytes(body)
        self._came_bytes += len(payload)
        self._came.append((self._names.shared if shared else self._channels.get(key, key), payload))

    def receive(self, timeout_seconds: float) -> list[tuple[str, bytes]]:
        with self._waiting():
            if self._fault is not None:
                raise self._fault
            self._connection.heartbeat_tick()
            try:
                if not self._came:
                    self._connection.drain_events(timeout=timeout_seconds)
                while len(self._came) < BATCH_MAX_COUNT and self._came_bytes < BATCH_MAX_BYTES:
                    self._connection.drain_events(timeout=0)
            except TimeoutError:
                pass
            except Exception as error:
                if not self._came:
                    raise
                self._fault = error  # the broker has forgotten what has come: it is given first
        came, self._came, self._came_bytes = self._came, [], 0
        return came

    def close(self) -> None:
        if self._is_whole and self._channel is not None:  # it was not lost: nobody comes back to the queue
            with suppress(Exception):
                self._channel.queue_delete(self._queue, nowait=True)
        super().close()
