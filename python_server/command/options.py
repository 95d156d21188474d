"""The options as one table; the command line, the configuration file and the documentation are made from it.

Must not know: what a setting does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from operator import attrgetter
from typing import Any, Final

import click

from python_server.command.cluster_options import CLUSTER_OPTIONS
from python_server.command.log_options import LOG_OPTIONS
from python_server.command.option import Checked, Kind, Option, Seconds, Whole, folder, octal
from python_server.http1.response import read_field
from python_server.net.scoreboard import WORKERS_MAX_COUNT
from python_server.settings import Settings

DEFAULTS: Final = Settings()
SECONDS: Final = Seconds(0)
COUNT: Final = Whole(1)
ANY_COUNT: Final = Whole(0)
# listen(2) takes an int.
BACKLOG: Final = Whole(1, 2**31 - 1)
# What a setting without an option takes, by its annotation.
SETTABLE: Final[dict[str, click.ParamType[Any]]] = {
    "bool": click.BOOL,
    "int": COUNT,
    "float": SECONDS,
    "str": click.STRING,
    "str | None": click.STRING,
}
# What an option takes whose row does not say it, by the type of its default.
KINDS: Final[dict[type, Kind]] = {bool: bool, int: COUNT, float: SECONDS}

FOLDER: Final = Checked(folder, None)

APPLICATION: Final = "Application"


def assignment(text: str) -> tuple[str, Any]:
    """("http.trailer_max_bytes", 16384) of "http.trailer_max_bytes=16384".

    Raises:
        ValueError: there is no such setting, it has an option of its own, or the value is none for it.
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals:
        raise ValueError(f"{text!r}: write NAME=VALUE")
    kinds = dict(settable(DEFAULTS))
    if name not in kinds:
        own = [option.flag for option in OPTIONS if option.setting == name != ""]
        near = get_close_matches(name, kinds, 1)
        hint = f"write {own[0]}" if own else f"did you mean {near[0]}?" if near else "docs/limits.md has them"
        raise ValueError(f"there is no setting {name!r} for --set: {hint} [unknown-option]")
    try:
        return name, kinds[name].convert(value.strip(), None, None)
    except click.BadParameter as error:
        raise ValueError(f"{name}: {error.message}") from None


def settable(settings: Any, path: str = "") -> Iterator[tuple[str, click.ParamType[Any]]]:
    """Each setting that a text can say and no option does, by its dotted name, with what it takes."""
    taken = {option.setting for option in OPTIONS}
    for field in fields(settings):
        name, value = path + field.name, getattr(settings, field.name)
        if is_dataclass(value):
            yield from settable(value, f"{name}.")
        elif name not in taken and field.type in SETTABLE:
            yield name, SETTABLE[str(field.type)]


TABLE: Final[dict[str, tuple[Option, ...]]] = {
    APPLICATION: (
        Option("--app-dir", "Folder to import MODULE from.", kind=FOLDER, default=".", metavar="DIR"),
        Option("--factory", "APP is a function that returns the application.", default=False),
        Option(
            "--drop-in",
            "Replace flask_socketio, socketio, engineio, eventlet and gevent by this package.",
            default=False,
        ),
        Option(
            "--drop-in-parallel",
            "With --drop-in, run handlers of programs for eventlet or gevent in parallel.",
            default=False,
        ),
        Option(
            "--env-file",
            "Read environment variables from this file of NAME=value lines first.",
            metavar="FILE",
        ),
        Option("--check-config", "Check every option and import the application, then exit.", default=False),
        Option(
            "--print-config",
            "Print every option with its value and its source, as a file for --config, then exit.",
            default=False,
        ),
        Option("--reload", "Restart when a source file changes (faster with watchfiles).", default=False),
        Option(
            "--reload-dir",
            "Folder to watch instead of --app-dir; may be repeated.",
            kind=FOLDER,
            multiple=True,
            metavar="DIR",
        ),
        Option(
            "--reload-include",
            "Files to watch in addition to *.py, such as *.html; may be repeated.",
            multiple=True,
            metavar="GLOB",
        ),
        Option(
            "--reload-exclude",
            "Files or folders not to watch, such as tests or *_test.py; may be repeated.",
            multiple=True,
            metavar="GLOB",
        ),
        Option(
            "--debug",
            "Werkzeug's debugger in the browser and a debug log; never on a public address.",
            "debug",
        ),
        Option(
            "--allow-public-debug",
            "Allow --debug on an address that other machines can reach.",
            "allow_public_debug",
        ),
        Option(
            "--pid", "Write the process id to this file while the server runs.", "pid_file", metavar="FILE"
        ),
        Option(
            "--control-socket",
            "Socket through which `wsframe emit` of the same user reaches the server; 'none' for no socket.  "
            "[default: by the port]",
            "control_socket",
            metavar="PATH",
        ),
    ),
    "Listening": (
        Option("--host", "Address to listen on.", "host"),
        Option("--port", "Port to listen on; 0 lets the system choose.", "port", Whole(0, 65535), short="-p"),
        Option("--backlog", "Max connections that wait to be accepted.", "backlog_count", BACKLOG),
        Option(
            "--bind",
            "Listen on host:port, [v6]:port, unix:/path or fd://N instead; may be repeated.",
            "binds",
            short="-b",
            multiple=True,
            metavar="ADDRESS",
        ),
        Option("--uds", "Path of a UNIX socket to listen on.", "uds", metavar="PATH"),
        Option("--uds-permissions", "Octal permissions of UNIX sockets.", "uds_permissions", octal),
        Option("--fd", "Inherited file descriptor to listen on.", "fd", Whole(0)),
        Option("--reuse-port", "Allow other processes to bind the same port.", "reuse_port"),
        Option(
            "--limit-concurrency",
            "Max open connections; then new ones wait, later get 503.  [default: 7/8 of the descriptors]",
            "connections_max_count",
            COUNT,
        ),
        Option(
            "--limit-connections-per-address",
            "Max open connections of one address (IPv6: a /64); more get 503; 0 for no limit.",
            "address_connections_max_count",
            ANY_COUNT,
        ),
        Option(
            "--limit-requests-per-address",
            "Max requests per minute of one address; more get 429; 0 for no limit.",
            "address_minute_requests_max_count",
            ANY_COUNT,
        ),
        Option(
            "--limit-memory",
            "Max bytes that wait for all clients; then the largest are disconnected; 0 for no limit.",
            "clients_max_bytes",
            ANY_COUNT,
        ),
        Option(
            "--limit-linger",
            "Max bytes read from a client after its last response.",
            "transport.linger_max_bytes",
        ),
        Option(
            "--limit-sessions",
            "Max Engine.IO sessions of one worker; more get 503.  [default: the descriptors, at least 10000]",
            "sessions_max_count",
            COUNT,
        ),
        Option(
            "--limit-half-open-sessions",
            "Max sessions that have joined no namespace; more get 503.  [default: half of all sessions]",
            "half_open_sessions_max_count",
            COUNT,
        ),
        Option(
            "--limit-rooms",
            "Max rooms of one client in one namespace; then join_room raises ValueError; 0 for no limit.",
            "rooms_max_count",
            ANY_COUNT,
        ),
        Option(
            "--limit-sessions-per-address",
            "Max Engine.IO sessions of one address (IPv6: a /64); more get 503; 0 for no limit.",
            "address_sessions_max_count",
            ANY_COUNT,
        ),
        Option(
            "--limit-unsent",
            "Max unsent bytes of one client; then it is disconnected as too slow.",
            "transport.hard_limit_bytes",
        ),
    ),
    "Responses": (
        Option(
            "--header",
            "Add this 'Name: value' to every response; may be repeated (in the environment: one per line).",
            "headers",
            Checked(read_field),
            multiple=True,
            metavar="FIELD",
        ),
        Option(
            "--server-header/--no-server-header",
            "Add the header Server: python_server/... to every response.",
            "server_header",
        ),
    ),
    "Other limits": (
        Option(
            "--set",
            "Set a value of docs/limits.md that has no option, such as http.trailer_max_bytes=16384; "
            "may be repeated (in the environment: one per line).",
            kind=Checked(assignment),
            multiple=True,
            metavar="NAME=VALUE",
        ),
    ),
    "TLS": (
        Option(
            "--ssl-certfile", "File with the certificate and its chain (PEM).", "tls.certfile", metavar="FILE"
        ),
        Option("--ssl-keyfile", "File with the private key (PEM).", "tls.keyfile", metavar="FILE"),
        Option(
            "--ssl-keyfile-password",
            "Password of the private key; safer in the environment, which no process list shows.",
            "tls.keyfile_password",
            metavar="TEXT",
        ),
        Option(
            "--ssl-ca-certs",
            "File with the authorities for clients' certificates (PEM).",
            "tls.ca_certs",
            metavar="FILE",
        ),
        Option(
            "--ssl-cert-reqs",
            "Whether a client must send a certificate.",
            "tls.cert_reqs",
            click.Choice(("none", "optional", "required")),
        ),
        Option("--ssl-ciphers", "Ciphers for TLS 1.2, in OpenSSL's format.", "tls.ciphers", metavar="LIST"),
        Option("--timeout-handshake", "Max seconds for a TLS handshake.", "tls.handshake_timeout_seconds"),
    ),
    "Proxies": (
        Option(
            "--proxy-headers",
            "Trust the headers Forwarded and X-Forwarded-* of the peers in --forwarded-allow-ips.",
            "proxy_headers",
        ),
        Option(
            "--forwarded-allow-ips",
            "Addresses and networks of trusted proxies, separated by commas; * for every peer.",
            "forwarded_allow_ips",
            metavar="LIST",
        ),
        Option(
            "--allowed-hosts",
            "Hosts that are served, separated by commas; .shop.example includes subdomains. Others get 400.",
            "allowed_hosts",
            metavar="LIST",
        ),
        Option(
            "--root-path",
            "Path where a proxy mounts the application (SCRIPT_NAME).",
            "root_path",
            metavar="PATH",
        ),
    ),
    "Workers": (
        Option(
            "--workers",
            "Number of worker processes; a supervisor watches two or more.",
            "workers_count",
            Whole(1, WORKERS_MAX_COUNT),
            short="-w",
            other_environment=("WEB_CONCURRENCY",),
        ),
        Option(
            "--max-requests",
            "Replace a worker after this many requests; 0 for never.",
            "max_requests_count",
            ANY_COUNT,
        ),
        Option(
            "--max-requests-jitter",
            "Add a random number up to this to --max-requests, so that not all workers restart at once.",
            "max_requests_jitter_count",
            ANY_COUNT,
        ),
        Option(
            "--worker-timeout",
            "Kill and replace a worker whose loop is blocked for this many seconds; 0 for never.",
            "worker_timeout_seconds",
        ),
    ),
    "Several machines": CLUSTER_OPTIONS,
    "Threads": (
        Option("--threads", "Max threads for WSGI requests.", "wsgi_threads_count"),
        Option("--event-threads", "Max threads for event handlers.", "event_threads_count"),
        Option(
            "--waiting-threads",
            "Max further threads while handlers wait in call or sleep; then these keep their place.",
            "waiting_threads_count",
            ANY_COUNT,
        ),
        Option("--websocket-threads", "Max threads for blocking WebSockets.", "websocket_threads_count"),
    ),
    "HTTP limits and timeouts": (
        Option(
            "--limit-request-line",
            "Max bytes of a request line; more get 414.",
            "http.request_line_max_bytes",
        ),
        Option("--limit-request-fields", "Max headers of a request; more get 431.", "http.header_max_count"),
        Option(
            "--limit-request-field-size",
            "Max bytes of one header line; more get 431.",
            "http.header_line_max_bytes",
        ),
        Option(
            "--limit-request-head",
            "Max bytes of all header lines; more get 431.",
            "http.header_total_max_bytes",
        ),
        Option(
            "--limit-body-rate",
            "Minimum bytes per second of a request body; 0 for no minimum.",
            "http.body_rate_min_bytes",
            ANY_COUNT,
        ),
        Option("--limit-body", "Max bytes of a request body; more get 413.", "http.body_max_bytes"),
        Option(
            "--timeout-keep-alive",
            "Seconds until an idle connection is closed.",
            "http.keep_alive_timeout_seconds",
        ),
        Option("--timeout-header", "Max seconds for a request head.", "http.header_timeout_seconds"),
        Option("--timeout-body", "Max seconds without bytes of a body.", "http.body_timeout_seconds"),
        Option(
            "--timeout-graceful",
            "Seconds for running requests and handlers to finish at a stop.",
            "graceful_timeout_seconds",
        ),
    ),
    "WebSockets": (
        Option(
            "--ws-max-size", "Max bytes of one message; more closes with 1009.", "websocket.max_message_bytes"
        ),
        Option(
            "--ws-max-fragments",
            "Max fragments of one message; more closes with 1009.",
            "websocket.max_fragments_count",
        ),
        Option(
            "--ws-max-queue", "Max messages queued for a blocking application.", "websocket.max_queue_count"
        ),
        Option(
            "--ws-ping-interval",
            "Seconds without data until a ping is sent; 0 for never.",
            "websocket.ping_interval_seconds",
        ),
        Option(
            "--ws-ping-timeout", "Seconds to wait for data after a ping.", "websocket.ping_timeout_seconds"
        ),
        Option(
            "--ws-per-message-deflate/--no-ws-per-message-deflate",
            "Compress messages (RFC 7692) for clients that support it.",
            "websocket.per_message_deflate",
        ),
    ),
    "Logs": LOG_OPTIONS,
    "Metrics and health": (
        Option(
            "--metrics",
            "host:port, :port or unix:/path for Prometheus; also answers /healthz and /readyz.",
            "metrics",
            metavar="ADDRESS",
        ),
        Option(
            "--health",
            "Answer /healthz and /readyz at every address; the application does not get them.",
            "health",
        ),
        Option(
            "--tracing",
            "Spans of requests, events, emits and acks for the application's OpenTelemetry (extra otel).",
            "tracing",
        ),
    ),
}


def read_setting(settings: Settings, path: str) -> Any:
    """The value at a dotted path."""
    return attrgetter(path)(settings)


def with_setting(settings: Settings, path: str, value: Any) -> Settings:
    """A copy of the settings with another value at a dotted path."""
    section, _, name = path.rpartition(".")
    if section:
        value = replace(read_setting(settings, section), **{name: value})
    return replace(settings, **{section or name: value})


def default_of(option: Option) -> object:
    """What holds when the option is not given, as it would be written."""
    value = read_setting(DEFAULTS, option.setting) if option.setting else option.default
    return f"{value:o}" if option.kind is octal else value


def complete(option: Option, heading: str) -> Option:
    """A row with what it need not say itself."""
    kind = option.kind or KINDS.get(type(default_of(option)), str)
    return replace(option, group=heading, kind=kind)


# The command's argument, which a file may have as well.
TARGET: Final = Option("target", "Application to serve.", metavar="MODULE:APP")
OPTIONS: Final = tuple(complete(option, heading) for heading, rows in TABLE.items() for option in rows)
