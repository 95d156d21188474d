"""Many machines under cuts, delays and restarts: who heard what, in which order, and what was lost when.

It must not know what anything costs. What a machine may miss is said by the broker alone: when it was
subscribed, and when a message came.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random

from simulated_broker import Connection
from simulated_deployment import Deployment, deployed
from simulated_servers import CHANNEL, EVERYBODY, MachineServer, Member

SLOW, DELAY_SECONDS = 0.2, 1.0  # of what is on its way: so much is late, by at most so long
SAY_SECONDS, FAULT_SECONDS = 0.1, 1.0  # pauses at most twice as long
DELIVERY_SECONDS = DELAY_SECONDS / 4  # at most, from the broker to a machine, as it is simulated
CUT_SECONDS, AWAY_SECONDS = 6.0, 3.0
CALM_SECONDS = 30.0
Event = tuple[str, int]  # of whom, and its number


@dataclass(eq=False)
class Life:
    """A client from the moment at which it was told that it is new.

    Attributes:
        began: when it was in. stays: is it there at the end? moved: it came to other machines meanwhile.
    """

    client: Member
    began: float
    earlier: list[Event] = field(default_factory=list)
    stays: bool = True
    moved: bool = False

    @property
    def heard(self) -> list[Event]:
        return self.earlier + self.client.heard


@dataclass
class Watch:
    """What the broker has seen.

    Attributes:
        came: when each event came to the broker, first. absent: of each machine from when to when it was not
            subscribed; infinity: still.
    """

    deployment: Deployment
    came: dict[Event, float] = field(default_factory=dict)
    absent: defaultdict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        broker = self.deployment.broker
        publish, subscribe, add = broker.publish, broker.subscribe, broker.stream.add

        def published(channel: bytes, payload: bytes) -> int:
            self._come(payload)
            return publish(channel, payload)

        def added(fields: list[bytes]) -> bytes:
            self._come(fields[-1])
            return add(fields)

        def subscribed(connection: Connection, channel: bytes, wanted: bool) -> None:
            if wanted and channel == CHANNEL.encode():
                self._back(connection.owner)
            subscribe(connection, channel, wanted)

        broker.publish, broker.subscribe = published, subscribed  # type: ignore[method-assign]
        broker.stream.add = added  # type: ignore[method-assign]

    def _come(self, payload: bytes) -> None:
        message = json.loads(payload)
        if message.get("event") == "said":
            origin, number, _ = message["data"]
            self.came.setdefault((origin, number), self.deployment.machine.now)

    def gone(self, name: str) -> None:
        """From here on it hears nothing."""
        intervals = self.absent[name]
        if not intervals or intervals[-1][1] < float("inf"):
            intervals.append([self.deployment.machine.now, float("inf")])

    def _back(self, name: str) -> None:
        intervals = self.absent[name]
        if intervals and intervals[-1][1] == float("inf"):
            intervals[-1][1] = self.deployment.machine.now

    def was_absent(self, name: str, moment: float) -> bool:
        return any(began <= moment < ended for began, ended in self.absent[name])

    def left_meanwhile(self, name: str, moment: float) -> bool:
        """Was it cut off while something that came then may have been on its way to it?"""
        return any(began - DELIVERY_SECONDS <= moment < began for began, _ in self.absent[name])


class Trial:
    """One deployment to which things happen by chance.

    Attributes:
        happened: how often what. broken: sentences, each a promise that was not kept.
    """

    def __init__(self, deployment: Deployment, seed: int) -> None:
        self.deployment = deployment
        self.streams = deployment.broker.streams
        self.random = Random(f"order {seed}")
        self.happened: Counter[str] = Counter()
        self.broken: list[str] = []
        self.watch = Watch(deployment)
        self.lives: list[Life] = []
        self._all: dict[str, MachineServer] = {}
        self._new: list[MachineServer] = []
        for server in [*deployment.servers.values()]:
            self._welcome(server)

    def _welcome(self, server: MachineServer) -> None:
        """A machine hears the others: a client comes to it."""
        self._all[server.name] = server
        client = Member(server)
        self.deployment.settle()
        self._admit(client)

    def _admit(self, client: Member) -> None:
        client.look()
        client.server.enter(client, EVERYBODY)
        self.lives.append(Life(client, self.deployment.machine.now))

    # What happens

    def play(self, seconds: float) -> None:
        deployment, random, machine = self.deployment, self.random, self.deployment.machine
        end = machine.now + seconds
        deployment.network.calm = False
        fault_at = machine.now
        while machine.now < end:
            speaker = random.choice([*deployment.servers.values()])
            speaker.emit(EVERYBODY, "x" * random.choice((10, 100, 1_000)))
            self.happened["events"] += 1
            if machine.now >= fault_at:
                fault_at = machine.now + random.random() * 2 * FAULT_SECONDS
                faults = [self._cut, self._cut, self._restart, self._broker_away]
                random.choice(faults + [self._return, self._return] * self.streams)()
            deployment.pass_seconds(random.random() * 2 * SAY_SECONDS)
            for server in [each for each in self._new if each.joined]:
                self._new.remove(server)
                self._welcome(server)
        deployment.network.calm = True
        deployment.pass_seconds(CALM_SECONDS)
        for life in self.lives:
            life.client.look()
        self._judge()

    def _some(self) -> list[MachineServer]:
        servers = [each for each in self.deployment.servers.values() if each.joined]
        return self.random.sample(servers, min(len(servers) - 1, 1 + len(servers) // 50)) if servers else []

    def _cut(self) -> None:
        for server in self._some():
            self.happened["cut off"] += 1
            self.watch.gone(server.name)
            self.deployment.cut(server, self.random.random() * CUT_SECONDS)

    def _restart(self) -> None:
        for server in self._some()[:3]:
            self.happened["restarted"] += 1
            for life in self.lives:
                if life.client.server is server and life.stays:
                    life.client.look()
                    life.stays = False
            self.deployment.kill(server)
            self._new.append(self.deployment.start())

    def _broker_away(self) -> None:
        if self.random.random() < 0.5 and not self.deployment.broker.away:
            self.happened["broker away"] += 1
            for name in self.deployment.servers:
                self.watch.gone(name)
            self.deployment.broker_away(self.random.random() * AWAY_SECONDS)

    def _return(self) -> None:
        """Some clients lose their connection, and come to other machines."""
        staying = [life for life in self.lives if life.stays]
        for life in self.random.sample(staying, min(len(staying), 3)):
            life.client.look()
            life.stays = False
            life.client.lose()
            self.deployment.loop.call_later(self.random.random() * 3, lambda life=life: self._come_back(life))

    def _come_back(self, life: Life) -> None:
        server = self.random.choice([*self.deployment.servers.values()])
        client = Member(server, {"pid": life.client.pid, "offset": life.client.offset})
        self._look_again(life, client)

    def _look_again(self, life: Life, client: Member) -> None:
        """Until it is told what it is."""
        client.look()
        if not client.server.alive:
            return
        if not client.sid:
            self.deployment.loop.call_later(0.1, lambda: self._look_again(life, client))
        elif client.pid == life.client.pid:
            self.happened["recovered elsewhere"] += 1
            self.lives.remove(life)
            self.lives.append(Life(client, life.began, life.heard, moved=True))
        else:
            self.happened["not recovered"] += 1
            self._admit(client)

    # What must be so

    def _judge(self) -> None:
        numbers: defaultdict[str, list[int]] = defaultdict(list)
        for origin, number in sorted(self.watch.came):
            numbers[origin].append(number)
        self._judge_senders()
        for life in self.lives:
            heard = life.heard
            self.happened["heard"] += len(heard)
            if len(set(heard)) < len(heard):
                self.broken.append(f"doubled: a client of {life.client.server.name}")
            by_origin: defaultdict[str, list[int]] = defaultdict(list)
            for origin, number in heard:
                by_origin[origin].append(number)
            if not life.moved and any(each != sorted(each) for each in by_origin.values()):
                self.broken.append(f"overtaken: a client of {life.client.server.name}")
            for origin, came in numbers.items():
                self._judge_origin(life, origin, came, by_origin.get(origin, []))
        if not self.streams:
            self._judge_told()

    def _judge_senders(self) -> None:
        """What never came to the broker died with its machine, or was given up and told."""
        for server in self._all.values():
            missing = [n for n in range(server.emitted_count) if (server.name, n) not in self.watch.came]
            told = server.complaints["broker messages dropped"]
            self.happened["never came to the broker"] += len(missing)
            if missing and server.alive and (self.streams or not told):
                self.broken.append(f"not sent: {server.name} said {missing}, and has not told of it")

    def _judge_origin(self, life: Life, origin: str, came: list[int], heard: list[int]) -> None:
        """Of one sender: has a client all that it must have, and nothing that it cannot?"""
        server, name, known = life.client.server, life.client.server.name, set(heard)
        if origin == name and not life.moved:
            return
        for number in came:
            moment = self.watch.came[origin, number]
            if number in known:
                if not self.streams and self.watch.was_absent(name, moment):
                    self.broken.append(f"invented: {name} heard {origin}/{number} while it was cut off")
                continue
            if moment <= life.began + DELAY_SECONDS:
                continue
            if self.streams:
                owed = life.stays or (heard and number < max(heard))
            else:
                owed = life.stays and not self.watch.was_absent(name, moment)
                if not owed and life.stays:
                    self.happened["missed while cut off"] += 1
                if owed and self.watch.left_meanwhile(name, moment):
                    self.happened["missed on its way at the cut"] += 1
                    owed = False
            if owed:
                self.broken.append(f"lost: {name} ({server.alive}) has not heard {origin}/{number}")

    def _judge_told(self) -> None:
        """Each machine that missed something has said that it was cut off, and when it was back."""
        for server in self._all.values():
            if server.alive and self.watch.absent[server.name]:
                lost = sum("is lost" in line for line in server.lines)
                back = sum("is there again" in line for line in server.lines)
                self.happened["told"] += lost
                if not lost or lost != back:
                    self.broken.append(f"not told: {server.name} was cut off, its log says {server.lines}")


def order_and_loss(seed: int, count: int, streams: bool, seconds: float) -> Trial:
    """So many machines for so long; what was broken, and how often what happened."""
    more = {"streams": streams, "recovery_seconds": 120.0 if streams else 0.0}
    with deployed(seed, count, slow=SLOW, delay_seconds=DELAY_SECONDS, **more) as deployment:
        trial = Trial(deployment, seed)
        trial.play(seconds)
    return trial
