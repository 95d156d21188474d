"""The end-to-end harness itself: broken peers are named and the run goes on, busy machines are marked.

It must not measure anything worth quoting: runs are as short as a run can be.
"""

import functools
import json
import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

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


def server(harness: Any, name: str, *command: str) -> Any:
    launch = harness.peers.Launch(command)
    return harness.peers.Server(name, harness.peers.Kind.FLOOR, {harness.scenarios.Job.BYTES: launch})


def measured(harness: Any, candidate: Any, settings: Namespace) -> Any:
    """A run in which somebody answered: on a busy machine nobody may for a moment. Or the last of twenty."""
    run: Any = {}
    for _ in range(20):
        run = harness.run._measure(candidate, harness.scenarios.SCENARIOS["S1"], 1, settings)
        if "not one answer" not in run.get("error", ""):
            break
    return run


@pytest.mark.usefixtures("compiled")
def test_broken_peers_are_named_and_the_run_goes_on(harness: Any, capsys: pytest.CaptureFixture[str]) -> None:
    candidates = [
        server(harness, "not-installed", "{python}", "-c", "import no_such_peer", "{port}"),
        server(harness, "no-such-command", "no-such-command", "{port}"),
        server(harness, "closes", "{python}", "-c", CLOSES, "{port}"),
        server(harness, "wrong-echo", "{python}", "-c", WRONG_ECHO, "{port}"),
        server(harness, "good", "{python}", "floor_selectors.py", "{port}"),
    ]
    settings = Namespace(seconds=0.1, warmup_seconds=0.0, unpinned=False)
    runs = [measured(harness, each, settings) for each in candidates]
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


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", ["ours-2-workers-loaded", "ours-2-apart"])
def test_each_of_several_processes_gets_the_load_of_one(harness: Any, name: str) -> None:
    settings = Namespace(seconds=0.1, warmup_seconds=0.0, unpinned=False)
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


@pytest.mark.parametrize(("degrees", "quantile"), [(6, 2.4469), (9, 2.2622), (29, 2.0452), (99, 1.9842)])
def test_the_quantile_is_that_of_the_printed_tables(harness: Any, degrees: int, quantile: float) -> None:
    assert harness.paired.students_t(degrees) == pytest.approx(quantile, abs=0.0005)


def test_the_interval_lies_evenly_around_the_ratios(harness: Any) -> None:
    ratios = [0.5, 0.5, 0.5, 1.0, 2.0, 2.0, 2.0]
    low, high = harness.paired.interval(ratios)
    assert low * high == pytest.approx(1.0)
    # By hand: six of seven logarithms are ln 2 away from 0, so their deviation is ln 2 itself.
    assert high == pytest.approx(2 ** (2.4469 / 7**0.5), rel=0.001)
    assert harness.paired.interval([1.5] * 7) == pytest.approx((1.5, 1.5))


def test_each_build_goes_first_in_every_other_pair(harness: Any) -> None:
    order = [harness.paired.turns(number, "tree", "commit") for number in (1, 2, 3, 4)]
    assert order == [("tree", "commit"), ("commit", "tree")] * 2


@pytest.mark.parametrize(
    ("ratios", "word", "failed"),
    [
        ([0.95] * 7, "below", True),
        ([0.97, 0.975] * 4, "below", True),
        ([0.985] * 7, "held", False),  # slower, and nearer to 1 than what counts
        ([0.9, 1.02, 0.88, 1.05, 0.93, 0.97, 0.9], "held", False),  # too far apart to say
        ([1.2] * 7, "held", False),
        ([1.0] * 6, "6 pairs, 7 are needed", True),
        ([], "0 pairs", True),
    ],
)
def test_a_comparison_fails_when_its_whole_interval_is_a_loss(
    harness: Any, ratios: list[float], word: str, failed: bool
) -> None:
    comparison = harness.paired.Comparison("S2, ours", tuple(ratios))
    better = harness.paired.Comparison("H, ours", (1.1,) * 7)
    assert harness.paired.failed([better, comparison]) is failed
    line = harness.paired.table([comparison])[-1]
    assert line.startswith(f"| S2, ours | {len(ratios)} |")
    assert word in line


def pair_of_runs(number: int, tree: Any, commit: Any, scenario: str = "S2") -> list[dict[str, Any]]:
    """A string is an error."""
    return [
        {
            "round": number,
            "scenario": scenario,
            "server": f"ours@{build}",
            **({"error": each} if isinstance(each, str) else {"result": each}),
        }
        for build, each in (("tree", tree), ("commit", commit))
    ]


def test_ratios_are_those_of_whole_pairs(harness: Any) -> None:
    runs = pair_of_runs(1, result(90.0), result(100.0)) + pair_of_runs(2, result(220.0), result(200.0))
    runs += pair_of_runs(3, "ended at start", result(100.0))
    (comparison,) = harness.against.compared(runs)
    assert comparison == harness.paired.Comparison("S2, ours", (0.9, 1.1))
    nothing = harness.against.compared(pair_of_runs(1, "ended", "ended"))
    assert harness.paired.failed(nothing)


def test_of_latencies_the_lower_one_is_the_better(harness: Any) -> None:
    slow, fast = result(1.0), result(1.0)
    slow["latency_us"], fast["latency_us"] = {"p99": 300.0}, {"p99": 150.0}
    (comparison,) = harness.against.compared(pair_of_runs(1, slow, fast, "L1"))
    assert comparison.ratios == (0.5,)


def test_pairs_go_through_all_scenarios_in_turn(harness: Any) -> None:
    asked: list[tuple[int, str, str, str]] = []

    def measure(server: Any, scenario: Any, number: int) -> dict[str, Any]:
        launch = harness.peers.launch_for(server, scenario.job)
        asked.append((number, scenario.id, server.name, launch.command[0]))
        return {}

    both = tuple(harness.builds.Build(name, Path(f"/{name}/python")) for name in ("tree", "commit"))
    servers = [harness.against.servers_of(harness.peers.SERVERS["ours"], both)]
    chosen = harness.scenarios.resolve(["S2", "T2"])  # T2 runs in two rounds at most, in all pairs here
    harness.against.measure_pairs(chosen, servers, 3, measure)
    tree, commit = ("ours@tree", "/tree/python"), ("ours@commit", "/commit/python")
    turns = [(tree, commit), (commit, tree), (tree, commit)]
    assert asked == [
        (number, name, *side)
        for number, sides in enumerate(turns, 1)
        for name in ("S2", "T2")
        for side in sides
    ]


def test_a_comparison_has_defaults_of_its_own(harness: Any) -> None:
    arguments = harness.run._arguments(["--against", "main"])
    assert (arguments.pairs, arguments.servers, arguments.unpinned) == (7, "ours", False)
    assert set(arguments.scenarios.split(",")) == {"E", "EA", "R8", "S2", "H"}
    named = harness.run._arguments(["--against", "main", "--scenarios", "S3", "--pairs", "12", "--unpinned"])
    assert (named.scenarios, named.pairs, named.unpinned) == ("S3", 12, True)
    plain = harness.run._arguments([])
    assert (plain.scenarios, plain.servers, plain.rounds) == ("all", "", 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pairs", "7"], "--against"),
        (["--by-cpu"], "--against"),
        (["--against", "main", "--pairs", "6"], "fewer than 7"),
        (["--against", "main", "--rounds", "3"], "no --rounds"),
        (["--against", "main", "--quick"], "no --quick"),
        (["--against", "main", "--no-install"], "no --no-install"),
        (["--against", "main", "--most-minutes", "5"], "no --most-minutes"),
    ],
)
def test_what_a_comparison_cannot_do_is_refused(
    harness: Any, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        harness.run._arguments(words)
    assert refused.value.code == 2
    assert said in capsys.readouterr().err


def test_only_builds_of_ours_are_compared(harness: Any) -> None:
    assert [each.name for each in harness.against.chosen_servers("ours,ours-2-workers")] == [
        "ours",
        "ours-2-workers",
    ]
    with pytest.raises(SystemExit, match="picows is none"):
        harness.against.chosen_servers("ours,picows")


@pytest.mark.parametrize(
    ("tree", "tree_by_cpu", "options", "status"),
    [
        (100.0, 100.0, [], 0),
        (90.0, 100.0, [], 1),
        (100.0, 90.0, [], 0),
        (100.0, 90.0, ["--by-cpu"], 1),
        (90.0, 100.0, ["--by-cpu"], 0),
    ],
)
def test_the_exit_status_tells_a_loss(
    harness: Any,
    monkeypatch: pytest.MonkeyPatch,
    tree: float,
    tree_by_cpu: float,
    options: list[str],
    status: int,
) -> None:
    both = tuple(harness.builds.Build(name, Path(sys.executable)) for name in ("tree", "commit"))
    monkeypatch.setattr(harness.builds, "both", lambda commit: both)
    monkeypatch.setattr(harness.environment, "ROOT", harness.run.RESULTS.parent)

    def measure(server: Any, scenario: Any, number: int, _: Namespace) -> dict[str, Any]:
        figures = (tree, tree_by_cpu) if server.name == "ours@tree" else (100.0, 100.0)
        found = result(figures[0], per_server_cpu_second=figures[1])
        return {"round": number, "scenario": scenario.id, "server": server.name, "result": found}

    monkeypatch.setattr(harness.run, "_measure", measure)
    words = ["--against", "main", "--scenarios", "S2", "--label", "pairs", *options]
    assert harness.run._compare(harness.run._arguments(words)) == status
    record = json.loads((harness.run.RESULTS / "pairs.json").read_text())
    assert len(record["runs"]) == 14
    assert ("below 0.98" in (harness.run.RESULTS / "pairs.md").read_text()) is bool(status)


def test_an_unknown_commit_is_named(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    monkeypatch.setattr(harness.builds, "_installed", lambda name, home: built.append(name))
    with pytest.raises(harness.builds.BuildFailed, match="no-such-commit"):
        harness.builds.both("no-such-commit")
    assert built == []


@pytest.mark.usefixtures("compiled")
def test_unpinned_processes_have_all_cores(harness: Any) -> None:
    assert harness.processes.pinned(1, ["a", "b"]) == ["taskset", "-c", "1", "a", "b"]
    assert harness.processes.pinned(None, ["a", "b"]) == ["a", "b"]
    seen: list[int] = []
    good = server(harness, "floor-selectors", "{python}", "floor_selectors.py", "{port}")
    running = harness.run.running_server

    @contextmanager
    def watched(*words: Any) -> Iterator[list[int]]:
        with running(*words) as pids:
            seen.append(len(os.sched_getaffinity(pids[0])))
            yield pids

    pinned = harness.scenarios.SCENARIOS["S1"]
    for unpinned, scenario in ((False, pinned), (True, pinned), (False, replace(pinned, unpinned=True))):
        settings = Namespace(seconds=0.1, warmup_seconds=0.0, unpinned=unpinned)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(harness.run, "running_server", watched)
            run = harness.run._measure(good, scenario, 1, settings)
        assert run["result"]["messages"] > 0
    every = len(os.sched_getaffinity(0))
    assert seen == [1, every, every]


@pytest.mark.usefixtures("compiled")
def test_a_bound_worker_is_alone_on_its_core(harness: Any) -> None:
    seen: list[set[int]] = []
    running = harness.run.running_server

    @contextmanager
    def watched(*words: Any) -> Iterator[list[int]]:
        with running(*words) as pids:
            seen.append(os.sched_getaffinity(pids[-1]))
            yield pids

    settings = Namespace(seconds=0.1, warmup_seconds=0.0, unpinned=False)
    scenario = harness.scenarios.SCENARIOS["W2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness.run, "running_server", watched)
        run = harness.run._measure(harness.peers.SERVERS["ours-1-worker-bound"], scenario, 1, settings)
    assert run["result"]["messages"] > 0, run
    assert seen == [{0}]


def figures_of(scenario: str, **results: Any) -> list[dict[str, Any]]:
    """Runs of one round of a scenario."""
    return [{**run, "scenario": scenario} for run in runs_of(**results)]


def test_goals_of_workers_count_what_an_event_costs(harness: Any) -> None:
    ours, apart = result(1.0, per_server_cpu_second=50.0), result(1.0, per_server_cpu_second=60.0)
    runs = figures_of("W", ours_4_workers=ours, ours_4_apart_sharing=apart)
    line = next(line for line in harness.goals.goal_lines(runs) if line.startswith("| W:"))
    assert "| 1.20x | ours-4-apart-sharing | <= 1.05x | **gap** |" in line


def test_a_figure_is_held_against_the_same_server_elsewhere(harness: Any) -> None:
    runs = figures_of("UE", ours=result(97.0), node_socketio=result(100.0))
    runs += figures_of("E", ours=result(100.0), node_socketio=result(10.0))
    lines = [line for line in harness.goals.goal_lines(runs) if line.startswith("| UE")]
    assert ["0.97x" in line for line in lines] == [True, True]
    assert ["**gap**" in line for line in lines] == [True, False]
    assert "ours in E" in lines[1]


def test_a_goal_is_not_met_by_leaving_the_compression_out(harness: Any) -> None:
    peer = result(100.0, deflate="", uncompressed=0)
    for count, word in ((0, "met"), (7, "**gap**")):
        ours = result(500.0, deflate="permessage-deflate", uncompressed=count)
        runs = figures_of("ZB128", ours=ours, socketify=peer)
        line = next(line for line in harness.goals.goal_lines(runs) if line.startswith("| ZB128"))
        assert f"| 5.00x | socketify | >= 1.30x | {word} |" in line
        assert ("uncompressed" in line) is bool(count)
        table = harness.report.table(runs, harness.scenarios.SCENARIOS["ZB128"])
        assert ("uncompressed (1/1)" in table) is bool(count)
        assert "| agreed |" in table


def test_an_open_loop_tells_who_did_not_keep_up(harness: Any) -> None:
    runs = figures_of(
        "OS2",
        ours=result(100.0, rate=100.0, late_us=60.0),
        picows=result(97.0, rate=100.0, late_us=1.0),
        node_ws=result(99.0, rate=100.0, late_us=1.0),
    )
    table = harness.report.table(runs, harness.scenarios.SCENARIOS["OS2"])
    marks = {line.split("|")[1].strip(" *"): line.split("|")[-2].strip() for line in table.splitlines()[4:]}
    assert marks == {"ours": "generator late (1/1)", "picows": "behind (1/1)", "node-ws": ""}
    assert "| p99.9 ms | messages/s |" in table


def test_each_percentile_has_its_own_best_peer(harness: Any) -> None:
    figures = {"ours": (300.0, 900.0), "picows": (200.0, 1000.0), "node_ws": (400.0, 600.0)}
    runs = figures_of(
        "OS2",
        **{
            name: result(1.0, latency_us={"p50": 1.0, "p99": p99, "p999": p999})
            for name, (p99, p999) in figures.items()
        },
    )
    lines = [line for line in harness.goals.goal_lines(runs) if line.startswith("| OS2")]
    assert "| 1.50x | picows |" in lines[0]
    assert "| 1.50x | node-ws |" in lines[1]


def test_the_faster_mode_of_a_peer_counts(harness: Any) -> None:
    runs = figures_of(
        "LP",
        ours=result(300.0),
        node_socketio=result(290.0),
        flask_socketio_threading=result(50.0),
        flask_socketio_gevent=result(100.0),
    )
    lines = [line for line in harness.goals.goal_lines(runs) if line.startswith("| LP:")]
    assert "| 1.03x | node-socketio | >= 1.00x | met |" in lines[0]
    assert "| 3.00x | flask-socketio-gevent | >= 3.00x | met |" in lines[1]


def test_a_small_latency_is_written_with_its_digits(harness: Any) -> None:
    runs = figures_of("E1", ours=result(1.0), node_socketio=result(1.0))
    table = harness.report.table(runs, harness.scenarios.SCENARIOS["E1"])
    assert "| p50 ms |" in table
    assert "| 0.100 | 0.100 - 0.100 |" in table


def test_a_record_is_kept_in_lines_without_a_changed_figure(harness: Any, tmp_path: Path) -> None:
    runs = runs_of(ours=result(100.0, out_of_order=3, mode="ws-echo"), picows="ended at start")
    redis = [{"round": 1, "room": "one", "server": "ours", "per_second": 5.0, "cpu_us_per_message": 0.0}]
    records = {
        "full": {"label": "full", "commit": "abc", "summary": {}, "runs": runs},
        "redis": {"runs": redis},
    }
    path = tmp_path / "kept.json"
    harness.kept.save(records, path)
    assert len([line for line in path.read_text().splitlines() if line.startswith("   [")]) == 3
    loaded = harness.kept.load(path)
    del runs[0]["result"]["mode"]  # no page reads it
    assert loaded["full"] == {"label": "full", "commit": "abc", "runs": runs}
    assert loaded["redis"]["runs"] == redis


def test_every_figure_between_markers_comes_from_the_kept_records(harness: Any) -> None:
    records = harness.kept.load()
    for page in harness.pages.SECTIONS:
        assert harness.pages.filled(page, records) == page.read_text(), page.name
    altered = harness.kept.load()
    for run in altered["full"]["runs"]:
        run["result"]["per_second"] *= 2
    assert harness.pages.filled(harness.pages.PAGE, altered) != harness.pages.PAGE.read_text()


def test_what_is_kept_of_the_records_is_small(harness: Any) -> None:
    folder = harness.kept.KEPT.parent
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.suffix in (".json", ".svg")}
    assert harness.kept.KEPT.name in sizes
    assert {name: size for name, size in sizes.items() if size > 110_000} == {}


def test_a_new_record_replaces_the_one_of_its_label(
    harness: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pages = harness.pages
    page, small = tmp_path / "page.md", tmp_path / "kept.json"
    page.write_text("<!-- quoted -->\n<!-- end of quoted -->\n")
    old, new = (runs_of(ours=result(figure), picows=result(100.0)) for figure in (100.0, 250.0))
    harness.kept.save({"full": {"label": "full", "runs": old}}, small)
    lines = pages.SECTIONS[pages.PAGE]["quoted"]
    monkeypatch.setattr(pages, "SECTIONS", {page: {"quoted": lines}})
    for name in ("load", "save"):
        function = getattr(harness.kept, name)
        monkeypatch.setattr(harness.kept, name, functools.partial(function, path=small))
    for label in ("full", "2026-11-29T1200"):
        record = tmp_path / f"{label}.json"
        record.write_text(json.dumps({"label": label, "runs": new}))
        monkeypatch.setattr(sys, "argv", ["pages.py", str(record)])
        if label == "full":
            assert pages.main() == 0
        else:
            with pytest.raises(SystemExit, match="one that a page has: full"):
                pages.main()
    assert "2.50x picows" in page.read_text()
    assert list(harness.kept.load()) == ["full"]
