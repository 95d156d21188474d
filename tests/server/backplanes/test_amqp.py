"""RabbitMQ as a package would bring it: its URLs, and the tests that every backplane has to pass.

It must not know how servers use it.
"""

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from own_rabbitmq import OwnRabbitMQ
from page_blocks import PAGES
from python_server.api.backplane_kit import CHANNEL, QUESTIONS, BackplaneTests
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
