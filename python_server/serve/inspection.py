"""What a worker tells the operator who asks: how it goes, and where its threads stand.

Must not know: how a question comes, or how its answer is shown.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec

from python_server.connection.acceptor import Acceptor
from python_server.control.stacks import line_of, stacks_of_all
from python_server.engineio.server import Engine
from python_server.monitoring.catalogue import DURATIONS
from python_server.monitoring.event_metrics import EventMetrics
from python_server.net.loop import Deadline, Loop
from python_server.net.pool import Pool
from python_server.net.system import resident_bytes
from python_server.net.threads import Door, ServerStopped
from python_server.observe import log
from python_server.socketio.server import Hub

# A loop that does not answer within that share of the time that the asker has stands still.
STILL_SHARE: Final = 0.8
# Events are counted while somebody looks, and so long after it.
WATCH_SECONDS: Final = 10.0
SHOWN_COUNT: Final = 10
NAME_MAX_CHARACTERS: Final = 100
# What one client leaves unsent before it counts as slow: a full buffer of the kernel's is not among it.
SLOW_MIN_BYTES: Final = 65_536


class OperatorQuestion(msgspec.Struct):
    """What a line asks, of an asker who waits that long."""

    method: Literal["status", "dump"]
    timeout_seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 1.0


class Inspection:
    """Of one worker. `answer` may be called by any thread, all else by the loop's.

    Args:
        index: the worker's. watching: counts events already, if somebody asked for metrics; None: nobody did.
        now: a monotonic clock. counters: of the worker, and of its brokers.
    """

    def __init__(
        self,
        loop: Loop,
        door: Door,
        index: int,
        acceptor: Acceptor,
        engines: Iterable[Engine],
        hubs: Mapping[str, Hub],
        pools: Iterable[Pool],
        now: Callable[[], float],
        counters: Callable[[], Mapping[str, int]],
        watching: EventMetrics | None,
    ) -> None:
        self._loop = loop
        self._door = door
        self._index = index
        self._acceptor = acceptor
        self._engines = engines
        self._hubs = hubs
        self._pools = pools
        self._now = now
        self._counters = counters
        self._began = now()
        self._always = watching is not None
        self._watching = watching
        self._until = Deadline(loop, self._look_away)

    def answer(self, line: bytes) -> bytes:
        """To a line, {"method": "status"} or {"method": "dump"}."""
        try:
            asked = msgspec.json.decode(line, type=OperatorQuestion)
        except msgspec.DecodeError as error:
            return msgspec.json.encode({"error": str(error)})
        if asked.method == "dump":
            return msgspec.json.encode({"dump": self._dump()})
        try:
            said = self._door.ask(partial(self._status, self._now()), asked.timeout_seconds * STILL_SHARE)
        except TimeoutError:
            said = {"stands_still": line_of(self._loop.mailbox.owner)}
        except ServerStopped:
            said = {"stands_still": "it has ended"}
        identity = {"worker": self._index, "process": os.getpid(), "age_seconds": self._now() - self._began}
        return msgspec.json.encode(identity | said)

    def _status(self, asked: float) -> dict[str, Any]:
        lag_seconds = self._now() - asked
        events = self._look().figures()
        received = events.totals.get("wsframe_events_received_total", {})
        channels = [*self._acceptor.channels]
        slow = ((channel.held_bytes, channel.peers[0]) for channel in channels)
        adapters = [each for hub in self._hubs.values() for each in hub.adapters().items()]
        rooms = [
            (size, name, room) for name, each in adapters for room, size in each.biggest_rooms(SHOWN_COUNT)
        ]
        return {
            "moment": self._now(),
            "lag_seconds": lag_seconds,
            "connections": len(channels),
            "sessions": sum(len(engine.sessions) for engine in self._engines),
            "events_received": sum(row[0] for row in received.values()),
            "handlers": [[*labels, row] for labels, row in events.totals.get(DURATIONS, {}).items()],
            "pools": {pool.name: pool.figures()._asdict() for pool in self._pools},
            "memory_bytes": resident_bytes(),
            "counters": self._counters(),
            "rooms": [
                {"namespace": _readable(name), "room": _readable(room), "clients": size}
                for size, name, room in heapq.nlargest(SHOWN_COUNT, rooms, key=lambda each: each[0])
            ],
            "slow_clients": [
                {"address": _shown(peer), "unsent_bytes": held}
                for held, peer in heapq.nlargest(SHOWN_COUNT, slow, key=lambda each: each[0])
                if held >= SLOW_MIN_BYTES
            ],
        }

    def _look(self) -> EventMetrics:
        """Who counts events, from now on or already."""
        if self._watching is None:
            self._watching = EventMetrics(self._now, [hub.handlers for hub in self._hubs.values()])
            for hub in self._hubs.values():
                hub.count_meanwhile(self._watching.traffic_of)
        if not self._always:
            self._until.set(WATCH_SECONDS)
        return self._watching

    def _look_away(self) -> None:
        self._watching = None
        for hub in self._hubs.values():
            hub.count_meanwhile(None)

    def _dump(self) -> str:
        mailbox = self._loop.mailbox
        turn_seconds = self._now() - self._loop.now
        lines = [
            f"process {os.getpid()}: the loop's last turn began {turn_seconds:.1f} s ago, "
            f"{len(mailbox.asked)} threads wait for its answer"
        ]
        for pool in self._pools:
            said = pool.figures()
            lines.append(
                f"pool of --{pool.name}: {said.threads_count} threads, {said.running_count} of them run, "
                f"{said.waiting_count} jobs wait, the oldest for {said.wait_seconds:.1f} s"
            )
        text = "\n".join([*lines, "", stacks_of_all(mailbox.owner)])
        log.warn(f"where all threads stand, as `wsframe dump` asks: {text}")
        return text


def _readable(name: object) -> str:
    """Of a room, which a client may have named: nothing in it moves a terminal's cursor."""
    return "".join(each if each.isprintable() else "?" for each in str(name)[:NAME_MAX_CHARACTERS])


def _shown(peer: object) -> str:
    """A peer over a UNIX socket has no address."""
    return ":".join(map(str, peer[:2])) if isinstance(peer, tuple) else str(peer or "unix")
