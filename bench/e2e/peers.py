"""The servers under test: how each is started for each of its jobs, and where it answers.
It must not know scenarios' loads or results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from scenarios import Job


class Kind(StrEnum):
    OURS = "ours"
    PEER = "peer"
    FLOOR = "floor"


SOCKETIO_PATH = "/socket.io/?EIO=4&transport=websocket"


@dataclass(frozen=True, slots=True)
class Launch:
    """A command with {python}, {bin}, {build} and {port} to fill in; it runs in servers/."""

    command: tuple[str, ...]
    path: str = "/"


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    kind: Kind
    jobs: Mapping[Job, Launch]
    packages: tuple[str, ...] = ()
    most_connections: Mapping[Job, int] = field(default_factory=dict)


def _script(file: str, *jobs: Job) -> dict[Job, Launch]:
    return {job: Launch(("{python}", file, "{port}", job.value)) for job in jobs}


def _socketio(*command: str) -> dict[Job, Launch]:
    return {Job.SOCKETIO: Launch(command, SOCKETIO_PATH)}


def _wsgi(*command: str) -> dict[Job, Launch]:
    """The command once per application: {application} is `bare` or `view` of hello_wsgi."""
    jobs = {Job.WSGI_BARE: "bare", Job.WSGI_VIEW: "view"}
    return {
        job: Launch(tuple(word.replace("{application}", name) for word in command))
        for job, name in jobs.items()
    }


_OURS = ("{python}", "-m", "python_server", "--port", "{port}", "--no-access-log")


def _ours_websocket(handlers: str) -> dict[Job, Launch]:
    command = (*_OURS, "--ws-max-size", str(16 << 20))
    jobs = (Job.ECHO, Job.BROADCAST)
    return {job: Launch((*command, f"ours_websocket:{job.value}_{handlers}")) for job in jobs}


_ALL = [
    Server(
        "ours",
        Kind.OURS,
        {
            **_ours_websocket("inline"),
            **_socketio(*_OURS, "ours_socketio:app"),
            **_wsgi(*_OURS, "hello_wsgi:{application}"),
        },
    ),
    Server("ours-threads", Kind.OURS, _ours_websocket("threads")),
    Server("ours-inline", Kind.OURS, _socketio(*_OURS, "ours_socketio:inline_app")),
    Server("picows", Kind.PEER, _script("picows_server.py", Job.ECHO, Job.BROADCAST), ("picows", "uvloop")),
    Server(
        "websockets",
        Kind.PEER,
        _script("websockets_server.py", Job.ECHO, Job.BROADCAST),
        ("websockets", "uvloop"),
    ),
    Server(
        "aiohttp", Kind.PEER, _script("aiohttp_server.py", Job.ECHO, Job.BROADCAST), ("aiohttp", "uvloop")
    ),
    Server(
        "socketify", Kind.PEER, _script("socketify_server.py", Job.ECHO, Job.BROADCAST), ("socketify", "cffi")
    ),
    Server("uvicorn", Kind.PEER, _script("uvicorn_server.py", Job.ECHO), ("uvicorn", "uvloop", "websockets")),
    Server("tornado", Kind.PEER, _script("tornado_server.py", Job.ECHO, Job.BROADCAST), ("tornado",)),
    Server(
        "gevent-websocket",
        Kind.PEER,
        _script("gevent_websocket_server.py", Job.ECHO, Job.BROADCAST),
        ("gevent", "gevent-websocket"),
    ),
    Server("eventlet", Kind.PEER, _script("eventlet_server.py", Job.ECHO), ("eventlet",)),
    Server(
        "simple-websocket",
        Kind.PEER,
        _script("simple_websocket_server.py", Job.ECHO),
        ("simple-websocket", "Werkzeug"),
        {Job.ECHO: 2_000},
    ),
    Server(
        "node-ws",
        Kind.PEER,
        {job: Launch(("node", "node_ws.js", "{port}", job.value)) for job in (Job.ECHO, Job.BROADCAST)},
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
    Server(
        "stock-on-gunicorn",
        Kind.PEER,
        _socketio(
            *("{bin}/gunicorn", "--worker-class", "gthread", "--threads", "100"),
            *("--bind", "127.0.0.1:{port}", "--log-level", "warning", "flask_socketio_server:app"),
        ),
        ("Flask-SocketIO", "Flask", "simple-websocket", "gunicorn"),
    ),
    *(
        Server(
            name,
            Kind.PEER,
            _wsgi("{python}", "wsgi_server.py", "{port}", name, "{application}"),
            (package, "Flask"),
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
    "websockets",
    "flask-socketio-threading",
    "flask-socketio-gevent",
    "floor-selectors",
)


def resolve(names: list[str]) -> list[Server]:
    if names == ["all"]:
        return list(SERVERS.values())
    if unknown := [name for name in names if name not in SERVERS]:
        raise SystemExit(f"no such server: {', '.join(unknown)}; there are {', '.join(SERVERS)}")
    return [SERVERS[name] for name in names]


def launch_for(server: Server, job: Job) -> Launch | None:
    """The echo scenarios also run against a server that echoes bytes: a floor needs no frames."""
    if job is Job.ECHO and Job.ECHO not in server.jobs:
        return server.jobs.get(Job.BYTES)
    return server.jobs.get(job)
