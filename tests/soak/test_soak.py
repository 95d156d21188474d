"""The soak's own judgement: each planted loss, leak or idleness is found, and a good record is found good.

It must not know a real run's figures; `make soak` makes them.
"""

import gc
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from outside_tools import missing_tool, outside_tool

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import judge  # noqa: E402
import measure  # noqa: E402

sys.path.remove(str(HERE))
SOAK = [sys.executable, str(HERE / "soak.py"), "--minutes", "3"]
PATIENCE_SECONDS = 300.0  # of a machine with far more to do than this
MACHINES = ("plain", "secure")
Record = dict[str, Any]


def client(number: int) -> Record:
    """It has said an event each second from 100 to 700, and heard all."""
    return {
        "name": f"c{number}",
        "machine": MACHINES[number % 2],
        "client": ("python-socketio", "socket.io-client")[number // 2],
        "acks": [[each, 100.0 + each, 5.0] for each in range(1, 601)],
        "heard": {f"c{other}": [[1, 600]] for other in range(4)},
        "late": [],
        "comes": [[99.0, False]],
        "goes": [],
        "unanswered": [],
        "here": True,
    }


def looks() -> Iterator[list[float]]:
    """A supervisor and two workers of each machine; memory breathes and does not grow."""
    noise = random.Random(5)
    for at in range(60, 2_000, 2):
        for pid in range(6):
            held = 20_000 * noise.random() if 200 < at < 1_900 else 0
            yield [float(at), pid, 40_000 + held, 18, 5]


@pytest.fixture
def record() -> Record:
    clients = [client(number) for number in range(4)]
    fault_at = {kind: 400.0 + place for place, kind in enumerate(judge.FAULTS)}
    return {
        "seconds": 1_800,
        "workers": 2,
        "phases": {
            "idle": [60.0, 99.0],
            "quiet": [100.0, 200.0],
            "abuse": [200.0, 300.0],
            "faults": [300.0, 1_900.0],
            "traffic ends": [1_900.0, 1_910.0],
            "drain": [1_910.0, 1_999.0],
        },
        "faults": [
            {"kind": kind, "machine": "plain", "at": at, "settled": at + 5} for kind, at in fault_at.items()
        ],
        "samples": (samples := list(looks())),
        "live": [[at, pid, kib - 9_000] for at, pid, kib, *_ in samples if pid % 3],
        "roles": {str(pid): [MACHINES[pid // 3], "worker" if pid % 3 else "supervisor"] for pid in range(6)},
        "good-python": clients[:2],
        "good-node": clients[2:],
        "abuse": {"outcomes": {"slowloris": {"408": 3}}, "findings": [], "broken": []},
        "told": judge.stretches(f"{each['name']} {number}" for each in clients for number in range(1, 601)),
        "tracebacks": [],
        "problems": [],
        "certificates": [["1", "2"]],
        "left_processes": [],
    }


def test_a_good_record_is_good(record: Record) -> None:
    assert judge.findings(record) == []


def unheard(record: Record) -> None:
    record["good-python"][0]["heard"]["c3"] = [[1, 499], [501, 600]]


def grown(record: Record, pid: int, kib_per_second: float) -> None:
    for sample in record["samples"] + record["live"]:
        if sample[1] == pid:
            sample[2] += (sample[0] - 60) * kib_per_second


def more(record: Record, field: int) -> None:
    for sample in record["samples"]:
        if sample[1] == 4 and sample[0] > 900:
            sample[field] += 1


def slow(record: Record) -> None:
    for each in record["good-node"]:
        for ack in each["acks"]:
            ack[2] = 11.0 if ack[1] > 200 else 5.0


PLANTED: dict[str, tuple[Callable[[Record], Any], str]] = {
    "an event that no handler saw": (
        lambda record: record["told"]["stretches"].update(c1=[[1, 299], [301, 600]]),
        r"c1: 1 acknowledged events were not handled: \[300\]",
    ),
    "an event that was handled twice": (
        lambda record: record["told"]["twice"].append("c1 3"),
        "1 events were handled twice",
    ),
    "an event that one client did not hear": (unheard, "c0 missed 1 events: c3's 500"),
    "an event that came twice": (
        lambda record: record["good-node"][0]["late"].append(["c0", 3, 4]),
        "c2 heard 1 events twice or late",
    ),
    "an event that was never acknowledged": (
        lambda record: record["good-node"][1]["unanswered"].append([7, 300.0, "timeout"]),
        "c3: 1 events were not acknowledged",
    ),
    "a client that did not come back": (
        lambda record: record["good-node"][1].update(here=False),
        "c3 was away at the end",
    ),
    "an exception": (
        lambda record: record["tracebacks"].append("KeyError: 1"),
        "raised in the server, 1 times: .*KeyError",
    ),
    "a descriptor": (
        lambda record: more(record, 3),
        "secure has 55 descriptors after the traffic, 54 before",
    ),
    "a thread": (lambda record: more(record, 4), "secure has 16 threads after the traffic, 15 before"),
    "a leak in workers": (
        lambda record: (grown(record, 1, 1.5), grown(record, 2, 1.5)),
        r"plain grew by 1\d\d\d KiB",
    ),
    "a leak in a supervisor": (lambda record: grown(record, 3, 2.5), r"secure grew by 1\d\d\d KiB"),
    "memory that is held": (
        lambda record: grown(record, 5, 20.0),
        "a worker of secure has .* KiB at the end",
    ),
    "slowness": (slow, "p99 of good clients was 11.0 ms with abuse, 5.0 ms without"),
    "a certificate that stayed": (
        lambda record: record["certificates"].append(["3", "3"]),
        "the certificate 3 was served on",
    ),
    "a process that stayed": (lambda record: record["left_processes"].append(7), "group 7 was left"),
    "a wrong answer": (
        lambda record: record["abuse"]["findings"].append([300.0, "slowloris", "got 200"]),
        "slowloris: got 200",
    ),
    "no fault of a kind": (lambda record: record["faults"].pop(), "no fault of the kind 'broker restarted'"),
    "no conversation of a kind": (
        lambda record: record["abuse"]["outcomes"].update(ping_flood={"connection lost": 9}),
        "no conversation of the kind ping_flood",
    ),
    "no abuser": (lambda record: record.update(abuse=None), "no abuser has reported"),
    "no client of a library": (lambda record: record.update({"good-node": None}), "no client of socket.io"),
    "a client that said nothing": (
        lambda record: record["good-node"][0].update(acks=[]),
        "c2 got no acknowledgement",
    ),
    "too much that is excused": (
        lambda record: [
            each["comes"].append([690.0, False]) for each in record["good-node"] + record["good-python"]
        ],
        "too little was judged",
    ),
    "nobody who looked at the processes": (
        lambda record: record.update(samples=[]),
        "no process was looked at",
    ),
    "a program that failed": (
        lambda record: record["problems"].append("abuse ended with 1"),
        "abuse ended with 1",
    ),
}


@pytest.mark.parametrize("plant", PLANTED)
def test_what_is_planted_is_found(record: Record, plant: str) -> None:
    change, finding = PLANTED[plant]
    change(record)
    found = judge.findings(record)
    assert [each for each in found if re.search(finding, each)], found


def test_a_hole_is_excused_for_who_came_anew_and_not_for_who_recovered(record: Record) -> None:
    listener = record["good-node"][1]
    listener["goes"], listener["comes"] = [[300.0, "transport close"]], [[99.0, False], [302.0, False]]
    record["faults"].append({"kind": "worker killed", "machine": "secure", "at": 299.9, "settled": 300.0})
    listener["heard"]["c0"] = [[1, 199], [203, 600]]
    assert judge.findings(record) == []
    record["faults"].pop()
    assert judge.findings(record) == ["c3 came back at 302.0 and had not recovered"]
    listener["comes"][1][1] = True
    assert judge.findings(record) == [
        "c3 missed 3 events: c0's 200 of 300.0, c0's 201 of 301.0, c0's 202 of 302.0"
    ]


def test_what_a_broker_lost_is_excused_between_machines_alone(record: Record) -> None:
    (restart,) = (fault for fault in record["faults"] if fault["kind"] == "broker restarted")
    restart |= {"at": 600.0, "settled": 603.0}
    listener = record["good-node"][1]
    listener["heard"]["c0"] = [[1, 500], [504, 600]]
    assert judge.findings(record) == []
    listener["heard"]["c1"] = [[1, 500], [504, 600]]
    assert judge.findings(record) == [
        "c3 missed 3 events: c1's 501 of 601.0, c1's 502 of 602.0, c1's 503 of 603.0"
    ]


def test_a_short_run_judges_levels_and_no_slope_and_no_speed(record: Record) -> None:
    record["seconds"] = 180
    grown(record, 1, 1.5)
    slow(record)
    assert judge.findings(record) == []
    grown(record, 1, 20.0)
    assert ["a worker of plain has" in each for each in judge.findings(record)] == [True]


def test_the_slope_of_workers_that_were_replaced_is_that_of_their_lives() -> None:
    lives = [[(float(at), 40_000.0 + at % 600 * 2) for at in range(begun, begun + 600)] for begun in (0, 600)]
    assert measure.common_slope(lives) == pytest.approx(2.0)
    assert measure.common_slope([[(at, 7.0) for at, _ in life] for life in lives]) == 0.0


def test_percentiles_are_nearest_ranks() -> None:
    values = [float(each) for each in range(100, 0, -1)]
    assert [measure.percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert measure.percentile([3.0], 0.01) == 3.0


def test_exceptions_of_a_log_are_told_apart_from_the_intended() -> None:
    block = 'ERROR failed\nTraceback (most recent call last):\n  File "a.py", line 1, in f\n    f()\n{}\n'
    log = (
        block.format("RuntimeError: on purpose")
        + "INFO x\n"
        + block.format("pkg.Odd")
        + block.format("KeyError: 1")
    )
    assert measure.tracebacks(log, "RuntimeError: on purpose") == ["pkg.Odd", "KeyError: 1"]


def test_this_process_is_seen_as_it_is() -> None:
    gc.collect()  # what was left to the collector is open no more, then and now
    before = measure.look_at(os.getpid(), 1.0)
    assert before is not None
    with open(os.devnull):
        during = measure.look_at(os.getpid(), 2.0)
    assert during is not None
    assert during.descriptors == before.descriptors + 1
    assert during.threads >= 1
    assert during.resident_kib > 1_000


def test_without_a_tool_it_fails_and_names_it(tmp_path: Path) -> None:
    done = subprocess.run(SOAK, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "redis-server" in done.stderr


@pytest.mark.needs_redis
@pytest.mark.needs_node
@pytest.mark.long
@pytest.mark.extended
def test_an_interrupted_run_ends_its_children_and_keeps_its_findings(tmp_path: Path) -> None:
    outside_tool("redis-server")
    outside_tool("node")
    if not (HERE.parent / "e2e/node_modules/socket.io-client").is_dir():
        missing_tool("the npm packages are missing; run: npm ci --prefix tests/e2e")
    soak = subprocess.Popen([*SOAK, "--folder", str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert soak.stdout is not None
    with soak.stdout:
        said = []
        for line in soak.stdout:
            said.append(line)
            if line.endswith(" quiet\n"):
                soak.send_signal(signal.SIGINT)
        assert soak.wait(PATIENCE_SECONDS) == 130, said
    kept = json.loads((tmp_path / "record.json").read_text())
    assert kept["phases"]["quiet"]
    assert len(kept["good-python"]) + len(kept["good-node"]) == 18
    assert kept["left_processes"] == []
    assert not [pid for pid in kept["roles"] if Path(f"/proc/{pid}").exists()]
