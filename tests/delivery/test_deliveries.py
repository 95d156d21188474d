"""The counted deliveries of a whole server, in small: `make delivery` runs them in large.

It must not know what a client does on the wire, or what is a fault.
"""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import deliveries
import pytest
from official_clients import missing

from outside_tools import missing_tool
from running_program import RunningProgram

OURS = "here, 2 workers, recovery"
SCRIPT = Path(str(deliveries.__file__))
pytestmark = pytest.mark.needs_node


@pytest.fixture(autouse=True)
def official_clients() -> None:
    if needs := missing():
        missing_tool(f"the official clients are missing: {needs}")


@pytest.mark.long
@pytest.mark.extended
def test_ten_thousand_events_arrive_once_and_in_order_though_workers_end(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, str(SCRIPT), "--events", "10000", "--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    counted = json.loads(report.read_text())
    assert counted["acknowledged"] >= 10_000
    assert counted["returns recovered"] > 0


@pytest.mark.extended
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_its_children_and_keeps_what_it_found(
    tmp_path: Path, number: signal.Signals
) -> None:
    report = tmp_path / "report.json"
    program = RunningProgram([sys.executable, str(SCRIPT), "--report", str(report)], tmp_path)
    program.wait_for("the events before")
    assert program.stop(number) == 1  # its outputs are closed: no child holds them
    counted = json.loads(report.read_text())
    assert counted["acknowledged"] > 0
    assert counted["problems"][0] == "interrupted"
    assert "there was not 1000000 events acknowledged" in counted["problems"]


@pytest.mark.long
@pytest.mark.extended
def test_every_broadcast_reaches_official_clients_through_a_deploy_and_cuts() -> None:
    """The row of this server in the comparison."""
    command = [sys.executable, str(SCRIPT.with_name("compare.py")), "--rounds", "1", "--server", OURS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    phases = json.loads(done.stdout.splitlines()[0].removeprefix(OURS))
    assert all(counts["missed"] == 0 and counts["returns"] > 0 for counts in phases.values())


TOO_SHORT = "a client begins anew: the recovery log does not reach back to what it saw (max_bytes)"


def test_clients_that_begin_anew_are_excused_by_the_server_s_log_alone() -> None:
    lines = (TOO_SHORT, "another (and 9 more of the same)", f"{TOO_SHORT} (and 2 more of the same before)")
    log = "".join(f"WARNING worker 3: {line}\n" for line in lines)
    assert deliveries.forgotten_count(log) == 4
    assert deliveries.forgotten_count("WARNING worker 3: a client cannot be recovered\n") == 0
    problem = "there was not a worker's death before a client began anew"
    for count, is_told in ((0, False), (4, False), (5, True)):
        run = deliveries.Run(10, 1, ["roll"], 1)
        run.server = SimpleNamespace(log=log, stop=lambda: 0, faults=Counter())  # type: ignore[assignment]
        run.checker.counts["anew without a death"] = count
        run.end()
        assert (problem in run.problems) is is_told


def test_a_run_that_did_nothing_has_failed() -> None:
    run = deliveries.Run(10, 1, ["roll"], 1)
    run.checker.disordered.append("client 1 heard one twice")
    run.end()
    assert {
        "there was not cut: reset",
        "there was not workers rolled",
        "there was not a recovery",
        "there was not an event at each client",
        "there was not an exit with status 0",
        "events were heard twice or out of order",
    } <= set(run.problems)
