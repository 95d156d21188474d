"""The scenarios: what the generator does, to which of a server's jobs, and which figure ranks them.
It must not know any server."""

from dataclasses import dataclass
from enum import StrEnum


class Job(StrEnum):
    """What a server is started for."""

    BYTES = "bytes"
    ECHO = "echo"
    BROADCAST = "broadcast"
    SOCKETIO = "socketio"
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
    group: str = ""

    def generator_arguments(self) -> list[str]:
        return [
            *("--mode", self.mode),
            *("--connections", str(self.connections)),
            *("--in-flight", str(self.in_flight)),
            *("--payload", str(self.payload_bytes)),
        ]

    @property
    def holds_idle(self) -> bool:
        return self.mode.endswith("-idle")


GROWTH_CONNECTIONS = (10, 100, 1_000, 10_000)

_ALL = [
    Scenario(
        "S1",
        "echo, 1 connection, 1 in flight, 32 B; messages per server-CPU-second",
        Job.ECHO,
        "ws-echo",
        1,
        payload_bytes=32,
        rank_by="per_server_cpu_second",
    ),
    Scenario("S2", "echo, 64 connections, 1 in flight each, 128 B", Job.ECHO, "ws-echo", 64),
    Scenario("S3", "echo, 16 connections, 32 in flight each, 32 B", Job.ECHO, "ws-echo", 16, 32, 32),
    Scenario("S4", "echo, 4 connections, 4 in flight each, 64 KiB", Job.ECHO, "ws-echo", 4, 4, 64 << 10),
    Scenario("S5", "echo, 1 connection, 2 in flight, 4 MiB", Job.ECHO, "ws-echo", 1, 2, 4 << 20),
    Scenario("B1", "128 B to 1,000 clients, 1 broadcast in flight", Job.BROADCAST, "ws-broadcast", 1_000),
    Scenario("B8", "128 B to 1,000 clients, 8 broadcasts in flight", Job.BROADCAST, "ws-broadcast", 1_000, 8),
    Scenario("I", "5,000 idle WebSocket connections", Job.ECHO, "ws-idle", 5_000),
    Scenario("IS", "1,000 idle Socket.IO sessions", Job.SOCKETIO, "sio-idle", 1_000),
    Scenario("E", "Socket.IO echo, 32 clients, 4 events in flight each", Job.SOCKETIO, "sio-echo", 32, 4),
    Scenario(
        "EA", "Socket.IO event answered by an ack, 32 clients, 4 in flight", Job.SOCKETIO, "sio-ack", 32, 4
    ),
    Scenario("R1", "Socket.IO room of 200 clients, 1 broadcast in flight", Job.SOCKETIO, "sio-room", 200),
    Scenario("R8", "Socket.IO room of 200 clients, 8 broadcasts in flight", Job.SOCKETIO, "sio-room", 200, 8),
    Scenario("H", "WSGI hello, 64 keep-alive connections", Job.WSGI_BARE, "http", 64),
    Scenario("HV", "Flask view, 64 keep-alive connections", Job.WSGI_VIEW, "http", 64),
    *(
        Scenario(f"G{n}", f"echo, {n:,} connections, 128 B", Job.ECHO, "ws-echo", n, group="growth of echo")
        for n in GROWTH_CONNECTIONS
    ),
    *(
        Scenario(
            f"GB{n}",
            f"128 B to {n:,} clients, 1 broadcast in flight",
            Job.BROADCAST,
            "ws-broadcast",
            n,
            group="growth of broadcast",
        )
        for n in GROWTH_CONNECTIONS
    ),
]

SCENARIOS: dict[str, Scenario] = {scenario.id: scenario for scenario in _ALL}

QUICK = ("S2", "S3", "E")

# Short names that stand for several.
ALIASES: dict[str, tuple[str, ...]] = {
    "S": ("S1", "S2", "S3", "S4", "S5"),
    "B": ("B1", "B8"),
    "R": ("R1", "R8"),
    "G": tuple(f"G{n}" for n in GROWTH_CONNECTIONS),
    "GB": tuple(f"GB{n}" for n in GROWTH_CONNECTIONS),
    "all": tuple(SCENARIOS),
}


def resolve(names: list[str]) -> list[Scenario]:
    """Scenario names and aliases to scenarios, in the table's order."""
    wanted = [each for name in names for each in ALIASES.get(name, (name,))]
    if unknown := [name for name in wanted if name not in SCENARIOS]:
        raise SystemExit(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return [scenario for scenario in SCENARIOS.values() if scenario.id in wanted]
