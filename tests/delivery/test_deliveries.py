"""The counted deliveries of a whole server, in small: `make delivery` runs them in large.

It must not know what a client does on the wire, or what is a fault.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

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
