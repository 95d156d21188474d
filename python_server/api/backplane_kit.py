"""Tests for who writes a backplane (docs/how-to/backplane.md): its connections, and servers that it joins.

Must not know: any broker; a test class that inherits from `BackplaneTests` starts one.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import pytest

from python_server.api.emitter import EmitError, Emitter
from python_server.api.python_socketio import Server, WSGIApp
from python_server.net.threads import Queue, Thread
from python_server.socketio.cluster.broker.plugins import BrokerClient, BrokerPublisher, open_client

# Of a machine with far more to do than this.
PATIENCE_SECONDS: Final = 60.0
CALL_SECONDS: Final = 1.0
EVENTS_COUNT: Final = 300
CHANNEL: Final = "backplane-kit"
QUESTIONS: Final = f"{CHANNEL}#wsframe"
GARBAGE: Final = [
    b"",
    b"\x80\x04\x95pickle",
    b"\xff" * 100,
    b"[" * 100_000,
    b'{"method":"eval"}',
    b'{"method":"disconnect"}',
    b'{"method":"emit","event":"said","binary":true,"data":["x"]}',
]


class StartedBroker(Protocol):
    """What the fixture `broker` gives. `start` returns once the broker is there."""

    url: str

    def stop(self) -> None: ...
    def start(self) -> None: ...


class PollingClient:
    """A client of Socket.IO over HTTP, with a thread that reads; it answers a question with its argument.

    https://socket.io/docs/v4/engine-io-protocol/
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url}/socket.io/?EIO=4&transport=polling"
        session = json.loads(self._request()[1:])
        self._url += f"&sid={session['sid']}"
        self._heard: Queue[Any] = Queue()
        self._answers: Queue[Any] = Queue()
        self._request("40")
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()
        self.sid: str = self._answers.get(timeout=PATIENCE_SECONDS)["sid"]

    def _request(self, packet: str | None = None) -> str:
        data = None if packet is None else packet.encode()
        opened = urllib.request.urlopen(self._url, data, timeout=PATIENCE_SECONDS)  # nosec B310  # of a test
        with opened as answer:
            return str(answer.read(), "utf-8")

    def _read(self) -> None:
        try:
            while True:
                for packet in self._request().split("\x1e"):
                    self._take(packet)
        except OSError:
            self._heard.put(None)

    def _take(self, packet: str) -> None:
        if packet == "2":
            self._request("3")
        elif packet[:2] == "42":
            number, _, event = packet[2:].partition("[")
            name, *values = json.loads(f"[{event}")
            if name == "question":
                self._request(f"43{number}{json.dumps(values)}")
            else:
                self._heard.put(values)
        elif packet[:2] == "43":
            self._answers.put(json.loads(packet[packet.index("[") :]))
        elif packet[:2] == "40":
            self._answers.put(json.loads(packet[2:]))
        elif packet[:2] == "41":
            self._heard.put(None)

    def ask(self, event: str, *values: Any) -> Any:
        """An event; returns what the server's handler returns."""
        self._request(f"421{json.dumps([event, *values])}")
        answer: list[Any] = self._answers.get(timeout=PATIENCE_SECONDS)
        return answer[0] if answer else None

    def emit(self, *values: Any, **options: Any) -> None:
        """Have the server emit `said`; `options` are those of its `emit`."""
        self.ask("say", values, options)

    def hear(self) -> Any:
        """The arguments of the next event; None: the server has ended the connection."""
        return self._heard.get(timeout=PATIENCE_SECONDS)

    def hear_until(self, *last: Any) -> list[Any]:
        """The events to that one."""
        heard = [self.hear()]
        while heard[-1] != [*last]:
            assert heard[-1] is not None, "the server has ended the connection"
            heard.append(self.hear())
        return heard


def application(url: str) -> WSGIApp:
    """A server that does what its clients tell it."""
    server = Server(message_queue=url, channel=CHANNEL)

    @server.event
    def say(sid: str, values: list[Any], options: dict[str, Any]) -> bool:
        server.emit("said", tuple(values), **options)
        return True

    @server.event
    def enter(sid: str, room: str) -> bool:
        server.enter_room(sid, room)
        return True

    @server.event
    def call(sid: str, other: str) -> Any:
        try:
            return server.call("question", "asked", to=other, timeout=CALL_SECONDS)
        except TimeoutError:
            return None

    @server.event
    def bring(sid: str, other: str, room: str) -> bool:
        server.enter_room(other, room)
        return True

    @server.event
    def away(sid: str, other: str) -> bool:
        server.disconnect(other)
        return True

    return WSGIApp(server)


def meet(*clients: PollingClient) -> None:
    """Returns once the server of each reaches the clients of all others."""
    for one in clients:
        for other in clients:
            while one is not other and one.ask("call", other.sid) != "asked":
                pass


class BackplaneTests:
    """Inherit from it in a file of tests, and give it the fixture `broker`.

        class TestFolders(BackplaneTests):
            @pytest.fixture
            def broker(self, tmp_path):
                return StartedFolder(tmp_path)   # with url, stop() and start()

    The tests with `link` in their names speak to the connections, the others to two servers with clients.
    """

    @pytest.fixture
    def client(self, broker: StartedBroker) -> BrokerClient:
        """What the entry point of the URL's scheme returns."""
        client = open_client(broker.url, CHANNEL, {})
        assert client is not None, f"no entry point is named {broker.url.partition('://')[0]!r}"
        return client

    @pytest.fixture
    def connect(self, client: BrokerClient) -> Iterator[Callable[[str], Any]]:
        """connect("publisher") or connect("subscriber"): a connection that is closed after the test."""
        made: list[Any] = []

        def make(kind: str) -> Any:
            made.append(getattr(client, kind)())
            made[-1].connect()
            return made[-1]

        yield make
        for link in made:
            link.close()

    @pytest.fixture
    def pair(self, broker: StartedBroker, socketio_live: Any) -> tuple[PollingClient, PollingClient]:
        """A client of each of two servers that have met."""
        one, other = (PollingClient(socketio_live(application(broker.url))) for _ in range(2))
        meet(one, other)
        return one, other

    # Its connections

    def test_a_link_brings_what_is_published_in_order(self, connect: Callable[[str], Any]) -> None:
        """As soon as `subscribe` returns, and nothing of other channels."""
        subscriber, publisher = connect("subscriber"), connect("publisher")
        subscriber.subscribe([CHANNEL, QUESTIONS])
        long = f"{QUESTIONS}#{'é' * 400}"
        subscriber.subscribe([long])
        payloads = [b'{"n":%d}' % number for number in range(EVENTS_COUNT)]
        first = [(CHANNEL, payload) for payload in payloads]
        messages = [*first, ("another", b"x"), (long, b"y" * 100_000), (QUESTIONS, b"z")]
        counts: Queue[Any] = Queue()
        # A broker may make its writers wait for its readers.
        Thread(target=lambda: counts.put(publisher.publish(messages)), daemon=True).start()
        came: list[tuple[str, bytes]] = []
        while (QUESTIONS, b"z") not in came or (long, b"y" * 100_000) not in came or len(came) < len(first):
            came += subscriber.receive(1.0)
        assert [(name, payload) for name, payload in came if name == CHANNEL] == first
        assert "another" not in {name for name, _ in came}
        told = counts.get(timeout=PATIENCE_SECONDS)
        assert len(told) == len(messages)
        assert told[-1] in (1, None)

    def test_a_link_forgets_a_channel(self, connect: Callable[[str], Any]) -> None:
        subscriber, publisher = connect("subscriber"), connect("publisher")
        subscriber.subscribe([CHANNEL, QUESTIONS, f"{QUESTIONS}#inbox"])
        subscriber.unsubscribe([QUESTIONS])
        subscriber.ping()  # which the broker answers behind it
        assert publisher.publish([(QUESTIONS, b"x")])[0] in (0, None)
        publisher.publish([(f"{QUESTIONS}#inbox", b"last")])
        came = [*subscriber.receive(PATIENCE_SECONDS)]
        while (f"{QUESTIONS}#inbox", b"last") not in came:
            came += subscriber.receive(PATIENCE_SECONDS)
        assert (QUESTIONS, b"x") not in came

    def test_a_link_waits_no_longer_than_it_is_told(self, connect: Callable[[str], Any]) -> None:
        subscriber, publisher = connect("subscriber"), connect("publisher")
        subscriber.subscribe([CHANNEL])
        assert [*subscriber.receive(0.05)] == []
        subscriber.ping()
        publisher.ping()
        publisher.publish([(CHANNEL, b"x")])
        subscriber.ping()  # what comes meanwhile is not lost
        assert [*subscriber.receive(PATIENCE_SECONDS)] == [(CHANNEL, b"x")]

    def test_a_link_raises_where_the_broker_is_gone(
        self, broker: StartedBroker, client: BrokerClient, connect: Callable[[str], Any]
    ) -> None:
        """At the next ping at the latest; `close` raises nothing, and a later connection works."""
        subscriber, publisher = connect("subscriber"), connect("publisher")
        subscriber.subscribe([CHANNEL])
        broker.stop()
        try:
            for link in (subscriber, publisher):
                with pytest.raises(Exception):  # noqa: B017, PT011  # of any kind: each library has its own
                    link.ping()
                link.close()
                link.close()
            unconnected: list[BrokerPublisher | Any] = [client.publisher(), client.subscriber()]
            for link in unconnected:
                with pytest.raises(Exception):  # noqa: B017, PT011
                    link.connect()
                link.close()
        finally:
            broker.start()
        subscriber, publisher = connect("subscriber"), connect("publisher")
        subscriber.subscribe([CHANNEL])
        publisher.publish([(CHANNEL, b"again")])
        assert [*subscriber.receive(PATIENCE_SECONDS)] == [(CHANNEL, b"again")]

    # Servers that it joins

    def test_events_reach_the_other_server_in_order(self, pair: tuple[PollingClient, PollingClient]) -> None:
        one, other = pair
        for number in range(EVENTS_COUNT):
            one.emit(number, {"text": "\u00e9\u2028", "none": None})
        expected = [[number, {"text": "\u00e9\u2028", "none": None}] for number in range(EVENTS_COUNT)]
        assert [other.hear() for _ in expected] == expected
        assert [one.hear() for _ in expected] == expected, "once each"

    def test_rooms_and_exceptions_hold_at_the_other_server(
        self, pair: tuple[PollingClient, PollingClient]
    ) -> None:
        one, other = pair
        other.ask("enter", "readers")
        one.emit("to the room", to="readers")
        one.emit("to another room", to="writers")
        one.emit("to the client", to=other.sid)
        one.emit("not to the room", except_rooms=["readers"])
        one.emit("not to the client", skip_sid=other.sid)
        one.emit("end")
        assert other.hear_until("end") == [["to the room"], ["to the client"], ["end"]]
        assert one.hear_until("end") == [["not to the room"], ["not to the client"], ["end"]]

    def test_acks_come_back(self, pair: tuple[PollingClient, PollingClient]) -> None:
        one, other = pair
        assert one.ask("call", other.sid) == other.ask("call", one.sid) == "asked"

    def test_a_client_of_the_other_server_is_moved_and_sent_away(
        self, pair: tuple[PollingClient, PollingClient]
    ) -> None:
        one, other = pair
        one.ask("bring", other.sid, "readers")
        one.emit("in the room", to="readers")
        assert other.hear() == ["in the room"]
        one.ask("away", other.sid)
        assert other.hear() is None

    def test_who_serves_nobody_reaches_all(
        self, broker: StartedBroker, pair: tuple[PollingClient, PollingClient]
    ) -> None:
        with Emitter(broker.url, CHANNEL) as emitter:
            emitter.emit("said", "from outside")
        assert [client.hear() for client in pair] == [["from outside"]] * 2

    def test_what_is_foreign_on_the_channel_harms_nobody(
        self, client: BrokerClient, pair: tuple[PollingClient, PollingClient]
    ) -> None:
        publisher = client.publisher()
        publisher.connect()
        for channel in (CHANNEL, QUESTIONS):
            publisher.publish([(channel, payload) for payload in GARBAGE])
        publisher.close()
        one, other = pair
        one.emit("end")
        assert other.hear() == one.hear() == ["end"]
        meet(one, other)

    def test_the_broker_goes_and_comes_back(
        self, broker: StartedBroker, pair: tuple[PollingClient, PollingClient]
    ) -> None:
        """Each server goes on alone, a writer is told, and all meet again."""
        one, other = pair
        broker.stop()
        try:
            one.emit("alone", ignore_queue=True)
            assert one.hear() == ["alone"]
            with Emitter(broker.url, CHANNEL) as emitter, pytest.raises(EmitError):
                emitter.emit("said", "to nobody")
        finally:
            broker.start()
        meet(one, other)
        one.emit("together")
        assert other.hear() == one.hear() == ["together"]
