"""The end-to-end benchmark: `python3 bench/e2e/run.py [--quick] [--scenarios S,E,L] [--servers ours,picows]`;
with `--against COMMIT` two builds of ours in pairs. It wires installation, processes and report together and
must not compute a figure."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import against
import builds
import environment
import paired
import peers
import processes
import report
import scenarios
from processes import RunFailed, free_port, generate, hold_idle, raise_descriptor_limit, running_server

RESULTS = environment.BUILD / "results"
LOG = environment.BUILD / "server.log"


def _arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="S2, S3, E; the nearest peers; 2 short rounds")
    parser.add_argument(
        "--scenarios", help=f"of {', '.join(scenarios.SCENARIOS)}; {', '.join(scenarios.ALIASES)}"
    )
    parser.add_argument("--servers", help=f"of {', '.join(peers.SERVERS)}; all")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (3)")
    parser.add_argument("--seconds", type=float, help="measured per run (2)")
    parser.add_argument("--warmup-seconds", type=float, help="not measured, per run (0.5)")
    parser.add_argument("--label", help="name of the files in build/bench/results (the date)")
    parser.add_argument("--no-install", action="store_true", help="take the environment as it is")
    parser.add_argument("--ours-only-install", action="store_true", help="reinstall ours, leave the peers")
    parser.add_argument("--most-minutes", type=float, help="end after these, a round unfinished")
    parser.add_argument(
        "--unpinned", action="store_true", help="server and generator on all cores, not one each"
    )
    paired.add_arguments(parser)
    parser.add_argument("--by-cpu", action="store_true", help="with --against: judge by server-CPU-seconds")
    arguments = parser.parse_args(words)
    paired.check_arguments(parser, arguments)
    quick = arguments.quick
    if arguments.against:
        _refuse_what_pairs_have_not(parser, arguments)
        arguments.scenarios = arguments.scenarios or ",".join(scenarios.PAIRED)
        arguments.servers = arguments.servers or "ours"
    elif arguments.by_cpu:
        parser.error("--by-cpu says what --against judges by")
    arguments.scenarios = arguments.scenarios or (",".join(scenarios.QUICK) if quick else "all")
    arguments.servers = arguments.servers or (",".join(peers.QUICK) if quick else "")
    arguments.rounds = arguments.rounds or (2 if quick else 3)
    arguments.most_minutes = arguments.most_minutes or 1e9
    arguments.seconds = arguments.seconds or 2.0
    if arguments.warmup_seconds is None:
        arguments.warmup_seconds = 0.5
    arguments.label = arguments.label or datetime.now(UTC).strftime("%Y-%m-%dT%H%M")
    return arguments


def _refuse_what_pairs_have_not(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    for name in ("quick", "rounds", "most_minutes", "no_install", "ours_only_install"):
        if getattr(arguments, name):
            parser.error(
                f"--against has no --{name.replace('_', '-')}: it builds both sides and runs --pairs of them"
            )


def _fill(word: str, port: int) -> str:
    return word.format(
        port=port,
        python=environment.PYTHON,
        bin=environment.VENV / "bin",
        build=environment.BUILD,
        certificate=environment.CERTIFICATE,
        key=environment.KEY,
    )


def _environ(scenario: scenarios.Scenario) -> dict[str, str]:
    return {
        "PYTHONPATH": "",
        "PYTHONDONTWRITEBYTECODE": "1",
        "BENCH_BUSY_THREADS": str(scenario.busy_threads),
        "TLS_CERTIFICATE": str(environment.CERTIFICATE),
        "TLS_KEY": str(environment.KEY),
    }


def _one_run(
    server: peers.Server, launch: peers.Launch, scenario: scenarios.Scenario, arguments: argparse.Namespace
) -> dict[str, Any]:
    if scenario.share_of_slowest and not scenario.rate:
        raise RunFailed("nobody's capacity is known, and so no rate")
    port = free_port()
    command = [_fill(word, port) for word in launch.command]
    generator = [str(environment.GENERATOR), *scenario.generator_arguments(server.load_times)]
    generator += ["--port", str(port)]
    if "{port}" in "".join(launch.command) and scenario.job in server.jobs:
        generator += ["--path", launch.path]
    else:
        generator[generator.index("--mode") + 1] = "bytes-echo"
    if scenario.job is scenarios.Job.TLS:
        generator += ["--tls", str(environment.CERTIFICATE)]
    measured_seconds = max(arguments.seconds, scenario.least_seconds)
    warmup_seconds = max(arguments.warmup_seconds, server.start_seconds)
    seconds = ["--seconds", str(measured_seconds), "--warmup", str(warmup_seconds)]
    folder, environ = environment.SERVERS_FOLDER, _environ(scenario)
    server_core, core = processes.ALL_CORES if arguments.unpinned or scenario.unpinned else processes.CORES
    with running_server(command, port, folder, environ, LOG, server.processes, server_core) as pids:
        generator += [word for pid in pids for word in ("--pid", str(pid))]
        generator += ["--family"] if server.start_seconds else []
        if scenario.holds_idle:
            return hold_idle(generator, pids, 1.0, LOG, core)
        patience_seconds = measured_seconds + warmup_seconds + 60
        return generate([*generator, *seconds], patience_seconds, LOG, core)


def _measure(
    server: peers.Server, scenario: scenarios.Scenario, number: int, arguments: argparse.Namespace
) -> dict[str, Any] | None:
    """One entry of the record; None where the server has no such job."""
    launch = peers.launch_for(server, scenario.job)
    if server.scenarios and scenario.id not in server.scenarios:
        return None
    if number > (scenario.most_rounds or number) or (server.far and number > 1 and not scenario.deflate):
        return None
    if launch is None or (scenario.job not in server.jobs and scenario.holds_idle):
        return None
    if scenario.connections > server.most_connections.get(scenario.job, scenario.connections):
        return None
    run: dict[str, Any] = {"round": number, "scenario": scenario.id, "server": server.name}
    run["load_average"] = round(os.getloadavg()[0], 2)
    try:
        result = run["result"] = _one_run(server, launch, scenario, arguments)
    except (RunFailed, OSError) as failure:  # OSError: a process of the server is gone
        run["error"] = str(failure).replace(str(environment.ROOT), ".")
        print(f"  {scenario.id:6} {server.name:26} failed: {run['error']}", flush=True)
        return run
    marks = " noisy" if report.machine_busy(result) else ""
    marks += " lower-bound" if report.generator_bound(result) else ""
    print(
        f"  {scenario.id:6} {server.name:26} {report.figure(result, scenario.rank_by):>14,.3f}  "
        f"generator {result['generator_load']:.2f}{marks}",
        flush=True,
    )
    return run


def _at_one_rate(
    scenario: scenarios.Scenario, servers: list[peers.Server], number: int, arguments: argparse.Namespace
) -> scenarios.Scenario:
    """An open loop's scenario with its rate, from what the slowest server does in a closed one just now."""
    closed = replace(scenario, share_of_slowest=0.0, rank_by="per_second", least_seconds=0.0)
    runs = [_measure(server, closed, number, arguments) for server in servers]
    capacities = [run["result"]["per_second"] for run in runs if run and "result" in run]
    return replace(scenario, rate=round(scenario.share_of_slowest * min(capacities, default=0.0), 1))


def _servers_for(scenario: scenarios.Scenario, names: str) -> list[peers.Server]:
    """The named ones, else those the scenario itself names, else all."""
    return peers.resolve(names.split(",") if names else list(scenario.servers) or ["all"])


def _utc() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _write(record: dict[str, Any], document: Callable[[dict[str, Any]], str] = report.document) -> Path:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{record['label']}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    path.with_suffix(".md").write_text(document(record))
    return path


def _compare(arguments: argparse.Namespace) -> int:
    """The working tree against a commit; 1 when a scenario lost, or was not measured often enough."""
    chosen = scenarios.resolve(arguments.scenarios.split(","))
    named = against.chosen_servers(arguments.servers)
    try:
        both = builds.both(arguments.against)
    except builds.BuildFailed as failure:
        raise SystemExit(f"--against: {failure}") from None
    servers = [against.servers_of(each, both) for each in named]
    record = {
        "label": arguments.label,
        "command": " ".join(["python3", "bench/e2e/run.py", *sys.argv[1:]]),
        "by_cpu": arguments.by_cpu,
        "builds": {name: build.name for name, build in zip(against.NAMES, both, strict=True)},
        "machine": environment.machine(),
        "started": _utc(),
    }
    record["runs"] = against.measure_pairs(
        chosen,
        servers,
        arguments.pairs,
        lambda server, scenario, number: _measure(server, scenario, number, arguments),
    )
    record["ended"] = _utc()
    path = _write(record, against.document)
    print(f"\n{path.with_suffix('.md').read_text()}\nkept as {path.relative_to(environment.ROOT)}")
    return int(paired.failed(against.judged(record)))


def main() -> int:
    arguments = _arguments()
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("the server and the generator need a core each; this machine has one")
    raise_descriptor_limit()
    missing = environment.compile_c() + environment.make_certificate()
    if arguments.against:
        return _compare(arguments)
    chosen = scenarios.resolve(arguments.scenarios.split(","))
    plan = {scenario.id: _servers_for(scenario, arguments.servers) for scenario in chosen}
    used = {server.name: server for servers in plan.values() for server in servers}
    if not arguments.no_install:
        missing += [] if arguments.ours_only_install else environment.install_peers()
        missing += environment.install_ours() if any(s.kind is peers.Kind.OURS for s in used.values()) else []
    words = environment.our_options()
    unable = {name for name, server in used.items() if server.needs_option not in words}
    missing += [f"{name}: this build has no {used[name].needs_option}" for name in sorted(unable)]
    for line in missing:
        print(f"not installed: {line}", flush=True)
    record: dict[str, Any] = {
        "label": arguments.label,
        "command": " ".join(["python3", "bench/e2e/run.py", *sys.argv[1:]]),
        "commit": environment.commit(),
        "started": _utc(),
        "machine": environment.machine(),
        "versions": environment.versions(),
        "not_installed": missing,
        "load_average_before": os.getloadavg(),
        "settings": {
            "rounds": arguments.rounds,
            "seconds": arguments.seconds,
            "warmup_seconds": arguments.warmup_seconds,
            "unpinned": arguments.unpinned,
        },
        "runs": [],
    }
    began = time.monotonic()
    for number in range(1, arguments.rounds + 1):
        for scenario in chosen:
            print(f"round {number} of {arguments.rounds}, {scenario.id}: {scenario.title}", flush=True)
            turns = range((number - 1) * scenario.times + 1, number * scenario.times + 1)
            able = [server for server in plan[scenario.id] if server.name not in unable]
            for turn in turns:
                paced = scenario
                if scenario.share_of_slowest:
                    paced = _at_one_rate(scenario, able, turn, arguments)
                for server in able:
                    if time.monotonic() - began > arguments.most_minutes * 60:
                        record["cut_short"] = f"after {arguments.most_minutes:g} minutes, in round {number}"
                    elif run := _measure(server, paced, turn, arguments):
                        record["runs"].append(run)
            # After every scenario: what was measured is kept, whatever happens to the rest.
            record["ended"], record["load_average_after"] = _utc(), os.getloadavg()
            record["summary"] = report.summary(record["runs"])
            path = _write(record)
    print(f"\n{path.with_suffix('.md').read_text()}")
    print(f"kept as {path.relative_to(environment.ROOT)} after {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
