"""The options as one table; the command line, the configuration file and the documentation are made from it.

Must not know: what a setting does.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, Final

import click

from python_server.command.option import ANY_COUNT, BACKLOG, COUNT, SECONDS, WORKERS_COUNT, Option, octal
from python_server.observe.log import LEVELS
from python_server.settings import Settings

DEFAULTS: Final = Settings()


APPLICATION, LISTENING, TLS, PROXIES, WORKERS = "Application", "Listening", "TLS", "Proxies", "Workers"
THREADS, LIMITS, WEBSOCKETS, LOGS = "Threads", "HTTP limits and timeouts", "WebSockets", "Logs"

OPTIONS: Final[tuple[Option, ...]] = (
    Option(("--app-dir",), APPLICATION, "Folder that MODULE is looked for in.", default=".", metavar="DIR"),
    Option(
        ("--factory",),
        APPLICATION,
        "APP is a function that returns the application.",
        kind=bool,
        default=False,
    ),
    Option(
        ("--drop-in",),
        APPLICATION,
        "Our own under the names flask_socketio, socketio, engineio, eventlet, gevent.",
        kind=bool,
        default=False,
    ),
    Option(
        ("--drop-in-parallel",),
        APPLICATION,
        "Handlers of programs for eventlet or gevent run side by side.",
        kind=bool,
        default=False,
    ),
    Option(
        ("--env-file",),
        APPLICATION,
        "File of NAME=value lines put into the environment first.",
        metavar="FILE",
    ),
    Option(
        ("--check-config",),
        APPLICATION,
        "Check every option and import the application, then exit.",
        kind=bool,
        default=False,
    ),
    Option(
        ("--reload",),
        APPLICATION,
        "Start anew when a source file changes (quicker with watchfiles).",
        kind=bool,
        default=False,
    ),
    Option(
        ("--reload-dir",), APPLICATION, "Folder to watch instead of --app-dir.", multiple=True, metavar="DIR"
    ),
    Option(
        ("--debug",),
        APPLICATION,
        "Werkzeug's debugger in the browser, debug log; never on a public address.",
        "debug",
        bool,
    ),
    Option(
        ("--allow-public-debug",),
        APPLICATION,
        "Let --debug listen on an address that others reach.",
        "allow_public_debug",
        bool,
    ),
    Option(
        ("--pid",),
        APPLICATION,
        "File that gets the process id while the server runs.",
        "pid_file",
        metavar="FILE",
    ),
    Option(
        ("--control-socket",),
        APPLICATION,
        "Where `wsframe emit` of this user reaches the server; 'none' for nowhere.  [default: by the port]",
        "control_socket",
        metavar="PATH",
    ),
    Option(("--host",), LISTENING, "Address to listen on.", "host"),
    Option(("--port", "-p"), LISTENING, "Port; 0 lets the system choose.", "port", click.IntRange(0, 65535)),
    Option(
        ("--backlog",),
        LISTENING,
        "Connections the system may hold before they are accepted.",
        "backlog_count",
        BACKLOG,
    ),
    Option(
        ("--bind", "-b"),
        LISTENING,
        "host:port, [v6]:port, unix:/path or fd://N instead of --host and --port; may be repeated.",
        "binds",
        multiple=True,
        metavar="ADDRESS",
    ),
    Option(("--uds",), LISTENING, "Path of a UNIX socket to listen on.", "uds", metavar="PATH"),
    Option(
        ("--uds-permissions",),
        LISTENING,
        "Permissions of UNIX sockets, octal.",
        "uds_permissions",
        octal,
    ),
    Option(("--fd",), LISTENING, "Inherited descriptor to listen on.", "fd", click.IntRange(0)),
    Option(("--reuse-port",), LISTENING, "Let other processes bind the same port.", "reuse_port", bool),
    Option(
        ("--limit-concurrency",),
        LISTENING,
        "Open connections; above, new ones wait, then get 503.  [default: 7/8 of the descriptors]",
        "connections_max_count",
        COUNT,
    ),
    Option(
        ("--limit-connections-per-address",),
        LISTENING,
        "Open connections of one address (IPv6: a /64); 503 above, 0 for no cap.",
        "address_connections_max_count",
        ANY_COUNT,
    ),
    Option(
        ("--limit-requests-per-address",),
        LISTENING,
        "Requests per minute of one address; 429 above, 0 for no cap.",
        "address_minute_requests_max_count",
        ANY_COUNT,
    ),
    Option(
        ("--limit-memory",),
        LISTENING,
        "Bytes all clients keep waiting; above, the largest are ended, 0 for no bound.",
        "clients_max_bytes",
        ANY_COUNT,
    ),
    Option(
        ("--limit-linger",),
        LISTENING,
        "Bytes read of who sends on behind a last answer.",
        "transport.linger_max_bytes",
        COUNT,
    ),
    Option(
        ("--limit-sessions",),
        LISTENING,
        "Engine.IO sessions of one worker; 503 above.  [default: as many as descriptors, at least 10000]",
        "sessions_max_count",
        COUNT,
    ),
    Option(
        ("--limit-half-open-sessions",),
        LISTENING,
        "Sessions whose client has joined no namespace yet; 503 above.  [default: half of the sessions]",
        "half_open_sessions_max_count",
        COUNT,
    ),
    Option(
        ("--limit-rooms",),
        LISTENING,
        "Rooms of one client in one namespace; above, join_room raises ValueError, 0 for no bound.",
        "rooms_max_count",
        ANY_COUNT,
    ),
    Option(
        ("--limit-sessions-per-address",),
        LISTENING,
        "Engine.IO sessions of one address (IPv6: a /64); 503 above, 0 for no cap.",
        "address_sessions_max_count",
        ANY_COUNT,
    ),
    Option(
        ("--limit-unsent",),
        LISTENING,
        "Bytes waiting for one client that does not read; above, it is cut off as too slow.",
        "transport.hard_limit_bytes",
        COUNT,
    ),
    Option(("--ssl-certfile",), TLS, "Certificate with its chain, PEM.", "tls.certfile", metavar="FILE"),
    Option(("--ssl-keyfile",), TLS, "Private key, PEM.", "tls.keyfile", metavar="FILE"),
    Option(
        ("--ssl-keyfile-password",),
        TLS,
        "Password of the key; better in the environment, where no process list shows it.",
        "tls.keyfile_password",
        metavar="TEXT",
    ),
    Option(
        ("--ssl-ca-certs",), TLS, "Who may sign clients' certificates, PEM.", "tls.ca_certs", metavar="FILE"
    ),
    Option(
        ("--ssl-cert-reqs",),
        TLS,
        "Whether clients show a certificate.",
        "tls.cert_reqs",
        click.Choice(("none", "optional", "required")),
    ),
    Option(("--ssl-ciphers",), TLS, "OpenSSL's cipher list for TLS 1.2.", "tls.ciphers", metavar="LIST"),
    Option(
        ("--timeout-handshake",),
        TLS,
        "Seconds a TLS handshake may take.",
        "tls.handshake_timeout_seconds",
        SECONDS,
    ),
    Option(
        ("--proxy-headers",),
        PROXIES,
        "Believe Forwarded and X-Forwarded-* of the peers in --forwarded-allow-ips.",
        "proxy_headers",
        bool,
    ),
    Option(
        ("--forwarded-allow-ips",),
        PROXIES,
        "Addresses and networks of proxies, with commas; * for every peer.",
        "forwarded_allow_ips",
        metavar="LIST",
    ),
    Option(
        ("--allowed-hosts",),
        PROXIES,
        "Hosts that requests may be for, with commas; .shop.example with all below it. 400 for others.",
        "allowed_hosts",
        metavar="LIST",
    ),
    Option(
        ("--root-path",),
        PROXIES,
        "Path a proxy has mounted the application at (SCRIPT_NAME).",
        "root_path",
        metavar="PATH",
    ),
    Option(
        ("--workers", "-w"),
        WORKERS,
        "Processes that serve; with more than one a supervisor keeps them alive.",
        "workers_count",
        WORKERS_COUNT,
        other_environment=("WEB_CONCURRENCY",),
    ),
    Option(
        ("--max-requests",),
        WORKERS,
        "Requests after which a worker is replaced by a new one; 0 for never.",
        "max_requests_count",
        click.IntRange(0),
    ),
    Option(
        ("--max-requests-jitter",),
        WORKERS,
        "Up to so many requests more, by chance, so that workers do not go all at once.",
        "max_requests_jitter_count",
        click.IntRange(0),
    ),
    Option(
        ("--worker-timeout",),
        WORKERS,
        "Seconds a worker's loop may stand still before it is killed and replaced; 0 for ever.",
        "worker_timeout_seconds",
        SECONDS,
    ),
    Option(("--threads",), THREADS, "Threads for WSGI requests.", "wsgi_threads_count", COUNT),
    Option(("--event-threads",), THREADS, "Threads for event handlers.", "event_threads_count", COUNT),
    Option(
        ("--waiting-threads",),
        THREADS,
        "Threads beside the others while handlers wait in call or sleep; above, these keep their places.",
        "waiting_threads_count",
        click.IntRange(0),
    ),
    Option(
        ("--websocket-threads",),
        THREADS,
        "Threads for applications that hold a WebSocket each.",
        "websocket_threads_count",
        COUNT,
    ),
    Option(
        ("--limit-request-line",),
        LIMITS,
        "Bytes of a request line; 414 above.",
        "http.request_line_max_bytes",
        COUNT,
    ),
    Option(
        ("--limit-request-fields",),
        LIMITS,
        "Header fields of a request; 431 above.",
        "http.header_max_count",
        COUNT,
    ),
    Option(
        ("--limit-request-field-size",),
        LIMITS,
        "Bytes of one header line; 431 above.",
        "http.header_line_max_bytes",
        COUNT,
    ),
    Option(
        ("--limit-request-head",),
        LIMITS,
        "Bytes of all header lines; 431 above.",
        "http.header_total_max_bytes",
        COUNT,
    ),
    Option(
        ("--limit-body-rate",),
        LIMITS,
        "Bytes per second that a body must keep up; 0 for no rate.",
        "http.body_rate_min_bytes",
        ANY_COUNT,
    ),
    Option(("--limit-body",), LIMITS, "Bytes of a request body; 413 above.", "http.body_max_bytes", COUNT),
    Option(
        ("--timeout-keep-alive",),
        LIMITS,
        "Seconds an idle connection is kept.",
        "http.keep_alive_timeout_seconds",
        SECONDS,
    ),
    Option(
        ("--timeout-header",),
        LIMITS,
        "Seconds a request head may take.",
        "http.header_timeout_seconds",
        SECONDS,
    ),
    Option(
        ("--timeout-body",),
        LIMITS,
        "Seconds a request body may be silent.",
        "http.body_timeout_seconds",
        SECONDS,
    ),
    Option(
        ("--timeout-graceful",),
        LIMITS,
        "Seconds a stop waits for what still runs.",
        "graceful_timeout_seconds",
        SECONDS,
    ),
    Option(
        ("--ws-max-size",),
        WEBSOCKETS,
        "Bytes of one message; close code 1009 above.",
        "websocket.max_message_bytes",
        COUNT,
    ),
    Option(
        ("--ws-max-fragments",),
        WEBSOCKETS,
        "Fragments of one message; 1009 above.",
        "websocket.max_fragments_count",
        COUNT,
    ),
    Option(
        ("--ws-max-queue",),
        WEBSOCKETS,
        "Messages held for a blocking application.",
        "websocket.max_queue_count",
        COUNT,
    ),
    Option(
        ("--ws-ping-interval",),
        WEBSOCKETS,
        "Seconds of silence before a ping; 0 for never.",
        "websocket.ping_interval_seconds",
        SECONDS,
    ),
    Option(
        ("--ws-ping-timeout",),
        WEBSOCKETS,
        "Seconds after a ping before the end.",
        "websocket.ping_timeout_seconds",
        SECONDS,
    ),
    Option(
        ("--ws-per-message-deflate/--no-ws-per-message-deflate",),
        WEBSOCKETS,
        "Compress messages (RFC 7692) for clients that offer it.",
        "websocket.per_message_deflate",
        bool,
    ),
    Option(("--log-level",), LOGS, "What the error log tells.", "log_level", click.Choice(LEVELS)),
    Option(
        ("--error-log",),
        LOGS,
        "File of the error log instead of standard error.",
        "error_log",
        metavar="FILE",
    ),
    Option(
        ("--access-log",),
        LOGS,
        "File of the access log, - for standard output.",
        "access_log",
        metavar="FILE",
    ),
    Option(("--no-access-log",), LOGS, "No access log.", kind=bool, default=False),
    Option(
        ("--access-log-format",),
        LOGS,
        "common, combined, or a format with gunicorn's atoms.",
        "access_log_format",
        metavar="FORMAT",
    ),
)


def read_setting(settings: Any, path: str) -> Any:
    """The value at a dotted path."""
    for part in path.split("."):
        settings = next(getattr(settings, field.name) for field in fields(settings) if field.name == part)
    return settings


def with_setting(settings: Any, path: str, value: Any) -> Any:
    """A copy of the settings with another value at a dotted path."""
    first, _, rest = path.partition(".")
    if rest:
        inner = read_setting(settings, first)
        assert is_dataclass(inner)
        value = with_setting(inner, rest, value)
    return replace(settings, **{first: value})


def default_of(option: Option) -> Any:
    """What holds when the option is not given, as it would be written."""
    value = read_setting(DEFAULTS, option.setting) if option.setting else option.default
    return f"{value:o}" if option.kind is octal else value
