"""Large deployments, in their short form: what each thing costs by the number of machines, who hears what.

It must not need a thousand machines: those are for `make large`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import tables
from large import KEPT, PAGE, RECORD, main, sizes
from order_and_loss import Trial, order_and_loss
from python_server.socketio.adapter import Adapter
from python_server.socketio.cluster.broker.link_status import LinkStatus
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.stream_log import StreamLog
from samples import kept_samples, memory_sample, publish_sample
from simulated_deployment import deployed
from simulated_machine import Stuck
from simulated_traffic import array, reply_bytes
from workloads import (
    CLIENTS_COUNT,
    EVENT,
    IDLE,
    KILLED,
    MEMBERS,
    ONE,
    RETURN,
    ROOM_EVENT,
    START,
    UNNOTICED,
    UNSAVED,
    play,
)

STREAM: dict[str, Any] = {"streams": True, "recovery_seconds": 120.0}
Rows = dict[str, dict[str, float]]


def played(count: int, **more: Any) -> Rows:
    with deployed(1, count, **more) as deployment:
        return play(deployment, idle_seconds=10.0)


@pytest.mark.parametrize("count", [5, 10])
def test_what_things_cost_on_a_channel(count: int) -> None:
    rows = played(count)
    for what in (EVENT, ROOM_EVENT):
        assert (rows[what]["in"], rows[what]["written"], rows[what]["read"]) == (1, 1, count)
        assert rows[what]["encoded"] == 1  # for all clients
    assert rows[EVENT]["delivered"] == count * CLIENTS_COUNT
    assert (rows[ONE]["in"], rows[ONE]["read"]) == (1, count)
    # Each machine, also who asks, hears the question and answers it in one message.
    assert (rows[MEMBERS]["in"], rows[MEMBERS]["read"]) == (1 + count, 2 * count)
    # Its word, on the channel that all share, and at most two to itself, which wake who is to subscribe.
    assert count + 1 <= rows[START]["read"] <= count + 1 + 2
    assert rows[IDLE]["written"] == 0


def test_a_channel_per_room_reaches_the_machines_that_have_it() -> None:
    rows = played(8, per_room=True)
    assert (rows[ROOM_EVENT]["in"], rows[ROOM_EVENT]["read"]) == (1, 3)


def test_a_return_costs_the_same_however_many_machines_there_are() -> None:
    few, many = played(5, **STREAM), played(10, **STREAM)
    for what in (RETURN, UNNOTICED, KILLED):
        for name in ("in", "written", "read"):
            assert few[what][name] == many[what][name]
    assert many[KILLED]["read"] == 0
    assert (few[UNSAVED]["written"], many[UNSAVED]["written"]) == (5 + 1, 10 + 1)  # each is asked
    assert many[EVENT]["read"] == 10


# Who hears what


def trial(streams: bool, seeds: range = range(1, 3), count: int = 8) -> Trial:
    """Of some seeds together."""
    found = [order_and_loss(seed, count, streams, 12.0) for seed in seeds]
    for each in found[1:]:
        found[0].broken += each.broken
        found[0].happened += each.happened
    return found[0]


def test_on_a_channel_what_was_said_while_a_machine_was_cut_off_is_lost_and_no_more() -> None:
    found = trial(False)
    assert found.broken == []
    wanted = ("cut off", "restarted", "broker away", "missed while cut off", "told", "heard")
    assert min(found.happened[name] for name in wanted) > 0


def test_on_a_stream_nothing_is_lost() -> None:
    found = trial(True)
    assert found.broken == []
    wanted = ("cut off", "restarted", "broker away", "recovered elsewhere", "heard")
    assert min(found.happened[name] for name in wanted) > 0


class Spoiled:
    """Of the envelopes for the clients of all machines each hundredth is treated otherwise."""

    def __init__(self, change: Callable[[Envelope], list[Envelope]]) -> None:
        self.change, self.count = change, 0
        self.deliver = Adapter.deliver

    def __call__(self, adapter: Adapter, envelope: Envelope) -> int:
        self.count += 1
        passed = [envelope] if self.count % 100 else self.change(envelope)
        return sum(self.deliver(adapter, each) for each in passed)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("times", "word"), [(0, "lost"), (2, "doubled")])
def test_a_planted_fault_is_found(
    times: int, word: str, streams: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled = Spoiled(lambda envelope: [envelope] * times)
    monkeypatch.setattr(Adapter, "deliver", lambda self, envelope: spoiled(self, envelope))
    assert any(sentence.startswith(word) for sentence in trial(streams, range(1, 2)).broken)


def test_a_planted_change_of_order_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[tuple[Adapter, Envelope]] = []
    deliver, counts = Adapter.deliver, Counter[Adapter]()

    def late(adapter: Adapter, envelope: Envelope) -> int:
        counts[adapter] += 1
        if counts[adapter] % 20 == 0:
            kept.append((adapter, envelope))
            return 0
        count = deliver(adapter, envelope)
        for each in [each for each in kept if each[0] is adapter and counts[adapter] % 20 == 15]:
            kept.remove(each)
            deliver(*each)
        return count

    monkeypatch.setattr(Adapter, "__hash__", object.__hash__, raising=False)
    monkeypatch.setattr(Adapter, "deliver", late)
    assert any("overtaken" in sentence for sentence in trial(False, range(1, 2), 3).broken)


def test_a_machine_that_says_nothing_of_its_cut_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LinkStatus, "_tell", lambda *args: None)
    assert any(sentence.startswith("not told") for sentence in trial(False, range(1, 2)).broken)


def test_a_hole_in_what_is_given_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    missed = StreamLog.missed

    def without_first(*args: Any) -> Any:
        found = missed(*args)
        return found[1:] if isinstance(found, list) else found

    monkeypatch.setattr(StreamLog, "missed", without_first)
    assert any(sentence.startswith("lost") for sentence in trial(True).broken)


def test_machines_that_never_hear_each_other_are_no_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LinkStatus, "up", lambda *args: False)
    with pytest.raises(Stuck), deployed(1, 2):
        pass


# What is counted and said


def test_commands_and_answers_are_as_long_as_in_resp() -> None:
    assert array(b"PUBLISH", b"c", b"x" * 10) == b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$10\r\nxxxxxxxxxx\r\n"
    for value, told in (
        (None, b"$-1\r\n"),
        (b"abc", b"$3\r\nabc\r\n"),
        (12, b":12\r\n"),
        ([b"a", [1, None]], b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n"),
    ):
        assert reply_bytes(value) == len(told)


def test_memory_is_measured_for_each_thing() -> None:
    channel, stream = memory_sample(3, False), memory_sample(3, True)
    assert channel["event_kib"] < 0.1 < stream["event_kib"]  # kept for who returns
    assert min(channel["client_kib"], stream["client_kib"], channel["machine_kib"]) > 1.0


def test_samples_are_those_of_the_kept_record() -> None:
    samples = kept_samples()
    assert 1.0 < samples["read_us"] < samples["read_stream_us"] < 100.0
    assert 0.1 < samples["deliver_us"] < 100.0
    assert samples["session_kib"] > 1.0
    assert publish_sample("x") > 0.0


def test_the_sizes_of_a_run() -> None:
    assert sizes(1_000) == [1, 10, 100, 1_000]
    assert sizes(30) == [1, 10, 30]
    assert sizes(1) == [1]


def test_the_page_has_the_tables_of_the_kept_record() -> None:
    page, record = PAGE.read_text("utf-8"), json.loads(KEPT.read_text("utf-8"))
    made = tables.all_tables(record)
    assert sorted(made) == ["loads", "memory", "messages", "order", "redis"]
    assert tables.put_into(page, made) == page
    assert not any(row["broken"] for row in record["order"]["found"])


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places for the table 'loads'"):
        tables.put_into("nothing", {"loads": []})


def test_the_command_makes_its_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("large.RECORD", tmp_path / "large.json")
    monkeypatch.setattr("large.TRIAL_SECONDS", 3.0)
    monkeypatch.setattr("sys.argv", ["large.py", "--machines", "4", "--parts", "messages,order"])
    assert main() == 0
    record = json.loads((tmp_path / "large.json").read_text("utf-8"))
    assert {row["machines"] for row in record["messages"]["found"]} == {1, 4}
    assert "| channel: an event to everybody |" in capsys.readouterr().out
    assert RECORD.name == "large.json"
