"""The whole server's fuzzers, bounded; what was once found stays mended; and each oracle sees what it is for.

It must not need more than a minute: `make fuzz` runs longer, with seeds of its own.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h11")
pytest.importorskip("wsproto")
sys.path.insert(0, str(Path(__file__).parent))

from findings import VECTORS, Fault, campaign, fault_of, load, minimised
from fuzz import MACHINES, player_of

from python_server.socketio.adapter import Adapter
from python_server.socketio.dispatcher import Dispatcher

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts what /proc shows")
HERE = Path(__file__).parent
PLAYERS = {name: player_of(name) for name in MACHINES}
# What a bounded run must have come to at least once, beyond what any run must.
REACHED = {
    "server": ("messages", "close 1002", "flooded bytes", "status 400", "status 101"),
    "model": ("upgraded", "clients"),
    "codec": (),
    "work": ("lines",),
    "http": ("refused by us", "messages"),
    "wires": ("control messages", "broker messages", "link messages", "records messages", "refusals"),
    "live": ("failures told", "messages"),
}
COUNTS = {"server": 100, "model": 60, "codec": 200, "work": 12, "http": 150, "wires": 100, "live": 12}
SEED = 7


@pytest.fixture(autouse=True)
def kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("findings.KEPT", tmp_path)


@pytest.fixture(autouse=True, scope="module")
def nothing_left_to_the_collector() -> None:
    """Of tests before these, whose descriptors would end while they are counted."""
    gc.collect()


@pytest.mark.parametrize("name", MACHINES)
def test_nothing_is_found(name: str) -> None:
    done: Counter[str] = Counter()
    found: list[Path] = []
    try:
        campaign(PLAYERS[name], SEED, COUNTS[name], None, done, found)
    finally:
        PLAYERS[name].close()
    assert not found, [path.read_text("utf-8")[:3000] for path in found]
    assert all(done[what] for what in (*MACHINES[name][3], *REACHED[name])), done


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_parsers_guided_by_coverage(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "atheris_parsers.py"), "-runs=10000", "-max_len=400"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 10000 runs" in done.stderr, done.stderr[-500:]


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_found_once_stays_mended(path: Path) -> None:
    player, seed, record = load(path, PLAYERS)
    try:
        fault = fault_of(player, seed, record)
    except (ValueError, TypeError, KeyError) as error:
        pytest.fail(f"{path.name} does not fit the machine any more: {error!r}")
    assert fault is None, f"{path.name}: {fault}"


def test_a_record_that_fits_no_more_is_named(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"machine": "gone", "seed": 1, "record": []}), "utf-8")
    with pytest.raises(ValueError, match=r"old\.json is no record"):
        load(path, PLAYERS)
    for name, operation in (("server", ["whisper", "c0"]), ("model", ["whisper", "a"])):
        with pytest.raises(ValueError, match="no operation of a"):
            PLAYERS[name].play(1, [operation])


class Planted:
    """Stands for `Adapter.deliver`: every fifth broadcast fares badly."""

    def __init__(self, how: str) -> None:
        self._how = how
        self._deliver = Adapter.deliver
        self._count = 0
        self._kept: list[Any] = []

    def __call__(self, adapter: Adapter, envelope: Any) -> int:
        self._count += 1
        chosen = self._count % 5 == 0
        if chosen and self._how == "swap":
            self._kept.append((adapter, envelope))
            return 0
        if chosen and self._how == "loss":
            return 0
        told = self._deliver(adapter, envelope)
        if chosen and self._how == "duplicate":
            self._deliver(adapter, envelope)
        while self._kept:
            self._deliver(*self._kept.pop())
        return told


@pytest.mark.parametrize("how", ["swap", "loss", "duplicate"])
def test_the_model_sees_a_planted_fault(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = PLAYERS["model"]
    planted = Planted(how)
    monkeypatch.setattr(Adapter, "deliver", lambda adapter, envelope: planted(adapter, envelope))
    faults = [fault_of(model, seed, model.make(seed)) for seed in range(20)]
    kinds = {fault.kind for fault in faults if fault is not None}
    assert kinds <= {"another packet", "a packet too many", "packets are missing"}
    assert len(kinds) > 0
    assert sum(fault is not None for fault in faults) >= 5


def test_the_model_sees_an_event_that_never_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    dispatch, count = Dispatcher._dispatch, iter(range(1_000_000))

    def lose(dispatcher: Dispatcher, socket: Any, packet: Any) -> None:
        if next(count) % 9 != 5:
            dispatch(dispatcher, socket, packet)

    monkeypatch.setattr(Dispatcher, "_dispatch", lose)
    model = PLAYERS["model"]
    faults = [fault_of(model, seed, model.make(seed)) for seed in range(10)]
    assert {fault.kind for fault in faults if fault is not None} == {"events on their way in"}


def test_the_differential_sees_a_length_that_is_read_beside_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that reads Content-Length where Transfer-Encoding stands too: smuggling (RFC 9112 11.2)."""

    def judge(version: tuple[int, int], fields: Any) -> int | None:
        length = fields.get("content-length")
        return int(length) if length is not None and length.isdigit() else 0

    monkeypatch.setattr("python_server.http1.head._body_length", judge)
    http = PLAYERS["http"]
    faults = [fault_of(http, seed, http.make(seed)) for seed in range(200)]
    assert any(fault is not None for fault in faults)


def test_a_finding_is_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    server = PLAYERS["server"]

    def play(seed: int, record: Any) -> Counter[str]:
        if any(operation[0] == "http" and "Cookie" in str(operation[4]) for operation in record):
            raise Fault("a cookie")
        return Counter()

    monkeypatch.setattr(server, "play", play, raising=False)
    seed = next(seed for seed in range(1000) if fault_of(server, seed, server.make(seed)) is not None)
    small = minimised(server, seed, server.make(seed), "a cookie")
    assert len(small) == 1
    assert small[0][4] == [["Cookie", "a=b; c=d"]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_tells_what_it_did(number: int) -> None:
    command = [sys.executable, str(HERE / "fuzz.py"), "--seconds", "3000", "--machines", "model"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert "begins" in run.stdout.readline()
        run.send_signal(number)
        said = run.stdout.read()
    assert run.returncode == 130
    assert "model, seed 1: {" in said


def test_a_machine_that_did_nothing_fails() -> None:
    command = [sys.executable, str(HERE / "fuzz.py"), "--count", "0", "--machines", "model", "live"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "model did nothing: no packets" in done.stdout
    assert "live did nothing" in done.stdout
