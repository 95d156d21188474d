"""The two connections to a package's broker: in order, bounded, made again whenever they are lost.

It must not know what a message says. The broker is the small one of docs/how-to/backplane.md, or scripted.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from folder_broker_page import install_folder_broker
from link_log import WAIT_SECONDS, LinkLog
from python_server.net.system import REAL
from python_server.socketio.cluster.broker import url as broker
from python_server.socketio.cluster.broker.connections import BrokerLinkState, Publisher
from python_server.socketio.cluster.broker.plugin_links import PluginConnection, PluginSubscriber
from python_server.socketio.cluster.broker.plugins import open_client
from python_server.socketio.cluster.broker.requests import UNKNOWN_COUNT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the sockets are, by a short name."""
    install_folder_broker(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "folder_broker", raising=False)
    made = Path(tempfile.mkdtemp())
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def run() -> Iterator[Callable[..., Any]]:
    """run(link): starts it, and ends it after the test."""
    links: list[Any] = []

    def start(link: Any) -> Any:
        links.append(link)
        link.start()
        return link

    yield start
    for link in links:
        link.close()
        link.join(WAIT_SECONDS)


@pytest.fixture
def pair(
    folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[Publisher, PluginSubscriber, LinkLog]:
    monkeypatch.setattr(broker, "PATIENCE_SECONDS", 0.2)
    client = open_client(f"folder://{folder}", "c", {})
    assert client is not None
    log = LinkLog()
    publisher = Publisher(lambda: PluginConnection(client.publisher()), log.state, log.dropped)
    subscriber = PluginSubscriber(client.subscriber, log.state, log.heard, 50_000, REAL)
    subscriber.want(b"c", b"d")
    return run(publisher), run(subscriber), log


def test_messages_arrive_in_order_with_the_number_of_subscriptions(pair: Any) -> None:
    publisher, _, log = pair
    log.wait(lambda: log.messages == [(b"c", None), (b"d", None)])
    sent = [b"%d" % number for number in range(1000)]
    for payload in sent:
        publisher.publish(b"c", payload, log.done)
    publisher.publish(b"nobody's", b"x", log.done)
    assert publisher.flush(WAIT_SECONDS)
    log.wait(lambda: len(log.payloads()) == 1000)
    assert log.payloads() == sent
    assert log.reached == [1] * 1000 + [0]
    assert publisher.published_count == 1001


def test_channels_change_while_it_listens(pair: Any) -> None:
    publisher, subscriber, log = pair
    log.wait(lambda: (b"d", None) in log.messages)
    subscriber.want(b"e")
    subscriber.unwant(b"d")
    publisher.publish(b"c", b"look")
    log.wait(lambda: (b"e", None) in log.messages)
    publisher.publish(b"c", b"again")  # it is read after it has left the other channel
    log.wait(lambda: b"again" in log.payloads())
    publisher.publish(b"d", b"nobody's")
    publisher.publish(b"e", b"heard")
    log.wait(lambda: log.payloads() == [b"look", b"again", b"heard"])


def test_a_channel_that_was_given_up_and_wanted_again_is_not_subscribed_to_twice(pair: Any) -> None:
    """Who waits for it is told all the same; and one that was never subscribed to is not given up."""
    publisher, subscriber, log = pair
    log.wait(lambda: (b"d", None) in log.messages)
    subscriber.unwant(b"d")
    subscriber.want(b"d", b"e")
    subscriber.unwant(b"e")
    publisher.publish(b"c", b"look")
    log.wait(lambda: log.messages.count((b"d", None)) == 2)
    publisher.publish(b"d", b"heard")
    log.wait(lambda: b"heard" in log.payloads())
    assert [state for state, _ in log.states] == [BrokerLinkState.UP] * 2


def test_a_message_that_is_too_large_is_counted(pair: Any) -> None:
    publisher, _, log = pair
    log.wait(lambda: (b"d", None) in log.messages)
    publisher.publish(b"c", b"x" * 50_001)
    publisher.publish(b"c", b"x" * 50_000)
    log.wait(lambda: log.payloads() == [b"x" * 50_000])
    assert log.oversized_count == 1


def test_a_broker_that_goes_and_comes_back(pair: Any, folder: Path) -> None:
    publisher, _, log = pair
    log.wait(lambda: [state for state, _ in log.states] == [BrokerLinkState.UP] * 2)
    shutil.rmtree(folder)
    log.wait(lambda: [state for state, _ in log.states[2:]] == [BrokerLinkState.LOST] * 2)
    assert "No such file" in log.states[-1][1]
    publisher.publish(b"c", b"waits")
    folder.mkdir()
    log.wait(lambda: len(log.states) == 6 and log.messages.count((b"c", None)) == 2)
    publisher.publish(b"c", b"again")
    log.wait(lambda: log.payloads()[-1:] == [b"again"])
    assert log.dropped_count == 0


def test_it_ends_at_the_next_thing_it_hears(pair: Any) -> None:
    publisher, subscriber, log = pair
    log.wait(lambda: (b"d", None) in log.messages)
    subscriber.close()
    publisher.publish(b"c", b"{}")
    subscriber.join(WAIT_SECONDS)
    assert subscriber.closed


class Scripted:
    """A publisher that tells what it is told to."""

    def __init__(self, counts: Sequence[int | None]) -> None:
        self.counts = counts
        self.published: list[tuple[str, bytes]] = []
        self.pinged_count = self.closed_count = 0

    def connect(self) -> None: ...

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> Sequence[int | None]:
        self.published += messages
        return self.counts

    def ping(self) -> None:
        self.pinged_count += 1

    def close(self) -> None:
        self.closed_count += 1


def test_a_command_has_one_answer() -> None:
    scripted = Scripted([None, 0, 3])
    connection = PluginConnection(scripted)
    connection.connect()
    connection.send_command("PING", check_health=False)
    assert connection.read_response() == b"PONG"
    names = [(b"PUBLISH", name.encode(), b"x") for name in ("a", "é", "c")]
    connection.send_packed_command(connection.pack_commands(names), check_health=False)
    assert [connection.read_response() for _ in names] == [UNKNOWN_COUNT, 0, 3]
    assert scripted.published == [("a", b"x"), ("é", b"x"), ("c", b"x")]
    connection.disconnect()
    assert (scripted.pinged_count, scripted.closed_count) == (1, 1)


def test_one_command_by_itself() -> None:
    """As a writer outside says it."""
    connection = PluginConnection(Scripted([2]))
    connection.send_command(b"PUBLISH", b"a", b"x", check_health=False)
    assert connection.read_response() == 2


@pytest.mark.parametrize("count", ["3", 1.5, -1, [1]])
def test_a_package_that_tells_no_number(count: Any) -> None:
    connection = PluginConnection(Scripted([count]))
    with pytest.raises(ValueError, match=r"publish has told of .* subscriptions"):
        connection.send_command(b"PUBLISH", b"a", b"x")


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, asyncio.CancelledError])
def test_whatever_a_package_raises_the_connection_is_made_again(run: Any, kind: type[BaseException]) -> None:
    log, faults = LinkLog(), [kind("enough")]

    class Raising(Scripted):
        def publish(self, messages: Sequence[tuple[str, bytes]]) -> Sequence[int | None]:
            if faults:
                raise faults.pop()
            return super().publish(messages)

    publisher = run(Publisher(lambda: PluginConnection(Raising([4])), log.state, log.dropped))
    publisher.publish(b"a", b"lost", log.done)
    log.wait(lambda: log.dropped_count == 1)
    log.wait(lambda: len(log.states) == 3)
    assert log.states[1] == (BrokerLinkState.LOST, "enough")
    publisher.publish(b"a", b"x", log.done)
    log.wait(lambda: log.reached == [None, 4])


def test_a_package_that_tells_of_another_number_of_messages() -> None:
    connection = PluginConnection(Scripted([1]))
    commands = connection.pack_commands([(b"PUBLISH", b"a", b"x")] * 2)
    with pytest.raises(ValueError, match="told of 1 messages, and was given 2"):
        connection.send_packed_command(commands)
