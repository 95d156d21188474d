"""A broker in this process: channels, and the threads of those who publish and subscribe, run by the machine.

It must not know what is published; it speaks RESP to subscribers, and is away when it is told to be.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from itertools import count
from operator import attrgetter
from typing import Any, ClassVar
from unittest.mock import patch

from python_server.net.loop import Loop
from python_server.socketio.cluster.broker import backplane, connections
from simulated_machine import GUARD_SECONDS, Machine, Stuck
from simulated_network import Network
from simulated_stream import Stream
from simulated_traffic import Traffic, array, reply_bytes

URL = "redis://simulated"
STREAMS_URL = "redis+streams://simulated"
SLOW_PUBLISHER, SLOW_SECONDS = 0.05, 2.0  # of batches, and how late they are at most
SOON_SECONDS = 1e-6
CUT_IN_ANSWER = 0.01  # of batches: the connection is lost before the answers


class ToldThread:
    """Stands for BackgroundThread: runs only while the machine waits for it, and leaves when it would wait.

    To the machine it is a pool: one that can run when what its thread waits for is there, or late.
    """

    broker: ClassVar[Broker]
    own = threading.local()  # the one whose thread it is

    def __init__(self, function: Callable[[], object], name: str) -> None:
        self.name = name
        self.loop = None  # of no worker: it outlives the one that began it
        self.away: list[Any] = []
        self.ended = False
        self._function = function
        self._ready: Callable[[], bool] = lambda: True
        self._due = 0.0
        # Locks that one side takes and the other gives back: a semaphore costs three times as much.
        self._granted, self._returned = threading.Lock(), threading.Lock()
        self._granted.acquire()
        self._returned.acquire()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()
        self.broker.machine.pools.append(self)  # type: ignore[arg-type]
        self.touch()

    def touch(self) -> None:
        """What it waits for may be there: of very many, nobody else needs to be looked at."""
        self.broker.touched[self] = None

    def can_run(self) -> bool:
        return self._ready() or self._due <= self.broker.machine.now

    def run_next(self) -> None:
        """The machine: until it waits again, or has ended."""
        self._granted.release()
        if not self._returned.acquire(timeout=GUARD_SECONDS):
            raise Stuck(f"{self.name} neither ends nor waits")
        if self.ended:
            self._thread.join()
            self.broker.machine.pools.remove(self)  # type: ignore[arg-type]

    def _over(self, due: float) -> None:
        """It has waited long enough, or, by a rounding of the last digit, has in a moment."""
        self.touch()
        if self.broker.wakes_exactly and self._due == due > self.broker.machine.now:
            self.broker.loop.call_later(SOON_SECONDS, partial(self._over, due))

    def wait(self, ready: Callable[[], bool], seconds: float | None) -> None:
        """Its thread: until it is so, or so long."""
        self._ready = ready
        self._due = float("inf") if seconds is None else self.broker.machine.now + seconds
        if seconds is not None:  # time does not pass by it
            self.broker.loop.call_later(self._due - self.broker.loop.now, partial(self._over, self._due))
        if ready():
            self.touch()
        self._returned.release()
        self._granted.acquire()

    def _work(self) -> None:
        self._granted.acquire()
        self.own.thread = self
        try:
            self._function()
        finally:
            self.ended = True
            self._returned.release()


class ToldCondition:
    """Stands for a condition of the broker's links."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._waiting: ToldThread | None = None  # of each there is one

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def notify_all(self) -> None:
        """Whoever waits looks itself."""
        if self._waiting is not None:
            self._waiting.touch()

    def wait_for(self, ready: Callable[[], Any], seconds: float | None = None) -> bool:
        if ready():
            return True
        self._lock.release()
        try:
            thread = getattr(ToldThread.own, "thread", None)
            if thread is not None:
                self._waiting = thread
                thread.wait(lambda: bool(ready()), seconds)
                self._waiting = None
            else:  # a worker that ends waits for what is still to be published
                ToldThread.broker.run_threads(ready)
        finally:
            self._lock.acquire()
        return bool(ready())


class Connection:
    """One of redis-py's, as far as it is used, and its socket."""

    def __init__(self, broker: Broker, owner: str) -> None:
        self.owner = owner
        self._broker = broker
        self._sock: Connection | None = None
        self._answers: deque[Any] = deque()
        self._timeout = 0.0
        self._channels: set[bytes] = set()
        self.pushes: deque[tuple[float, bytes]] = deque()  # each with the moment when it comes
        self.lost = True
        self.number = 0  # in the order in which they came
        self._waiting: ToldThread | None = None

    def connect(self) -> None:
        self._broker.check(self)
        self.lost = False
        self._sock = self
        self._broker.add(self)

    def disconnect(self) -> None:
        self.lost = True
        self._broker.remove(self, self._channels)

    def pack_commands(self, commands: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return list(commands)

    def send_packed_command(self, commands: list[tuple[Any, ...]], check_health: bool = True) -> None:
        broker, chance = self._broker, self._broker.machine.random
        if broker.streams and not broker.network.calm and chance.random() < SLOW_PUBLISHER:
            self._wait(lambda: self.lost, chance.random() * SLOW_SECONDS)
        for command in commands:
            self.send_command(*command)
        if broker.streams and not broker.network.calm and chance.random() < CUT_IN_ANSWER:
            self.lost = True
            broker.answer_lost()

    def send_command(self, *parts: Any, check_health: bool = True) -> None:
        self._broker.check(self)
        if self.lost:
            raise ConnectionError("the simulated broker has gone")
        name, *arguments = (
            part.decode() if not at and type(part) is bytes else part for at, part in enumerate(parts)
        )
        stream = self._broker.stream
        self._broker.traffic.heard(self.owner, name, array(*map(as_bytes, parts)))
        if name == "XADD":
            self._answers.append(stream.add(arguments[5:]))
        elif name == "XREAD":
            self._answers.append(
                partial(self._read, int(arguments[1]), int(arguments[3]) / 1000, arguments[-1])
            )
        elif name == "XREVRANGE":
            self._answers.append(stream.newest())
        elif name == "XRANGE":
            whole = arguments[1] == b"-"
            self._answers.append(stream.oldest() if whole else stream.between(arguments[1], arguments[2]))
        elif name == "SET":
            free = b"NX" not in arguments or stream.is_free(arguments[0])
            if free:
                stream.set(arguments[0], float(arguments[3]), arguments[1])
            self._answers.append(b"OK" if free else None)
        elif name == "DEL":
            self._answers.append(int(stream.take(arguments[0]) is not None))
        elif name == "GETDEL":
            self._answers.append(stream.take(arguments[0]))
        elif name == "PING":
            self._answers.append(b"PONG")
            self.push(b"+PONG\r\n", counts=bool(self._channels))  # else that answer is read
        elif name == "PUBLISH":
            self._answers.append(self._broker.publish(*arguments))
        else:
            for channel in arguments:
                self._broker.subscribe(self, channel, name == "SUBSCRIBE")
                (self._channels.add if name == "SUBSCRIBE" else self._channels.discard)(channel)
                self.push(array(name.lower().encode(), channel, more=1) + b":1\r\n")

    def read_response(self) -> Any:
        if self.lost:
            raise ConnectionError("the simulated broker has gone")
        answer = self._answers.popleft()
        told = answer() if callable(answer) else answer
        self._broker.traffic.told(self.owner, "answer", reply_bytes(told))
        return told

    def _read(self, count: int, seconds: float, entry_id: bytes) -> object:
        """XREAD, as soon as there is something."""
        stream, machine = self._broker.stream, self._broker.machine
        if not stream.read(entry_id, count):
            self._broker.stream_readers[self] = None
            self._wait(lambda: self.lost or stream.due(entry_id) <= machine.now, seconds)
            del self._broker.stream_readers[self]
        if self.lost:
            raise ConnectionError("the simulated broker has gone")
        entries = stream.read(entry_id, count)
        return [[b"stream", entries]] if entries else None

    # As a socket, from which its subscriber reads

    def settimeout(self, seconds: float) -> None:
        self._timeout = seconds

    def shutdown(self, how: int) -> None:
        self.lose()

    def lose(self) -> None:
        self.lost = True
        self.wake()

    def wake(self) -> None:
        """Whoever waits for something from here looks."""
        if self._waiting is not None:
            self._waiting.touch()

    def _come(self) -> None:
        """Something has, perhaps, by a rounding of the last digit, only in a moment."""
        self.wake()
        if self._broker.wakes_exactly and self.pushes and self.pushes[0][0] > self._broker.machine.now:
            soon = self.pushes[0][0] - self._broker.loop.now
            self._broker.loop.call_later(max(SOON_SECONDS, soon), self._come)

    def _wait(self, ready: Callable[[], bool], seconds: float) -> None:
        self._waiting = thread = ToldThread.own.thread
        thread.wait(ready, seconds)
        self._waiting = None

    def push(self, data: bytes, counts: bool = True) -> None:
        """It comes later, behind all that came before."""
        due = self._broker.machine.now + self._broker.network.delay() / 4
        if self.pushes:
            due = max(due, self.pushes[-1][0])
        self.pushes.append((due, data))
        if counts:
            self._broker.traffic.told(self.owner, "push", len(data))
        self._broker.loop.call_later(due - self._broker.loop.now, self._come)

    def _readable(self) -> bool:
        return self.lost or bool(self.pushes and self.pushes[0][0] <= self._broker.machine.now)

    def recv(self, most: int) -> bytes:
        if not self._readable():
            self._wait(self._readable, self._timeout)
        if self.lost:
            return b""
        data = b""
        while self.pushes and self.pushes[0][0] <= self._broker.machine.now:
            data += self.pushes.popleft()[1]
        if not data:
            raise TimeoutError("timed out")
        return data


def as_bytes(part: Any) -> bytes:
    return part.encode() if type(part) is str else part


class Broker:
    """All channels.

    Attributes:
        owner: who makes connections at the moment. gone: owners that were killed, or are cut off.
        away: nobody is connected, and nobody can be. traffic: what it has heard and told.
        touched: threads to which something has happened since they were looked at.
        stream_readers: connections that wait for an entry. wakes_exactly: they, and all others, are looked at
            only when they are touched.
    """

    def __init__(self, machine: Machine, loop: Loop, network: Network, streams: bool = False) -> None:
        self.machine = machine
        self.streams = streams
        self.answer_lost: Callable[[], None] = lambda: None
        self.stream = Stream(lambda: machine.now, self._delay)
        self.loop = loop
        self.network = network
        self.connections: dict[Connection, None] = {}
        self._subscribers: defaultdict[bytes, dict[Connection, None]] = defaultdict(dict)
        self._numbers = count()
        self.traffic = Traffic()
        self.touched: dict[ToldThread, None] = {}
        self.stream_readers: dict[Connection, None] = {}
        self.wakes_exactly = False
        self.owner = ""
        self.gone: set[str] = set()
        self.away = False

    def _delay(self) -> float:
        """Of an entry, until readers see it; they are woken then."""
        seconds = self.network.delay() / 4
        self.loop.call_later(seconds, self.wake_readers)
        return seconds

    def wake_readers(self) -> None:
        for each in self.stream_readers:
            each.wake()
        if self.wakes_exactly and (due := self.stream.next_due()) < float("inf"):
            self.loop.call_later(max(SOON_SECONDS, due - self.loop.now), self.wake_readers)

    def installed(self) -> ExitStack:
        """While this holds, links of workers are made to this broker."""
        ToldThread.broker = self
        stack = ExitStack()
        stack.enter_context(patch.object(connections, "BackgroundThread", ToldThread))
        stack.enter_context(patch.object(connections, "Condition", ToldCondition))
        stack.enter_context(patch.object(backplane, "connector", self._connector))
        return stack

    def _connector(self, options: object) -> Callable[[], Connection]:
        owner = self.owner
        return lambda: Connection(self, owner)

    def check(self, connection: Connection) -> None:
        if self.away or connection.owner in self.gone:
            raise ConnectionError("the simulated broker cannot be reached")

    def add(self, connection: Connection) -> None:
        connection.number = next(self._numbers)
        self.connections[connection] = None

    def remove(self, connection: Connection, channels: set[bytes]) -> None:
        self.connections.pop(connection, None)
        for channel in channels:
            self._subscribers[channel].pop(connection, None)

    def subscribe(self, connection: Connection, channel: bytes, wanted: bool) -> None:
        if wanted:
            self._subscribers[channel][connection] = None
        else:
            self._subscribers[channel].pop(connection, None)

    def publish(self, channel: bytes, payload: bytes) -> int:
        """To those that are subscribed, in the order in which they came; how many they are."""
        reached = [each for each in self._subscribers.get(channel, ()) if not each.lost]
        reached.sort(key=attrgetter("number"))
        message = array(b"message", channel, payload)
        for each in reached:
            each.push(message)
        return len(reached)

    def leave(self) -> None:
        """It ends, or the way to it does; `away` False: it is there again."""
        self.away = True
        self.cut(*self.connections)

    def cut(self, *lost: Connection) -> None:
        for each in lost:
            each.lose()

    def kill(self, owner: str) -> None:
        """That process says and hears nothing more."""
        self.gone.add(owner)
        self.cut(*(each for each in self.connections if each.owner == owner))

    def threads(self) -> list[ToldThread]:
        return [each for each in self.machine.pools if isinstance(each, ToldThread)]

    def run_threads(self, done: Callable[[], Any]) -> None:
        """Until it is so, or none of them can run; no time passes."""
        while not done():
            ready = [each for each in self.threads() if each.can_run()]
            if not ready:
                return
            self.machine.random.choice(ready).run_next()
