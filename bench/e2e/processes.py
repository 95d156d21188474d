"""Processes of a run: a server on core 0, the generator on core 1 (or both on all), memory from /proc.
It must not know scenarios or servers by name."""

import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVER_CORE, GENERATOR_CORE = 0, 1
CORES, ALL_CORES = (SERVER_CORE, GENERATOR_CORE), (None, None)  # of the server, of the generator
START_SECONDS, STOP_SECONDS, CALM_SECONDS = 20.0, 3.0, 8.0
FIRST_PORT, LAST_PORT = 20_000, 32_000  # below the range the kernel takes for outgoing connections

_next_port = FIRST_PORT


class RunFailed(Exception):
    """A server or the generator did not do its part; the text says which and how."""


def raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    """A port nobody has, and that this run has not used before (closed connections linger on it)."""
    global _next_port
    while _next_port < LAST_PORT:
        _next_port += 1
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", _next_port))
            except OSError:
                continue
            return _next_port
    raise RunFailed("no free port left")


def pinned(core: int | None, command: Sequence[str]) -> list[str]:
    """The command on this core alone; None leaves it on all."""
    return list(command) if core is None else ["taskset", "-c", str(core), *command]


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found.extend(children.get(each, []))
    return found


def resident_kib(pids: Sequence[int]) -> int:
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RunFailed(f"ended at start with code {process.returncode}: {_last_line(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
            continue
        return
    raise RunFailed(f"not listening after {START_SECONDS:.0f} s: {_last_line(log)}")


def cpu_seconds(pids: Sequence[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _wait_for_calm(pid: int) -> None:
    """Until the workers have imported what they serve: what they compute then is no message's cost."""
    deadline = time.monotonic() + CALM_SECONDS
    before = -1.0
    while time.monotonic() < deadline and (now := cpu_seconds(family(pid))) - before > 0.02:
        before = now
        time.sleep(0.4)


def _wait_for_family(process: subprocess.Popen[bytes], count: int, log: Path) -> list[int]:
    """Workers of a pre-forking server appear after its socket, and import the application then.

    A count of 0 waits for nobody."""
    deadline = time.monotonic() + START_SECONDS
    while len(found := family(process.pid)) < count:
        if time.monotonic() > deadline:
            raise RunFailed(f"{len(found)} of {count} processes there: {_last_line(log)}")
        time.sleep(0.05)
    if count:
        time.sleep(0.2)
    if count > 1:
        _wait_for_calm(process.pid)
    return family(process.pid)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole group that we started: masters take their workers along, killed ones cannot."""
    for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        if number is signal.SIGTERM:
            continue
        return


@contextmanager
def running_server(
    command: Sequence[str],
    port: int,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    processes: int = 1,
    core: int | None = SERVER_CORE,
) -> Iterator[list[int]]:
    """Start, wait until it listens and has its processes, hand out their ids; end it on the way out."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned(core, command),
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_listening(process, port, log)
        yield _wait_for_family(process, processes, log)
    finally:
        _end(process)


def _generator_failed(message: str, log: Path) -> RunFailed:
    return RunFailed(f"{message.strip() or 'the generator failed'} (server: {_last_line(log)})")


def generate(
    command: Sequence[str], timeout_seconds: float, log: Path, core: int | None = GENERATOR_CORE
) -> dict[str, Any]:
    """One measured run; the generator's JSON object."""
    try:
        done = subprocess.run(pinned(core, command), capture_output=True, text=True, timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"no result within {timeout_seconds:.0f} s") from None
    if done.returncode:
        raise _generator_failed(done.stderr, log)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def hold_idle(
    command: Sequence[str],
    pids: Sequence[int],
    settle_seconds: float,
    log: Path,
    core: int | None = GENERATOR_CORE,
) -> dict[str, Any]:
    """Open the connections, read the server's memory before and with them, let go."""
    before_kib = resident_kib(pids)
    generator = subprocess.Popen(
        pinned(core, command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert generator.stdin is not None
    assert generator.stdout is not None
    assert generator.stderr is not None
    try:
        line = generator.stdout.readline()
        if not line:
            raise _generator_failed(generator.stderr.read(), log)
        result: dict[str, Any] = json.loads(line)
        time.sleep(settle_seconds)
        if generator.poll() is not None:
            raise _generator_failed(generator.stderr.read(), log)
        resident = resident_kib(pids)
        if "--window" in command:
            line = generator.stdout.readline()
            if not line:
                raise _generator_failed(generator.stderr.read(), log)
            result |= json.loads(line)
        result["resident_kib_before"] = before_kib
        result["resident_kib_with"] = resident
        grown_kib = result["resident_kib_with"] - before_kib
        result["kib_per_connection"] = round(grown_kib / result["connections"], 2)
        return result
    finally:
        generator.stdin.close()
        try:
            generator.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            generator.kill()
            generator.wait()
