"""Two connections to a broker, each in a thread of its own: one publishes, one is subscribed.

Must not know: what a message says, who is in a room, where the broker is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from python_server.net.states import StateEnum
from python_server.net.system import REAL, System, below
from python_server.net.threads import BackgroundThread, Condition, Lock
from python_server.socketio.cluster.broker import url as broker
from python_server.socketio.cluster.broker.post_queue import BrokerPost, Done, PostQueue
from python_server.socketio.cluster.broker.resp import Push, PushReader, RESPError
from python_server.socketio.cluster.broker.url import BrokerConnection

# A broker that restarts is back within seconds; python-socketio waits 1 s to 60 s meanwhile.
BACK_OFF_MIN_SECONDS: Final = 0.1
BACK_OFF_MAX_SECONDS: Final = 5.0
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
            except BaseException as error:  # of any kind: a thread that ended would be missed by nobody
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
        if state is BrokerLinkState.LOST or before is not BrokerLinkState.DOUBTED:
            self._changed(state, reason)

    def _work(self) -> None:
        """The thread: the broker has done what the connection is for, not only let us in."""
        self._back_off_seconds = BACK_OFF_MIN_SECONDS
        self._become(BrokerLinkState.UP)

    def _serve(self, connection: BrokerConnection) -> None:
        raise NotImplementedError


class Stream(NamedTuple):
    """A channel whose messages are entries of a stream.

    Attributes:
        name: of both. max_count: about so many are kept. hole: the message that stands for dropped ones.
        begin: that which is the first where there was none.
    """

    name: bytes
    max_count: int
    hole: bytes = b""
    begin: bytes = b""

    def add(self, payload: bytes) -> tuple[bytes, ...]:
        """The command."""
        return b"XADD", self.name, b"MAXLEN", b"~", b"%d" % self.max_count, b"*", b"data", payload


class Publisher(_Kept):
    """Messages to the broker, in order; its queue is bounded (`PostQueue`), the oldest is dropped.

    A message whose answer does not come may have been published or not: it is counted as dropped, but for one
    of the stream, and a command: they are said again, and may be there twice. What the broker refuses is
    dropped, but for one of the stream: that is said again, alone, until the broker takes it.

    Args:
        dropped: called by any thread with the number of messages just dropped.
        stream: what is published there is added to a stream.
        refused: called by the thread with the name of a command that the broker refuses, and why.

    Attributes:
        published_count: messages that the broker has confirmed.
    """

    def __init__(
        self,
        connect: Connect,
        changed: Changed,
        dropped: Callable[[int], None],
        system: System = REAL,
        stream: Stream | None = None,
        refused: Callable[[str, str], None] = lambda command, reason: None,
    ) -> None:
        super().__init__(connect, changed, "broker-publish", system)
        self._refused = refused
        self._is_refused = False  # was the last message, and has none been taken since?
        self._dropped = dropped
        self._stream = stream
        self._posts = PostQueue(stream is not None)
        self._unanswered: list[BrokerPost] = []
        self.published_count: int = 0

    @property
    def queued_count(self) -> int:
        """Any thread."""
        return len(self._posts)

    @property
    def queued_bytes(self) -> int:
        """Any thread."""
        return self._posts.size_bytes

    def publish(self, channel: bytes, payload: bytes, done: Done | None = None) -> None:
        """Any thread: queue one message; never waits. `done` is called by any thread."""
        stream = self._stream
        if stream is not None and channel == stream.name:
            added = None if done is None else lambda answer: done(None if answer is None else 0)
            self._queue(BrokerPost(stream.add(payload), added, lasts=True))
        else:
            self._queue(BrokerPost((b"PUBLISH", channel, payload), done))

    def ask(self, done: Done | None, *command: bytes) -> None:
        """Any thread: queue a command that may be said twice; `done` is called by any thread."""
        self._queue(BrokerPost(command, done, lasts=True))

    def _queue(self, post: BrokerPost) -> None:
        given_up: list[BrokerPost] = []
        with self._lock:
            if self._posts.takes(post):
                self._posts.append(post)
            else:
                given_up.append(post)
            while self._posts.is_over:
                given_up.append(self._posts.popleft())
            stream = self._stream
            if stream is not None and any(post.is_added for post in given_up):
                given_up = self._leave_hole(stream, given_up)
            if not self._unanswered:
                self._lock.notify_all()
        self._give_up(given_up)

    def _leave_hole(self, stream: Stream, given_up: list[BrokerPost]) -> list[BrokerPost]:
        """Under the lock: what is given up, without a hole that is told once more."""
        self._posts.put_first([BrokerPost(stream.add(stream.hole), lasts=True)])
        return [post for post in given_up if post.command[-1] is not stream.hole]

    def flush(self, timeout_seconds: float) -> bool:
        """Any other thread: wait until what is queued has been published; False when it was not in time."""
        with self._lock:
            self._lock.wait_for(lambda: self.closed or not self.owes, timeout_seconds)
            return not self.owes

    @property
    def owes(self) -> bool:
        """Any thread: does anything wait for the broker?"""
        return bool(self._unanswered or self._posts)

    def _give_up(self, posts: list[BrokerPost]) -> None:
        if posts:
            self._dropped(len(posts))
            for post in posts:
                if post.done is not None:
                    post.done(None)

    def _ping(self, connection: BrokerConnection) -> None:
        connection.send_command("PING", check_health=False)
        connection.read_response()
        if self._is_refused:  # that it answers says nothing of what it takes
            self._become(BrokerLinkState.UP)
        else:
            self._work()

    def _serve(self, connection: BrokerConnection) -> None:
        if not self._is_refused:
            self._ping(connection)
        while self._take():
            batch = self._unanswered
            if not batch:  # the broker may have gone while nothing was said
                self._ping(connection)
                continue
            answered_count, refused, refusal, is_overtaken = 0, list[BrokerPost](), None, False
            try:
                commands = connection.pack_commands(post.command for post in batch)
                connection.send_packed_command(commands, check_health=False)
                for post in batch:
                    error = self._hear(connection, post)
                    answered_count += 1
                    if error is not None:
                        refusal = error
                        refused.append(post)
                    elif post.is_added and any(each.is_added for each in refused):
                        is_overtaken = True
            finally:
                self.published_count += answered_count - len(refused)
                self._put_back(refused, is_overtaken, batch[answered_count:])
            if refusal is not None:
                self._is_refused = True
                raise refusal
            if self._is_refused:
                self._is_refused = False
                self._work()

    def _hear(self, connection: BrokerConnection, post: BrokerPost) -> Exception | None:
        """The answer to a post; returns why a message was refused."""
        try:
            answer = connection.read_response()
        except Exception as error:
            if not broker.refuses(error):
                raise
            if post.is_added or not post.lasts:
                return error
            answer = None
            self._refused(post.command[0].decode(), str(error))
        if post.done is not None:
            post.done(answer)
        return None

    def _put_back(self, refused: list[BrokerPost], is_overtaken: bool, unanswered: list[BrokerPost]) -> None:
        """What lasts is said again; not behind what came later and was taken."""
        given_up = [post for post in refused + unanswered if not post.lasts]
        again = [post for post in refused + unanswered if post.lasts]
        with self._lock:
            if is_overtaken and self._stream is not None:
                given_up += self._leave_hole(self._stream, [post for post in refused if post.lasts])
                again = [post for post in unanswered if post.lasts]
            self._posts.put_first(again)
            self._unanswered = []
            self._lock.notify_all()
        self._give_up(given_up)

    def _take(self) -> bool:
        """Wait for what is to be published next, or for the moment of a ping; False at the end."""
        with self._lock:
            self._lock.wait_for(
                lambda: self._posts or self.state is not BrokerLinkState.UP, broker.PATIENCE_SECONDS
            )
            batch, size_bytes = self._unanswered, 0
            if self.state is BrokerLinkState.UP or self._is_refused:
                max_count = 1 if self._is_refused else BATCH_MAX_COUNT
                while self._posts and len(batch) < max_count and size_bytes < BATCH_MAX_BYTES:
                    batch.append(self._posts.popleft())
                    size_bytes += batch[-1].size_bytes
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
            self._work()
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
