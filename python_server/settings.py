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
    """Limits and timeouts of HTTP/1.1 (RFC 9112); docs/limits.md has the answer to who passes one.

        WSGIServer(listener, app, settings=Settings(http=HTTPSettings(body_max_bytes=10_000_000)))

    Args:
        request_line_max_bytes: method, target and version together.
        header_line_max_bytes, header_total_max_bytes: of one field line, and of all.
        header_max_count: field lines.
        body_max_bytes: of a whole request body.
        chunk_line_max_bytes: of a chunk-size line with its extensions.
        trailer_max_bytes: of the section after the last chunk; it is parsed, bounded and ignored.
        header_timeout_seconds: from the first byte of a head to its end.
        body_timeout_seconds: the longest silence within a request body.
        body_rate_min_bytes: a second; a body that stays slower is ended when it has used up that silence. 0:
            no rate.
        keep_alive_timeout_seconds: between two requests of a connection.
        body_window_bytes: held for an application that does not read them yet; then reading pauses.
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
    """Limits of RFC 6455 connections; those of Socket.IO are WebSockets too.

        WSGIServer(listener, app, settings=Settings(websocket=WebSocketSettings(per_message_deflate=True)))

    Args:
        max_message_bytes: of one whole message.
        max_fragments_count: fragments of a message, empty ones counted.
        unfinished_frame_timeout_seconds: from the beginning of a frame or message to its end.
        ping_interval_seconds, ping_timeout_seconds: a client that was silent for the one is pinged, and ended
            after the other. 0 switches it off.
        per_message_deflate: whether a client may compress, and is sent compressed messages (RFC 7692).
        max_queue_count: messages held for a blocking application that does not receive them.
        broadcast_wait_seconds: how long a member of a broadcast that does not take it may keep the others
            waiting, once.
        close_timeout_seconds: for the client's close frame after ours (RFC 6455 7.1.1).
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
    """Buffers and bounds of one TCP connection.

        WSGIServer(listener, app, settings=Settings(transport=TransportSettings(hard_limit_bytes=4_000_000)))

    Args:
        receive_buffer_bytes: of the loop's one receive buffer.
        high_watermark_bytes, low_watermark_bytes: when more bytes than the first wait for a client, it is not
            read from until no more than the second do.
        hard_limit_bytes: when more wait, the client is cut off as too slow.
        stall_timeout_seconds: a client that takes not one byte of what waits for so long is given up.
        linger_timeout_seconds, linger_max_bytes: after our last byte, how long and how much unread input is
            still taken, so that a reset does not eat the answer.
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
    """Certificate and rules of TLS; without a certificate the server speaks plain TCP.

        WSGIServer(listener, app, settings=Settings(tls=TLSSettings(certfile="chain.pem", keyfile="key.pem")))

    Args:
        certfile, keyfile: files of the chain, the server's own certificate first, and of the key; None: the
            key stands in `certfile`.
        keyfile_password: of the key.
        ca_certs: a file of those who may sign the clients' certificates.
        cert_reqs: "none", "optional" or "required": whether clients show one.
        ciphers: OpenSSL's list for TLS 1.2; the suites of TLS 1.3 are all good.
        handshake_timeout_seconds: from the connection to the end of the handshake.
        context: the program's own `ssl.SSLContext`; then nothing above but the timeout is looked at.
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
class Settings:
    """One server: where it listens, how many threads it may use, and the limits of each protocol.

        server = WSGIServer(("127.0.0.1", 0), app, settings=Settings(wsgi_threads_count=8))

    Args:
        host, port: where it listens. binds: addresses as `-b` takes them, in their place: host:port,
            [v6]:port, unix:/path, fd://3.
        uds, uds_permissions: path of a UNIX socket, and its permissions.
        control_socket: where this user's `wsframe emit` reaches the server; None: a place named after the
            port; "none": nowhere.
        fd: a descriptor that a process manager has bound.
        reuse_port: SO_REUSEPORT: several processes bind the same port and the kernel divides the connections.
        connections_max_count: open connections of one worker; None: seven eighths of its descriptors.
        connections_wait_seconds: at that number, how long a newcomer waits before it is told 503.
        address_connections_max_count, address_minute_requests_max_count, address_sessions_max_count:
            connections of one address, its requests a minute, its Engine.IO sessions. 0: no cap.
        clients_max_bytes: what all clients of a worker together keep waiting; 0: no bound but each client's
            own.
        sessions_max_count, half_open_sessions_max_count: Engine.IO sessions of one worker, and those of them
            whose client has joined no namespace yet. None: as many as descriptors, at least 10,000; half of
            that, at most 65,536.
        rooms_max_count: rooms of one client in one namespace; 0: no bound.
        proxy_headers, forwarded_allow_ips: whether Forwarded and X-Forwarded-* are believed, and of which
            peers: addresses, networks, "*".
        secure_scheme_values: by the name of a field the value that says "https": all that those peers may say
            then. None: the fields above.
        allowed_hosts: hosts that requests may be for, with commas; "": any.
        headers, server_header: fields of every answer, "Name: value"; whether the Server field is one.
        root_path: where a proxy has mounted the application, SCRIPT_NAME.
        backlog_count, accept_batch_count: connections that the system keeps until they are accepted, and how
            many are accepted in a turn of the loop.
        workers_count: processes that serve; more than one needs a supervisor, as `wsframe serve` has it.
        max_requests_count, max_requests_jitter_count: answered requests after which a worker is replaced, and
            up to so many more by chance. 0: never.
        worker_timeout_seconds: a worker whose loop has stood still for so long is killed and replaced. 0:
            never.
        wsgi_threads_count, wsgi_queue_count: threads for WSGI requests, and how many requests may wait for
            one.
        event_threads_count: threads for event handlers.
        waiting_threads_count: threads that wait in `call`, `sleep` and the like: another handler uses their
            place meanwhile.
        websocket_threads_count: threads for applications that hold a WebSocket each (blocking style).
        mailbox_max_bytes: posted by workers and not yet taken by the loop; at most half of `hard_limit_bytes`
            is used.
        switch_interval_seconds, own_io_switch_interval_seconds: CPython's switch interval while it serves,
            and once an application reads raw sockets in its own threads.
        graceful_timeout_seconds: how long a stop waits for running requests before it cuts them.
        idle_grace_seconds: at a stop, how long an idle kept connection may still bring a request.
        server_name: SERVER_NAME of every environ; None: the name of the host.
        access_log, access_log_format: a file, "-" for standard output, None for none; "common", "combined" or
            a format of gunicorn's atoms.
        error_log, log_level: a file, None for standard error; "debug", "info", "warning", "error" or
            "critical".
        pid_file: a file that holds the process id while the server runs.
        debug, allow_public_debug: tracebacks to the client and the most talkative log; on a public address
            only where one insists.
        http, websocket, transport, tls: what each protocol may take.
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
    error_log: str | None = None
    log_level: str = "info"
    pid_file: str | None = None
    debug: bool = False
    allow_public_debug: bool = False
    http: HTTPSettings = field(default_factory=HTTPSettings)
    websocket: WebSocketSettings = field(default_factory=WebSocketSettings)
    transport: TransportSettings = field(default_factory=TransportSettings)
    tls: TLSSettings = field(default_factory=TLSSettings)
