"""What a large deployment costs: python tests/simulation/large.py (make large MACHINES=1000).

It must not know how machines are simulated, or what a table looks like. The parts may be run one by one:
what one has measured is put into the record, out of which the tables of docs/scaling.md are made.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parent / "common")]

import tables  # noqa: E402
from order_and_loss import order_and_loss  # noqa: E402
from samples import kept_samples, memory_sample, publish_sample, redis_samples  # noqa: E402
from simulated_deployment import deployed  # noqa: E402
from workloads import PAD, play  # noqa: E402

ROOT = HERE.parents[1]
RECORD = ROOT / "build" / "large.json"
KEPT = ROOT / "docs" / "benchmarks" / "large.json"
PAGE = ROOT / "docs" / "scaling.md"
KINDS: dict[str, dict[str, Any]] = {
    "channel": {},
    "channel per room": {"per_room": True},
    "stream": {"streams": True, "recovery_seconds": 120.0},
}
SEED = 1
MEMORY_MACHINES = (10, 50)
TRIAL_SECONDS = 30.0
LARGE_COUNT, LARGE_TRIAL_SECONDS = 500, 10.0  # for that and more machines


def sizes(machines: int) -> list[int]:
    """Powers of ten, and so many."""
    return sorted({size for size in (1, 10, 100) if size < machines} | {machines})


def count_messages(machines: int) -> list[dict[str, Any]]:
    found = []
    for size in sizes(machines):
        for kind, more in KINDS.items():
            with deployed(SEED, size, **more) as deployment:
                rows = play(deployment)
            found += [
                {"machines": size, "kind": kind, "what": what, **{k: round(v, 1) for k, v in row.items()}}
                for what, row in rows.items()
            ]
    return found


def try_order(machines: int) -> list[dict[str, Any]]:
    found = []
    for size in sizes(machines)[1:]:
        for kind in ("channel", "stream"):
            seconds = TRIAL_SECONDS if size < LARGE_COUNT else LARGE_TRIAL_SECONDS
            trial = order_and_loss(SEED, size, kind == "stream", seconds)
            found.append(
                {"machines": size, "kind": kind, **dict(trial.happened), "broken": trial.broken[:10]}
            )
    return found


def measure_memory() -> list[dict[str, Any]]:
    return [
        {"machines": size, "kind": kind, **{k: round(v, 3) for k, v in memory_sample(size, streams).items()}}
        for kind, streams in (("channel", False), ("stream", True))
        for size in MEMORY_MACHINES
    ]


def commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=1_000)
    parser.add_argument("--parts", default="samples,redis,messages,order,memory", help="those to be run")
    parser.add_argument("--rounds", type=int, default=3, help="of what is measured at Redis")
    parser.add_argument(
        "--keep", action="store_true", help="make the record and the page's tables of this run"
    )
    given = parser.parse_args()
    parts: dict[str, Callable[[], Any]] = {
        "samples": lambda: {**kept_samples(), "publish_us": publish_sample(PAD)},
        "redis": lambda: redis_samples(given.rounds),
        "messages": lambda: count_messages(given.machines),
        "order": lambda: try_order(given.machines),
        "memory": measure_memory,
    }
    chosen = given.parts.split(",") if given.parts else []
    if "redis" in chosen and shutil.which("redis-server") is None:
        parser.error("redis-server is not installed: leave out the part `redis`")
    record: dict[str, Any] = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}
    for name in chosen:
        began = time.monotonic()
        record[name] = {"commit": commit(), "machines": given.machines, "found": parts[name]()}
        RECORD.parent.mkdir(exist_ok=True)
        RECORD.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    made = tables.all_tables(record)
    print("\n\n".join("\n".join(lines) for lines in made.values()))
    if given.keep:
        KEPT.write_text(json.dumps(record, separators=(",", ":")).replace("},{", "},\n{") + "\n", "utf-8")
        PAGE.write_text(tables.put_into(PAGE.read_text("utf-8"), made), "utf-8")
    broken = [sentence for row in record.get("order", {}).get("found", []) for sentence in row["broken"]]
    print(*broken, sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
