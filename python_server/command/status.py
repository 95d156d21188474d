"""`wsframe status`: how the workers of a server are, measured for a second, as a table or as JSON.

Must not know: how a worker counts.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

from python_server.command.running import choosing, chosen
from python_server.control.client import ask_workers
from python_server.control.places import Server
from python_server.monitoring.figures import BOUNDS
from python_server.net.system import REAL

STILL_SECONDS: Final = 1.0
# The longest that a worker accepts.
MAX_SECONDS: Final = 60.0
# A worker counts events for twice as long after it was asked.
AGAIN_SECONDS: Final = 5.0
SHOWN_COUNT: Final = 5
Answers = dict[int, dict[str, Any] | None]
HEADS: Final = ["#", "PROCESS", "AGE", "CONN", "SESS", "EV/S", "P50", "P99", "LAG", "REQ", "EVT", "MEM"]
WIDTHS: Final = (3, 7, 4, 5, 5, 6, 6, 6, 6, 7, 7, 5)


def ask(server: Server, timeout: float = STILL_SECONDS) -> Answers:
    """How all workers are now."""
    return ask_workers(server.control, "status", timeout, REAL.monotonic)


def measure(server: Server, during: float, timeout: float) -> dict[str, Any]:
    """The summary of that time. Who has not answered at its begin is not waited for at its end."""
    before = ask(server, timeout)
    silent = [process for process, answer in before.items() if answer is None]
    while during > AGAIN_SECONDS:
        time.sleep(AGAIN_SECONDS)
        ask_workers(server.control, "status", timeout, REAL.monotonic, besides=silent)
        during -= AGAIN_SECONDS
    time.sleep(during)
    after = ask_workers(server.control, "status", timeout, REAL.monotonic, besides=silent)
    return summary(server, before, after | dict.fromkeys(silent))


def quantile(row: Sequence[float], share: float) -> float | None:
    """Of a histogram's row, in seconds, as if a bucket's values lay evenly in it; None: there is no value."""
    counts = [*row[:-1]]
    left = sum(counts) * share
    if not left:
        return None
    for count, lower, upper in zip(counts, (0.0, *BOUNDS), (*BOUNDS, BOUNDS[-1]), strict=True):
        if left <= count:
            return lower + (upper - lower) * left / count
        left -= count
    return BOUNDS[-1]


def summary(server: Server, before: Answers, after: Answers) -> dict[str, Any]:
    """What has happened between two answers, and what there was at the second one."""
    workers: list[dict[str, Any]] = []
    events: dict[tuple[str, str], list[float]] = {}
    for process, now in after.items():
        if now is None or "moment" not in now:
            told = now or {}
            place = told.get("stands_still") or told.get("error") or ""
            workers.append({"worker": told.get("worker"), "process": process, "stands_still": place})
            continue
        then = before.get(process) or {}
        old = {(space, name): row for space, name, row in then.get("handlers", ())}
        total: list[float] = [0.0] * (len(BOUNDS) + 2)
        for space, name, row in now["handlers"]:
            new = _since(old.get((space, name), [0.0] * len(row)), row)
            total = _sum(total, new)
            events[space, name] = _sum(events.get((space, name), [0.0] * len(new)), new)
        seconds = now["moment"] - then.get("moment", now["moment"])
        [count] = _since([then.get("events_received", 0)], [now["events_received"]])
        keys = (
            "worker",
            "process",
            "age_seconds",
            "connections",
            "sessions",
            "lag_seconds",
            "pools",
            "counters",
        )
        workers.append(
            {key: now[key] for key in (*keys, "memory_bytes")}
            | {
                "events_per_second": count / seconds if seconds > 0 else 0.0,
                "p50_seconds": quantile(total, 0.5),
                "p99_seconds": quantile(total, 0.99),
            }
        )
    return {
        "process": server.process,
        "addresses": server.addresses,
        "workers": sorted(workers, key=_index),
        "slowest_events": _slowest(events),
        "biggest_rooms": _biggest(_rooms(after), "clients"),
        "slow_clients": _biggest(
            (each for answer in after.values() for each in (answer or {}).get("slow_clients", ())),
            "unsent_bytes",
        ),
    }


def _index(told: dict[str, Any]) -> int:
    """One that is too stuck to say its own comes first."""
    return told["worker"] or 0


def _since(old: Sequence[float], new: Sequence[float]) -> list[float]:
    """A counter that fell has begun anew."""
    return [b - a for a, b in zip(old, new, strict=True)] if sum(new) >= sum(old) else [*new]


def _sum(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [a + b for a, b in zip(first, second, strict=True)]


def _slowest(events: dict[tuple[str, str], list[float]]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = [
        {"namespace": space, "event": name, "count": int(sum(row[:-1]))}
        | {"p50_seconds": quantile(row, 0.5), "p99_seconds": quantile(row, 0.99)}
        for (space, name), row in events.items()
        if sum(row[:-1])
    ]
    return _biggest(told, "p99_seconds")


def _biggest(told: Iterable[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    return sorted(told, key=lambda each: each[key], reverse=True)[:SHOWN_COUNT]


def _rooms(answers: Answers) -> list[dict[str, Any]]:
    """The clients of a room are on several workers."""
    sizes: Counter[tuple[str, str]] = Counter()
    for answer in answers.values():
        for each in (answer or {}).get("rooms", ()):
            sizes[each["namespace"], each["room"]] += each["clients"]
    return [{"namespace": space, "room": room, "clients": size} for (space, room), size in sizes.items()]


def worker_line(each: dict[str, Any]) -> str:
    """A pool's cell: threads that run of all, and jobs that wait."""
    if "stands_still" in each:
        place = f" at {each['stands_still']}" if each["stands_still"] else ""
        return f"{each['worker'] or '?':<3} {each['process']:<7} stands still{place}"
    times = [_time(each[key]) for key in ("p50_seconds", "p99_seconds", "lag_seconds")]
    pools = [_pool(each["pools"][name]) for name in ("threads", "event-threads")]
    counts = [str(each["connections"]), str(each["sessions"]), f"{each['events_per_second']:.0f}"]
    age, memory = _age(each["age_seconds"]), _bytes(each["memory_bytes"])
    return _line([str(each["worker"]), str(each["process"]), age, *counts, *times, *pools, memory])


def sections(told: dict[str, Any]) -> dict[str, list[str]]:
    """What stands below the workers."""
    return {
        "slowest events": [
            f"{_time(each['p99_seconds']):>6} p99 {_time(each['p50_seconds']):>6} p50 "
            f"{each['count']:>7} times  {each['event']} ({each['namespace']})"
            for each in told["slowest_events"]
        ],
        "biggest rooms": [
            f"{each['clients']:>6} clients  {each['room']} ({each['namespace']})"
            for each in told["biggest_rooms"]
        ],
        "slow clients": [
            f"{_bytes(each['unsent_bytes']):>6} unsent  {each['address']}" for each in told["slow_clients"]
        ],
    }


def lines(told: dict[str, Any], height: int | None = None) -> list[str]:
    """As a terminal of 80 columns has it, and of `height` lines."""
    workers = [worker_line(each) for each in told["workers"]]
    shown_count = SHOWN_COUNT
    if height is not None:
        most = max(1, height - 12)
        if len(workers) > most:
            workers[most - 1 :] = [f"... {len(workers) - most + 1} more workers"]
        shown_count = max(1, (height - 8 - len(workers)) // 3)
    below = [
        text
        for title, each in sections(told).items()
        for text in ("", title, *(f"  {one}" for one in each[:shown_count] or ["none"]))
    ]
    return [f"process {told['process']}, {', '.join(told['addresses'])}", _line(HEADS), *workers, *below]


def _line(cells: Sequence[str]) -> str:
    return " ".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f}ms" if seconds < 0.1 else f"{seconds:.2f}s"


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _bytes(count: float) -> str:
    for unit in ("B", "K", "M"):
        if count < 10_000:
            return f"{count:.0f}{unit}"
        count /= 1024
    return f"{count:.0f}G"


def _pool(pool: dict[str, float]) -> str:
    waiting = f"+{pool['waiting_count']}" if pool["waiting_count"] else ""
    return f"{pool['running_count']}/{pool['threads_count']}{waiting}"


def _seconds(context: click.Context, option: click.Parameter, value: float) -> float:
    if not 0 <= value <= MAX_SECONDS:
        raise click.BadParameter(f"it is a number of seconds from 0 to {MAX_SECONDS:g}")
    return value


@click.command("status")
@choosing
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--during",
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    callback=_seconds,
    help="How long events are measured.",
)
@click.option(
    "--timeout",
    default=STILL_SECONDS,
    show_default=True,
    metavar="SECONDS",
    callback=_seconds,
    help="A worker that does not answer within it stands still.",
)
def status_command(
    port: int | None,
    bind: str | None,
    control_socket: str | None,
    as_json: bool,
    during: float,
    timeout: float,
) -> None:
    """Show how each worker of a server is, its slowest events, biggest rooms and slow clients.

    Rates and durations are of the second that the command takes to measure them.
    """
    server = chosen(port, bind, control_socket)
    told = measure(server, during, timeout)
    click.echo(json.dumps(told) if as_json else "\n".join(lines(told)))
