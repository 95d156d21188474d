"""The end-to-end harness itself: broken peers are named and the run goes on, busy machines are marked.

It must not measure anything worth quoting: runs are as short as a run can be.
"""

import importlib
import json
import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

E2E = Path(__file__).resolve().parents[2] / "bench" / "e2e"
MODULES = ("environment", "goals", "pages", "peers", "processes", "report", "run", "scenarios")

pytestmark = [
    pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset is not installed"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="cc is not installed"),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="the harness needs a core for each side"),
]

WRONG_ECHO = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = listener.accept()
    client.send(client.recv(65536)[::-1])
"""
CLOSES = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    listener.accept()[0].close()
"""


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """The modules of bench/e2e, with the running Python instead of the peers' environment."""
    monkeypatch.syspath_prepend(str(E2E))
    found = Namespace(**{name: importlib.import_module(name) for name in MODULES})
    for name, path in (("BUILD", tmp_path), ("GENERATOR", tmp_path / "generator")):
        monkeypatch.setattr(found.environment, name, path)
    monkeypatch.setattr(found.environment, "VENV", tmp_path / "no packages")
    monkeypatch.setattr(found.environment, "FLOOR", tmp_path / "floor_epoll")
    monkeypatch.setattr(found.environment, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(found.run, "LOG", tmp_path / "server.log")
    monkeypatch.setattr(found.run, "RESULTS", tmp_path / "results")
    yield found  # type: ignore[misc]
    for name in MODULES:
        sys.modules.pop(name, None)


def server(harness: Any, name: str, *command: str) -> Any:
    launch = harness.peers.Launch(command)
    return harness.peers.Server(name, harness.peers.Kind.FLOOR, {harness.scenarios.Job.BYTES: launch})


def test_broken_peers_are_named_and_the_run_goes_on(harness: Any, capsys: pytest.CaptureFixture[str]) -> None:
    harness.environment.compile_c()
    candidates = [
        server(harness, "not-installed", "{python}", "-c", "import no_such_peer", "{port}"),
        server(harness, "no-such-command", "no-such-command", "{port}"),
        server(harness, "closes", "{python}", "-c", CLOSES, "{port}"),
        server(harness, "wrong-echo", "{python}", "-c", WRONG_ECHO, "{port}"),
        server(harness, "good", "{python}", "floor_selectors.py", "{port}"),
    ]
    scenario = harness.scenarios.SCENARIOS["S1"]
    settings = Namespace(seconds=0.1, warmup_seconds=0.0)
    runs = [harness.run._measure(each, scenario, 1, settings) for each in candidates]
    errors = {run["server"]: run["error"] for run in runs if "error" in run}
    assert "no_such_peer" in errors["not-installed"]
    assert "no-such-command" in errors["no-such-command"]
    assert "closed" in errors["closes"] or "reset" in errors["closes"]
    assert "differs" in errors["wrong-echo"]
    assert runs[-1]["result"]["messages"] > 0
    said = capsys.readouterr().out
    assert all(f"{name} " in said for name in (*errors, "good"))


def result(per_second: float, **more: Any) -> dict[str, Any]:
    return {
        "seconds": 1.0,
        "per_second": per_second,
        "per_server_cpu_second": per_second,
        "server_cpu_seconds": 0.5,
        "generator_load": 0.3,
        "other_cpu_seconds": 0.0,
        "unit": "messages",
        "latency_us": {"p50": 100.0, "p90": 200.0, "p99": 300.0, "p999": 400.0},
        **more,
    }


def runs_of(**results: Any) -> list[dict[str, Any]]:
    """One round of S2 per named server; a string is an error."""
    return [
        {
            "round": 1,
            "scenario": "S2",
            "server": name.replace("_", "-"),
            **({"error": each} if isinstance(each, str) else {"result": each}),
        }
        for name, each in results.items()
    ]


def test_a_busy_machine_and_a_saturated_generator_are_marked(harness: Any) -> None:
    runs = runs_of(
        ours=result(100.0, other_cpu_seconds=0.2),
        picows=result(90.0, generator_load=0.95),
        node_ws=result(80.0),
        aiohttp="ended at start",
    )
    lines = harness.report.table(runs, harness.scenarios.SCENARIOS["S2"]).splitlines()
    marks = {line.split("|")[1].strip(" *"): line.split("|")[-2].strip() for line in lines[4:]}
    assert marks == {
        "ours": "noisy (1/1)",
        "picows": "lower bound (1/1)",
        "node-ws": "",
        "aiohttp": "failed 1x: ended at start",
    }


@pytest.mark.parametrize(("ours", "word"), [(100.0, "met"), (89.0, "**gap**")])
def test_goals_are_held_against_the_fastest_peer_of_the_same_round(
    harness: Any, ours: float, word: str
) -> None:
    runs = runs_of(ours=result(ours), picows=result(90.0), floor_c=result(500.0))
    line = next(line for line in harness.goals.goal_lines(runs) if line.startswith("| S2"))
    assert f"| {word} |" in line
    assert "picows" in line


def test_a_page_changes_between_its_markers_alone(harness: Any) -> None:
    page = "before\n<!-- goals -->\nold\n<!-- end of goals -->\nafter\n"
    filled = harness.pages.fill(page, "goals", ["new | \\1"])
    assert filled == "before\n<!-- goals -->\n\nnew | \\1\n\n<!-- end of goals -->\nafter\n"
    with pytest.raises(SystemExit, match="markers for run"):
        harness.pages.fill(page, "run", [])


def test_every_named_server_and_scenario_exists(harness: Any) -> None:
    for scenario in harness.scenarios.SCENARIOS.values():
        named = [harness.peers.SERVERS[name] for name in scenario.servers]
        assert all(harness.peers.launch_for(each, scenario.job) for each in named), scenario.id
    for each in harness.peers.SERVERS.values():
        assert set(each.scenarios) <= harness.scenarios.SCENARIOS.keys()


def test_a_record_is_kept_as_it_grows(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.environment.compile_c()
    good = server(harness, "floor-selectors", "{python}", "floor_selectors.py", "{port}")
    monkeypatch.setitem(harness.peers.SERVERS, "floor-selectors", good)
    monkeypatch.setattr(harness.environment, "make_certificate", list)
    arguments = ["--no-install", "--scenarios", "S1,S2", "--servers", "floor-selectors", "--rounds", "1"]
    arguments += ["--seconds", "0.1", "--warmup-seconds", "0.01", "--label", "kept"]
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
    kept: list[int] = []
    write = harness.run._write

    def count(record: dict[str, Any]) -> Path:
        kept.append(len(record["runs"]))
        return write(record)  # type: ignore[no-any-return]

    monkeypatch.setattr(harness.run, "_write", count)
    monkeypatch.setattr(harness.environment, "ROOT", harness.run.RESULTS.parent)
    assert harness.run.main() == 0
    assert kept == [3, 4]
    record = json.loads((harness.run.RESULTS / "kept.json").read_text())
    runs = [(run["scenario"], run["round"]) for run in record["runs"]]
    assert runs == [("S1", 1), ("S1", 2), ("S1", 3), ("S2", 1)]  # S1 is run three times in each round


@pytest.mark.parametrize("name", ["ours-2-workers-loaded", "ours-2-apart"])
def test_each_of_several_processes_gets_the_load_of_one(harness: Any, name: str) -> None:
    harness.environment.compile_c()
    settings = Namespace(seconds=0.1, warmup_seconds=0.0)
    scenario = harness.scenarios.SCENARIOS["S2"]
    run = harness.run._measure(harness.peers.SERVERS[name], scenario, 1, settings)
    assert run["result"]["connections"] == 2 * scenario.connections, run


def test_what_workers_cost_is_held_against_one(harness: Any) -> None:
    costs = {"ours-1-worker": 100.0, "ours-4-workers": 50.0, "ours-4-apart": 80.0}
    runs = [
        {"round": 1, "scenario": "E", "server": name, "result": result(1.0, per_server_cpu_second=value)}
        for name, value in costs.items()
    ]
    lines = harness.goals.worker_lines(runs)
    assert lines[0] == "| scenario | 1 worker | 4 workers | 4 apart, each loaded |"
    assert lines[2].endswith("| 10000.00 us (1.00x) | 20000.00 us (2.00x) | 12500.00 us (1.25x) |")
    assert harness.goals.worker_lines(runs[1:]) == []
