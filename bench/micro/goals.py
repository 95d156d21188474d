"""What ours is held to, and against whom: one entry per task and form of ours.

It must not measure; a goal is a ratio of rates in the same round, above 1 where ours is faster.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from cases import is_limit, is_ours

Seconds = Mapping[str, Sequence[float]]  # of each peer, a figure per round


@dataclass(frozen=True, slots=True)
class Goal:
    """`task` may have wildcards.

    `against` is a name; "peers" is the fastest of them in each round, "limit" what the machine allows.
    `size`: ours may write at most so many times the bytes that the other one writes.
    """

    task: str
    ours: str
    against: str
    ratio: float
    size: float | None = None


FORMS = ("wsframe", "wsframe_connection", "wsframe_buffer")
MASK_SIZES = (16, 128, 1024, 16_384, 1 << 20)
GOALS = (
    *(Goal("server receives *", form, "peers", 1.2) for form in FORMS),
    *(Goal("client receives *", form, "peers", 1.0) for form in FORMS),
    *(Goal("client receives CJK text, 1 MiB", form, "peers", 1.2) for form in FORMS),
    Goal("server receives binary, 32 B", "wsframe", "picows", 3.0),
    Goal("server receives binary, 32 B, all in one read", "wsframe", "picows", 3.0),
    Goal("server receives binary, 1 MiB, all in one read", "wsframe", "peers", 2.0),
    Goal("receive a frame of 32 B, the call alone", "wsframe_connection", "wsframe", 1 / 2),
    Goal("server sends binary, 32 B", "wsframe", "picows", 2.0),
    Goal("client sends binary, 32 B", "wsframe_connection", "peers", 1.0),
    Goal("encode a message of 32 B, the call alone", "wsframe_connection", "wsframe", 1 / 1.4),
    Goal("deflate with*: server sends JSON of 2.5 KB", "wsframe_zlib", "websockets", 1.0),
    Goal("deflate with*: server sends JSON of 2.5 KB", "wsframe_zlib_ng", "websockets", 1.2),
    Goal("deflate with*: server sends JSON of 2.5 KB", "wsframe_isal", "websockets", 1.5, size=1.15),
    Goal("deflate with*: server receives *", "wsframe_zlib", "websockets", 1.0),
    Goal("deflate with*: server receives *", "wsframe_zlib", "aiohttp", 1.0),
    Goal("deflate with*: server receives *", "wsframe_zlib_ng", "aiohttp_zlib_ng", 1.0),
    Goal("echo on *", "wsframe", "picows", 1.0),
    *(Goal(f"mask {size} B in place", "wsframe", "peers", 1.0) for size in MASK_SIZES),
    *(Goal(f"mask {size} B copying", "wsframe", "peers", 1.0) for size in MASK_SIZES),
    Goal("mask 1048576 B in place", "wsframe", "limit", 0.9),
    Goal("text of 1 MiB in one read, *", "wsframe", "limit", 0.8),
)


def goals_of(task: str) -> Iterator[Goal]:
    return (goal for goal in GOALS if fnmatchcase(task, goal.task))


def results_of(task: str, seconds: Seconds, wire_bytes: Mapping[str, int | None]) -> list[dict[str, Any]]:
    """Each goal of the task with its ratio; left out where ours or every other one did not run."""
    found = []
    for goal in goals_of(task):
        ratio = ratio_of(seconds, goal.ours, goal.against)
        if ratio is None:
            continue
        entry = {"goal": goal.ratio, "ours": goal.ours, "against": goal.against, **ratio}
        if goal.size is not None:
            ours, other = wire_bytes[goal.ours], wire_bytes[ratio["other"]]
            if ours is None or other is None:
                raise RuntimeError(f"{task}: nobody counted the bytes")
            entry |= {"size_goal": goal.size, "size": ours / other}
        found.append(entry)
    return found


def is_met(entry: Mapping[str, Any]) -> bool:
    if entry["ratio"] < entry["goal"]:
        return False
    return "size" not in entry or entry["size"] <= entry["size_goal"]


def ratio_of(seconds: Seconds, ours: str, against: str) -> dict[str, Any] | None:
    """The median of the rounds' own ratios, with its quartiles; `other` is the fastest over all rounds."""
    others = [name for name in seconds if name != ours and _is_meant(name, against)]
    if ours not in seconds or not others:
        return None
    fastest = min(others, key=lambda name: statistics.median(seconds[name]))
    each = [min(seconds[name][i] for name in others) / one for i, one in enumerate(seconds[ours])]
    low, middle, high = statistics.quantiles(each, n=4) if len(each) > 1 else each * 3
    return {"other": fastest, "ratio": middle, "low": low, "high": high}


def _is_meant(name: str, against: str) -> bool:
    if against == "limit":
        return is_limit(name)
    if against == "peers":
        return not is_ours(name) and not is_limit(name)
    return name == against
