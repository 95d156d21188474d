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

from python_server.command.option import Checked, Kind, Option, Seconds, Whole, folder, octal
from python_server.http1.response import read_field
from python_server.net.scoreboard import WORKERS_MAX_COUNT
from python_server.observe.log import LEVELS
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
        raise ValueError(f"{name!r} is no setting without an option: {hint}")
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
        Option("--app-dir", "Folder that MODULE is looked for in.", kind=FOLDER, default=".", metavar="DIR"),
        Option("--factory", "APP is a function that returns the application.", default=False),
        Option(
            "--drop-in",
            "Our own under the names flask_socketio, socketio, engineio, eventlet, gevent.",
            default=False,
        ),
        Option(
            "--drop-in-parallel",
            "Handlers of programs for eventlet or gevent run side by side.",
            default=False,
        ),
        Option("--env-file", "File of NAME=value lines put into the environment first.", metavar="FILE"),
        Option("--check-config", "Check every option and import the application, then exit.", default=False),
        Option(
            "--print-config",
            "Print every option with its value and where that came from, as a file for --config, then exit.",
            default=False,
        ),
        Option("--reload", "Start anew when a source file changes (quicker with watchfiles).", default=False),
        Option(
            "--reload-dir",
            "Folder to watch instead of --app-dir.",
            kind=FOLDER,
            multiple=True,
            metavar="DIR",
        ),
        Option(
            "--reload-include",
            "Files to watch beside *.py, such as *.html; may be repeated.",
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
            "--debug", "Werkzeug's debugger in the browser, debug log; never on a public address.", "debug"
        ),
        Option(
            "--allow-public-debug",
            "Let --debug listen on an address that others reach.",
            "allow_public_debug",
        ),
        Option("--pid", "File that gets the process id while the server runs.", "pid_file", metavar="FILE"),
        Option(
            "--control-socket",
            "Where `wsframe emit` of this user reaches the server; 'none' for nowhere.  "
            "[default: by the port]",
            "control_socket",
            metavar="PATH",
        ),
    ),
    "Listening": (
        Option("--host", "Address to listen on.", "host"),
        Option("--port", "Port; 0 lets the system choose.", "port", Whole(0, 65535), short="-p"),
        Option(
            "--backlog", "Connections the system may hold before they are accepted.", "backlog_count", BACKLOG
        ),
        Option(
            "--bind",
            "host:port, [v6]:port, unix:/path or fd://N instead of --host and --port; may be repeated.",
            "binds",
            short="-b",
            multiple=True,
            metavar="ADDRESS",
        ),
        Option("--uds", "Path of a UNIX socket to listen on.", "uds", metavar="PATH"),
        Option("--uds-permissions", "Permissions of UNIX sockets, octal.", "uds_permissions", octal),
        Option("--fd", "Inherited descriptor to listen on.", "fd", Whole(0)),
        Option("--reuse-port", "Let other processes bind the same port.", "reuse_port"),
        Option(
            "--limit-concurrency",
            "Open connections; above, new ones wait, then get 503.  [default: 7/8 of the descriptors]",
            "connections_max_count",
            COUNT,
        ),
        Option(
            "--limit-connections-per-address",
            "Open connections of one address (IPv6: a /64); 503 above, 0 for no cap.",
            "address_connections_max_count",
            ANY_COUNT,
        ),
        Option(
            "--limit-requests-per-address",
            "Requests per minute of one address; 429 above, 0 for no cap.",
            "address_minute_requests_max_count",
            ANY_COUNT,
        ),
        Option(
            "--limit-memory",
            "Bytes all clients keep waiting; above, the largest are ended, 0 for no bound.",
            "clients_max_bytes",
            ANY_COUNT,
        ),
        Option(
            "--limit-linger", "Bytes read of who sends on behind a last answer.", "transport.linger_max_bytes"
        ),
        Option(
            "--limit-sessions",
            "Engine.IO sessions of one worker; 503 above.  [default: as many as descriptors, at least 10000]",
            "sessions_max_count",
            COUNT,
        ),
        Option(
            "--limit-half-open-sessions",
            "Sessions whose client has joined no namespace yet; 503 above.  [default: half of the sessions]",
            "half_open_sessions_max_count",
            COUNT,
        ),
        Option(
            "--limit-rooms",
            "Rooms of one client in one namespace; above, join_room raises ValueError, 0 for no bound.",
            "rooms_max_count",
            ANY_COUNT,
        ),
        Option(
            "--limit-sessions-per-address",
            "Engine.IO sessions of one address (IPv6: a /64); 503 above, 0 for no cap.",
            "address_sessions_max_count",
            ANY_COUNT,
        ),
        Option(
            "--limit-unsent",
            "Bytes waiting for one client that does not read; above, it is cut off as too slow.",
            "transport.hard_limit_bytes",
        ),
    ),
    "Responses": (
        Option(
            "--header",
            "Field of every response, 'Name: value'; may be repeated (in the environment: a line each).",
            "headers",
            Checked(read_field),
            multiple=True,
            metavar="FIELD",
        ),
        Option(
            "--server-header/--no-server-header",
            "Say in every response what the server is (Server: python_server/...).",
            "server_header",
        ),
    ),
    "Other limits": (
        Option(
            "--set",
            "A setting of docs/limits.md that has no option, by its name: http.trailer_max_bytes=16384; "
            "may be repeated (in the environment: a line each).",
            kind=Checked(assignment),
            multiple=True,
            metavar="NAME=VALUE",
        ),
    ),
    "TLS": (
        Option("--ssl-certfile", "Certificate with its chain, PEM.", "tls.certfile", metavar="FILE"),
        Option("--ssl-keyfile", "Private key, PEM.", "tls.keyfile", metavar="FILE"),
        Option(
            "--ssl-keyfile-password",
            "Password of the key; better in the environment, where no process list shows it.",
            "tls.keyfile_password",
            metavar="TEXT",
        ),
        Option("--ssl-ca-certs", "Who may sign clients' certificates, PEM.", "tls.ca_certs", metavar="FILE"),
        Option(
            "--ssl-cert-reqs",
            "Whether clients show a certificate.",
            "tls.cert_reqs",
            click.Choice(("none", "optional", "required")),
        ),
        Option("--ssl-ciphers", "OpenSSL's cipher list for TLS 1.2.", "tls.ciphers", metavar="LIST"),
        Option("--timeout-handshake", "Seconds a TLS handshake may take.", "tls.handshake_timeout_seconds"),
    ),
    "Proxies": (
        Option(
            "--proxy-headers",
            "Believe Forwarded and X-Forwarded-* of the peers in --forwarded-allow-ips.",
            "proxy_headers",
        ),
        Option(
            "--forwarded-allow-ips",
            "Addresses and networks of proxies, with commas; * for every peer.",
            "forwarded_allow_ips",
            metavar="LIST",
        ),
        Option(
            "--allowed-hosts",
            "Hosts that requests may be for, with commas; .shop.example with all below it. 400 for others.",
            "allowed_hosts",
            metavar="LIST",
        ),
        Option(
            "--root-path",
            "Path a proxy has mounted the application at (SCRIPT_NAME).",
            "root_path",
            metavar="PATH",
        ),
    ),
    "Workers": (
        Option(
            "--workers",
            "Processes that serve; with more than one a supervisor keeps them alive.",
            "workers_count",
            Whole(1, WORKERS_MAX_COUNT),
            short="-w",
            other_environment=("WEB_CONCURRENCY",),
        ),
        Option(
            "--max-requests",
            "Requests after which a worker is replaced by a new one; 0 for never.",
            "max_requests_count",
            ANY_COUNT,
        ),
        Option(
            "--max-requests-jitter",
            "Up to so many requests more, by chance, so that workers do not go all at once.",
            "max_requests_jitter_count",
            ANY_COUNT,
        ),
        Option(
            "--worker-timeout",
            "Seconds a worker's loop may stand still before it is killed and replaced; 0 for ever.",
            "worker_timeout_seconds",
        ),
    ),
    "Threads": (
        Option("--threads", "Threads for WSGI requests.", "wsgi_threads_count"),
        Option("--event-threads", "Threads for event handlers.", "event_threads_count"),
        Option(
            "--waiting-threads",
            "Threads beside the others while handlers wait in call or sleep; above, these keep their places.",
            "waiting_threads_count",
            ANY_COUNT,
        ),
        Option(
            "--websocket-threads",
            "Threads for applications that hold a WebSocket each.",
            "websocket_threads_count",
        ),
    ),
    "HTTP limits and timeouts": (
        Option("--limit-request-line", "Bytes of a request line; 414 above.", "http.request_line_max_bytes"),
        Option("--limit-request-fields", "Header fields of a request; 431 above.", "http.header_max_count"),
        Option(
            "--limit-request-field-size", "Bytes of one header line; 431 above.", "http.header_line_max_bytes"
        ),
        Option(
            "--limit-request-head", "Bytes of all header lines; 431 above.", "http.header_total_max_bytes"
        ),
        Option(
            "--limit-body-rate",
            "Bytes per second that a body must keep up; 0 for no rate.",
            "http.body_rate_min_bytes",
            ANY_COUNT,
        ),
        Option("--limit-body", "Bytes of a request body; 413 above.", "http.body_max_bytes"),
        Option(
            "--timeout-keep-alive", "Seconds an idle connection is kept.", "http.keep_alive_timeout_seconds"
        ),
        Option("--timeout-header", "Seconds a request head may take.", "http.header_timeout_seconds"),
        Option("--timeout-body", "Seconds a request body may be silent.", "http.body_timeout_seconds"),
        Option("--timeout-graceful", "Seconds a stop waits for what still runs.", "graceful_timeout_seconds"),
    ),
    "WebSockets": (
        Option(
            "--ws-max-size", "Bytes of one message; close code 1009 above.", "websocket.max_message_bytes"
        ),
        Option(
            "--ws-max-fragments", "Fragments of one message; 1009 above.", "websocket.max_fragments_count"
        ),
        Option("--ws-max-queue", "Messages held for a blocking application.", "websocket.max_queue_count"),
        Option(
            "--ws-ping-interval",
            "Seconds of silence before a ping; 0 for never.",
            "websocket.ping_interval_seconds",
        ),
        Option("--ws-ping-timeout", "Seconds after a ping before the end.", "websocket.ping_timeout_seconds"),
        Option(
            "--ws-per-message-deflate/--no-ws-per-message-deflate",
            "Compress messages (RFC 7692) for clients that offer it.",
            "websocket.per_message_deflate",
        ),
    ),
    "Logs": (
        Option("--log-level", "What the error log tells.", "log_level", click.Choice(LEVELS)),
        Option(
            "--error-log", "File of the error log instead of standard error.", "error_log", metavar="FILE"
        ),
        Option(
            "--access-log", "File of the access log, - for standard output.", "access_log", metavar="FILE"
        ),
        Option("--no-access-log", "No access log.", default=False),
        Option(
            "--access-log-format",
            "common, combined, or a format with gunicorn's atoms.",
            "access_log_format",
            metavar="FORMAT",
        ),
    ),
    "Metrics and health": (
        Option(
            "--metrics",
            "host:port, :port or unix:/path for Prometheus; /healthz and /readyz are answered there too.",
            "metrics",
            metavar="ADDRESS",
        ),
        Option("--health", "Answer /healthz and /readyz at every address, before the application.", "health"),
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
TARGET: Final = Option("target", "What to serve.", metavar="MODULE:APP")
OPTIONS: Final = tuple(complete(option, heading) for heading, rows in TABLE.items() for option in rows)
