"""Two connections to a broker, each in a thread of its own: one publishes, one is subscribed.

Must not know: what a message says, who is in a room, where the broker is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from python_server.net.states import StateEnum
from python_server.net.system import REAL, System, below
from python_server.net.threads import BackgroundThread, Condition, Lock
from python_server.socketio.cluster.broker import url as broker
from python_server.socketio.cluster.broker.resp import Push, PushReader, RESPError
from python_server.socketio.cluster.broker.url import BrokerConnection

# A broker that restarts is back within seconds; python-socketio waits 1 s to 60 s meanwhile.
BACK_OFF_MIN_SECONDS: Final = 0.1
BACK_OFF_MAX_SECONDS: Final = 5.0
# What waits to be published while the broker is away or slow: the oldest goes first.
QUEUE_MAX_BYTES: Final = 8 * 1024 * 1024
QUEUE_MAX_COUNT: Final = 10_000
# Published in one write.
BATCH_MAX_COUNT: Final = 256
BATCH_MAX_BYTES: Final = 256 * 1024
# Below what an allocator maps anew each time.
RECEIVE_BYTES: Final = 64 * 1024


class BrokerLinkState(StateEnum):
    """The life of a connection."""

    STARTING = "UP", "LOST", "CLOSED"  # it was never there
    UP = "DOUBTED", "LOST", "CLOSED"
    DOUBTED = "UP", "LOST", "CLOSED"  # it may have gone: asked before anything more is said
    LOST = "UP", "CLOSED"
    CLOSED = ()


Connect = Callable[[], BrokerConnection]
# Called with the number of subscribers that a message has reached; None when it was not published.
Done = Callable[[int | None], None]
# Called by the link's thread with its new state and, when it is lost, why.
Changed = Callable[[BrokerLinkState, str], None]


class _Kept:
    """A connection that is made again, with back-off, whenever it is lost. `_serve` runs in its thread.

    Args:
        connect: makes an unconnected connection. changed: hears of the states UP and LOST.
    """

    def __init__(self, connect: Connect, changed: Changed, name: str, system: System) -> None:
        self._system = system
        self._connect = connect
        self._changed = changed
        self._lock = Condition(Lock())
        self._connection: BrokerConnection | None = None
        self.state: BrokerLinkState = BrokerLinkState.STARTING
        self._back_off_seconds = BACK_OFF_MIN_SECONDS
        self._name = name
        self._thread: BackgroundThread | None = None

    def start(self) -> None:
        """Any thread, once: connect, and go on doing so."""
        self._thread = BackgroundThread(self._keep, self._name)

    def close(self) -> None:
        """Any thread: end; what waits is not sent any more."""
        with self._lock:
            if self.closed:
                return
            self.state = self.state.to(BrokerLinkState.CLOSED)
            sock = None if self._connection is None else self._connection._sock
            self._lock.notify_all()
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(2)  # socket.SHUT_RDWR: frees the thread from a receive; it closes it

    def doubt(self) -> None:
        """Any thread: the broker may be gone; look before anything more is said to it."""
        with self._lock:
            if self.state is BrokerLinkState.UP:
                self.state = self.state.to(BrokerLinkState.DOUBTED)
                self._lock.notify_all()

    @property
    def closed(self) -> bool:
        """Any thread."""
        return self.state is BrokerLinkState.CLOSED

    def join(self, timeout_seconds: float) -> None:
        """Any other thread: wait for the end of the thread."""
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _keep(self) -> None:
        while not self.closed:
            connection = None
            try:
                connection = self._connect()
                with self._lock:
                    if self.closed:
                        return
                    self._connection = connection
                connection.connect()
                self._serve(connection)
            except Exception as error:  # redis-py's own kinds have no common root with OSError
                self._become(BrokerLinkState.LOST, str(error) or type(error).__name__)
            finally:
                self._connection = None
                if connection is not None:
                    with suppress(Exception):  # it is gone either way
                        connection.disconnect()
            jitter = 0.5 + below(2**20, self._system.entropy) / 2**21
            with self._lock:
                self._lock.wait_for(lambda: self.closed, self._back_off_seconds * jitter)
            self._back_off_seconds = min(self._back_off_seconds * 2, BACK_OFF_MAX_SECONDS)

    def _become(self, state: BrokerLinkState, reason: str = "") -> None:
        """The thread: UP, as the broker has answered, or LOST; told where it was not before."""
        with self._lock:
            before = self.state
            if before in (state, BrokerLinkState.CLOSED):
                return
            self.state = self.state.to(state)
        if state is BrokerLinkState.UP:
            self._back_off_seconds = BACK_OFF_MIN_SECONDS
        if state is BrokerLinkState.LOST or before is not BrokerLinkState.DOUBTED:
            self._changed(state, reason)

    def _serve(self, connection: BrokerConnection) -> None:
        raise NotImplementedError


class _Post(NamedTuple):
    channel: bytes
    payload: bytes
    done: Done | None = None


class Publisher(_Kept):
    """Messages to the broker, in order, at most once each; its queue is bounded, the oldest is dropped.

    A message whose answer does not come may have been published or not: it is counted as dropped.

    Args:
        dropped: called by any thread with the number of messages just dropped.

    Attributes:
        queued_bytes: of what waits. published_count: messages that the broker has confirmed.
    """

    def __init__(
        self, connect: Connect, changed: Changed, dropped: Callable[[int], None], system: System = REAL
    ) -> None:
        super().__init__(connect, changed, "broker-publish", system)
        self._dropped = dropped
        self._posts: deque[_Post] = deque()
        self._unanswered: list[_Post] = []
        self.queued_bytes: int = 0
        self.published_count: int = 0

    @property
    def queued_count(self) -> int:
        """Any thread."""
        return len(self._posts)

    def publish(self, channel: bytes, payload: bytes, done: Done | None = None) -> None:
        """Any thread: queue one message; never waits. `done` is called by any thread."""
        given_up: list[_Post] = []
        with self._lock:
            self._posts.append(_Post(channel, payload, done))
            self.queued_bytes += len(payload)
            while self.queued_bytes > QUEUE_MAX_BYTES or len(self._posts) > QUEUE_MAX_COUNT:
                oldest = self._posts.popleft()
                self.queued_bytes -= len(oldest.payload)
                given_up.append(oldest)
            if not self._unanswered:
                self._lock.notify_all()
        self._give_up(given_up)

    def flush(self, timeout_seconds: float) -> bool:
        """Any other thread: wait until what is queued has been published; False when it was not in time."""
        with self._lock:
            self._lock.wait_for(lambda: self.closed or not self._owes, timeout_seconds)
            return not self._owes

    @property
    def _owes(self) -> bool:
        return bool(self._unanswered or self._posts)

    def _give_up(self, posts: list[_Post]) -> None:
        if posts:
            self._dropped(len(posts))
            for post in posts:
                if post.done is not None:
                    post.done(None)

    def _ping(self, connection: BrokerConnection) -> None:
        connection.send_command("PING", check_health=False)
        connection.read_response()
        self._become(BrokerLinkState.UP)

    def _serve(self, connection: BrokerConnection) -> None:
        self._ping(connection)
        while self._take():
            batch = self._unanswered
            if not batch:  # the broker may have gone while nothing was said
                self._ping(connection)
                continue
            answered_count = 0
            try:
                commands = connection.pack_commands(("PUBLISH", post.channel, post.payload) for post in batch)
                connection.send_packed_command(commands, check_health=False)
                for post in batch:
                    reached_count = connection.read_response()
                    answered_count += 1
                    if post.done is not None:
                        post.done(int(reached_count))
                self.published_count += answered_count
            finally:
                self._give_up(batch[answered_count:])
                with self._lock:
                    self._unanswered = []
                    self._lock.notify_all()

    def _take(self) -> bool:
        """Wait for what is to be published next, or for the moment of a ping; False at the end."""
        with self._lock:
            self._lock.wait_for(
                lambda: self._posts or self.state is not BrokerLinkState.UP, broker.PATIENCE_SECONDS
            )
            batch, size_bytes = self._unanswered, 0
            if self.state is BrokerLinkState.UP:
                while self._posts and len(batch) < BATCH_MAX_COUNT and size_bytes < BATCH_MAX_BYTES:
                    batch.append(self._posts.popleft())
                    size_bytes += len(batch[-1].payload)
            self.queued_bytes -= size_bytes
            return not self.closed


class Subscriber(_Kept):
    """Messages from the channels that are wanted.

    `want` and `unwant` take effect at the next thing heard: who calls them publishes a message to a channel
    that is wanted already.

    Args:
        heard: called by the thread with what one receive brought, and the number of messages larger than
            max_bytes. It may wait, which makes the broker wait.
    """

    def __init__(
        self,
        connect: Connect,
        changed: Changed,
        heard: Callable[[list[Push], int], None],
        max_bytes: int,
        system: System = REAL,
    ) -> None:
        super().__init__(connect, changed, "broker-subscribe", system)
        self._heard = heard
        self._max_bytes = max_bytes
        self._wanted: set[bytes] = set()
        # Of which the broker has not been told.
        self._changes: set[bytes] = set()

    def want(self, *channels: bytes) -> None:
        """Any thread."""
        with self._lock:
            self._wanted.update(channels)
            self._changes.update(channels)

    def unwant(self, *channels: bytes) -> None:
        """Any thread."""
        with self._lock:
            self._wanted.difference_update(channels)
            self._changes.update(channels)

    def _serve(self, connection: BrokerConnection) -> None:
        with self._lock:
            self._changes = set(self._wanted)
        # The handshake is over, so nothing waits in the connection's own reader.
        sock = connection._sock
        assert sock is not None
        sock.settimeout(broker.PATIENCE_SECONDS)
        reader = PushReader(self._max_bytes)
        oversized_count = 0
        self._subscribe(connection)
        while not self.closed:
            try:
                data = sock.recv(RECEIVE_BYTES)
            except TimeoutError:
                if self.state is not BrokerLinkState.UP:
                    raise TimeoutError(
                        f"the broker is silent: no answer to a ping in {broker.PATIENCE_SECONDS:g} s"
                    ) from None
                self.doubt()
                connection.send_command("PING", check_health=False)
                continue
            if not data:
                raise ConnectionError("the broker has closed the connection")
            try:
                messages = reader.feed(data)
            except RESPError as error:
                raise ConnectionError(str(error)) from None
            self._become(BrokerLinkState.UP)
            if messages or reader.oversized_count != oversized_count:
                self._heard(messages, reader.oversized_count - oversized_count)
                oversized_count = reader.oversized_count
            if self._changes:
                self._subscribe(connection)

    def _subscribe(self, connection: BrokerConnection) -> None:
        """Tell the broker what has changed; what it was told before it confirms once more."""
        with self._lock:
            new, old = self._changes & self._wanted, self._changes - self._wanted
            self._changes = set()
        if new:
            connection.send_command("SUBSCRIBE", *sorted(new), check_health=False)
        if old:
            connection.send_command("UNSUBSCRIBE", *sorted(old), check_health=False)
