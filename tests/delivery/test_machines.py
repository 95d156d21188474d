"""The machines in network namespaces, in small: `make delivery-machines` runs them in large.

It must not know what a client does on the wire, or how a network is made.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import machines
import pytest
from official_clients import missing

from network_spaces import SITE_ADDRESS, Spaces, ip, missing_network
from outside_tools import missing_tool, outside_tool
from running_program import RunningProgram

SCRIPT = Path(str(machines.__file__))


@pytest.fixture
def network() -> None:
    if needs := missing_network():
        missing_tool(needs)


@pytest.fixture
def everything(network: None) -> None:
    """All that a run needs."""
    if needs := missing():
        missing_tool(f"the official clients are missing: {needs}")
    outside_tool("redis-server")
    outside_tool("nginx")


def spaces_of(pid: int) -> list[str]:
    return [word for word in ip("netns", "list").split() if word.startswith(f"wsframe-{pid}-")]


@pytest.mark.long
@pytest.mark.extended
@pytest.mark.needs_node
@pytest.mark.needs_redis
def test_numbered_events_arrive_though_redis_machines_and_links_fail(
    everything: None, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, str(SCRIPT), "--events", "3000", "--rounds", "1", "--report", str(report)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said, _ = run.communicate()
    print(said)
    assert run.returncode == 0
    assert spaces_of(run.pid) == []
    counted = json.loads(report.read_text())
    assert counted["acknowledged"] >= 3000
    assert counted["kept"] > 0
    assert counted["findings"] == counted["twice, or out of order"] == counted["numbers"] == []


@pytest.mark.extended
@pytest.mark.needs_node
@pytest.mark.needs_redis
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_everything_and_removes_its_network(
    everything: None, tmp_path: Path, number: signal.Signals
) -> None:
    report = tmp_path / "report.json"
    program = RunningProgram([sys.executable, str(SCRIPT), "--report", str(report)], tmp_path)
    program.wait_for("the connections")
    assert len(spaces_of(program.pid)) == machines.MACHINES_COUNT + 1
    assert program.stop(number) == 1  # its outputs are closed: no child holds them
    assert spaces_of(program.pid) == []
    assert "had to be killed" not in program.log
    counted = json.loads(report.read_text())
    assert counted["problems"][0] == "interrupted"
    assert "there was not each fault" in counted["problems"]


def test_a_run_that_did_nothing_has_failed() -> None:
    run = machines.MachinesRun(Spaces("none", machines.MACHINES_COUNT), 10, 1, 1)
    run.official.findings.append("client 4: 2 acknowledged, 1 kept")
    run.end()
    assert {
        "there was not each fault",
        "there was not a recovery by polling",
        "there was not a recovery by upgrade",
        "there was not an event at each client",
        "there was not 10 events acknowledged",
        "there was not poll at machine 1 for machine 2",
        "there was not post at machine 2 for machine 1",
        "there was not a WebSocket for another machine",
        "there was not a number kept of each client",
        "there was not a number in its place",
        "there was not a request that waited for the end of a cut",
        "there was not a network of its own for each machine",
        "there was not an exit with status 0",
    } <= set(run.problems)


@pytest.mark.parametrize(
    ("written", "is_enough"), [({}, False), ({1: {}}, False), ({1: {}, 2: {"of all": 3}}, True)]
)
def test_a_killed_worker_that_nobody_spoke_to_is_no_fault(
    written: dict[int, dict[str, int]], is_enough: bool
) -> None:
    run = machines.MachinesRun(Spaces("none", machines.MACHINES_COUNT), 10, 1, 1)
    run._written = written
    run.end()
    assert ("there was not an event in the stream of a killed process" not in run.problems) is is_enough


def test_the_faults_of_two_rounds_take_turns() -> None:
    assert machines.faults_of(2) == [
        *("redis", "drain 1", "kill 2", "cut 1 links"),
        *("redis", "drain 2", "kill 1", "cut 2 links,front"),
    ]


def reaches(space: str, address: str) -> bool:
    program = "import socket, sys; socket.create_connection((sys.argv[1], 9), 1)"
    done = subprocess.run(
        ["ip", "netns", "exec", space, sys.executable, "-c", program, address],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return "ConnectionRefusedError" in done.stderr  # somebody has said so


def test_a_link_is_cut_and_joined_and_what_is_left_is_killed(network: None) -> None:
    with Spaces(f"wsframe-{os.getpid()}", 2) as spaces:
        one, links, front = spaces.machines[1], "10.78.0.2", "10.77.0.2"
        assert reaches(one, links)
        assert reaches(one, front)
        assert reaches(one, SITE_ADDRESS)
        spaces.cut("links", 1)
        assert not reaches(one, links)
        assert reaches(one, front)
        spaces.join("links", 1)
        assert reaches(one, links)
        left = subprocess.Popen(
            ["ip", "netns", "exec", one, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert left.stdin is not None
        assert left.stdout is not None
        left.stdin.write(b"it runs\n")
        left.stdin.flush()
        assert left.stdout.readline() == b"it runs\n"
        assert spaces.remove() == 1
        assert left.wait() == -signal.SIGKILL
        left.stdin.close()
        left.stdout.close()
    assert spaces_of(os.getpid()) == []


def test_it_says_why_namespaces_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert missing_network() == "ip (iproute2) is not installed"
