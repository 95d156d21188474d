"""Ours against another commit of ours: `python3 bench/e2e/run.py --against COMMIT` ends here.
It must not know how one run is measured, nor what the ratios have to be: paired.py does."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import builds
import paired
import report
from peers import Kind, Server, resolve, with_python
from scenarios import SCENARIOS, Scenario

NAMES = ("tree", "commit")  # which build a run's record names
COST = "per_server_cpu_second"

Runs = list[dict[str, Any]]
Measure = Callable[[Server, Scenario, int], dict[str, Any] | None]


def chosen_servers(names: str) -> list[Server]:
    chosen = resolve(names.split(","))
    if strangers := [server.name for server in chosen if server.kind is not Kind.OURS]:
        raise SystemExit(f"--against compares builds of ours; {', '.join(strangers)} is none")
    return chosen


def servers_of(server: Server, both: tuple[builds.Build, builds.Build]) -> tuple[Server, Server]:
    """The same server started from each build; a run's record says which."""
    tree, commit = (
        with_python(server, f"{server.name}@{name}", str(build.python))
        for name, build in zip(NAMES, both, strict=True)
    )
    return tree, commit


def measure_pairs(
    scenarios: list[Scenario], servers: list[tuple[Server, Server]], pairs: int, measure: Measure
) -> Runs:
    """Every pair goes through all scenarios, so that a slow minute of the machine falls on all of them."""
    runs: Runs = []
    for number in range(1, pairs + 1):
        for scenario in scenarios:
            print(f"pair {number} of {pairs}, {scenario.id}: {scenario.title}", flush=True)
            for both in servers:
                for server in paired.turns(number, *both):
                    if run := measure(server, replace(scenario, most_rounds=0), number):
                        runs.append(run)
    return runs


def _ratio(tree: dict[str, Any], commit: dict[str, Any], key: str) -> float:
    figures = report.figure(tree, key), report.figure(commit, key)
    return figures[1] / figures[0] if key in report.LOWER else figures[0] / figures[1]


def compared(runs: Runs, key: str = "") -> list[paired.Comparison]:
    """One per scenario and server, by what ranks the scenario, or by `key`; a half pair does not count."""
    found: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for run in runs:
        name, _, build = run["server"].partition("@")
        pair = found.setdefault((run["scenario"], name), {}).setdefault(run["round"], {})
        if "result" in run:
            pair[build] = run["result"]
    comparisons = []
    for (scenario, name), pairs in found.items():
        by = key or SCENARIOS[scenario].rank_by
        whole = [pair for pair in pairs.values() if pair.keys() == set(NAMES)]
        ratios = tuple(
            _ratio(pair["tree"], pair["commit"], by) for pair in whole if by in pair["tree"] or not key
        )
        comparisons.append(paired.Comparison(f"{scenario}, {name}", ratios))
    return comparisons


def judged(record: dict[str, Any]) -> list[paired.Comparison]:
    return compared(record["runs"], COST if record["by_cpu"] else "")


def document(record: dict[str, Any]) -> str:
    runs: Runs = record["runs"]
    words = ["the figure that ranks the scenario", "messages per server-CPU-second"]
    beside = compared(runs, "" if record["by_cpu"] else COST)
    if record["by_cpu"]:
        words.reverse()
    noisy = sum(report.machine_busy(run["result"]) for run in runs if "result" in run)
    errors = sorted({f"{run['scenario']}, {run['server']}: {run['error']}" for run in runs if "error" in run})
    return "\n".join(
        [
            f"# {record['builds']['tree']} against {record['builds']['commit']}",
            "",
            f"`{record['command']}`, {record['started']} to {record['ended']} UTC; "
            f"{noisy} of {len(runs)} runs noisy.",
            "",
            f"By {words[0]}; above 1 the working tree is the better one. The interval is Student's, of the "
            "logarithms of the pairs' ratios.",
            "",
            *paired.table(judged(record)),
            "",
            f"By {words[1]}, not judged:",
            "",
            *paired.table((each for each in beside if each.enough), judged=False),
            *(["", *(f"Failed: {error}" for error in errors)] if errors else []),
            "",
        ]
    )
