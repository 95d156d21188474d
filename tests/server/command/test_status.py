"""What `wsframe status` makes of the answers of workers, and which server a command is for.

It must not know sockets or processes: answers are given.
"""

import builtins
import json
from bisect import bisect_left
from itertools import pairwise
from typing import Any

import pytest
from click.testing import CliRunner, Result

from python_server.command import running, status, top
from python_server.command.cli import main
from python_server.command.status import lines, measure, quantile, summary
from python_server.control.places import Server
from python_server.monitoring.figures import BOUNDS, ROW_LENGTH
from python_server.serve.inspection import WATCH_SECONDS

SHOP = Server(10, ["127.0.0.1:8000"], "/run/c.sock")
BLOG = Server(20, ["unix:/run/blog.sock"], "/run/wsframe/b.sock")
POOL = {"threads_count": 3, "running_count": 1, "waiting_count": 0, "wait_seconds": 0.0}


def row(*seconds: float) -> list[float]:
    made = [0.0] * ROW_LENGTH
    for value in seconds:
        made[bisect_left(BOUNDS, value)] += 1
        made[-1] += value
    return made


def answer(worker: int, moment: float, received: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "worker": worker,
        "process": 10 + worker,
        "age_seconds": 7300.0,
        "moment": moment,
        "lag_seconds": 0.0004,
        "connections": 2,
        "sessions": 1,
        "events_received": received,
        "handlers": [],
        "pools": {"threads": POOL, "event-threads": POOL | {"waiting_count": 7}},
        "memory_bytes": 50 * 2**20,
        "counters": {"requests": 5},
        "rooms": [],
        "slow_clients": [],
    } | more


@pytest.mark.parametrize(
    ("seconds", "share", "low", "high"),
    [
        ([0.003] * 10, 0.5, 0.0025, 0.005),
        ([0.003] * 99 + [0.3], 0.5, 0.0025, 0.005),
        ([0.003] * 98 + [0.3] * 2, 0.99, 0.25, 0.5),
        ([0.0001], 0.99, 0, 0.0005),
        ([60.0], 0.5, BOUNDS[-1], BOUNDS[-1]),
    ],
)
def test_a_quantile_lies_in_its_bucket(seconds: list[float], share: float, low: float, high: float) -> None:
    found = quantile(row(*seconds), share)
    assert found is not None
    assert low <= found <= high


def test_nothing_has_no_quantile() -> None:
    assert quantile(row(), 0.5) is None


def test_what_happened_between_two_answers() -> None:
    before = {11: answer(1, 100.0, 50, handlers=[["/", "old", row(5.0)], ["/", "say", row(0.002)]])}
    after = {
        11: answer(1, 102.0, 90, handlers=[["/", "old", row(5.0)], ["/", "say", row(0.002, 0.04)]]),
        12: None,
        13: {"worker": 3, "process": 13, "stands_still": "/srv/a.py:3 in price"},
        14: {"error": "Invalid enum value"},  # of another version
    }
    told = summary(SHOP, before, after)
    by_process = {each["process"]: each for each in told["workers"]}
    assert by_process[11]["events_per_second"] == 20
    assert 0.025 <= by_process[11]["p50_seconds"] <= 0.05
    assert by_process[12] == {"worker": None, "process": 12, "stands_still": ""}
    assert by_process[14]["stands_still"] == "Invalid enum value"
    assert by_process[13]["stands_still"] == "/srv/a.py:3 in price"
    assert [(each["event"], each["count"]) for each in told["slowest_events"]] == [("say", 1)]


def test_a_worker_that_began_anew_and_one_that_is_new_have_no_rate_below_zero() -> None:
    before = {11: answer(1, 100.0, 50, handlers=[["/", "say", row(0.002, 0.002)]])}
    after = {11: answer(1, 101.0, 5, handlers=[["/", "say", row(0.002)]]), 12: answer(2, 101.0, 8)}
    told = summary(SHOP, before, after)
    assert [each["events_per_second"] for each in told["workers"]] == [5, 0]
    assert told["slowest_events"][0]["count"] == 1


def test_rooms_of_several_workers_are_added_and_the_biggest_come_first() -> None:
    def rooms(**sizes: int) -> list[dict[str, Any]]:
        return [{"namespace": "/", "room": room, "clients": size} for room, size in sizes.items()]

    slow = [{"address": "192.0.2.1:5", "unsent_bytes": 70_000}]
    after = {
        11: answer(1, 1.0, rooms=rooms(a=5, b=3), slow_clients=slow),
        12: answer(2, 1.0, rooms=rooms(b=4, c=1, d=1, e=1, f=1), slow_clients=slow),
    }
    told = summary(SHOP, {}, after)
    assert [(each["room"], each["clients"]) for each in told["biggest_rooms"][:2]] == [("b", 7), ("a", 5)]
    assert len(told["biggest_rooms"]) == 5
    assert told["slow_clients"] == slow * 2  # two connections


def test_lines_fit_a_terminal() -> None:
    workers = {10 + n: answer(n, 1.0, connections=99_999, sessions=99_999) for n in range(1, 31)}
    workers[41] = None  # type: ignore[assignment]
    told = summary(SHOP, {}, workers)
    shown = lines(told)
    assert shown[0] == "process 10, 127.0.0.1:8000"
    assert shown[2] == "?   41      stands still"
    assert shown[3] == "1   11      2h   99999 99999 0      -      -      0.4ms  1/3     1/3+7   50M"
    assert max(map(len, shown)) <= 80
    fitted = lines(told, 24)
    assert len(fitted) <= 24
    assert fitted[2] == "?   41      stands still"
    assert "... 20 more workers" in fitted


def test_who_did_not_answer_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask_workers(control: str, method: str, timeout: float, now: object, besides: Any = ()) -> Any:
        asked.append([*besides])
        return {11: answer(1, 1.0)} if besides else {11: answer(1, 0.0), 12: None}

    monkeypatch.setattr(status, "ask_workers", ask_workers)
    told = measure(SHOP, 0.0, 1.0)
    assert asked == [[], [12]]
    assert [each["process"] for each in told["workers"]] == [12, 11]


def test_while_it_measures_workers_go_on_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was not asked for WATCH_SECONDS counts no more, and would begin at 0."""
    now, asked = 0.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def ask_workers(*arguments: object, besides: Any = ()) -> Any:
        asked.append(now)
        return {11: answer(1, now)}

    monkeypatch.setattr(status, "ask_workers", ask_workers)
    monkeypatch.setattr(status.time, "sleep", sleep)
    measure(SHOP, 33.0, 1.0)
    assert (asked[0], asked[-1]) == (0.0, 33.0)
    assert max(b - a for a, b in pairwise(asked)) < WATCH_SECONDS


def run(*arguments: str, found: list[Server], monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.delenv("WSFRAME_PORT", raising=False)
    monkeypatch.setattr(running, "servers", lambda: found)
    monkeypatch.setattr(
        status, "ask_workers", lambda control, *rest, **more: {11: answer(1, 1.0, control=control)}
    )
    return CliRunner().invoke(main, ["status", "--during", "0", *arguments], prog_name="wsframe")


@pytest.mark.parametrize(
    ("options", "process"),
    [
        (["--port", "8000"], 10),
        (["--bind", "127.0.0.1:8000"], 10),
        (["--bind", "unix:/run/blog.sock"], 20),
        (["-b", "unix:/run/../run/blog.sock"], 20),
        (["--control-socket", "/run/wsframe/b.sock"], 20),
        (["--port", "8000", "--control-socket", "/run/wsframe/b.sock"], 20),
    ],
)
def test_options_choose(options: list[str], process: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("--json", *options, found=[SHOP, BLOG], monkeypatch=monkeypatch)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["process"] == process


def test_the_only_one_needs_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(found=[BLOG], monkeypatch=monkeypatch).output.startswith("process 20, unix:/run/blog.sock\n#")


SEVERAL = "; ".join(
    (
        "--port 8000 (process 10, 127.0.0.1:8000)",
        "--bind unix:/run/blog.sock (process 20, unix:/run/blog.sock)",
    )
)


@pytest.mark.parametrize(
    ("options", "found", "said"),
    [
        ([], [SHOP, BLOG], f"several servers run here, name one: {SEVERAL} [several-servers]"),
        ([], [], " runs on this machine [no-running-server]"),
        (["--port", "81"], [SHOP, BLOG], f" has --port 81; there are {SEVERAL} [no-running-server]"),
        (["--bind", "unix:/x"], [], " has --bind unix:/x [no-running-server]"),
        (["--control-socket", "/x"], [], " has --control-socket /x [no-running-server]"),
    ],
)
def test_none_or_several_are_said_in_one_line(
    options: list[str], found: list[Server], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(*options, found=found, monkeypatch=monkeypatch)
    assert done.exit_code == 1
    assert done.output.endswith(f"{said}\n")
    assert done.output.count("\n") == 1


@pytest.mark.parametrize("option", ["--during", "--timeout"])
@pytest.mark.parametrize("value", ["-1", "nan", "61", "inf"])
def test_seconds_have_bounds(option: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(option, value, found=[SHOP], monkeypatch=monkeypatch)
    assert done.exit_code == 2
    assert f"Invalid value for '{option}': it is a number of seconds from 0 to 60" in done.output


def test_without_rich_top_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("rich"):
            raise ModuleNotFoundError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(top, "chosen", lambda *options: SHOP)
    done = CliRunner().invoke(main, ["top"], prog_name="wsframe")
    assert done.exit_code == 1
    assert done.output == (
        'Error: `wsframe top` draws with rich: pip install "wsframe[top]" [missing-package]\n'
    )
