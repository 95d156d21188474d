"""The tables of docs/scaling.md, out of the record of `make large`.

It must not know how anything was measured. What is calculated stands in a table that says so in its head.
"""

from __future__ import annotations

import re
from typing import Any

from workloads import (
    EVENT,
    IDLE,
    KILLED,
    MEMBERS,
    ONE,
    RETURN,
    ROOM_CLIENTS_COUNT,
    ROOM_EVENT,
    ROOM_MACHINES_COUNT,
    ROOMS,
    START,
    TOGETHER,
    UNNOTICED,
    UNSAVED,
)

Record = dict[str, Any]
Row = dict[str, Any]
SHOWN = (
    ("channel", (EVENT, ROOM_EVENT, ONE, MEMBERS, ROOMS, START, IDLE)),
    ("channel per room", (ROOM_EVENT,)),
    ("stream", (EVENT, TOGETHER, ONE, RETURN, UNNOTICED, UNSAVED, KILLED, START, IDLE)),
)
SAID_PER_SECOND = 10  # by each machine, in the table of loads
CLIENTS_COUNT = 1_000  # of each machine
SMALL_BYTES = 150


def amount(number: float) -> str:
    """With as many digits as one reads."""
    if number >= 100 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 1 else f"{number:.2g}"


def rounded(number: float) -> str:
    """To three digits."""
    return f"{float(f'{number:.3g}'):,.0f}" if number >= 10 else f"{number:.2g}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Of Markdown; the first column is words, the others are numbers."""
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def messages(found: list[Row]) -> list[str]:
    """Commands to Redis, messages that machines read, bytes out of Redis."""
    sizes = sorted({row["machines"] for row in found})
    by_place = {(row["kind"], row["what"], row["machines"]): row for row in found}
    rows = []
    for kind, things in SHOWN:
        for what in things:
            cells = []
            for size in sizes:
                row = by_place.get((kind, what, size))
                if row is None:
                    cells.append("")
                else:
                    numbers = (amount(row["in"]), amount(row["read"]), amount(row["out bytes"] / 1000))
                    cells.append("{} + {}, {} KB".format(*numbers))
            rows.append([f"{kind}: {what}", *cells])
    return table(["measured", *(f"{size:,} machine{'s' * (size > 1)}" for size in sizes)], rows)


def _cost(rows: list[Row], kind: str, readers: int, together: int, size_bytes: int = SMALL_BYTES) -> float:
    """Microseconds of Redis for a message; between two numbers of readers a line."""
    found = {
        row["readers"]: row["cpu_us_per_message"]
        for row in rows
        if (row["kind"], row["together"], row["payload_bytes"]) == (kind, together, size_bytes)
    }
    if readers in found:
        return float(found[readers])
    low = max((n for n in found if n < readers), default=min(found))
    high = min(n for n in found if n > low)
    return float(found[low] + (found[high] - found[low]) * (readers - low) / (high - low))


def redis(found: Record) -> list[str]:
    """Messages a second that fill one core of Redis."""
    rows = found["rows"]
    lines = []
    for size_bytes in sorted({row["payload_bytes"] for row in rows}):
        for readers in sorted({row["readers"] for row in rows}):
            cells = [
                rounded(1e6 / _cost(rows, kind, readers, together, size_bytes))
                for kind in ("channel", "stream")
                for together in (1, 50)
            ]
            lines.append([f"{readers:,}, {size_bytes:,} bytes", *cells])
    head = ["measured: machines that read", "channel, one by one", "channel, 50 at once"]
    return table([*head, "stream, one by one", "stream, 50 at once"], lines)


def _share(seconds: float) -> str:
    """Of one core."""
    return f"{100 * seconds:.2f} %" if seconds < 0.01 else f"{rounded(100 * seconds)} %"


def loads(record: Record) -> list[str]:
    """What the counts and the samples make of a load: calculated."""
    samples, rows = record["samples"]["found"], record["redis"]["found"]["rows"]
    lines = []
    for size in (10, 100, 1_000):
        said = size * SAID_PER_SECOND
        heard_here = said * min(size, ROOM_MACHINES_COUNT) / size
        cells = [f"{said:,}"]
        for kind, readers, read_us, heard in (
            ("channel", size, samples["read_us"], said),
            ("stream", size, samples["read_stream_us"], said),
            ("channel", ROOM_MACHINES_COUNT, samples["read_us"], heard_here),
        ):
            low, high = (said * _cost(rows, kind, readers, together) / 1e6 for together in (50, 1))
            own_us = samples["publish_us"] + ROOM_MACHINES_COUNT * ROOM_CLIENTS_COUNT * samples["deliver_us"]
            own = (heard * read_us + SAID_PER_SECOND * own_us) / 1e6
            cells += [f"{_share(low)} to {_share(high)}", _share(own)]
        lines.append([f"{size:,}", *cells])
    head = ["calculated: machines", "events/s"]
    for kind in ("channel", "stream", "channel per room"):
        head += [f"{kind}: Redis", "each machine"]
    return table(head, lines)


def memory(record: Record) -> list[str]:
    """KiB of Python's objects: measured, and what that makes of a thousand machines."""
    session_kib = record["samples"]["found"]["session_kib"]
    lines = []
    for row in record["memory"]["found"]:
        names = ("machine_kib", "client_kib", "peer_kib", "event_kib")
        cells = [f"{max(0.0, row[name]):.2f}" for name in names]
        lines.append([f"{row['kind']}, {row['machines']} machines", *cells, ""])
    for kind in ("channel", "stream"):
        row = [each for each in record["memory"]["found"] if each["kind"] == kind][-1]
        more_kib = max(0.0, row["peer_kib"]) * 1_000
        whole = (row["machine_kib"] + more_kib + CLIENTS_COUNT * session_kib) / 1024
        lines.append(
            [f"{kind}, 1,000 machines, calculated", "", "", f"{more_kib:.0f} in all", "", f"{whole:.1f}"]
        )
    head = [
        "measured, in KiB",
        "a machine, alone",
        "a client in one room",
        "each other machine",
        "each event",
    ]
    return table([*head, "MiB with 1,000 clients"], lines)


def order(found: list[Row]) -> list[str]:
    """What happened to whom, and what was lost."""
    names = (
        ("events", "events"),
        ("heard", "heard"),
        ("cut off", "cuts"),
        ("restarted", "restarts"),
        ("broker away", "broker away"),
        ("missed while cut off", "missed while cut off"),
        ("missed on its way at the cut", "under way at a cut"),
        ("never came to the broker", "never left their machine"),
        ("recovered elsewhere", "recovered elsewhere"),
        ("not recovered", "new instead"),
    )
    lines = [
        [
            f"{row['kind']}, {row['machines']:,} machines",
            *(amount(row.get(name, 0)) for name, _ in names),
            amount(len(row["broken"])),
        ]
        for row in found
    ]
    return table(["measured", *(title for _, title in names), "doubled, overtaken, lost otherwise"], lines)


def all_tables(record: Record) -> dict[str, list[str]]:
    """By the name of their place on the page; those of parts that have not been run are missing."""
    made: dict[str, list[str]] = {}
    if "messages" in record:
        made["messages"] = messages(record["messages"]["found"])
    if "redis" in record:
        made["redis"] = redis(record["redis"]["found"])
    if "redis" in record and "samples" in record:
        made["loads"] = loads(record)
    if "memory" in record and "samples" in record:
        made["memory"] = memory(record)
    if "order" in record:
        made["order"] = order(record["order"]["found"])
    return made


def put_into(page: str, made: dict[str, list[str]]) -> str:
    """The page with these tables in their places. Raises ValueError: it has no such place."""
    for name, lines in made.items():
        begin, end = f"<!-- large: {name} -->\n", f"<!-- end of large: {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        text = begin + "\n" + "\n".join(lines) + "\n\n" + end
        page, count = pattern.subn(lambda match, text=text: text, page)
        if count != 1:
            raise ValueError(f"the page has {count} places for the table {name!r}")
    return page
