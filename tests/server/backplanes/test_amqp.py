"""RabbitMQ as a package would bring it: its URLs, and the tests that every backplane has to pass.

It must not know how servers use it.
"""

import re
import socket
from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from own_rabbitmq import OwnRabbitMQ
from page_blocks import PAGES
from python_server.api.backplane_kit import CHANNEL, QUESTIONS, BackplaneTests
from python_server.backplanes import amqp
from python_server.backplanes.amqp import RabbitMQ, open_broker
from python_server.socketio.cluster.broker.url import BrokerError, read_broker


def settings_of(url: str, **options: Any) -> Any:
    return open_broker(url, "c", options).publisher()._made


def test_a_url_is_read() -> None:
    made = settings_of("amqp://user:p%40ss@host:5673/shop")
    place = (made.userid, made.password, made.hostname, made.port, made.virtual_host, made.ssl)
    assert place == ("user", "p@ss", "host", 5673, "shop", False)
    assert made.connect_timeout == 5.0
    assert settings_of("amqp://host", heartbeat=7).heartbeat == 7
    assert settings_of("amqp://guest:guest@host:5672//").virtual_host == "/"


def test_a_url_of_tls_names_its_files_and_always_looks_at_the_certificate() -> None:
    made = settings_of("amqps://host?ssl_ca_certs=/a%20b/ca.pem&ssl_certfile=c.pem&ssl_keyfile=k.pem")
    assert made.ssl["server_hostname"] == "host"
    assert "cert_reqs" not in made.ssl, "the library's own is CERT_REQUIRED"
    files = made.ssl["ca_certs"], made.ssl["certfile"], made.ssl["keyfile"]
    assert files == ("/a b/ca.pem", "c.pem", "k.pem")


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("amqp://", {}, "it names no host"),
        ("amqp://h:99x/", {}, "Port could not be cast"),
        ("amqp://h:99999/", {}, "Port out of range"),
        ("amqp://h?ssl_ca_certs=ca.pem", {}, "it has an unknown field 'ssl_ca_certs'"),
        ("amqps://h?ssl_cert_reqs=none", {}, "it has an unknown field 'ssl_cert_reqs'"),
    ],
)
def test_a_url_that_cannot_be_is_one_line(url: str, options: Any, said: str) -> None:
    with pytest.raises(BrokerError, match=said) as raised:
        read_broker({"message_queue": url, "redis_options": options}, "c")
    assert "\n" not in str(raised.value)


def test_a_channel_whose_name_does_not_fit() -> None:
    with pytest.raises(ValueError, match="more than 180 bytes"):
        open_broker("amqp://h", "é" * 91, {})


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[OwnRabbitMQ]:
    server = OwnRabbitMQ()
    yield server
    server.close()


@pytest.mark.extended
class TestRabbitMQ(BackplaneTests):
    @pytest.fixture
    def broker(self, rabbitmq: OwnRabbitMQ) -> OwnRabbitMQ:
        return rabbitmq

    def test_a_connection_that_was_cut_misses_nothing(self, connect: Any, client: RabbitMQ) -> None:
        """Its queue is kept; only what was on its way is lost."""
        lost, publisher = connect("subscriber"), connect("publisher")
        lost.subscribe([CHANNEL, QUESTIONS])
        assert [*lost.receive(0.01)] == []
        lost._connection.transport.sock.shutdown(socket.SHUT_RDWR)
        with pytest.raises(OSError):  # noqa: PT011  # of the socket
            lost.receive(1.0)
        lost.close()
        while publisher.publish([(QUESTIONS, b"is it gone?")]) != [0]:
            pass
        publisher.publish([(CHANNEL, b"meanwhile")])
        back = connect("subscriber")
        back.subscribe([CHANNEL])
        came: list[tuple[str, bytes]] = []
        while (CHANNEL, b"meanwhile") not in came:
            came += back.receive(5.0)
        publisher.publish([(QUESTIONS, b"not wanted any more"), (CHANNEL, b"end")])
        came = []
        while (CHANNEL, b"end") not in came:
            came += back.receive(5.0)
        assert b"not wanted any more" not in {payload for _, payload in came}

    def test_what_came_before_a_cut_is_given(self, connect: Any) -> None:
        subscriber, publisher = connect("subscriber"), connect("publisher")
        subscriber.subscribe([CHANNEL])
        publisher.publish([(CHANNEL, b"%d" % number) for number in range(9)] + [(CHANNEL, b"the last one")])
        sock = subscriber._connection.transport.sock
        sock.setblocking(True)
        while b"the last one" not in sock.recv(65536, socket.MSG_PEEK):
            pass
        sock.shutdown(socket.SHUT_RDWR)
        assert len(subscriber.receive(5.0)) == 10
        with pytest.raises(OSError):  # noqa: PT011  # of the socket
            subscriber.receive(5.0)

    def test_a_connection_that_only_the_broker_holds_for_alive_takes_nothing(self, connect: Any) -> None:
        """Its machine's network went and came back: two consumers would share the queue."""
        connect("subscriber").subscribe([CHANNEL])
        back, publisher = connect("subscriber"), connect("publisher")
        back.subscribe([CHANNEL])
        sent = [(CHANNEL, b"%d" % number) for number in range(100)]
        publisher.publish([*sent, (CHANNEL, b"end"), (CHANNEL, b"end")])  # one would be the other's
        came: list[tuple[str, bytes]] = []
        while (CHANNEL, b"end") not in came:
            came += back.receive(5.0)
        assert came[:100] == sent

    def test_a_broker_that_is_slow_to_answer_keeps_the_queue(self, rabbitmq: OwnRabbitMQ) -> None:
        patience = {"read_timeout": 0.5, "write_timeout": 5.0}
        client = open_broker(rabbitmq.url, "slow", {"transport_options": patience})
        subscriber = client.subscriber()
        subscriber.connect()
        subscriber.subscribe(["slow"])
        assert [*subscriber.receive(0.01)] == []
        with rabbitmq.standing_still():
            with pytest.raises(TimeoutError):
                subscriber.ping()
            subscriber.close()
        client = open_broker(rabbitmq.url, "slow", {})
        client._queue = subscriber._queue
        publisher, back = client.publisher(), client.subscriber()
        publisher.connect()
        while publisher._channel.queue_declare(subscriber._queue, passive=True).consumer_count:
            pass
        publisher.publish([("slow", b"meanwhile")])
        back.connect()
        back.subscribe(["slow"])
        publisher.publish([("slow", b"end")])
        came: list[tuple[str, bytes]] = []
        while ("slow", b"end") not in came:
            came += back.receive(5.0)
        assert came == [("slow", b"meanwhile"), ("slow", b"end")]
        back.close()
        publisher.close()

    def test_a_broker_without_memory_answers_no_publisher(
        self, rabbitmq: OwnRabbitMQ, client: RabbitMQ, connect: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So what is to be published waits for it, and is not given to one connection after the other."""
        publisher, subscriber = connect("publisher"), connect("subscriber")
        subscriber.subscribe([CHANNEL])
        publisher.ping()
        monkeypatch.setattr(amqp, "PATIENCE_SECONDS", 0.5)
        rabbitmq.command("set_vm_memory_high_watermark", "0.00001")
        try:
            publishes = (publisher.publish([(CHANNEL, b"x")]) for _ in count())
            with pytest.raises(TimeoutError):
                deque(publishes, maxlen=0)
            again = connect("publisher")
            with pytest.raises(TimeoutError):
                again.ping()
            subscriber.ping()  # who only reads is served
        finally:
            rabbitmq.command("set_vm_memory_high_watermark", "0.4")
        monkeypatch.undo()
        after = connect("publisher")
        after.ping()
        assert after.publish([(CHANNEL, b"after")]) == [None]
        came = []
        while (CHANNEL, b"after") not in came:
            came += subscriber.receive(5.0)
        assert b"" not in {payload for _, payload in came}

    def test_nothing_is_kept_of_a_channel_that_was_given_up(self, connect: Any) -> None:
        """Of a server whose rooms have channels of their own, clients may make the names."""
        subscriber = connect("subscriber")
        subscriber.subscribe([CHANNEL])
        for number in range(20):
            subscriber.subscribe([f"{CHANNEL}#/#{number}"])
            subscriber.unsubscribe([f"{CHANNEL}#/#{number}"])
        assert list(subscriber._channels.values()) == [CHANNEL]

    def test_large_messages_are_not_gathered(self, gathered_counts: Any) -> None:
        assert max(gathered_counts(4, 200_000)) <= 2

    def test_a_user_needs_the_rights_that_the_page_names(self, rabbitmq: OwnRabbitMQ) -> None:
        """And may not do the same on another channel."""
        (pattern,) = re.findall(r"`(\^\(shop.*\$)`", PAGES["docs/scaling.md"])
        rabbitmq.command("add_user", "app", "secret")
        rabbitmq.command("set_permissions", "app", pattern, pattern, pattern)
        url = rabbitmq.url.replace("guest:guest", "app:secret")
        client = open_broker(url, "shop", {})
        subscriber, publisher = client.subscriber(), client.publisher()
        subscriber.connect()
        publisher.connect()
        subscriber.subscribe(["shop", "shop#wsframe", "shop#wsframe#inbox"])
        subscriber.unsubscribe(["shop#wsframe#inbox"])
        assert publisher.publish([("shop", b"x"), ("shop#wsframe", b"y")]) == [None, 1]
        came: list[tuple[str, bytes]] = []
        while len(came) < 2:
            came += subscriber.receive(5.0)
        subscriber.ping()
        publisher.ping()
        subscriber.close()
        publisher.close()
        link = open_broker(url, "shops", {}).publisher()
        with pytest.raises(Exception, match="ACCESS_REFUSED"):
            link.connect()
        link.close()

    def test_a_queue_is_gone_with_its_owner(self, connect: Any, client: RabbitMQ) -> None:
        subscriber, publisher = connect("subscriber"), connect("publisher")
        subscriber.subscribe([CHANNEL])
        subscriber.receive(0.01)
        subscriber.close()
        connection = publisher._connection
        with pytest.raises(Exception, match="no queue"):
            connection.channel().queue_declare(client._queue, passive=True)

    def test_an_exchange_of_another_kind_is_told(self, connect: Any, client: RabbitMQ) -> None:
        publisher = connect("publisher")
        publisher._channel.exchange_declare("other kind", "direct", durable=False, auto_delete=False)
        other = open_broker("amqp://h", "other kind", {})
        link = client.publisher()
        link._names = other._names
        with pytest.raises(Exception, match="inequivalent arg 'type' for exchange 'other kind'"):
            link.connect()
        link.close()
