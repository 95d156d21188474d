"""Many machines at one broker, on one told clock: started, cut off, restarted; time passes until all is done.

It must not know what is said, counted or promised.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from python_server.observe import log
from simulated_broker import Broker
from simulated_machine import Machine, Stuck
from simulated_network import Network
from simulated_servers import MachineServer

TOGETHER_COUNT = 50  # machines that start at one moment
LOOKED_AT_COUNT = 20  # machines, of which each thread is looked at once more
TURNS_MAX_COUNT = 100_000  # in one moment: somebody turns for nothing
STACK_BYTES = 256 * 1024  # of a thread: there are three for each machine


class Deployment:
    """So many machines that are connected to one broker.

    Args:
        slow: the share of what is on its way that is late, by at most `delay_seconds`.

    Attributes:
        servers: by name; one that was killed is another one's from then on.
    """

    def __init__(
        self,
        seed: int,
        count: int,
        streams: bool = False,
        per_room: bool = False,
        recovery_seconds: float = 0.0,
        slow: float = 0.0,
        delay_seconds: float = 0.0,
    ) -> None:
        self.machine = machine = Machine(seed)
        self.loop = machine.loop()
        self.network = Network(machine, self.loop, slow, delay_seconds, narrow=False)
        self.network.calm = not slow
        self.broker = Broker(machine, self.loop, self.network, streams)
        self.broker.wakes_exactly = True
        self.per_room, self.recovery_seconds = per_room, recovery_seconds
        self.servers: dict[str, MachineServer] = {}
        self._gone: list[MachineServer] = []
        self._names = (f"m{number}" for number in range(10 * count + 1_000))
        self._count = count

    def begin(self) -> None:
        """All machines, some at a time, until each hears the others."""
        while len(self.servers) < self._count:
            for _ in range(min(TOGETHER_COUNT, self._count - len(self.servers))):
                self.start()
            self.until(lambda: all(each.joined for each in self.servers.values()))
            self.settle()

    def start(self) -> MachineServer:
        """One machine more."""
        name = next(self._names)
        server = MachineServer(self.machine, self.broker, name, self.per_room, self.recovery_seconds)
        self.servers[name] = server
        return server

    def kill(self, server: MachineServer) -> None:
        server.kill(self.broker)
        self._gone.append(self.servers.pop(server.name))

    def cut(self, server: MachineServer, seconds: float) -> None:
        """It does not reach the broker for so long; neither is told."""
        self.broker.kill(server.name)
        self.loop.call_later(seconds, lambda: self.broker.gone.discard(server.name))

    def broker_away(self, seconds: float) -> None:
        def back() -> None:
            self.broker.away = False

        self.broker.leave()
        self.loop.call_later(seconds, back)

    # Time

    def settle(self) -> None:
        """All that can be done at this moment."""
        machine, broker = self.machine, self.broker
        for _ in range(TURNS_MAX_COUNT):
            touched, broker.touched = [*broker.touched], {}
            # Threads are the machine's pools.
            if not machine.step_all([each for each in touched if not each.ended]) and not broker.touched:  # type: ignore[misc]
                if self._count <= LOOKED_AT_COUNT:
                    assert not any(each.can_run() for each in broker.threads()), "somebody was not woken"
                return
        raise Stuck(f"{TURNS_MAX_COUNT} turns in no time")

    def pass_seconds(self, seconds: float) -> None:
        end = self.machine.now + seconds
        while True:
            self.settle()
            if self.machine.now >= end:
                return
            self.machine.pass_time(end - self.machine.now)

    def until(self, done: Callable[[], bool], seconds: float = 60.0) -> None:
        """Raises Stuck: it is not so in that time."""
        end = self.machine.now + seconds
        while True:
            self.settle()
            if done():
                return
            if self.machine.now >= end:
                raise Stuck(f"waited in vain for {seconds:g} s")
            self.machine.pass_time(end - self.machine.now)

    def close(self) -> None:
        """Whatever still runs ends."""
        for server in [*self.servers.values()]:
            server.alive = False
            server.close()
        self.broker.leave()
        self.until(lambda: not self.broker.threads())
        self.machine.loops.remove(self.loop)
        self.loop.close()


@contextmanager
def deployed(seed: int, count: int, **more: object) -> Iterator[Deployment]:
    """So many machines that have begun; what they report is raised."""

    def report(what: str, error: BaseException) -> None:
        raise error

    former_report, log.report = log.report, report
    former_bytes = threading.stack_size(STACK_BYTES)
    deployment = Deployment(seed, count, **more)  # type: ignore[arg-type]
    try:
        with deployment.broker.installed():
            try:
                deployment.begin()
                yield deployment
            finally:
                deployment.close()
    finally:
        threading.stack_size(former_bytes)
        log.report = former_report
