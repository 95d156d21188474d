"""The scenarios: what the generator does, to which of a server's jobs, and which figure ranks them.
It must not know any server."""

from dataclasses import dataclass
from enum import StrEnum


class Job(StrEnum):
    """What a server is started for."""

    BYTES = "bytes"
    ECHO = "echo"
    TLS = "tls"
    BROADCAST = "broadcast"
    DEFLATE_ECHO = "deflate-echo"
    DEFLATE_BROADCAST = "deflate-broadcast"
    SOCKETIO = "socketio"
    POLLING = "polling"
    WSGI_BARE = "wsgi bare"
    WSGI_VIEW = "wsgi view"


@dataclass(frozen=True, slots=True)
class Scenario:
    id: str
    title: str
    job: Job
    mode: str
    connections: int
    in_flight: int = 1
    payload_bytes: int = 128
    rank_by: str = "per_second"
    # What the figures of several scenarios are drawn along, and a table's name for them together.
    group: str = ""
    along: int = 0
    # Connections that do nothing beside the loaded ones; rooms that exist beside the visited one.
    idle: int = 0
    rooms: int = 0
    # Threads that compute without end in the server's own process.
    busy_threads: int = 0
    # A rare event needs a longer look than `--seconds`.
    least_seconds: float = 0.0
    # Seconds of a held connection's life that are measured after it was opened.
    window_seconds: float = 0.0
    # At most so many rounds, however many are asked for; 0: as many as that.
    most_rounds: int = 0
    # How often a round runs it: what differs from one start to the next needs more of them.
    times: int = 1
    # Server and generator on all cores, as a server is started; else on one each.
    unpinned: bool = False
    # permessage-deflate, which the server must agree on.
    deflate: bool = False
    # Open loop: this share of what the slowest server does when an answer brings the next message; the rate.
    share_of_slowest: float = 0.0
    rate: float = 0.0
    # Who runs it when nobody is named; empty: every server that has the job.
    servers: tuple[str, ...] = ()

    def generator_arguments(self, load_times: int = 1) -> list[str]:
        optional = {
            "--idle": self.idle,
            "--rooms": self.rooms,
            "--window": self.window_seconds,
            "--rate": self.rate,
        }
        return [
            *(word for name, value in optional.items() if value for word in (name, str(value))),
            *(["--deflate"] if self.deflate else []),
            *("--mode", self.mode),
            *("--connections", str(self.connections * load_times)),
            *("--in-flight", str(self.in_flight)),
            *("--payload", str(self.payload_bytes)),
        ]

    @property
    def holds_idle(self) -> bool:
        return self.mode.endswith("-idle")


GROWTH_CONNECTIONS = (10, 100, 1_000, 10_000)
PAYLOADS_BYTES = (32, 512, 8 << 10, 128 << 10, 2 << 20)
ROOMS = (1, 100, 10_000, 100_000)
HELD_CONNECTIONS = (1_000, 5_000, 18_000)
DEFLATED_BYTES = (128, 4 << 10)
OPEN_SHARE = 0.7
PING_INTERVAL_SECONDS = 25.0  # Engine.IO's default, and that of every server here

# Expensive scenarios: ours, the nearest peers, the floor.
_NEAREST = ("ours", "picows", "socketify", "floor-c")
_GROWTH = ("ours", "picows", "floor-c")
_BESIDE_BUSY = ("ours", "picows", "websockets", "floor-selectors", "floor-selectors-short")
_BESIDE_BUSY_WSGI = ("ours", "waitress", "gunicorn", "cheroot")
_DEFLATING = ("ours", "websockets", "aiohttp", "uvicorn", "node-ws", "socketify")
_POLLED = ("ours", "node-socketio", "python-socketio", "flask-socketio-threading", "flask-socketio-gevent")
_PACED_EVENTS = ("ours", "ours-events", "node-socketio")
_UNPINNED = ("ours", "ours-inline", "ours-events", "node-socketio", "flask-socketio-gevent")


def _size(count: int) -> str:
    for unit, bytes_count in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= bytes_count:
            return f"{count // bytes_count} {unit}"
    return f"{count} B"


_ALL = [
    Scenario(
        "S1",
        "echo, 1 connection, 1 in flight, 32 B; messages per server-CPU-second",
        Job.ECHO,
        "ws-echo",
        1,
        payload_bytes=32,
        rank_by="per_server_cpu_second",
        times=3,
    ),
    Scenario("S2", "echo, 64 connections, 1 in flight each, 128 B", Job.ECHO, "ws-echo", 64),
    Scenario("S3", "echo, 16 connections, 32 in flight each, 32 B", Job.ECHO, "ws-echo", 16, 32, 32),
    Scenario("S4", "echo, 4 connections, 4 in flight each, 64 KiB", Job.ECHO, "ws-echo", 4, 4, 64 << 10),
    Scenario("S5", "echo, 1 connection, 2 in flight, 4 MiB", Job.ECHO, "ws-echo", 1, 2, 4 << 20, times=3),
    Scenario("B1", "128 B to 1,000 clients, 1 broadcast in flight", Job.BROADCAST, "ws-broadcast", 1_000),
    Scenario("B8", "128 B to 1,000 clients, 8 broadcasts in flight", Job.BROADCAST, "ws-broadcast", 1_000, 8),
    Scenario("E", "Socket.IO echo, 32 clients, 4 events in flight each", Job.SOCKETIO, "sio-echo", 32, 4),
    Scenario(
        "EA", "Socket.IO event answered by an ack, 32 clients, 4 in flight", Job.SOCKETIO, "sio-ack", 32, 4
    ),
    *(
        Scenario(
            f"U{name}",
            f"{name} with nothing pinned: {words}, 32 clients, 4 in flight each",
            Job.SOCKETIO,
            mode,
            32,
            4,
            unpinned=True,
            servers=_UNPINNED,
        )
        for name, words, mode in (("E", "Socket.IO echo", "sio-echo"), ("EA", "event and ack", "sio-ack"))
    ),
    Scenario(
        "E1",
        "Socket.IO echo, 1 client, 1 event in flight, nothing pinned; p50",
        Job.SOCKETIO,
        "sio-echo",
        1,
        rank_by="p50",
        times=3,
        unpinned=True,
        servers=_UNPINNED,
    ),
    Scenario(
        "W",
        "Socket.IO echo, the load of one shared by processes of one core; events per server-CPU-second",
        Job.SOCKETIO,
        "sio-echo",
        32,
        4,
        rank_by="per_server_cpu_second",
        times=3,  # the kernel deals connections out to servers apart by chance
        servers=("ours-1-worker", "ours-4-workers", "ours-4-apart-sharing"),
    ),
    Scenario(
        "W2",
        "Socket.IO echo, 32 clients, 4 in flight each, nothing pinned; two workers and one",
        Job.SOCKETIO,
        "sio-echo",
        32,
        4,
        unpinned=True,
        servers=("ours-1-worker", "ours-2-workers", "ours-2-workers-early", "ours-1-worker-bound"),
    ),
    Scenario("R1", "Socket.IO room of 200 clients, 1 broadcast in flight", Job.SOCKETIO, "sio-room", 200),
    Scenario("R2", "Socket.IO room of 200 clients, 2 broadcasts in flight", Job.SOCKETIO, "sio-room", 200, 2),
    Scenario("R8", "Socket.IO room of 200 clients, 8 broadcasts in flight", Job.SOCKETIO, "sio-room", 200, 8),
    Scenario("H", "WSGI hello, 64 keep-alive connections", Job.WSGI_BARE, "http", 64),
    Scenario("HV", "Flask view, 64 keep-alive connections", Job.WSGI_VIEW, "http", 64),
    Scenario(
        "T2",
        "echo over TLS 1.3, 64 connections, 1 in flight each, 128 B",
        Job.TLS,
        "ws-echo",
        64,
        most_rounds=2,
    ),
    Scenario(
        "T4",
        "echo over TLS 1.3, 4 connections, 4 in flight each, 64 KiB",
        Job.TLS,
        "ws-echo",
        4,
        4,
        64 << 10,
        most_rounds=2,
    ),
    *(
        Scenario(
            f"ZE{n}",
            f"echo with permessage-deflate, 64 connections, 1 in flight each, {_size(n)} of text",
            Job.DEFLATE_ECHO,
            "ws-echo",
            64,
            payload_bytes=n,
            deflate=True,
            servers=_DEFLATING,
        )
        for n in DEFLATED_BYTES
    ),
    *(
        Scenario(
            f"ZB{n}",
            f"{_size(n)} of text to 1,000 clients with permessage-deflate, 1 broadcast in flight",
            Job.DEFLATE_BROADCAST,
            "ws-broadcast",
            1_000,
            payload_bytes=n,
            deflate=True,
            servers=tuple(name for name in _DEFLATING if name != "uvicorn"),
        )
        for n in DEFLATED_BYTES
    ),
    Scenario(
        "LP",
        "Socket.IO echo by long polling, 32 clients, 4 events in flight each",
        Job.POLLING,
        "lp-echo",
        32,
        4,
        servers=_POLLED,
    ),
    Scenario(
        "LPB",
        "5,000 parked polls woken by one broadcast; p50 of the last client's",
        Job.POLLING,
        "lp-room",
        5_000,
        rank_by="p50",
        least_seconds=12.0,
        most_rounds=2,
        servers=_POLLED,
    ),
    *(
        Scenario(
            f"O{name}",
            f"{words}; p99 at one rate for all, {OPEN_SHARE:.0%} of what the slowest does in {name}",
            job,
            mode,
            *load,
            rank_by="p99",
            share_of_slowest=OPEN_SHARE,
            least_seconds=5.0,
            servers=servers,
        )
        for name, words, job, mode, load, servers in (
            ("E", "Socket.IO echo, 32 clients", Job.SOCKETIO, "sio-echo", (32, 4), _PACED_EVENTS),
            ("HV", "Flask view, 64 connections", Job.WSGI_VIEW, "http", (64,), ("ours", "granian")),
            ("S2", "echo, 64 connections, 128 B", Job.ECHO, "ws-echo", (64,), ("ours", "picows", "node-ws")),
        )
    ),
    Scenario("I", "5,000 idle WebSocket connections", Job.ECHO, "ws-idle", 5_000),
    Scenario("IS", "1,000 idle Socket.IO sessions", Job.SOCKETIO, "sio-idle", 1_000, most_rounds=2),
    *(
        Scenario(
            f"I{n}",
            f"{n:,} idle WebSocket connections",
            Job.ECHO,
            "ws-idle",
            n,
            group="memory",
            along=n,
            most_rounds=1,
            servers=("ours", "picows"),
        )
        for n in HELD_CONNECTIONS
    ),
    Scenario(
        "HB",
        f"18,000 idle Socket.IO sessions, their heartbeats over {PING_INTERVAL_SECONDS:.0f} s",
        Job.SOCKETIO,
        "sio-idle",
        18_000,
        window_seconds=PING_INTERVAL_SECONDS,
        most_rounds=1,
        servers=("ours", "node-socketio"),
    ),
    *(
        Scenario(
            f"G{n}",
            f"echo, {n:,} connections, 128 B",
            Job.ECHO,
            "ws-echo",
            n,
            rank_by="per_server_cpu_second",
            group="growth of echo",
            along=n,
            most_rounds=2,
            servers=_GROWTH,
        )
        for n in GROWTH_CONNECTIONS
    ),
    Scenario(
        "G100I",
        "echo, 100 connections, 128 B, beside 18,000 idle ones",
        Job.ECHO,
        "ws-echo",
        100,
        rank_by="per_server_cpu_second",
        idle=18_000,
        most_rounds=2,
        servers=_GROWTH,
    ),
    *(
        Scenario(
            f"GB{n}",
            f"128 B to {n:,} clients, 1 broadcast in flight",
            Job.BROADCAST,
            "ws-broadcast",
            n,
            rank_by="per_server_cpu_second",
            group="growth of broadcast",
            along=n,
            most_rounds=2,
            servers=_GROWTH,
        )
        for n in GROWTH_CONNECTIONS
    ),
    *(
        Scenario(
            f"P{n}",
            f"echo, 4 connections, 4 in flight each, {_size(n)}",
            Job.ECHO,
            "ws-echo",
            4,
            4,
            n,
            rank_by="per_server_cpu_second",
            group="growth with the payload",
            along=n,
            most_rounds=1,
            servers=_NEAREST,
        )
        for n in PAYLOADS_BYTES
    ),
    *(
        Scenario(
            f"RM{n}",
            f"join, emit, leave beside {n:,} rooms, 1 client, 32 in flight",
            Job.SOCKETIO,
            "sio-visit",
            1,
            32,
            rank_by="per_server_cpu_second",
            group="growth with rooms",
            along=n,
            most_rounds=2,
            idle=1,
            rooms=n,
            servers=("ours", "node-socketio"),
        )
        for n in ROOMS
    ),
    *(
        Scenario(
            name,
            f"echo, {n} connection{'s' * (n > 1)}, 128 B, beside 4 busy threads; p99",
            Job.ECHO,
            "ws-echo",
            n,
            rank_by="p99",
            busy_threads=4,
            least_seconds=4.0,
            servers=_BESIDE_BUSY,
        )
        for name, n in (("L1", 1), ("L64", 64))
    ),
    Scenario(
        "LH",
        "WSGI hello, 16 keep-alive connections, beside 4 busy threads; p99",
        Job.WSGI_BARE,
        "http",
        16,
        rank_by="p99",
        busy_threads=4,
        least_seconds=4.0,
        servers=_BESIDE_BUSY_WSGI,
    ),
]

SCENARIOS: dict[str, Scenario] = {scenario.id: scenario for scenario in _ALL}

QUICK = ("S2", "S3", "E")
# What two builds of ours are compared by when nothing is named.
PAIRED = ("S2", "E", "EA", "R8", "H")

# Short names that stand for several.
ALIASES: dict[str, tuple[str, ...]] = {
    "S": ("S1", "S2", "S3", "S4", "S5"),
    "B": ("B1", "B8"),
    "R": ("R1", "R2", "R8"),
    "Z": tuple(f"{kind}{n}" for kind in ("ZE", "ZB") for n in DEFLATED_BYTES),
    "O": ("OE", "OHV", "OS2"),
    "U": ("UE", "UEA", "E1", "W2"),
    "T": ("T2", "T4"),
    "L": ("L1", "L64", "LH"),
    "G": tuple(f"G{n}" for n in GROWTH_CONNECTIONS),
    "GB": tuple(f"GB{n}" for n in GROWTH_CONNECTIONS),
    "P": tuple(f"P{n}" for n in PAYLOADS_BYTES),
    "RM": tuple(f"RM{n}" for n in ROOMS),
    "IM": tuple(f"I{n}" for n in HELD_CONNECTIONS),
    "all": tuple(SCENARIOS),
}


def resolve(names: list[str]) -> list[Scenario]:
    """Scenario names and aliases to scenarios, in the table's order."""
    wanted = [each for name in names for each in ALIASES.get(name, (name,))]
    if unknown := [name for name in wanted if name not in SCENARIOS]:
        raise SystemExit(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return [scenario for scenario in SCENARIOS.values() if scenario.id in wanted]
