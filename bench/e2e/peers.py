"""The servers under test: how each is started for each of its jobs, and where it answers.
It must not know scenarios' loads or results."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from scenarios import Job


class Kind(StrEnum):
    OURS = "ours"
    PEER = "peer"
    FLOOR = "floor"


SOCKETIO_PATH = "/socket.io/?EIO=4&transport=websocket"
POLLING_PATH = "/socket.io/?EIO=4&transport=polling"


@dataclass(frozen=True, slots=True)
class Launch:
    """A command with {python}, {bin}, {build}, {certificate}, {key} and {port}; it runs in servers/."""

    command: tuple[str, ...]
    path: str = "/"


@dataclass(frozen=True, slots=True)
class Server:
    """`far`: runs in the first round only, its place is not in doubt. `named_only`: never run unless named.
    `processes`: wait for so many before the load. `needs_option`: ours must know it, else it is left out.
    `scenarios`: it runs these alone. `load_times`: it gets so many times a scenario's connections.
    `start_seconds`: clients come once it listens, while it starts, and are measured so much later."""

    name: str
    kind: Kind
    jobs: Mapping[Job, Launch]
    packages: tuple[str, ...] = ()
    most_connections: Mapping[Job, int] = field(default_factory=dict)
    far: bool = False
    named_only: bool = False
    processes: int = 1
    needs_option: str = ""
    scenarios: tuple[str, ...] = ()
    load_times: int = 1
    start_seconds: float = 0.0


def _script(file: str, *jobs: Job) -> dict[Job, Launch]:
    return {job: Launch(("{python}", file, "{port}", job.value)) for job in jobs}


def _socketio(*command: str) -> dict[Job, Launch]:
    return {Job.SOCKETIO: Launch(command, SOCKETIO_PATH), Job.POLLING: Launch(command, POLLING_PATH)}


def _wsgi(*command: str) -> dict[Job, Launch]:
    """The command once per application: {application} is `bare` or `view` of hello_wsgi."""
    jobs = {Job.WSGI_BARE: "bare", Job.WSGI_VIEW: "view"}
    return {
        job: Launch(tuple(word.replace("{application}", name) for word in command))
        for job, name in jobs.items()
    }


_OURS = ("{python}", "-m", "python_server", "--port", "{port}", "--no-access-log")
_OURS_WEBSOCKET = (*_OURS, "--ws-max-size", str(16 << 20))
_OURS_DEFLATE = (*_OURS_WEBSOCKET, "--ws-per-message-deflate")
_OURS_TLS = ("--ssl-certfile", "{certificate}", "--ssl-keyfile", "{key}")


def _ours_websocket(handlers: str) -> dict[Job, Launch]:
    jobs = (Job.ECHO, Job.BROADCAST)
    return {job: Launch((*_OURS_WEBSOCKET, f"ours_websocket:{job.value}_{handlers}")) for job in jobs}


def _ours_workers(count: int, load_times: int = 1) -> Server:
    """The cost of a message with several processes, all on the one core: per CPU-second, not per second.

    They share the load of one, or each has as much as one alone: `load_times` is their number then."""
    words = ("--workers", str(count))
    name = f"ours-{count}-worker{'s' * (count > 1)}"
    return Server(
        name if load_times == 1 else f"{name}-loaded",
        Kind.OURS,
        {
            Job.ECHO: Launch((*_OURS_WEBSOCKET, *words, "ours_websocket:echo_inline")),
            **_socketio(*_OURS, *words, "ours_socketio:app"),
            **_wsgi(*_OURS, *words, "hello_wsgi:{application}"),
        },
        named_only=True,
        processes=count + (count > 1),
        needs_option="--workers",
        load_times=load_times,
    )


def _ours_under_gunicorn(count: int) -> Server:
    """Our worker class under gunicorn's arbiter: what its supervision costs beside our own."""
    words = ("--workers", str(count), "--bind", "127.0.0.1:{port}", "--log-level", "warning")
    command = ("{bin}/gunicorn", "--worker-class", "python_server.GunicornWorker", *words)
    return Server(
        f"ours-gunicorn-{count}-worker{'s' * (count > 1)}",
        Kind.OURS,
        {
            Job.ECHO: Launch(
                (*command, "--env", f"WSFRAME_WS_MAX_SIZE={16 << 20}", "ours_websocket:echo_inline")
            ),
            **_socketio(*command, "ours_socketio:app"),
            **_wsgi(*command, "hello_wsgi:{application}"),
        },
        ("gunicorn",),
        named_only=True,
        processes=count + 1,
    )


def _ours_early() -> Server:
    """Two workers whose clients all come before the second one is there."""
    both = _ours_workers(2)
    return replace(both, name="ours-2-workers-early", processes=0, scenarios=("W2",), start_seconds=3.0)


def _ours_bound() -> Server:
    """One worker on one core, whatever the others may run on."""
    bound = ("taskset", "--cpu-list", "0")
    return Server(
        "ours-1-worker-bound",
        Kind.OURS,
        _socketio(*bound, *_OURS, "--workers", "1", "ours_socketio:app"),
        named_only=True,
        needs_option="--workers",
    )


def _ours_apart(count: int, load_times: int) -> Server:
    """As many servers of one process each, strangers to each other; they share one load, or have it each."""
    command = ("{python}", "apart.py", str(count), "{port}")
    sharing = load_times == 1
    return Server(
        f"ours-{count}-apart{'-sharing' * sharing}",
        Kind.OURS,
        {
            Job.ECHO: Launch((*command, "--ws-max-size", str(16 << 20), "ours_websocket:echo_inline")),
            **_socketio(*command, "ours_socketio:app"),
        },
        named_only=True,
        processes=count + 1,
        scenarios=("W",) if sharing else ("S2", "E"),  # a room ends at its process
        needs_option="--reuse-port",
        load_times=load_times,
    )


_ECHO, _ECHO_AND_BROADCAST = (Job.ECHO, Job.TLS), (Job.ECHO, Job.BROADCAST, Job.TLS)
_WITH_DEFLATE = (*_ECHO_AND_BROADCAST, Job.DEFLATE_ECHO, Job.DEFLATE_BROADCAST)

_ALL = [
    Server(
        "ours",
        Kind.OURS,
        {
            **_ours_websocket("inline"),
            Job.TLS: Launch((*_OURS_WEBSOCKET, *_OURS_TLS, "ours_websocket:echo_inline")),
            Job.DEFLATE_ECHO: Launch((*_OURS_DEFLATE, "ours_websocket:echo_deflate")),
            Job.DEFLATE_BROADCAST: Launch((*_OURS_DEFLATE, "ours_websocket:broadcast_deflate")),
            **_socketio(*_OURS, "ours_socketio:app"),
            **_wsgi(*_OURS, "hello_wsgi:{application}"),
        },
    ),
    Server("ours-threads", Kind.OURS, _ours_websocket("threads"), far=True),
    Server(
        "ours-blocking",
        Kind.OURS,
        {Job.ECHO: Launch((*_OURS_WEBSOCKET, "--websocket-threads", "100", "ours_websocket:echo_blocking"))},
        most_connections={Job.ECHO: 100},
        far=True,
    ),
    Server("ours-inline", Kind.OURS, _socketio(*_OURS, "ours_socketio:inline_app"), far=True),
    # What an operator's metrics cost; left out where ours has none.
    Server(
        "ours-metrics",
        Kind.OURS,
        _socketio(*_OURS, "--metrics", "127.0.0.1:0", "ours_socketio:app"),
        named_only=True,
        needs_option="--metrics",
    ),
    Server("ours-events", Kind.OURS, _socketio(*_OURS, "ours_events:app")),
    Server("ours-events-inline", Kind.OURS, _socketio(*_OURS, "ours_events:inline_app")),
    *(_ours_workers(count) for count in (1, 2, 4)),
    *(_ours_workers(count, load_times=count) for count in (2, 4)),
    *(_ours_under_gunicorn(count) for count in (1, 2)),
    *(_ours_apart(count, load_times=count) for count in (2, 4)),
    _ours_apart(4, load_times=1),
    _ours_bound(),
    _ours_early(),
    Server("picows", Kind.PEER, _script("picows_server.py", *_ECHO_AND_BROADCAST), ("picows", "uvloop")),
    Server(
        "websockets",
        Kind.PEER,
        _script("websockets_server.py", *_WITH_DEFLATE),
        ("websockets", "uvloop"),
        far=True,
    ),
    Server(
        "aiohttp",
        Kind.PEER,
        _script("aiohttp_server.py", *_WITH_DEFLATE),
        ("aiohttp", "uvloop"),
        far=True,
    ),
    Server("socketify", Kind.PEER, _script("socketify_server.py", *_WITH_DEFLATE), ("socketify", "cffi")),
    Server(
        "uvicorn",
        Kind.PEER,
        _script("uvicorn_server.py", *_ECHO, Job.DEFLATE_ECHO),
        ("uvicorn", "uvloop", "websockets"),
        far=True,
    ),
    Server("tornado", Kind.PEER, _script("tornado_server.py", *_ECHO_AND_BROADCAST), ("tornado",), far=True),
    Server(
        "gevent-websocket",
        Kind.PEER,
        _script("gevent_websocket_server.py", *_ECHO_AND_BROADCAST),
        ("gevent", "gevent-websocket"),
        far=True,
    ),
    Server("eventlet", Kind.PEER, _script("eventlet_server.py", *_ECHO), ("eventlet",), far=True),
    Server(
        "simple-websocket",
        Kind.PEER,
        _script("simple_websocket_server.py", *_ECHO),
        ("simple-websocket", "Werkzeug"),
        {Job.ECHO: 2_000},
        far=True,
    ),
    Server(
        "node-ws",
        Kind.PEER,
        {job: Launch(("node", "node_ws.js", "{port}", job.value)) for job in _WITH_DEFLATE},
    ),
    Server("node-socketio", Kind.PEER, _socketio("node", "node_socketio.js", "{port}")),
    Server(
        "python-socketio",
        Kind.PEER,
        _socketio("{python}", "python_socketio_server.py", "{port}"),
        ("python-socketio", "uvicorn", "uvloop", "websockets"),
    ),
    *(
        Server(
            f"flask-socketio-{mode}",
            Kind.PEER,
            _socketio("{python}", "flask_socketio_server.py", "{port}", mode),
            ("Flask-SocketIO", "Flask", library),
            far=mode != "gevent",
        )
        for mode, library in (
            ("threading", "simple-websocket"),
            ("gevent", "gevent"),
            ("eventlet", "eventlet"),
        )
    ),
    # The stock package, unmodified, under other servers than its own: ours, and gunicorn's threads.
    Server(
        "stock-on-ours",
        Kind.OURS,
        _socketio(*_OURS, "flask_socketio_server:app"),
        ("Flask-SocketIO", "Flask", "simple-websocket"),
    ),
    # The same file under our own in its packages' place; for gevent its handlers take turns.
    *(
        Server(
            f"drop-in-{mode}",
            Kind.OURS,
            _socketio(
                *("{python}", "-m", "python_server", "--drop-in"),
                *("flask_socketio_server.py", "{port}", mode),
            ),
            ("Flask",),
            named_only=True,
            needs_option="--drop-in",
        )
        for mode in ("threading", "gevent")
    ),
    Server(
        "stock-on-gunicorn",
        Kind.PEER,
        _socketio(
            *("{bin}/gunicorn", "--worker-class", "gthread", "--threads", "100"),
            *("--bind", "127.0.0.1:{port}", "--log-level", "warning", "flask_socketio_server:app"),
        ),
        ("Flask-SocketIO", "Flask", "simple-websocket", "gunicorn"),
        {Job.SOCKETIO: 100, Job.POLLING: 50},
        far=True,
        processes=2,
    ),
    *(
        Server(
            name,
            Kind.PEER,
            _wsgi("{python}", "wsgi_server.py", "{port}", name, "{application}"),
            (package, "Flask"),
            far=name == "pywsgi",
        )
        for name, package in (("waitress", "waitress"), ("cheroot", "cheroot"), ("pywsgi", "gevent"))
    ),
    Server(
        "gunicorn",
        Kind.PEER,
        _wsgi(
            *("{bin}/gunicorn", "--worker-class", "gthread", "--threads", "8", "--keep-alive", "60"),
            *("--bind", "127.0.0.1:{port}", "--log-level", "warning", "hello_wsgi:{application}"),
        ),
        ("gunicorn", "Flask"),
        processes=2,
    ),
    Server(
        "granian",
        Kind.PEER,
        _wsgi(
            *("{bin}/granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "{port}"),
            *("--no-log", "hello_wsgi:{application}"),
        ),
        ("granian", "Flask"),
    ),
    Server("floor-selectors", Kind.FLOOR, {Job.BYTES: Launch(("{python}", "floor_selectors.py", "{port}"))}),
    Server(
        "floor-selectors-short",
        Kind.FLOOR,
        {Job.BYTES: Launch(("{python}", "floor_selectors.py", "{port}", "0.0005"))},
        named_only=True,
    ),
    *(
        Server(
            f"floor-wsgi-{how}",
            Kind.FLOOR,
            _wsgi("{python}", "floor_wsgi.py", "{port}", "{application}", how),
            ("Flask", "httptools"),
            named_only=True,
        )
        for how in ("each", "burst", "threads")
    ),
    Server(
        "floor-send",
        Kind.FLOOR,
        {
            Job.BROADCAST: Launch(("{python}", "floor_send.py", "{port}", "broadcast")),
            **_socketio("{python}", "floor_send.py", "{port}", "socketio"),
        },
        scenarios=("B1", "B8", "R1", "R2", "R8"),
    ),
    Server(
        "floor-c",
        Kind.FLOOR,
        {job: Launch(("{build}/floor_epoll", "{port}", job.value)) for job in (Job.ECHO, Job.BROADCAST)},
    ),
]

SERVERS: dict[str, Server] = {server.name: server for server in _ALL}

QUICK = (
    "ours",
    "ours-inline",
    "picows",
    "socketify",
    "node-socketio",
    "flask-socketio-threading",
    "flask-socketio-gevent",
    "floor-selectors",
)


def resolve(names: list[str]) -> list[Server]:
    """The named ones; `all` is every server that is not run by name alone."""
    if names == ["all"]:
        return [server for server in SERVERS.values() if not server.named_only]
    if unknown := [name for name in names if name not in SERVERS]:
        raise SystemExit(f"no such server: {', '.join(unknown)}; there are {', '.join(SERVERS)}")
    return [SERVERS[name] for name in names]


def launch_for(server: Server, job: Job) -> Launch | None:
    """The echo scenarios also run against a server that echoes bytes: a floor needs no frames."""
    if job is Job.ECHO and Job.ECHO not in server.jobs:
        return server.jobs.get(Job.BYTES)
    return server.jobs.get(job)


def with_python(server: Server, name: str, python: str) -> Server:
    """The same server, started with this interpreter instead of the peers' environment's."""

    def started(launch: Launch) -> Launch:
        return replace(launch, command=tuple(word.replace("{python}", python) for word in launch.command))

    jobs = {job: started(launch) for job, launch in server.jobs.items()}
    return replace(server, name=name, jobs=jobs, far=False)
