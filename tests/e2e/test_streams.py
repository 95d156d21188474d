"""Machines that share a stream of a real Redis: a client that is lost at one of them comes back to any.

It must not know how an event is written there. Every wait is for something that was said.
"""

import hmac
import itertools
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import redis

from python_server import Emitter
from python_server.socketio.recovery.stream_record import verify
from wanderers import NodeWanderer, NodeWanderers, PythonWanderer, Wanderer

HERE = Path(__file__).resolve().parent
WAIT_SECONDS = 60.0
SECRET = "of all machines"
pytestmark = [pytest.mark.long, pytest.mark.needs_node]


class Pair:
    """Two machines of two workers each, and somebody at each who speaks; a third speaker is outside."""

    def __init__(self, start: Any, broker: Any, node: NodeWanderers, max_count: int = 10_000) -> None:
        self._start, self._node = start, node
        self.broker = broker
        self.url = broker.url.replace("redis://", "redis+streams://") + f"?maxlen={max_count}"
        self.channel = f"channel-{uuid.uuid4().hex}"
        self.wanderers: list[Wanderer] = []
        self.stories: list[Story] = []
        self.machines = [self.machine(), self.machine()]
        for machine in self.machines:
            machine.wait_for("joined the broker")
            machine.wait_serving(2)
        for machine in self.machines:
            self.settle(machine.url)

    def machine(self) -> Any:
        options = ("--workers", "2", "--cluster-secret", SECRET, "--no-access-log")
        environment = {"BROKER": self.url, "CHANNEL": self.channel}
        return self._start(HERE / "apps", "streams_app:app", *options, env=environment)

    def wanderer(self, kind: type = PythonWanderer) -> Any:
        self.wanderers.append(NodeWanderer(self._node) if kind is NodeWanderer else PythonWanderer())
        return self.wanderers[-1]

    def everywhere(self, url: str, kind: type = PythonWanderer) -> dict[int, Any]:
        """One client in each worker of a machine, by its process."""
        homes: dict[int, Any] = {}
        while len(homes) < 2:
            wanderer = self.wanderer(kind)
            wanderer.come(url, "websocket")
            home = wanderer.ask("where")
            if home in homes:
                wanderer.leave()
                self.wanderers.remove(wanderer)
            else:
                homes[home] = wanderer
        return homes

    def settle(self, url: str) -> None:
        """Until each worker knows from which place of the stream on all comes to it."""
        settled: set[int] = set()
        while len(settled) < 2:
            for home, wanderer in self.everywhere(url).items():
                wanderer.cut()
                if wanderer.come(url, "websocket"):
                    settled.add(home)
                wanderer.leave()
                self.wanderers.remove(wanderer)

    def story(self) -> "Story":
        self.stories.append(Story(self))
        return self.stories[-1]

    def close(self) -> None:
        for wanderer in self.wanderers:
            wanderer.leave()
        for story in self.stories:
            story.outside.close()


class Story:
    """What is said in one test, by whom; who hears it hears all of it, once and in order."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.name = uuid.uuid4().hex
        self.room = f"room {self.name}"
        self.outside = Emitter(pair.url, pair.channel)
        self._speakers: dict[str, Any] = {"outside": None}
        for name, machine in zip(("first", "second"), pair.machines, strict=True):
            self._speakers[name] = pair.wanderer()
            self._speakers[name].come(machine.url, "websocket")
        self.said: dict[str, list[int]] = {f"{self.name} {name}": [] for name in self._speakers}
        self._numbers = itertools.count(1)

    def say(self, *names: str) -> None:
        """Each says a word to all, one to a room, one to another room, one to all."""
        for room in (None, self.room, "a room of others", None):
            for name in names or self._speakers:
                number = next(self._numbers)
                by = f"{self.name} {name}"
                speaker = self._speakers[name]
                if speaker is None:
                    self.outside.emit("told", by, number, to=room)
                else:
                    speaker.ask("tell", room, by, number)
                if room != "a room of others":
                    self.said[by].append(number)

    def begin(self, wanderer: Any, url: str, transport: str = "websocket") -> None:
        """It comes, as somebody new, and has all that a client can have."""
        assert not wanderer.come(url, transport)
        wanderer.ask("enter", self.room)
        wanderer.ask("keep", {"name": self.name})

    def heard_all(self, wanderer: Any, *names: str, since: int = 0) -> None:
        for by in [by for by in self.said if not names or by.rpartition(" ")[2] in names]:
            numbers = [number for number in self.said[by] if number > since]
            heard = wanderer.heard(by, numbers[-1])
            assert [told[1] for told in heard if told[0] == by and told[1] > since] == numbers, by

    @property
    def now(self) -> int:
        return max((numbers[-1] for numbers in self.said.values() if numbers), default=0)

    def is_as_it_was(self, wanderer: Any, sid: str) -> None:
        assert wanderer.ask("kept") == [sid, {"name": self.name}, sorted([sid, self.room])]


@pytest.fixture(scope="module")
def wandering(node: str) -> Iterator[NodeWanderers]:
    wanderers = NodeWanderers(node, HERE / "drivers" / "wanderers.mjs")
    yield wanderers
    wanderers.close()


@pytest.fixture(scope="module")
def pair(serve: Any, redis_on_disk: Any, wandering: NodeWanderers) -> Iterator[Pair]:
    """Whose machines no test ends."""
    pair = Pair(serve, redis_on_disk, wandering)
    yield pair
    pair.close()


@pytest.fixture
def make_pair(launch: Any, redis_on_disk: Any, wandering: NodeWanderers) -> Iterator[Callable[..., Pair]]:
    """Of machines that the test itself ends."""
    pairs: list[Pair] = []

    def make(**options: Any) -> Pair:
        pairs.append(Pair(launch, redis_on_disk, wandering, **options))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


@pytest.mark.parametrize("kind", [PythonWanderer, NodeWanderer])
@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_a_client_comes_back_to_the_other_machine_and_to_the_first(
    pair: Pair, kind: type, transport: str
) -> None:
    story, wanderer = pair.story(), pair.wanderer(kind)
    first, second = (machine.url for machine in pair.machines)
    story.begin(wanderer, first, transport)
    sid = wanderer.ask("kept")[0]
    story.say()
    for url in (second, first, first, second):
        wanderer.cut()
        story.say()
        assert wanderer.come(url, transport), "recovered"
        story.is_as_it_was(wanderer, sid)
        story.say()
        story.heard_all(wanderer)


def test_a_client_whose_loss_nobody_noticed_comes_back_to_the_other_machine(pair: Pair) -> None:
    story, wanderer = pair.story(), pair.wanderer()
    first, second = (machine.url for machine in pair.machines)
    story.begin(wanderer, first)
    sid = wanderer.ask("kept")[0]
    story.say()
    story.heard_all(wanderer)
    assert wanderer.come(second, "websocket"), "its old connection was ended there"
    story.is_as_it_was(wanderer, sid)
    story.say()
    story.heard_all(wanderer)


def wait_kept(pair: Pair, wanderer: Wanderer, is_live: bool = False, offset: str | None = None) -> bytes:
    """The key under which the client is kept, once it is: as one that is lost, or connected; and had that."""
    key = f"{pair.channel}#wsframe#client#{wanderer.pid}".encode()
    with redis.Redis.from_url(pair.broker.url) as connection, connection.pubsub() as told:
        connection.config_set("notify-keyspace-events", "K$")  # what is set is told under its key
        told.subscribe(b"__keyspace@0__:" + key)
        for _ in told.listen():
            kept: Any = connection.get(key)
            record = None if kept is None else verify(kept, wanderer.pid, SECRET.encode())
            if record is not None and record.is_live is is_live and offset in (None, record.last_offset):
                return key
    raise AssertionError("Redis says nothing more")


def test_redis_restarts_meanwhile(pair: Pair) -> None:
    story = pair.story()
    wanderer, stays = pair.wanderer(NodeWanderer), pair.wanderer()
    first, second = pair.machines
    story.begin(wanderer, first.url)
    sid = wanderer.ask("kept")[0]
    stays.come(second.url, "websocket")
    stays.ask("enter", story.room)
    story.say()
    wanderer.cut()
    told = [machine.log.count("is there again") for machine in pair.machines]
    pair.broker.stop()
    story.say("first", "second")
    pair.broker.start()
    for machine, count in zip(pair.machines, told, strict=True):
        machine.wait_for("is there again", count + 1)
    story.say()
    assert wanderer.come(second.url, "polling"), "recovered"
    story.is_as_it_was(wanderer, sid)
    story.say()
    story.heard_all(wanderer)
    story.heard_all(stays)


def test_the_link_is_cut_for_five_seconds(pair: Pair) -> None:
    """Redis stands still until both machines have given up their connections."""
    story = pair.story()
    lost_before, lost_meanwhile, stays = pair.wanderer(), pair.wanderer(NodeWanderer), pair.wanderer()
    first, second = pair.machines
    sids = []
    for wanderer in (lost_before, lost_meanwhile, stays):
        story.begin(wanderer, first.url)
        sids.append(wanderer.ask("kept")[0])
    story.say()
    lost_before.cut()
    told = [(machine.log.count("is lost"), machine.log.count("is there again")) for machine in pair.machines]
    pair.broker.pause()
    try:
        story.say("first", "second")
        lost_meanwhile.cut()
        story.say("first", "second")
        for machine, (lost, _) in zip(pair.machines, told, strict=True):
            machine.wait_for("is lost", lost + 1)
    finally:
        pair.broker.resume()
    for machine, (_, again) in zip(pair.machines, told, strict=True):
        machine.wait_for("is there again", again + 1)
    story.say()
    for wanderer, sid in zip((lost_before, lost_meanwhile), sids, strict=False):
        assert wanderer.come(second.url, "websocket"), "recovered"
        story.is_as_it_was(wanderer, sid)
    story.say()
    for wanderer in (lost_before, lost_meanwhile, stays):
        story.heard_all(wanderer)


@pytest.mark.parametrize(
    "forge",
    [
        lambda record: record[:-1] + b"\1",
        lambda record: record[32:],
        lambda record: b"",
        lambda record: hmac.digest(b"another secret", record[32:], "sha256") + record[32:],
    ],
    ids=["changed", "without a signature", "empty", "another secret"],
)
def test_a_forged_record_is_refused_and_told(pair: Pair, forge: Callable[[bytes], bytes]) -> None:
    story, wanderer = pair.story(), pair.wanderer()
    first, second = pair.machines
    story.begin(wanderer, first.url)
    wanderer.cut()
    key = wait_kept(pair, wanderer)
    with redis.Redis.from_url(pair.broker.url) as connection:
        kept: Any = connection.get(key)
        connection.set(key, forge(kept))
    assert not wanderer.come(second.url, "websocket")
    second.wait_for("a client's record is refused: a record was signed with another --cluster-secret")
    since = story.now
    wanderer.ask("enter", story.room)
    story.say()
    story.heard_all(wanderer, since=since)


class Talk:
    """One speaker of a story who goes on until he is told to end."""

    def __init__(self, story: Story, *names: str) -> None:
        self._story, self._names = story, names
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._talk)

    def _talk(self) -> None:
        while not self._ends.is_set():
            self._story.say(*self._names)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        self._thread.join()


def test_a_machine_is_rolled_and_then_stopped(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair()
    story = pair.story()
    first, second = pair.machines
    wanderers = [pair.wanderer(kind) for kind in (PythonWanderer, NodeWanderer) * 2]
    for wanderer in wanderers:
        story.begin(wanderer, first.url)
    sids = [wanderer.ask("kept")[0] for wanderer in wanderers]
    for how in (signal.SIGHUP, signal.SIGTERM):
        story.say("second", "outside")
        with Talk(story, "second", "outside"):
            first.signal(how)
            for wanderer in wanderers:
                wanderer.wait_gone()
        for wanderer, sid in zip(wanderers, sids, strict=True):
            assert wanderer.come(second.url, "websocket"), how
            story.is_as_it_was(wanderer, sid)
        story.say("second", "outside")
        for wanderer in wanderers:
            story.heard_all(wanderer, "second", "outside")
        if how is signal.SIGHUP:
            first.wait_serving(4)
            first.wait_ended(2)
            pair.settle(first.url)
            for wanderer in wanderers:
                wanderer.cut()
                assert wanderer.come(first.url, "websocket"), "to the new workers"
    assert first.wait() == 0


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("is_saved", [False, True], ids=["at once", "once the clients are saved"])
def test_a_worker_is_killed_and_then_its_machine(make_pair: Callable[..., Pair], is_saved: bool) -> None:
    """Who was lost before is recovered, and who was connected there if it had got nothing since it was saved;
    and has all then."""
    pair = make_pair()
    story = pair.story()
    first, second = pair.machines
    speakers = ("second", "outside")
    homes = pair.everywhere(first.url, NodeWanderer)
    sids = {home: wanderer.ask("kept")[0] for home, wanderer in homes.items()}
    for wanderer in homes.values():
        wanderer.ask("enter", story.room)
        wanderer.ask("keep", {"name": story.name})
    victim, survivor = sorted(homes)
    for killed in ([victim], [survivor, first.pid]):
        others, lost, home = pair.wanderer(), pair.wanderer(), killed[0]
        story.begin(others, second.url)
        story.begin(lost, first.url)
        sid = lost.ask("kept")[0]
        began = story.now
        story.say(*speakers)
        if is_saved:
            story.heard_all(homes[home], *speakers, since=began)
            homes[home].ask("keep", {"name": story.name})
            wait_kept(pair, homes[home], is_live=True, offset=homes[home].offset)
        lost.cut()
        wait_kept(pair, lost)
        with nullcontext() if is_saved else Talk(story, *speakers):
            pids = [*killed, *(children(first.pid) if first.pid in killed else [])]
            for pid in sorted(set(pids), key=lambda pid: pid != first.pid):
                os.kill(pid, signal.SIGKILL)
            homes[home].wait_gone()
        story.say(*speakers)
        assert lost.come(second.url, "websocket"), "recovered"
        story.is_as_it_was(lost, sid)
        recovered, since = homes[home].come(second.url, "websocket"), began
        assert recovered or not is_saved
        if recovered:
            story.is_as_it_was(homes[home], sids[home])
        else:
            since = story.now
            homes[home].ask("enter", story.room)
        story.say(*speakers)
        for wanderer, after in ((lost, began), (others, began), (homes[home], since)):
            story.heard_all(wanderer, *speakers, since=after)


def test_what_was_trimmed_before_it_was_read_is_a_hole(make_pair: Callable[..., Pair]) -> None:
    """A machine stands still while more is said than is kept. Its clients are new ones then; that is told."""
    pair = make_pair(max_count=200)
    story = pair.story()
    first, second = pair.machines
    here, there = pair.wanderer(), pair.wanderer()
    story.begin(here, first.url)
    story.begin(there, second.url)
    pids = children(first.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(400):
            story.say("outside")
        story.heard_all(there, "outside")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    story.say("outside")
    ((by, numbers),) = [told for told in story.said.items() if told[1]]
    heard = [number for _, number in here.heard(by, numbers[-1])]
    assert heard == [number for number in numbers if number in set(heard)]
    assert len(heard) < len(numbers), "something was lost"
    here.cut()
    assert not here.come(second.url, "websocket")
    first.wait_for("a client that may have missed something cannot be recovered")
    there.cut()
    story.say("outside")
    assert there.come(second.url, "websocket")
    story.heard_all(there, "outside")
