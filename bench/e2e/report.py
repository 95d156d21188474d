"""From runs to words: medians, ratios to the fastest peer of the same round, marks for noise, tables.
It must not start anything; it reads the list of runs that run.py keeps as JSON."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from peers import SERVERS, Kind
from scenarios import SCENARIOS, Scenario

GENERATOR_LIMIT = 0.90  # above it the generator, not the server, may set the figure
SERVER_LIMIT = 0.97  # a server at this load set the figure itself, however busy the generator was
OTHERS_LIMIT = 0.05  # share of one core that anybody else may have used
LATE_LIMIT_US = 50.0  # by how much the generator may be late with a message of the open loop
KEPT_RATE = 0.98  # share of the open loop's rate that must be answered within the window
COST = "per_server_cpu_second"


LOWER = ("p50", "p99", "p999")  # figures of which the lower is the better


def figure(result: dict[str, Any], key: str) -> float:
    """Latencies in milliseconds, everything else as it stands."""
    return float(result["latency_us"][key] / 1000 if key in LOWER else result[key])


@dataclass(slots=True)
class Row:
    server: str
    rounds: dict[int, dict[str, Any]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def values(self, key: str) -> list[float]:
        return [figure(result, key) for result in self.rounds.values() if key in result or key in LOWER]

    def middle(self, key: str) -> float:
        return median(self.values(key))

    def latency_us(self, name: str) -> float | None:
        found = [result["latency_us"][name] for result in self.rounds.values() if "latency_us" in result]
        return median(found) if found else None


def generator_bound(result: dict[str, Any]) -> bool:
    """The generator was near a whole core while the server had time left: the figure is a lower bound."""
    server_load = result["server_cpu_seconds"] / result["seconds"]
    return bool(result["generator_load"] > GENERATOR_LIMIT and server_load < SERVER_LIMIT)


def machine_busy(result: dict[str, Any]) -> bool:
    others = result["other_cpu_seconds"] + result.get("steal_seconds", 0.0)
    window = result.get("window_other_cpu_seconds", 0.0) / result.get("window_seconds", 1.0)
    return bool(others / result["seconds"] > OTHERS_LIMIT or window > OTHERS_LIMIT)


def late(result: dict[str, Any]) -> bool:
    """The open loop's generator was late itself: the latencies have that in them."""
    return bool(result.get("late_us", 0.0) > LATE_LIMIT_US)


def behind(result: dict[str, Any]) -> bool:
    """The server did not keep up with the open loop's rate."""
    return bool(result["per_second"] < KEPT_RATE * result.get("rate", 0.0))


def uncompressed(result: dict[str, Any]) -> bool:
    """Answers left as they were, though permessage-deflate was agreed on."""
    return bool(result.get("uncompressed", 0))


def rows_of(runs: Iterable[dict[str, Any]], scenario: Scenario) -> list[Row]:
    rows: dict[str, Row] = {}
    for run in runs:
        if run["scenario"] != scenario.id:
            continue
        row = rows.setdefault(run["server"], Row(run["server"]))
        if "error" in run:
            row.failures.append(run["error"])
        else:
            row.rounds[run["round"]] = run["result"]
    measured = [row for row in rows.values() if row.rounds]
    measured.sort(key=lambda row: row.middle(scenario.rank_by), reverse=scenario.rank_by not in LOWER)
    return measured + [row for row in rows.values() if not row.rounds]


def fastest_peer(rows: Iterable[Row]) -> Row | None:
    return next((row for row in rows if row.rounds and SERVERS[row.server].kind is Kind.PEER), None)


def ratio(row: Row, peer: Row | None, key: str) -> float | None:
    """Median over the rounds both ran of ours by theirs; the rounds are interleaved, so drift cancels."""
    if peer is None:
        return None
    shared = row.rounds.keys() & peer.rounds.keys()
    return (
        median(figure(row.rounds[n], key) / figure(peer.rounds[n], key) for n in shared) if shared else None
    )


def _marks(row: Row, rounds_count: int = 0) -> str:
    results = row.rounds.values()
    bound = sum(generator_bound(result) for result in results)
    busy = sum(machine_busy(result) for result in results)
    disorder = sum(result.get("out_of_order", 0) for result in results)
    words = []
    if bound:
        words.append(f"lower bound ({bound}/{len(results)})")
    if busy:
        words.append(f"noisy ({busy}/{len(results)})")
    if row.rounds and len(results) < rounds_count:
        words.append(f"{len(results)} of {rounds_count} rounds")
    for word, wrong in (("behind", behind), ("generator late", late), ("uncompressed", uncompressed)):
        if count := sum(map(wrong, results)):
            words.append(f"{word} ({count}/{len(results)})")
    if disorder:
        words.append(f"{disorder} out of order")
    if row.failures:
        words.append(f"failed {len(row.failures)}x: {row.failures[0]}")
    return ", ".join(words).replace("|", "/")


def _count(value: float) -> str:
    if value < 1:
        return f"{value:.3f}"
    return f"{value:,.1f}" if value < 1_000 else f"{value:,.0f}"


def _milliseconds(value_us: float | None) -> str:
    return "" if value_us is None else f"{value_us / 1000:.2f}"


def table(runs: Iterable[dict[str, Any]], scenario: Scenario) -> str:
    rows = rows_of(runs, scenario)
    peer = fastest_peer(rows)
    most = max((len(row.rounds) for row in rows), default=0)
    unit = next((r["unit"] for row in rows for r in row.rounds.values() if "unit" in r), "handshakes")
    ranked = {"per_second": f"{unit}/s", COST: f"{unit} per server-CPU-second"}.get(
        scenario.rank_by, f"{scenario.rank_by} ms"
    )
    idle = scenario.holds_idle
    columns = ["server", ranked, "min - max", "x fastest peer", "server load", "generator load"]
    columns += ["KiB per connection"] if idle else ["x per CPU-s", "p50 ms", "p99 ms"]
    columns += ["heartbeats, % of a core"] if scenario.window_seconds else []
    columns += ["p99.9 ms", "messages/s"] if scenario.share_of_slowest else []
    columns += ["agreed"] if scenario.deflate else []
    lines = [
        f"### {scenario.id}: {scenario.title}",
        "",
        f"| {' | '.join([*columns, 'marks'])} |",
        "|---|" + "---:|" * (len(columns) - 1) + "---|",
    ]
    for row in rows:
        name = f"**{row.server}**" if SERVERS[row.server].kind is Kind.OURS else row.server
        if not row.rounds:
            lines.append(f"| {name} |" + " |" * (len(columns) - 1) + f" {_marks(row)} |")
            continue
        values = row.values(scenario.rank_by)
        against = ratio(row, peer, scenario.rank_by)
        load = median(r["server_cpu_seconds"] / r["seconds"] for r in row.rounds.values())
        cells = [
            name,
            _count(median(values)),
            f"{_count(min(values))} - {_count(max(values))}",
            "" if against is None else f"{against:.2f}",
            f"{load:.2f}",
            f"{row.middle('generator_load'):.2f}",
        ]
        if idle:
            cells.append(f"{row.middle('kib_per_connection'):.2f}")
            cells += [f"{100 * row.middle('window_server_share'):.2f}"] if scenario.window_seconds else []
        else:
            by_cpu = ratio(row, peer, "per_server_cpu_second")
            cells.append("" if by_cpu is None else f"{by_cpu:.2f}")
            cells += [_milliseconds(row.latency_us("p50")), _milliseconds(row.latency_us("p99"))]
        if scenario.share_of_slowest:
            cells += [_milliseconds(row.latency_us("p999")), _count(row.middle("per_second"))]
        if scenario.deflate:
            cells.append(", ".join(sorted({result["deflate"] for result in row.rounds.values()})))
        lines.append(f"| {' | '.join([*cells, _marks(row, most)])} |")
    return "\n".join(lines)


def summary(runs: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Per scenario and server the median, and the ratio to the fastest peer: what other documents quote."""
    result: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for scenario in SCENARIOS.values():
        rows = rows_of(runs, scenario)
        peer = fastest_peer(rows)
        for row in rows:
            if not row.rounds:
                continue
            against = ratio(row, peer, scenario.rank_by)
            by_cpu = None if scenario.holds_idle else ratio(row, peer, "per_server_cpu_second")
            result[scenario.id][row.server] = {
                "median": round(row.middle(scenario.rank_by), 3),
                "ratio_to_fastest_peer": None if against is None else round(against, 3),
                "ratio_per_cpu_second": None if by_cpu is None else round(by_cpu, 3),
                "noisy_rounds": sum(machine_busy(each) for each in row.rounds.values()),
                "lower_bound_rounds": sum(generator_bound(each) for each in row.rounds.values()),
                "rounds": len(row.rounds),
            }
        if peer:
            result[scenario.id][peer.server]["fastest_peer"] = True
    return dict(result)


PLACES = "Server on core 0, generator on core 1 (both on all cores where nothing is pinned)"


def document(record: dict[str, Any]) -> str:
    """The whole record as markdown."""
    machine, settings, runs = record["machine"], record["settings"], record["runs"]
    noisy = sum(machine_busy(run["result"]) for run in runs if "result" in run)
    places = "On all cores" if settings.get("unpinned") else PLACES
    lines = [
        f"# End-to-end figures, {record['label']}",
        "",
        f"`{record['command']}`, commit {record['commit']}, {record['started']} to {record['ended']} UTC.",
        "",
        f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, TCP congestion "
        f"control {machine['congestion_control']}, Python {record['versions']['python']}. {places}, "
        "loopback, no TLS and no compression unless a scenario says so. "
        f"{settings['rounds']} interleaved rounds of {settings['seconds']} s after "
        f"{settings['warmup_seconds']} s of warm-up; medians; ratios are medians of the ratios in a round.",
        "",
        f"Load average {record['load_average_before'][0]:.2f} before, "
        f"{record['load_average_after'][0]:.2f} after. {noisy} of {len(runs)} runs are noisy: others used "
        f"more than {OTHERS_LIMIT:.0%} of a core beside them. A lower bound: the generator used over "
        f"{GENERATOR_LIMIT:.0%} of its core while the server had time left. `x per CPU-s` compares "
        "messages per server-CPU-second with the same peer's: it holds when the machine was busy.",
        "",
    ]
    if record["not_installed"]:
        lines += ["Not installed: " + "; ".join(record["not_installed"]) + ".", ""]
    for scenario in SCENARIOS.values():
        if any(run["scenario"] == scenario.id for run in runs):
            lines += [table(runs, scenario), ""]
    names = {package for run in runs for package in SERVERS[run["server"]].packages}
    known = {name.lower(): f"{name} {version}" for name, version in record["versions"].items()}
    used = sorted(known[name.lower()] for name in names if name.lower() in known)
    if any(run["server"].startswith("node-") for run in runs):
        used += [text for name, text in known.items() if name.startswith("node")]
    return "\n".join([*lines, f"Versions: {', '.join(used)}.", ""])
