"""The verdict on a soak's record: what was lost, doubled, missed, left behind or never done; and a table.

It must not know how a record was made: it reads no process, no file and no clock.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import measure

Record = dict[str, Any]
# From here on slopes and p99 are judged; a shorter run has too few samples and no old workers.
LONG_SECONDS = 900
# How far clocks of clients that share two cores may be behind an event.
MARGIN_SECONDS = 5.0
# Of (event, listener) pairs a share that must be judged, else nothing has been shown.
JUDGED_SHARE = 0.25
WARM_UP_SECONDS = 120.0  # of a process's life, before its slope counts: the recovery's log is full by then
BUCKET_SECONDS = 30.0
SLOPE_KIB_PER_TEN_MINUTES = 1024.0
LEVEL_KIB = 16 * 1024  # above the level of the first abuse, at the end of a short run
P99_RATIO = 2.0
LAST_SECONDS = 5.0
FAULTS = ("worker killed", "workers rolled", "certificate renewed", "broker restarted")


def stretches(lines: Iterable[str]) -> dict[str, Any]:
    """Lines "who number" as {who: [[first, last], ...]} of what was written down, and what was so twice."""
    counts = Counter(lines)
    numbers: dict[str, list[int]] = {}
    for line in counts:
        who, _, number = line.rpartition(" ")
        numbers.setdefault(who, []).append(int(number))
    found: dict[str, list[list[int]]] = {}
    for who, each in numbers.items():
        joined = found.setdefault(who, [])
        for number in sorted(each):
            if joined and number == joined[-1][1] + 1:
                joined[-1][1] = number
            else:
                joined.append([number, number])
    return {"stretches": found, "twice": [line for line, count in counts.items() if count > 1]}


def members(given: Iterable[Iterable[int]]) -> set[int]:
    return {number for first, last in given for number in range(first, last + 1)}


def clients_of(record: Record) -> list[dict[str, Any]]:
    return [client for name in ("good-python", "good-node") for client in record.get(name) or []]


def absences(client: dict[str, Any]) -> list[tuple[float, float]]:
    """When it was away and came back as somebody new; its first coming ends an absence, too."""
    found = []
    for at, recovered in client["comes"]:
        if not recovered:
            gone = max((left for left, _ in client["goes"] if left <= at), default=0.0)
            found.append((gone - MARGIN_SECONDS, at + MARGIN_SECONDS))
    return found


def excuses(record: Record, speaker: dict[str, Any], listener: dict[str, Any]) -> list[tuple[float, float]]:
    """When an acknowledged event of one may be unknown to the other, as docs/scaling.md says."""
    found = absences(listener)
    machines = {speaker["machine"], listener["machine"]}
    for fault in record["faults"]:
        begun, settled = fault["at"] - MARGIN_SECONDS, fault["settled"] + MARGIN_SECONDS
        if fault["kind"] == "worker killed" and fault["machine"] in machines:
            found.append((begun, settled if len(machines) > 1 else fault["at"] + MARGIN_SECONDS))
        if fault["kind"] == "broker restarted" and len(machines) > 1:
            found.append((begun, settled))
    return found


def missed(record: Record) -> tuple[list[str], int, int]:
    """Events acknowledged and not heard, without an excuse; how many pairs were judged and excused."""
    lines, judged, excused = [], 0, 0
    clients = clients_of(record)
    last_words, _ = record["phases"].get("traffic ends", (math.inf, math.inf))
    for listener in clients:
        gone = []
        for speaker in clients:
            heard = members(listener["heard"].get(speaker["name"], []))
            windows = excuses(record, speaker, listener)
            for number, at, _ in speaker["acks"]:
                if at > last_words or any(begun <= at <= end for begun, end in windows):
                    excused += 1
                    continue
                judged += 1
                if number not in heard:
                    gone.append(f"{speaker['name']}'s {number} of {at:.1f}")
        if gone:
            lines.append(f"{listener['name']} missed {len(gone)} events: {', '.join(gone[:5])}")
    return lines, judged, excused


def unrecovered(record: Record) -> Iterator[str]:
    """Clients that can recover and began anew, though no worker of their machine was killed."""
    kills = [fault for fault in record["faults"] if fault["kind"] == "worker killed"]
    for client in clients_of(record):
        if client["client"] == "socket.io-client":
            for at, recovered in client["comes"][1:]:
                if not recovered and not any(
                    kill["machine"] == client["machine"]
                    and kill["at"] <= at <= kill["settled"] + MARGIN_SECONDS
                    for kill in kills
                ):
                    yield f"{client['name']} came back at {at:.1f} and had not recovered"


def delivery(record: Record) -> Iterator[str]:
    told = record.get("told") or {"stretches": {}, "twice": []}
    for client in clients_of(record):
        known = members(told["stretches"].get(client["name"], []))
        lost = [number for number, *_ in client["acks"] if number not in known]
        if lost:
            yield f"{client['name']}: {len(lost)} acknowledged events were not handled: {lost[:5]}"
        if client["late"]:
            yield f"{client['name']} heard {len(client['late'])} events twice or late: {client['late'][:3]}"
        if client["unanswered"]:
            count = len(client["unanswered"])
            yield f"{client['name']}: {count} events were not acknowledged: {client['unanswered'][:3]}"
        if not client["here"]:
            yield f"{client['name']} was away at the end, since {client['goes'][-1:]}"
    if told["twice"]:
        yield f"{len(told['twice'])} events were handled twice: {told['twice'][:3]}"
    yield from unrecovered(record)
    lines, judged, excused = missed(record)
    yield from lines
    if judged < JUDGED_SHARE * (judged + excused):
        yield f"of {judged + excused} deliveries {excused} were excused: too little was judged"


def doings(record: Record) -> Iterator[str]:
    """A machine that did nothing fails."""
    kinds = Counter(fault["kind"] for fault in record["faults"])
    yield from (f"no fault of the kind {kind!r}" for kind in FAULTS if not kinds[kind])
    clients = clients_of(record)
    yield from (f"{client['name']} got no acknowledgement" for client in clients if not client["acks"])
    for library in ("python-socketio", "socket.io-client"):
        if not any(client["client"] == library for client in clients):
            yield f"no client of {library} has reported"
    abuse = record.get("abuse") or {"outcomes": {}, "findings": [], "broken": []}
    if not abuse["outcomes"]:
        yield "no abuser has reported"
    for kind, outcomes in abuse["outcomes"].items():
        if not set(outcomes) - {"connection lost", "finding"}:
            yield f"no conversation of the kind {kind} has come to its end"
    for (kind, said), count in Counter((kind, said) for _, kind, said in abuse["findings"]).items():
        yield f"{kind}: {said} ({count} times)"
    yield from (f"an abuser broke: {said}" for said in abuse["broken"])
    if raised := record["tracebacks"]:
        yield f"raised in the server, {len(raised)} times: {raised[:3]}"
    yield from record["problems"]
    for before, after in record["certificates"]:
        if before == after:
            yield f"the certificate {before} was served on after its renewal"
    yield from (f"a process of the server's group {pid} was left" for pid in record["left_processes"])


def looks(record: Record, phase: str, *, last_seconds: float = math.inf) -> dict[str, list[measure.Sample]]:
    """By machine, what was seen in the phase or at its end."""
    begun, end = record["phases"].get(phase, (0.0, 0.0))
    found: dict[str, list[measure.Sample]] = {}
    for values in record["samples"]:
        sample = measure.Sample(*values)
        if max(begun, end - last_seconds) <= sample.at <= end:
            found.setdefault(record["roles"][str(sample.pid)][0], []).append(sample)
    return found


def totals(samples: list[measure.Sample], field: str) -> list[int]:
    """The sum over the processes of a machine, at each look."""
    sums: Counter[float] = Counter()
    for sample in samples:
        sums[sample.at] += getattr(sample, field)
    return [int(value) for value in sums.values()]


def left_behind(record: Record) -> Iterator[str]:
    """Descriptors and threads as before the first client."""
    before, after = looks(record, "idle"), looks(record, "drain", last_seconds=LAST_SECONDS)
    for machine in sorted(before):
        for field in ("descriptors", "threads"):
            had = max(totals(before[machine], field))
            has = min(totals(after.get(machine, []), field), default=None)
            if has is None:
                yield f"{machine} was not looked at after the traffic"
            elif has > had:
                yield f"{machine} has {has} {field} after the traffic, {had} before"
    if not before:
        yield "no process was looked at before the traffic"


def levels(record: Record) -> Iterator[tuple[str, float, float]]:
    """By machine the largest worker's memory at the end of the first abuse, and after the traffic."""
    before = looks(record, "abuse", last_seconds=LAST_SECONDS)
    after = looks(record, "drain", last_seconds=LAST_SECONDS)
    for machine in sorted(before):
        highest = [
            max(min(each.resident_kib for each in life) for life in measure.by_process(seen).values())
            for seen in (before[machine], after.get(machine, before[machine]))
        ]
        yield machine, highest[0], highest[1]


def slopes(record: Record, field: str) -> Iterator[tuple[str, float, float]]:
    """By machine: KiB per ten minutes of all its processes, and the longest life of a worker that it is from.

    "live" is what workers use, "resident" what the system has given them; of that glibc keeps more and
    more free for a long time, in arenas of its own for each thread. Of each process the lowest of each half
    minute counts, from the second minute of its life to the end of the traffic. Processes of one role have
    one slope in common, so a worker that was replaced adds no step.
    """
    end = record["phases"].get("faults", (0.0, 0.0))[1]
    looks: dict[tuple[str, str], dict[int, list[tuple[float, float]]]] = {}
    resident = [(at, pid, kib) for at, pid, kib, *_ in record["samples"]]
    for values, wanted in (
        (resident, "supervisor"),
        (record["live"] if field == "live" else resident, "worker"),
    ):
        for at, pid, kib in values:
            machine, role = record["roles"].get(str(int(pid)), ("", ""))
            if role == wanted:
                looks.setdefault((machine, role), {}).setdefault(int(pid), []).append((at, kib))
    lives = {
        key: [
            points
            for life in each.values()
            if len(points := measure.lower_envelope(warm(life, end), BUCKET_SECONDS)) >= 4
        ]
        for key, each in looks.items()
    }
    for machine in sorted({machine for machine, _ in record["roles"].values()}):
        workers, supervisors = (lives.get((machine, role), []) for role in ("worker", "supervisor"))
        slope = measure.common_slope(workers) * record["workers"] + measure.common_slope(supervisors)
        yield machine, slope * 600, max((points[-1][0] - points[0][0] for points in workers), default=0.0)


def warm(life: list[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    begun = min(at for at, _ in life) + WARM_UP_SECONDS
    return [(at, kib) for at, kib in life if begun <= at <= end]


def memory(record: Record) -> Iterator[str]:
    if record["seconds"] >= LONG_SECONDS:
        for machine, slope, _ in slopes(record, "live"):
            if math.isnan(slope):
                yield f"no worker of {machine} lived long enough for a slope of its memory"
            elif slope > SLOPE_KIB_PER_TEN_MINUTES:
                yield f"{machine} grew by {slope:.0f} KiB per 10 minutes"
    for machine, before, after in levels(record):
        if after > before + LEVEL_KIB:
            yield f"a worker of {machine} has {after:.0f} KiB at the end, {before:.0f} at the first abuse"


def waits(record: Record) -> dict[str, list[float]]:
    """Milliseconds to each ack: quiet, with abuse, and while a fault was mended."""
    found: dict[str, list[float]] = {"quiet": [], "abuse": [], "fault": []}
    phases = record["phases"]
    for client in clients_of(record):
        for _, at, milliseconds in client["acks"]:
            said_at = at - milliseconds / 1e3
            if any(fault["at"] <= at and said_at <= fault["settled"] for fault in record["faults"]):
                found["fault"].append(milliseconds)
                continue
            for name, kind in (("quiet", "quiet"), ("abuse", "abuse"), ("faults", "abuse")):
                begun, end = phases.get(name, (0.0, 0.0))
                if begun <= said_at and at <= end:
                    found[kind].append(milliseconds)
    return found


def speed(record: Record) -> Iterator[str]:
    """Judged in the long form alone: in three minutes on a shared machine a p99 is a handful of acks."""
    times = waits(record)
    quiet, abused = (measure.percentile(times[kind], 0.99) for kind in ("quiet", "abuse"))
    if record["seconds"] >= LONG_SECONDS and not abused <= P99_RATIO * quiet:
        yield f"p99 of good clients was {abused:.1f} ms with abuse, {quiet:.1f} ms without"


def findings(record: Record) -> list[str]:
    checks = (doings, delivery, left_behind, memory, speed)
    return [finding for check in checks for finding in check(record)]


def table(record: Record) -> str:
    """What was done, and the figures behind the verdict."""
    lines = [f"seed {record['seed']}, {record['started']}, load {record['load']}"]
    for kind, outcomes in (record.get("abuse") or {"outcomes": {}})["outcomes"].items():
        told = ", ".join(f"{word} {count}" for word, count in sorted(outcomes.items()))
        lines.append(f"  {kind:18} {sum(outcomes.values()):6}  {told}")
    for kind, count in sorted(Counter(fault["kind"] for fault in record["faults"]).items()):
        seconds = max(each["settled"] - each["at"] for each in record["faults"] if each["kind"] == kind)
        lines.append(f"  {kind:20} {count:4}  well again after {seconds:.1f} s at most")
    clients = clients_of(record)
    acks = sum(len(client["acks"]) for client in clients)
    returns = [recovered for client in clients for _, recovered in client["comes"][1:]]
    _, judged, excused = missed(record)
    lines.append(f"  {len(clients)} good clients: {acks} events acknowledged")
    lines.append(f"  {len(returns)} returns, {sum(returns)} of them recovered")
    lines.append(f"  {judged} deliveries judged, {excused} excused")
    for kind, times in waits(record).items():
        middle, high = (measure.percentile(times, share) for share in (0.5, 0.99))
        lines.append(f"  acks, {kind:6} {len(times):6}  p50 {middle:.1f} ms, p99 {high:.1f} ms")
    after = looks(record, "drain", last_seconds=LAST_SECONDS)
    for machine, seen in sorted(looks(record, "idle").items()):
        for field in ("descriptors", "threads", "resident_kib"):
            had, has = max(totals(seen, field)), min(totals(after.get(machine, []), field), default=0)
            lines.append(f"  {machine:7} {field:12} {had} before the traffic, {has} after it")
    for machine, before, level in levels(record):
        lines.append(f"  {machine:7} largest worker {before:.0f} KiB at first, {level:.0f} at the end")
    for field in ("live", "resident"):
        for machine, slope, longest in slopes(record, field):
            lines.append(
                f"  {machine:7} {field:8} {slope:.0f} KiB in 10 minutes, lives up to {longest:.0f} s"
            )
    for name, seconds in record["processor_seconds"].items():
        lines.append(f"  {name:12} used {seconds:.0f} s of processor")
    return "\n".join(lines)
