"""Every tunable of the server in one frozen table: unit in the name, reason and precedent beside it.

Must not know: where a value came from (command line, environment, file) or who reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

KIB: Final = 1024
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class HTTPSettings:
    """Limits and timeouts of HTTP/1.1 (RFC 9112)."""

    # The size at which gunicorn, eventlet and pywsgi answer 414 (4,094 - 8,192).
    request_line_max_bytes: int = 8190
    # One field line; gunicorn's 8,190, Apache's LimitRequestFieldSize.
    header_line_max_bytes: int = 8190
    # All field lines together; eventlet's and Node's bound is 64 KiB and 16 KiB.
    header_total_max_bytes: int = 64 * KIB
    # gunicorn, the standard library and Apache stop at 100.
    header_max_count: int = 100
    # A whole request body; waitress stands at 1 GiB. 413 above it.
    body_max_bytes: int = 1024 * MIB
    # A chunk-size line with its extensions: llhttp would take a megabyte.
    chunk_line_max_bytes: int = 4 * KIB
    # Trailer section after the last chunk: parsed, bounded, ignored.
    trailer_max_bytes: int = 8 * KIB
    # From the first byte of a head to its end: ends a client that dribbles.
    header_timeout_seconds: float = 10.0
    # The longest silence within a request body.
    body_timeout_seconds: float = 30.0
    # Per second: a body that stays slower is ended when it has used up that silence; Apache's mod_reqtimeout
    # has MinRate=500 after 20 s, Kestrel 240 after 5 s. A gibibyte at GPRS's 4,000 passes. 0: no rate.
    body_rate_min_bytes: int = 500
    # An idle connection between two requests; nginx closes at 75 s.
    keep_alive_timeout_seconds: float = 75.0
    # Request bytes held for an application that does not read them yet; then reading pauses.
    body_window_bytes: int = 256 * KIB


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """Limits of RFC 6455 connections."""

    # One whole message; the `websockets` package also stands at 1 MiB. Close code 1009 above it.
    max_message_bytes: int = MIB
    # Fragments per message, empty ones counted: each costs an object before the byte limit fires.
    max_fragments_count: int = 16_384
    # A frame or a message that began must end within this.
    unfinished_frame_timeout_seconds: float = 30.0
    # A silent client is pinged after this, and ended after the timeout without a word; uvicorn and
    # websockets take 20 s each. 0 switches it off.
    ping_interval_seconds: float = 20.0
    ping_timeout_seconds: float = 20.0
    # permessage-deflate costs CPU and memory per connection: asked for, not assumed.
    per_message_deflate: bool = False
    # Messages a blocking WebSocket holds for an application that does not receive them; uvicorn's 32.
    max_queue_count: int = 64
    # How long a member of a broadcast that does not take it may keep the others waiting, once; NATS holds
    # up a publisher for milliseconds, and gives a subscriber 10 s, Redis 60 s, before they cut it.
    broadcast_wait_seconds: float = 1.0
    # How long we wait for the peer's close frame after sending ours (RFC 6455 7.1.1); websockets: 10 s.
    close_timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """Buffers and bounds of one TCP connection."""

    # The loop's one receive buffer: what Linux hands over at once on loopback is at most 2-4 times this. Four
    # messages of 64 KiB fit in with their headers; of 256 KiB it was 3.5 of them per receive.
    receive_buffer_bytes: int = 320 * KIB
    # Above it reading from that client stops; asyncio's default is 64 KiB, ours holds one large message.
    high_watermark_bytes: int = 1 * MIB
    # Below it reading goes on.
    low_watermark_bytes: int = 256 * KIB
    # Above it the client is cut off as too slow.
    hard_limit_bytes: int = 16 * MIB
    # A client that takes not one byte of what waits for it is given up; nginx's send_timeout is 60 s too.
    stall_timeout_seconds: float = 60.0
    # After our last byte: how long unread input is still taken, so that a reset does not eat the answer.
    linger_timeout_seconds: float = 2.0
    # ... and how much of it; nginx's lingering_* bound the time alone, Go's net/http reads 256 KiB. 4 MiB is
    # what Linux holds for the largest sender (tcp_wmem): it has left before the answer can be heard.
    linger_max_bytes: int = 4 * MIB


@dataclass(frozen=True, slots=True)
class TLSSettings:
    """Certificate and rules of TLS; without a certificate the server speaks plain TCP."""

    certfile: str | None = None
    # None: the key stands in `certfile`.
    keyfile: str | None = None
    keyfile_password: str | None = None
    # Who may sign the clients' certificates.
    ca_certs: str | None = None
    # "none", "optional" or "required": whether clients show a certificate.
    cert_reqs: str = "none"
    # OpenSSL's cipher list for TLS 1.2; the suites of TLS 1.3 are all good.
    ciphers: str | None = None
    # From the connection to the end of the handshake; reference value of the other phases' timeouts.
    handshake_timeout_seconds: float = 10.0
    # A program's own `ssl.SSLContext`; then nothing above but the timeout is looked at.
    context: Any = None


@dataclass(frozen=True, slots=True)
class Settings:
    """One server: where it listens, how many threads it may use, and the limits of each protocol."""

    host: str = "127.0.0.1"
    port: int = 8000
    # Addresses as -b takes them: host:port, [v6]:port, unix:/path, fd://3; they replace host and port.
    binds: tuple[str, ...] = ()
    # A UNIX socket's path; its permissions: waitress's 600 lets nobody else's proxy in.
    uds: str | None = None
    uds_permissions: int = 0o600
    # Where this user's `wsframe emit` reaches the server; None: a place named after the port; "none".
    control_socket: str | None = None
    # A descriptor that a process manager has bound.
    fd: int | None = None
    # SO_REUSEPORT: several processes bind the same port and the kernel divides the connections.
    reuse_port: bool = False
    # Open connections of one worker; gunicorn's and nginx's worker_connections are 1,000 and 512. None: seven
    # eighths of the descriptors this process may have, so that an application can still open a file.
    connections_max_count: int | None = None
    # At it accepting pauses (gevent, gunicorn's gthread); who has waited for so long is told 503 (HAProxy's
    # `timeout queue`, which its manuals set to 5 s or so).
    connections_wait_seconds: float = 5.0
    # Connections of one address, and its requests per minute: 0: no cap. nginx's limit_conn and limit_req are
    # off too: one address may be a school, and only the operator knows.
    address_connections_max_count: int = 0
    address_minute_requests_max_count: int = 0
    # Bytes that all clients of a worker together keep waiting; 0: no bound but each client's own. Redis'
    # maxmemory-clients, off by default too, ends the largest clients.
    clients_max_bytes: int = 0
    # Engine.IO sessions of one worker, and those of them whose client has joined no namespace yet. None: as
    # many as descriptors, at least 10,000; half of that, at most 65,536. 503 above them.
    sessions_max_count: int | None = None
    half_open_sessions_max_count: int | None = None
    # Rooms of one client in one namespace; 0: no bound. Where handlers join what clients name, each costs 300
    # bytes. Centrifugo allows 128 channels a client, the official server any number.
    rooms_max_count: int = 10_000
    # Sessions of one address; 0: no cap. A session that polls holds no connection in between, so the cap on
    # connections does not reach it.
    address_sessions_max_count: int = 0
    # Are Forwarded and X-Forwarded-* of these peers (addresses, networks, "*") to be believed?
    proxy_headers: bool = False
    forwarded_allow_ips: str = "127.0.0.1,::1"
    # By the name of a field the value that says "https": all that those peers may say then. None: see above.
    secure_scheme_values: Mapping[str, str] | None = None
    # Hosts that requests may be for, with commas; "": any, as Starlette begins. Django asks for a list.
    allowed_hosts: str = ""
    # Fields of every answer, "Name: value"; and whether the Server field is one. uvicorn's two words.
    headers: tuple[str, ...] = ()
    server_header: bool = True
    # Where a proxy has mounted the application: SCRIPT_NAME.
    root_path: str = ""
    # gunicorn's and uvicorn's 2,048: a burst of reconnecting clients fits.
    backlog_count: int = 2048
    # Connections taken per turn of the loop; gevent takes 100.
    accept_batch_count: int = 100
    # Processes that serve; one loop cannot use more than one core. More than one needs a supervisor above.
    workers_count: int = 1
    # Answered requests after which a worker is replaced, for applications that leak; 0: never. The
    # jitter, up to so many more by chance, keeps workers from going all at once (gunicorn's names).
    max_requests_count: int = 0
    max_requests_jitter_count: int = 0
    # A worker whose loop has stood still for so long is killed and replaced; gunicorn's 30 s. 0: never.
    worker_timeout_seconds: float = 30.0
    # Threads for WSGI requests; starlette's and AnyIO's pool is 40.
    wsgi_threads_count: int = 40
    # Threads for event handlers.
    event_threads_count: int = 256
    # Threads that wait in `call`, `sleep` and the like, beside the caps above and below: another handler uses
    # their place meanwhile. Java's ForkJoinPool has 256 such spares, Go ends at 10,000 threads.
    waiting_threads_count: int = 1024
    # Threads for applications that hold a WebSocket each (blocking style).
    websocket_threads_count: int = 1000
    # WSGI requests that may wait for a thread; 503 above it.
    wsgi_queue_count: int = 10_000
    # Bytes posted by workers and not yet taken by the loop; workers wait above it, the loop never. All of it
    # may be for one client, beside what that has not taken yet: at most half of `hard_limit_bytes` is used.
    mailbox_max_bytes: int = 8 * MIB
    # Shorter than CPython's 5 ms: a thread that computes gives the loop its turn back sooner.
    switch_interval_seconds: float = 0.0005
    # CPython's own, once an application reads raw sockets in its own threads (stock Flask-SocketIO).
    own_io_switch_interval_seconds: float = 0.005
    # How long a stop waits for running requests before it cuts them; gunicorn's is 30 s.
    graceful_timeout_seconds: float = 30.0
    # At a stop: how long an idle kept connection may still bring a request before it is closed.
    idle_grace_seconds: float = 0.25
    server_name: str | None = None
    # A file, "-" for standard output, None for none.
    access_log: str | None = "-"
    access_log_format: str = "common"
    # A file; None is standard error.
    error_log: str | None = None
    log_level: str = "info"
    # Where Prometheus finds the metrics, and orchestrators whether the server lives; None: nowhere.
    metrics: str | None = None
    # The same about life at the addresses of clients: /healthz and /readyz, of the worker that is asked.
    health: bool = False
    # A file that holds the process id while the server runs.
    pid_file: str | None = None
    # Tracebacks to the client and the most talkative log; on a public address only where one insists.
    debug: bool = False
    allow_public_debug: bool = False
    http: HTTPSettings = field(default_factory=HTTPSettings)
    websocket: WebSocketSettings = field(default_factory=WebSocketSettings)
    transport: TransportSettings = field(default_factory=TransportSettings)
    tls: TLSSettings = field(default_factory=TLSSettings)
