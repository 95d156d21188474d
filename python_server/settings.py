"""All settings of the server as frozen dataclasses, with unit, reason and precedent of each.

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
    """Limits and timeouts of HTTP/1.1 (RFC 9112); docs/limits.md says what happens above each.

        WSGIServer(listener, app, settings=Settings(http=HTTPSettings(body_max_bytes=10_000_000)))

    Args:
        request_line_max_bytes: maximum bytes of the request line.
        header_line_max_bytes, header_total_max_bytes: maximum bytes of one header line, and of all lines.
        header_max_count: maximum number of header lines.
        body_max_bytes: maximum bytes of a request body.
        chunk_line_max_bytes: maximum bytes of a chunk-size line with its extensions.
        trailer_max_bytes: maximum bytes of the trailers after the last chunk; they are parsed and ignored.
        header_timeout_seconds: time from the first byte of a request head to its end.
        body_timeout_seconds: maximum time without bytes of a request body.
        body_rate_min_bytes: minimum bytes per second of a body; a slower body uses up `body_timeout_seconds`.
            0: no minimum.
        keep_alive_timeout_seconds: maximum time between two requests of a connection.
        body_window_bytes: bytes kept for an application that does not read them yet; then reading pauses.
    """

    # The size at which gunicorn, eventlet and pywsgi answer 414 (4,094 - 8,192).
    request_line_max_bytes: int = 8190
    # gunicorn's 8,190, Apache's LimitRequestFieldSize.
    header_line_max_bytes: int = 8190
    # eventlet's and Node's bound is 64 KiB and 16 KiB.
    header_total_max_bytes: int = 64 * KIB
    # gunicorn, the standard library and Apache stop at 100.
    header_max_count: int = 100
    # waitress stands at 1 GiB too.
    body_max_bytes: int = 1024 * MIB
    # llhttp would take a megabyte.
    chunk_line_max_bytes: int = 4 * KIB
    trailer_max_bytes: int = 8 * KIB
    # Ends a client that dribbles.
    header_timeout_seconds: float = 10.0
    body_timeout_seconds: float = 30.0
    # Apache's mod_reqtimeout has MinRate=500 after 20 s, Kestrel 240 after 5 s. A gibibyte at GPRS's 4,000
    # passes.
    body_rate_min_bytes: int = 500
    # nginx closes at 75 s.
    keep_alive_timeout_seconds: float = 75.0
    body_window_bytes: int = 256 * KIB


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """Limits of WebSocket connections (RFC 6455), including those of Socket.IO.

        WSGIServer(listener, app, settings=Settings(websocket=WebSocketSettings(per_message_deflate=True)))

    Args:
        max_message_bytes: maximum bytes of one message.
        max_fragments_count: maximum fragments of one message, including empty ones.
        unfinished_frame_timeout_seconds: maximum time from the first to the last byte of a frame or message.
        ping_interval_seconds, ping_timeout_seconds: time without data until a ping is sent, and from then
            until the client is disconnected. 0 switches it off.
        per_message_deflate: whether messages are compressed if the client supports it (RFC 7692).
        max_queue_count: maximum messages queued for a blocking application that does not receive them.
        broadcast_wait_seconds: how long a broadcast waits for a client that does not read, once.
        close_timeout_seconds: time for the client to answer our close frame (RFC 6455 7.1.1).
    """

    # The `websockets` package also stands at 1 MiB. Close code 1009 above it.
    max_message_bytes: int = MIB
    # Each costs an object before the byte limit fires.
    max_fragments_count: int = 16_384
    unfinished_frame_timeout_seconds: float = 30.0
    # uvicorn and websockets take 20 s each.
    ping_interval_seconds: float = 20.0
    ping_timeout_seconds: float = 20.0
    # It costs CPU and memory per connection: asked for, not assumed.
    per_message_deflate: bool = False
    # uvicorn's 32.
    max_queue_count: int = 64
    # NATS holds up a publisher for milliseconds, and gives a subscriber 10 s, Redis 60 s, before they cut it.
    broadcast_wait_seconds: float = 1.0
    # The `websockets` package: 10 s.
    close_timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """Buffers and limits of one TCP connection.

        WSGIServer(listener, app, settings=Settings(transport=TransportSettings(hard_limit_bytes=4_000_000)))

    Args:
        receive_buffer_bytes: size of the loop's receive buffer in bytes.
        high_watermark_bytes, low_watermark_bytes: above the first number of unsent bytes reading from the
            client pauses, until there are no more than the second.
        hard_limit_bytes: above this number of unsent bytes the client is disconnected as too slow.
        stall_timeout_seconds: a client that reads none of its unsent bytes for this time is disconnected.
        linger_timeout_seconds, linger_max_bytes: how long and how many bytes the server still reads after its
            last byte, so that a TCP reset does not destroy the response.
    """

    # What Linux hands over at once on loopback is at most 2-4 times this. Four messages of 64 KiB fit in with
    # their headers; of 256 KiB it was 3.5 of them per receive.
    receive_buffer_bytes: int = 320 * KIB
    # asyncio's default is 64 KiB, ours holds one large message.
    high_watermark_bytes: int = 1 * MIB
    low_watermark_bytes: int = 256 * KIB
    hard_limit_bytes: int = 16 * MIB
    # nginx's send_timeout is 60 s too.
    stall_timeout_seconds: float = 60.0
    linger_timeout_seconds: float = 2.0
    # nginx's lingering_* bound the time alone, Go's net/http reads 256 KiB. 4 MiB is what Linux holds for the
    # largest sender (tcp_wmem): it has left before the answer can be heard.
    linger_max_bytes: int = 4 * MIB


@dataclass(frozen=True, slots=True)
class TLSSettings:
    """Certificate and other settings of TLS; without a certificate the server uses plain TCP.

        WSGIServer(listener, app, settings=Settings(tls=TLSSettings(certfile="chain.pem", keyfile="key.pem")))

    Args:
        certfile, keyfile: files with the certificate chain, the server's own certificate first, and with the
            private key. If `keyfile` is None, the key is in `certfile`.
        keyfile_password: password of the private key.
        ca_certs: file with the authorities that may sign clients' certificates.
        cert_reqs: "none", "optional" or "required": whether clients must send a certificate.
        ciphers: ciphers for TLS 1.2, in OpenSSL's format; all suites of TLS 1.3 are allowed.
        handshake_timeout_seconds: time from the connection to the end of the handshake.
        context: an `ssl.SSLContext` of the program; then only the timeout of the above is used.
    """

    certfile: str | None = None
    keyfile: str | None = None
    keyfile_password: str | None = None
    ca_certs: str | None = None
    cert_reqs: str = "none"
    ciphers: str | None = None
    # Reference value of the other phases' timeouts.
    handshake_timeout_seconds: float = 10.0
    context: Any = None


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How machines that share a broker reach each other, so that a balancer may send a request to any.

        Settings(cluster=ClusterSettings(listen="10.0.0.1:7000"), cluster_secret=...)

    Args:
        listen: the address where other machines reach this one, host:port; None: they do not.
        certfile, keyfile: files with the certificate chain for that address and with the private key; None:
            the connections are plain, or the key is in `certfile`.
        ca_certs: file with the authorities that may sign the other machines' certificates.
    """

    listen: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    ca_certs: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one server: addresses, processes, threads, logs, and the limits of each protocol.

        server = WSGIServer(("127.0.0.1", 0), app, settings=Settings(wsgi_threads_count=8))

    Args:
        host, port: the address to listen on. binds: addresses as for `-b`, instead of host and port:
            host:port, [v6]:port, unix:/path, fd://3.
        uds, uds_permissions: path of a UNIX socket, and its permissions.
        control_socket: path of the socket through which `wsframe emit` of the same user reaches the server;
            None: a path made from the port; "none": no socket.
        fd: a file descriptor that a process manager has bound.
        reuse_port: SO_REUSEPORT: several processes bind the same port and the kernel divides the connections.
        connections_max_count: maximum open connections of one worker; None: seven eighths of its descriptors.
        connections_wait_seconds: at that limit, how long a new connection waits until it gets 503.
        address_connections_max_count, address_minute_requests_max_count, address_sessions_max_count: maximum
            connections, requests per minute and Engine.IO sessions of one address. 0: no limit.
        clients_max_bytes: maximum bytes that wait for all clients of a worker; 0: each client's limit only.
        sessions_max_count, half_open_sessions_max_count: maximum Engine.IO sessions of one worker, and of
            those whose client has joined no namespace yet. None: as many as descriptors, at least 10,000;
            half of that, at most 65,536.
        rooms_max_count: maximum rooms of one client in one namespace; 0: no limit.
        meta_max_bytes: of the metadata of one client in one room, with its key, as JSON.
        proxy_headers, forwarded_allow_ips: whether to trust Forwarded and X-Forwarded-*, and of which peers:
            addresses, networks, "*".
        secure_scheme_values: for each header name the value that means "https". If it is set, these headers
            are trusted instead of the ones above. None: the ones above.
        allowed_hosts: hosts that are served, separated by commas; "": all.
        headers, server_header: headers of every response, "Name: value"; whether to send the Server header.
        root_path: path where a proxy mounts the application, SCRIPT_NAME.
        backlog_count, accept_batch_count: maximum connections that wait to be accepted, and how many are
            accepted in a turn of the loop.
        workers_count: number of worker processes; more than one needs the supervisor of `wsframe serve`.
        max_requests_count, max_requests_jitter_count: number of requests after which a worker is replaced,
            and the maximum of a random number added to it. 0: never.
        cluster_secret: what machines that share a broker sign with what they keep there; the same for all.
        machine_tag: what session ids begin with, so that a balancer finds this machine among several; "": a
            random one with a broker, none without.
        worker_timeout_seconds: a worker whose loop is blocked for this time is killed and replaced. 0: never.
        wsgi_threads_count, wsgi_queue_count: maximum threads for WSGI requests, and maximum requests that
            wait for a thread.
        event_threads_count: maximum threads for event handlers.
        waiting_threads_count: maximum threads that wait in `call`, `sleep` and similar functions, while
            another handler uses their place in the pool.
        websocket_threads_count: maximum threads for blocking WebSockets, one for each.
        mailbox_max_bytes: maximum bytes that threads have posted and the loop has not taken; at most half of
            `hard_limit_bytes` is used.
        switch_interval_seconds, own_io_switch_interval_seconds: CPython's switch interval while the server
            runs, and when an application reads raw sockets in its own threads.
        graceful_timeout_seconds: how long running requests may take when the server stops.
        idle_grace_seconds: how long an idle connection may still send a request when the server stops.
        server_name: SERVER_NAME of every environ; None: the name of the host.
        access_log, access_log_format: a file, "-" for standard output, None for none; "common", "combined",
            "json" or a format in gunicorn's syntax.
        access_log_polls: whether polls of an open session have lines in it.
        error_log, log_level: a file, None for standard error; "debug", "info", "warning", "error" or
            "critical".
        log_format, log_config: "text" or "json"; a file of `logging.config.dictConfig`.
        log_payloads: whether the debug log shows the arguments of events and acks.
        log_masked_fields: further query fields whose values no log shows.
        metrics: the address where Prometheus gets metrics, and orchestrators the health of all workers.
        tracing: spans of requests and events, by the application's OpenTelemetry.
        health: every address answers `/healthz` and `/readyz` too, for the worker that gets the request.
        pid_file: the process id is in this file while the server runs.
        debug, allow_public_debug: show tracebacks to the client and log at level debug; allow this on a
            public address.
        http, websocket, transport, tls, cluster: the settings of each protocol.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    binds: tuple[str, ...] = ()
    uds: str | None = None
    # waitress's 600 lets nobody else's proxy in.
    uds_permissions: int = 0o600
    control_socket: str | None = None
    fd: int | None = None
    reuse_port: bool = False
    # gunicorn's and nginx's worker_connections are 1,000 and 512. The last eighth of the descriptors is for
    # files that an application opens.
    connections_max_count: int | None = None
    # At that number accepting pauses (gevent, gunicorn's gthread); HAProxy's manuals set its `timeout queue`
    # to 5 s or so.
    connections_wait_seconds: float = 5.0
    # nginx's limit_conn and limit_req are off too: one address may be a school, and only the operator knows.
    address_connections_max_count: int = 0
    address_minute_requests_max_count: int = 0
    # Redis' maxmemory-clients, off by default too, ends the largest clients.
    clients_max_bytes: int = 0
    sessions_max_count: int | None = None
    half_open_sessions_max_count: int | None = None
    # Where handlers join what clients name, each costs 300 bytes. Centrifugo allows 128 channels a client,
    # the official server any number.
    rooms_max_count: int = 10_000
    # Pusher allows 1 KB for what is known of a member of a presence channel.
    meta_max_bytes: int = 4096
    # A session that polls holds no connection in between, so the cap on connections does not reach it.
    address_sessions_max_count: int = 0
    proxy_headers: bool = False
    forwarded_allow_ips: str = "127.0.0.1,::1"
    secure_scheme_values: Mapping[str, str] | None = None
    # Any, as Starlette begins; Django asks for a list.
    allowed_hosts: str = ""
    # uvicorn's two words.
    headers: tuple[str, ...] = ()
    server_header: bool = True
    root_path: str = ""
    # gunicorn's and uvicorn's 2,048: a burst of reconnecting clients fits.
    backlog_count: int = 2048
    # gevent's 100.
    accept_batch_count: int = 100
    # One loop cannot use more than one core.
    workers_count: int = 1
    # For applications that leak. The jitter keeps workers from going all at once (gunicorn's names).
    machine_tag: str = ""
    cluster_secret: str = field(default="", repr=False)
    max_requests_count: int = 0
    max_requests_jitter_count: int = 0
    # gunicorn's 30 s.
    worker_timeout_seconds: float = 30.0
    # starlette's and AnyIO's pool is 40.
    wsgi_threads_count: int = 40
    event_threads_count: int = 256
    # Beside the caps above and below. Java's ForkJoinPool has 256 such spares, Go ends at 10,000 threads.
    waiting_threads_count: int = 1024
    websocket_threads_count: int = 1000
    wsgi_queue_count: int = 10_000
    # Workers wait above it, the loop never. All of it may be for one client, beside what that has not taken
    # yet.
    mailbox_max_bytes: int = 8 * MIB
    # Shorter than CPython's 5 ms: a thread that computes gives the loop its turn back sooner.
    switch_interval_seconds: float = 0.0005
    # CPython's own, once an application reads raw sockets in its own threads (stock Flask-SocketIO).
    own_io_switch_interval_seconds: float = 0.005
    # gunicorn's 30 s.
    graceful_timeout_seconds: float = 30.0
    idle_grace_seconds: float = 0.25
    server_name: str | None = None
    access_log: str | None = "-"
    access_log_format: str = "common"
    # Lines for the polls of an open session: two per event and client, which say little.
    access_log_polls: bool = False
    error_log: str | None = None
    log_level: str = "info"
    # "text", or "json": one object per line.
    log_format: str = "text"
    # What `logging.config.dictConfig` reads, in TOML or (.json) JSON; gunicorn, uvicorn, granian have it too.
    log_config: str | None = None
    # The debug log shows the arguments of events and acks; they may be secret.
    log_payloads: bool = False
    # Query fields whose values no log shows, besides those of `observe.masking`.
    log_masked_fields: tuple[str, ...] = ()
    metrics: str | None = None
    # Off, though a provider may be there: as with uvicorn and gunicorn, who wants spans says so.
    tracing: bool = False
    health: bool = False
    pid_file: str | None = None
    debug: bool = False
    allow_public_debug: bool = False
    http: HTTPSettings = field(default_factory=HTTPSettings)
    websocket: WebSocketSettings = field(default_factory=WebSocketSettings)
    transport: TransportSettings = field(default_factory=TransportSettings)
    tls: TLSSettings = field(default_factory=TLSSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
