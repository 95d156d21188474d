"""A campaign: seeds are played one after the other; what fails is made small, kept, and can be replayed.

It must not know what is played: a machine makes a record (a list that JSON can hold) of a seed, and plays it.
"""

from __future__ import annotations

import copy
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "fuzz"
VECTORS = ROOT / "tests" / "vectors" / "fuzz"
SEEDS_OF_ONE = 1_000_000  # conversation N of seed S has the seed S * 1000000 + N
TRIALS_MAX_COUNT, TRIALS_SECONDS = 400, 120.0  # to make one record small
Record = list[Any]


class Fault(AssertionError):
    """An oracle has spoken. kind: which one; what has the same kind is the same finding."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


class Player(Protocol):
    """Port: a machine."""

    NAME: str

    def make(self, seed: int) -> Record:
        """The record of a seed."""

    def play(self, seed: int, record: Record) -> Counter[str]:
        """What was done, counted. Raises Fault; ValueError for a record that fits the machine no more."""

    def close(self) -> None:
        """What it has started ends."""


def fault_of(player: Player, seed: int, record: Record) -> Fault | None:
    try:
        player.play(seed, record)
    except Fault as fault:
        return fault
    return None


def minimised(player: Player, seed: int, record: Record, kind: str) -> Record:
    """A shorter record with the same finding: greedy, operations first, then texts."""
    trials, end = iter(range(TRIALS_MAX_COUNT)), time.monotonic() + TRIALS_SECONDS

    def fails(shorter: Record) -> bool:
        if next(trials, None) is None or time.monotonic() > end:
            return False
        try:
            fault = fault_of(player, seed, shorter)
        except Exception:  # it fits no more
            return False
        return fault is not None and fault.kind == kind

    size = max(1, len(record) // 2)
    while size:
        at = 0
        while at < len(record):
            shorter = record[:at] + record[at + size :]
            if shorter and fails(shorter):
                record = shorter
            else:
                at += size
        size //= 2
    at = 0
    while at < len(record):
        for shorter in _smaller(record[at]):
            trial = [*record[:at], shorter, *record[at + 1 :]]
            if fails(trial):
                record = trial
                break
        else:
            at += 1
    return record


def _smaller(operation: Any) -> Iterator[Any]:
    """The operation without one field, with half of a text, with fewer repetitions."""
    if isinstance(operation, list):
        for at, part in enumerate(operation):
            cut: list[Any] = []
            if isinstance(part, list) and part[:1] == ["*"]:
                cut = [["*", part[1], part[2] // 2], ["*", part[1], part[2] // 16]]
            elif isinstance(part, list) and part and isinstance(part[0], list):
                cut = [part[:each] + part[each + 1 :] for each in range(len(part))]
            elif isinstance(part, str) and len(part) > 8 and at > 1:
                cut = [part[: len(part) // 2], part[len(part) // 2 :], part[:-1]]
            for smaller in cut:
                changed = copy.copy(operation)
                changed[at] = smaller
                yield changed


def keep(player: Player, seed: int, record: Record, fault: Fault) -> Path:
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"{player.NAME}-{seed}.json"
    kept = {"machine": player.NAME, "seed": seed, "what": str(fault)[:2000], "record": record}
    path.write_text(json.dumps(kept, ensure_ascii=True) + "\n", "utf-8")
    return path


def load(path: Path, players: dict[str, Player]) -> tuple[Player, int, Record]:
    """A kept record. Raises ValueError, with the file's name, for one that no machine here can play."""
    try:
        kept = json.loads(path.read_text("utf-8"))
        return players[kept["machine"]], int(kept["seed"]), list(kept["record"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} is no record of a machine here: {error!r}") from None


def campaign(
    player: Player,
    seed: int,
    count: int | None,
    seconds: float | None,
    done: Counter[str],
    found: list[Path],
) -> None:
    """So many conversations, or for so long; a kind that was found before is counted, not kept again.

    Args:
        done, found: what was done, and where findings are kept; they are there too if this is interrupted.
    """
    kinds: set[str] = set()
    began = time.monotonic()
    while (count is None or done["conversations"] < count) and (
        seconds is None or time.monotonic() - began < seconds
    ):
        own = seed * SEEDS_OF_ONE + done["conversations"]
        done["conversations"] += 1
        record = player.make(own)
        try:
            done.update(player.play(own, record))
        except Fault as fault:
            done["findings"] += 1
            if fault.kind in kinds:
                continue
            kinds.add(fault.kind)
            found.append(keep(player, own, record, fault))  # first of all: the rest may be interrupted
            after = f"conversation {done['conversations']}, {time.monotonic() - began:.1f} s"
            print(f"{player.NAME}, {after}: {found[-1]}\n  {str(fault)[:1500]}", flush=True)
            keep(player, own, minimised(player, own, record, fault.kind), fault)
