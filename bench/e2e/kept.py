"""The small form of the records, docs/benchmarks/e2e.json: one line per run, only what pages and plots read.
It must not know what a page says, and must not change a figure."""

import json
from pathlib import Path
from typing import Any

KEPT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "e2e.json"
# Of a record beside its runs, of a run beside its result, and of a result.
HEADER = (
    "label",
    "command",
    "commit",
    "started",
    "ended",
    "cut_short",
    "machine",
    "versions",
    "not_installed",
)
HEADER += ("settings", "load_average_before", "load_average_after")
RUN = ("round", "scenario", "room", "server", "error", "per_second", "cpu_us_per_message")
RESULT = ("unit", "seconds", "per_second", "per_server_cpu_second", "server_cpu_seconds", "generator_load")
RESULT += ("other_cpu_seconds", "steal_seconds", "out_of_order", "kib_per_connection", "window_seconds")
RESULT += ("window_other_cpu_seconds", "window_server_share", "deflate", "uncompressed", "rate", "late_us")
LATENCY = ("p50", "p90", "p99", "p999")
PATHS = [(key,) for key in RUN] + [("result", key) for key in RESULT]
PATHS += [("result", "latency_us", key) for key in LATENCY]

Record = dict[str, Any]


def _at(run: Record, path: tuple[str, ...]) -> Any:
    """None where the run has no such figure."""
    found: Any = run
    for key in path:
        found = found.get(key) if found is not None else None
    return found


def condensed(record: Record) -> Record:
    """Columns that no run has a figure in are left out."""
    runs = record["runs"]
    columns = [path for path in PATHS if any(_at(run, path) is not None for run in runs)]
    rows = [[_at(run, path) for path in columns] for run in runs]
    header = {key: record[key] for key in HEADER if key in record}
    return {**header, "columns": [".".join(path) for path in columns], "runs": rows}


def expanded(small: Record) -> Record:
    """As the run wrote it, without what was left out."""
    columns = [name.split(".") for name in small["columns"]]
    runs: list[Record] = []
    for row in small["runs"]:
        run: Record = {}
        for path, value in zip(columns, row, strict=True):
            if value is not None:
                place = run
                for key in path[:-1]:
                    place = place.setdefault(key, {})
                place[path[-1]] = value
        runs.append(run)
    return {**{key: value for key, value in small.items() if key != "columns"}, "runs": runs}


def load(path: Path = KEPT) -> dict[str, Record]:
    """By label."""
    return {label: expanded(small) for label, small in json.loads(path.read_text()).items()}


def _text(small: Record) -> str:
    fields = [f'  "{key}": {json.dumps(value)}' for key, value in small.items() if key != "runs"]
    rows = ",\n".join(f"   {json.dumps(row, separators=(',', ':'))}" for row in small["runs"])
    return ",\n".join([*fields, f'  "runs": [\n{rows}\n  ]'])


def save(records: dict[str, Record], path: Path = KEPT) -> None:
    """One line per run: a new record is a readable difference."""
    parts = [f' "{label}": {{\n{_text(condensed(record))}\n }}' for label, record in records.items()]
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")
