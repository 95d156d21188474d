"""The options of SocketIO, Server and EngineServer: what is taken, what it becomes, what is refused and how.

It must not know an application: options are read before there is one.
"""

import json
from typing import Any

import flask
import pytest

from python_server import EngineServer, Server, SocketIO
from python_server.api import keywords
from python_server.api.keywords import SocketIOKeywords, names_of
from python_server.api.options import (
    ASYNC_MODES,
    ServerOptions,
    codec_of,
    read_engine_options,
    read_server_options,
)
from python_server.http1.parser import Request
from python_server.socketio.cluster.broker.url import FLASK_CHANNEL
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.packet import TextCodec
from python_server.socketio.services import ClientTimeouts

NAMES = names_of(SocketIOKeywords)
REQUEST = Request("GET", "/?a=1", "/", "a=1", (1, 1), [])

VALUES = {
    "ping_interval": 7,
    "ping_timeout": 3,
    "max_http_buffer_size": 1234,
    "allow_upgrades": False,
    "transports": ["websocket"],
    "cors_allowed_origins": "*",
    "cors_credentials": False,
    "http_compression": False,
    "compression_threshold": 9,
    "cookie": "io",
    "upgrade_timeout": 4,
    "max_queued_bytes": 4321,
    "max_decode_packets": 16,
    "jsonp": False,
    "allow_eio3": True,
}
FIELDS = {
    "ping_interval_seconds": 7,
    "ping_timeout_seconds": 3,
    "max_payload_bytes": 1234,
    "allow_upgrades": False,
    "transports": ("websocket",),
    "cors_allowed_origins": "*",
    "cors_credentials": False,
    "http_compression": False,
    "compression_threshold_bytes": 9,
    "cookie": "io",
    "upgrade_timeout_seconds": 4,
    "max_queued_bytes": 4321,
    "max_packets_per_payload_count": 16,
    "jsonp": False,
    "allow_eio3": True,
}


def read_options(given: dict[str, Any]) -> ServerOptions:
    return read_server_options("SocketIO", SocketIOKeywords, given, FLASK_CHANNEL)


def test_the_engines_options_arrive() -> None:
    engine = read_options(VALUES).engine
    assert {name: getattr(engine, name) for name in FIELDS} == FIELDS


def test_the_defaults_are_the_documented_ones() -> None:
    chosen = read_options({})
    assert (chosen.path, chosen.manage_session, chosen.configuration.always_connect) == (
        "/socket.io/",
        True,
        False,
    )
    assert chosen.namespaces is None
    assert (chosen.engine.ping_interval_seconds, chosen.engine.ping_timeout_seconds) == (25, 20)
    assert chosen.engine.max_payload_bytes == 1_000_000


def test_allow_request_is_asked_with_the_environ() -> None:
    request = Request("GET", "/socket.io/?a=1", "/socket.io/", "a=1", (1, 1), [("x-key", "s3")])
    seen: list[dict[str, Any]] = []
    rule = read_options({"allow_request": lambda environ: seen.append(environ) or "no"}).engine.allow_request
    assert rule is not None
    assert rule(request) == "no"
    assert seen[0]["QUERY_STRING"] == "a=1"
    rule = read_options({"allow_request": lambda environ: environ["NO_SUCH_KEY"]}).engine.allow_request
    assert rule is not None
    assert rule(request) is False
    assert read_options({"allow_request": None}).engine.allow_request is None


def test_the_hubs_times_arrive() -> None:
    chosen = read_options({"connect_timeout": 5, "attachments_timeout": 6.5})
    assert chosen.configuration.patience == ClientTimeouts(5, 6.5)
    defaults = read_options({})
    assert defaults.configuration.patience == ClientTimeouts(45, 30)
    assert defaults.engine.upgrade_timeout_seconds == 10
    socketio = SocketIO(flask.Flask(__name__), connect_timeout=5, attachments_timeout=6.5)
    assert socketio._hub._configuration.patience == ClientTimeouts(5, 6.5)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"path": "ws"}, "/ws/"),
        ({"path": "/ws/"}, "/ws/"),
        ({"resource": "/a/b"}, "/a/b/"),
        ({"path": None}, "/socket.io/"),
    ],
)
def test_path_and_resource(given: dict[str, Any], path: str) -> None:
    assert read_options(given).path == path


@pytest.mark.parametrize("server", [Server, EngineServer])
def test_a_pair_of_interval_and_grace(server: Any) -> None:
    engine = server(ping_interval=(10, 5), ping_timeout=3).mount("/events/").options
    assert (engine.ping_interval_seconds, engine.ping_timeout_seconds) == (10, 8)


@pytest.mark.parametrize("mode", ASYNC_MODES)
def test_every_known_mode_means_threads(mode: str | None) -> None:
    assert SocketIO(async_mode=mode).async_mode == "threading"


@pytest.mark.parametrize(
    ("given", "kind", "sentence"),
    [
        ({"async_mode": "uwsgi"}, ValueError, "Invalid async_mode specified"),
        ({"serializer": "pickle"}, ValueError, "'default' or 'msgpack'"),
        ({"transports": ["carrier"]}, ValueError, "No valid transports provided"),
        ({"transports": []}, ValueError, "No valid transports provided"),
        ({"ping_interval": 0}, ValueError, "ping_interval is a number of seconds above 0"),
        ({"ping_timeout": "soon"}, ValueError, "ping_timeout is a number of seconds above 0"),
        ({"ping_timeout": False}, ValueError, "ping_timeout is a number of seconds above 0"),
        ({"ping_timeout": "inf"}, ValueError, "ping_timeout is a number of seconds above 0"),
        ({"ping_interval": float("nan")}, ValueError, "ping_interval is a number of seconds above 0"),
        ({"message_queue": "nats://x"}, ValueError, "nats://x' is served by no broker here: the URL begins"),
        ({"max_decode_packets": 0}, ValueError, "max_decode_packets is a number of packets or None, not 0"),
        ({"upgrade_timeout": -1}, ValueError, "upgrade_timeout is a number of seconds above 0"),
        ({"connect_timeout": True}, ValueError, "connect_timeout is a number of seconds above 0"),
        ({"attachments_timeout": 0}, ValueError, "attachments_timeout is a number of seconds above 0"),
        ({"message_queue": "zmq+tcp://x"}, ValueError, "message_queue"),
        ({"json": object()}, ValueError, "with the functions dumps and loads"),
        ({"json": json, "serializer": "msgpack"}, ValueError, "leave the option json out"),
        ({"allow_eio3": True, "serializer": "msgpack"}, ValueError, "leave serializer='msgpack' out"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        SocketIO(**given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"pingintervall": 1}, "'pingintervall': did you mean 'ping_interval'?"),
        ({"policy_server": False, "host": "x"}, "'policy_server'"),
        ({"engineio_options": {}, "allow_unsafe_werkzeug": True}, "'allow_unsafe_werkzeug'"),
    ],
)
def test_what_no_peer_knows_is_ignored_and_named_once(
    given: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keywords, "_IGNORED", set())
    for _ in range(2):
        SocketIO(flask.Flask(__name__), **given)
    assert [record.message.partition("keyword ")[0] for record in caplog.records] == [
        "SocketIO ignores the unknown "
    ] * len(given)
    assert sentence in caplog.text


def test_values_as_programs_write_them(caplog: pytest.LogCaptureFixture) -> None:
    """Numbers as the environment has them, no time at all, any origin, no queue."""
    options = read_options({"ping_timeout": "60", "ping_interval": ("25", "5"), "connect_timeout": "3"})
    assert (options.engine.ping_interval_seconds, options.engine.ping_timeout_seconds) == (25, 65)
    assert options.configuration.patience.connect_timeout_seconds == 3
    assert caplog.text == ""
    assert read_options({"ping_timeout": 0}).engine.ping_timeout_seconds == 20
    assert "ping_timeout=0 leaves no client time to answer" in caplog.text
    assert read_options({"ping_timeout": 0, "ping_interval": (25, 5)}).engine.ping_timeout_seconds == 25
    assert read_options({"cors_allowed_origins": True}).engine.cors_allowed_origins == "*"
    assert read_options({"cors_allowed_origins": False}).engine.cors_allowed_origins is None
    assert read_options({"message_queue": ""}).broker is None
    assert read_options({"transports": ["flash", "websocket"]}).engine.transports == ("websocket",)
    assert (
        "transports=('flash', 'websocket'): the server uses websocket, the others do not exist" in caplog.text
    )


def test_recovery_is_off_unless_asked_for() -> None:
    assert read_options({}).configuration.recovery is None
    assert read_options({"connection_state_recovery": True}).configuration.recovery is not None
    assert read_options({"connection_state_recovery": {"max_bytes": 1}}).configuration.recovery is not None
    with pytest.raises(TypeError, match="connection_state_recovery has no option 'max_byts'"):
        SocketIO(connection_state_recovery={"max_byts": 1})


def test_every_name_of_the_peers_is_known() -> None:
    # engineio.Server, socketio.Server and SocketIO.init_app, as documented.
    assert (
        set(VALUES)
        | {
            "async_handlers",
            "async_mode",
            "always_connect",
            "channel",
            "client_manager",
            "engineio_logger",
            "json",
            "logger",
            "manage_session",
            "message_queue",
            "monitor_clients",
            "namespaces",
            "path",
            "resource",
            "serializer",
        }
        <= NAMES
    )


def test_options_are_read_as_the_peer_reads_them() -> None:
    options = read_engine_options({"transports": "polling", "cors_allowed_origins": ["https://a.test"]})
    assert options.transports == ("polling",)
    assert read_engine_options({"transports": None}).transports == ("polling", "websocket")


def test_a_rule_of_origins_may_look_at_the_environ() -> None:
    seen: list[Any] = []

    def allowed(origin: str, environ: dict[str, Any]) -> int:
        seen.append((origin, environ["QUERY_STRING"]))
        return 1

    assert (
        read_engine_options({"cors_allowed_origins": allowed}).cors_allowed_origins("https://a", REQUEST)
        is True
    )
    assert seen == [("https://a", "a=1")]
    plain = read_engine_options({"cors_allowed_origins": "*"})
    assert plain.cors_allowed_origins == "*"


def test_a_rule_of_requests_gets_the_environ_and_one_that_fails_refuses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    allow = read_engine_options({"allow_request": lambda environ: environ["PATH_INFO"]}).allow_request
    broken = read_engine_options({"allow_request": lambda environ: environ["no such key"]}).allow_request
    assert allow is not None
    assert broken is not None
    assert allow(REQUEST) == "/"
    assert broken(REQUEST) is False
    assert "allow_request" in caplog.text
    assert read_engine_options({}).allow_request is None


def test_codecs_are_asked_for_by_name() -> None:
    assert isinstance(codec_of("msgpack"), MsgpackCodec)
    assert isinstance(codec_of("default", json), TextCodec)
    with pytest.raises(ValueError, match="'default' or 'msgpack'"):
        codec_of("pickle")
    with pytest.raises(ValueError, match="writes no JSON"):
        codec_of("msgpack", json)
