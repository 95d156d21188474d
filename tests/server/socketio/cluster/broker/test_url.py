"""What the URL of a broker says, and which connections are made of it; what cannot be is refused at once.

It must not know what is said through a connection: here it answers to a ping.
"""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from python_server.socketio.cluster.broker.url import (
    BrokerError,
    broker_options,
    connector,
    read_broker,
    sentinel_places,
    url_of,
)
from python_server.socketio.cluster.port import BrokerOptions


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_a_connection_of_either_package_speaks_to_the_broker(redis_server: Any, scheme: str) -> None:
    connection = connector(BrokerOptions(redis_server.url.replace("redis", scheme, 1), "c"))()
    assert connection._sock is None, "not connected yet"
    connection.connect()
    try:
        connection.send_packed_command(connection.pack_commands([("ECHO", b"said")]), check_health=False)
        assert connection.read_response() == b"said", "never decoded: what is published may be any bytes"
    finally:
        connection.disconnect()


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://h?max_connections=2", "valkey://h", "unix:///s", "redis+sentinel://h:1/0/m"]
)
def test_connections_are_made_as_often_as_a_broker_goes(url: str) -> None:
    connect = connector(BrokerOptions(url, "c"))
    assert all(connect()._sock is None for _ in range(300)), "each is closed before the next one is made"


def test_sentinels_are_read_from_the_url() -> None:
    assert sentinel_places("redis+sentinel://u:p%40@a:1,b:2/3/mine") == (
        [("a", 1), ("b", 2)],
        "mine",
        {"username": "u", "password": "p@", "db": 3},
    )
    assert sentinel_places("valkey+sentinel://:p@[::1]:26379") == ([("::1", 26379)], None, {"password": "p"})
    with pytest.raises(ValueError, match="not the host:port"):
        sentinel_places("redis+sentinel://a,b:2/0/mine")


@pytest.mark.parametrize(
    "url", ["localhost:6379", "", "nats://localhost", "kafka://x", "redis+sentinel://x/0/y", "redis://h:99x/"]
)
def test_a_url_that_cannot_be(url: str) -> None:
    with pytest.raises(BrokerError, match="message_queue"):
        connector(BrokerOptions(url, "c"))


@pytest.mark.parametrize(("scheme", "package"), [("redis", "redis"), ("valkeys", "valkey")])
def test_a_missing_package_is_named(scheme: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BrokerError, match=f"pip install {package}"):
        connector(BrokerOptions(f"{scheme}://localhost", "c"))


def test_a_wrong_option_of_the_client_library() -> None:
    with pytest.raises(BrokerError, match="no_such_option"):
        connector(BrokerOptions("redis://localhost", "c", redis_options={"no_such_option": 1}))


KOMBU_MANAGER = SimpleNamespace(name="kombu", url="amqp://h", channel="its", connection_options={})
OPTIONS: list[tuple[dict[str, Any], BrokerOptions | None]] = [
    ({}, None),
    ({"message_queue": None, "channel": "c"}, None),
    ({"message_queue": "redis://h"}, BrokerOptions("redis://h", "default")),
    (
        {"message_queue": "redis://h", "channel": "c", "channel_per_room": True, "redis_options": {"db": 2}},
        BrokerOptions("redis://h", "c", True, redis_options={"db": 2}),
    ),
    (
        {"client_manager": SimpleNamespace(redis_url="redis://h", channel="its", redis_options={"db": 1})},
        BrokerOptions("redis://h", "its", redis_options={"db": 1}),
    ),
    (
        {
            "client_manager": SimpleNamespace(
                name="kombu", url="amqp://h", channel="its", connection_options={}
            )
        },
        BrokerOptions("amqp://h", "its"),
    ),
    ({"message_queue": "redis+cluster://h:1"}, BrokerOptions("redis+cluster://h:1", "default", True)),
    (
        {"message_queue": "redis+cluster://h:1", "channel_per_room": False},
        BrokerOptions("redis+cluster://h:1", "default"),
    ),
    ({"message_queue": "redis+streams://h/2"}, BrokerOptions("redis://h/2", "default", False, 100_000)),
    (
        {"message_queue": "rediss+streams://u:p%40@h:1/0?maxlen=500&ssl_ca_certs=/a%20b"},
        BrokerOptions("rediss://u:p%40@h:1/0?ssl_ca_certs=%2Fa+b", "default", False, 500),
    ),
    (
        {"message_queue": "redis+sentinel+streams://a:1,b:2/0/mine?maxlen=7"},
        BrokerOptions("redis+sentinel://a:1,b:2/0/mine", "default", False, 7),
    ),
    ({"message_queue": "valkey+STREAMS://h"}, BrokerOptions("valkey://h", "default", False, 100_000)),
]


@pytest.mark.parametrize(("given", "options"), OPTIONS)
def test_options_of_the_peers(given: dict[str, Any], options: BrokerOptions | None) -> None:
    assert read_broker(given, "default") == options


@pytest.mark.parametrize(
    "url",
    ["redis://h/2?db=1", "redis+streams://h", "rediss+streams://u:p%40@h:1/0?maxlen=500&ssl_ca_certs=/a%20b"],
)
def test_a_url_is_written_as_it_was_read(url: str) -> None:
    """For who emits through a broker that was read already."""
    options = broker_options(url, "c")
    assert broker_options(url_of(options), "c") == options


@pytest.mark.parametrize("told", ["0", "-1", "", "many", "1.5", "\u00b2", "1" * 19, "1" * 5000])
def test_a_length_that_a_stream_cannot_have(told: str) -> None:
    with pytest.raises(BrokerError, match="is no number of entries"):
        read_broker({"message_queue": f"redis+streams://h?maxlen={told}&db=1"}, "default")


@pytest.mark.parametrize("given", [{"channel_per_room": True}, {"message_queue": "nats+streams://h"}])
def test_a_stream_that_cannot_be(given: dict[str, Any]) -> None:
    with pytest.raises(BrokerError, match=r"a stream is read whole|served by no broker here"):
        read_broker({"message_queue": "redis+streams://h", **given}, "default")


def test_options_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="SimpleNamespace is not served: give message_queue"):
        read_broker({"client_manager": SimpleNamespace()}, "default")
    with pytest.raises(BrokerError, match="served by no broker here"):
        read_broker({"message_queue": "nats://h"}, "default")
