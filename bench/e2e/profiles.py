"""Profiles of our server as text: `python3 bench/e2e/profiles.py [S2,E]` fills docs/benchmarks/profiles.md.
py-spy samples the server under a scenario's load, callgrind counts the codec; it must not rank anybody."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import environment
import pages
import peers
import processes
import run
from scenarios import SCENARIOS

PAGE = pages.PAGE.with_name("profiles.md")
CODEC_PATHS = environment.ROOT / "tests" / "guards" / "codec_paths.py"
# Which profile: scenario and server.
PROFILES = {
    "S1": ("S1", "ours"),
    "S2": ("S2", "ours"),
    "S3": ("S3", "ours"),
    "S5": ("S5", "ours"),
    "B1": ("B1", "ours"),
    "B8": ("B8", "ours"),
    "E": ("E", "ours"),
    "E inline": ("E", "ours-events-inline"),
    "R1": ("R1", "ours"),
    "R8": ("R8", "ours"),
    "H": ("H", "ours"),
}
# Profiles by perf, of the same loads.
PERF = {"S2 by perf": "S2", "S3 by perf": "S3", "S5 by perf": "S5"}
SAMPLES_PER_SECOND = 250
SHOWN_COUNT = 12
# In the last frames of a thread that waits: for a job, or for the interpreter's lock.
WAITING = ("PyThread_acquire_lock", "pthread_cond_", "take_gil")
CODEC_TIMES_COUNT = 2_000
_PLACE = re.compile(r" \(([^()]*?)(?::\d+)?\)$")


@contextmanager
def under_load(name: str, seconds: float) -> Iterator[int]:
    """Our server under one scenario's load, which outlasts `seconds`; the process id to look at."""
    scenario, server = SCENARIOS[PROFILES[name][0]], peers.SERVERS[PROFILES[name][1]]
    launch = peers.launch_for(server, scenario.job)
    assert launch is not None
    port = processes.free_port()
    command = [run._fill(word, port) for word in launch.command]
    load = [str(environment.GENERATOR), *scenario.generator_arguments(), "--port", str(port)]
    load += ["--path", launch.path, "--seconds", str(seconds + 2), "--warmup", "0.5"]
    folder, environ = environment.SERVERS_FOLDER, run._environ(scenario)
    with processes.running_server(command, port, folder, environ, run.LOG) as pids:
        generator = subprocess.Popen(
            processes.pinned(processes.GENERATOR_CORE, load), stdout=subprocess.DEVNULL
        )
        yield pids[-1]
        if generator.wait():
            raise SystemExit(f"{name}: the load failed")


def sample(name: str, seconds: float) -> str:
    """py-spy's raw stacks of one server under one scenario's load."""
    with under_load(name, seconds) as pid, tempfile.NamedTemporaryFile(suffix=".txt") as out:
        spy = [str(environment.VENV / "bin" / "py-spy"), "record", "--pid", str(pid), "--native"]
        spy += ["--format", "raw", "--function", "--output", out.name]
        spy += ["--rate", str(SAMPLES_PER_SECOND), "--duration", str(int(seconds))]
        subprocess.run(spy, capture_output=True, check=True)
        return Path(out.name).read_text()


def kernel_tables(name: str, seconds: float) -> list[str]:
    """perf's view of the same, by the processor's time: the kernel's functions too, but not Python's."""
    if shutil.which("perf") is None:
        return ["perf is not installed."]
    with under_load(name, seconds) as pid, tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/perf.data"
        record = ["perf", "record", "-e", "cpu-clock", "-F", "999", "-p", str(pid), "-o", data]
        done = subprocess.run(
            [*record, "--", "sleep", str(seconds)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return [f"perf does not work here: {done.stderr.strip().splitlines()[-1]}"]
        reports = [
            subprocess.run(
                ["perf", "report", "-i", data, "--stdio", "--sort", keys],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for keys in ("dso", "symbol")
        ]
    rooms, symbols = (
        re.findall(r"^\s*([\d.]+)%\s+(.+?)(?:\s+-)*\s*$", report, re.MULTILINE) for report in reports
    )
    lines = ["| share | where | | share | function ([k]: the kernel's) |", "|---:|---|---|---:|---|"]
    for number, (share, symbol) in enumerate(symbols[:SHOWN_COUNT]):
        room_share, room = rooms[number] if number < len(rooms) else ("", "")
        cells = f"{room_share}% | `{room}`" if room else " | "
        lines.append(f"| {cells} | | {share}% | `{symbol}` |")
    return lines


def _short(frame: str) -> str:
    """A frame of py-spy's as `function (file)`, the folders of the installation left off."""
    place = _PLACE.search(frame)
    if not place:
        return frame
    file = place[1].rpartition("site-packages/")[2].rpartition("/lib/")[2]
    return f"{frame[: place.start()]} ({file})"


def tables(stacks: str) -> list[str]:
    """Where the time is spent, and under whom: shares of all samples."""
    own: Counter[str] = Counter()
    under: Counter[str] = Counter()
    total = waiting = polled = 0
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_short(frame) for frame in stack.split(";")]
        if any(word in frame for frame in frames[-5:] for word in WAITING):
            waiting += int(count)
            continue
        if frames[-1].startswith("epoll_wait"):
            polled += int(count)
            continue
        total += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            if "python_server" in frame or "_codec" in frame or "ours_" in frame or "flask" in frame:
                under[frame] += int(count)
    lines = ["| share | spent in itself | | share | with what it calls |", "|---:|---|---|---:|---|"]
    outer = {
        frame for frame, count in under.items() if count > 0.99 * total
    }  # the way in, the same everywhere
    for frame in outer:
        del under[frame]
    pairs = [each.most_common(SHOWN_COUNT) for each in (own, under)]
    for (first, first_count), (second, second_count) in zip(*pairs, strict=False):
        lines.append(f"| {first_count / total:.1%} | `{first}` | | {second_count / total:.1%} | `{second}` |")
    share = polled / (total + polled)
    words = f"{total:,} samples; besides them {polled:,} ({share:.0%}) in `epoll_wait`"
    return [*lines, "", f"{words}, and {waiting:,} of threads that waited for a job or for the lock."]


def codec_tables() -> list[str]:
    """callgrind's functions over every path of codec_paths.py, by instructions of their own."""
    for tool in ("valgrind", "callgrind_annotate"):
        if shutil.which(tool) is None:
            return [f"{tool} is not installed."]
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        count = [str(environment.PYTHON), "-I", str(CODEC_PATHS), str(CODEC_TIMES_COUNT)]
        valgrind = ["valgrind", "--tool=callgrind", "--toggle-collect=__pyx_*", f"--callgrind-out-file={out}"]
        subprocess.run([*valgrind, *count], capture_output=True, check=True)
        text = subprocess.run(
            ["callgrind_annotate", "--show-percs=yes", out], capture_output=True, text=True, check=True
        ).stdout
    lines = ["| share of instructions | function |", "|---:|---|"]
    for share, place in re.findall(r"^\s*[\d,]+ \(\s*([\d.]+)%\)\s+(.+)$", text, re.MULTILINE):
        function = place.partition(" [")[0].rpartition("/")[2].partition(":")[2] or place
        if "PROGRAM TOTALS" not in place:
            lines.append(f"| {share} % | `{function}` |")
        if len(lines) == SHOWN_COUNT + 2:
            break
    return lines


def taken(name: str, seconds: float) -> list[str]:
    if name == "codec":
        return codec_tables()
    if name in PERF:
        return kernel_tables(PERF[name], seconds)
    return tables(sample(name, seconds))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="?", default=",".join([*PROFILES, *PERF, "codec"]))
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    processes.raise_descriptor_limit()
    environment.compile_c()
    os.environ["PYTHONPATH"] = ""
    page = arguments.page.read_text()
    for name in arguments.names.split(","):
        page = pages.fill(page, name, taken(name, arguments.seconds))
        print(name, flush=True)
        arguments.page.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
