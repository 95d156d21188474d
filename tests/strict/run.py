"""The suite once per mode of the interpreter that makes hidden faults show.

It must not know a test: pytest runs them, `sitecustomize.py` puts each process of theirs into the mode.

    .venv/bin/python tests/strict/run.py [MODE ...] [TESTS AND PYTEST'S OPTIONS]

switch      threads take turns every microsecond, whatever interval the server sets
dev         -X dev -W error: a warning is an error, a resource that is left open too
optimised   -O: no assert of the product does work
malloc      PYTHONMALLOC=debug: what C code writes beside its memory or uses when it is freed ends the process

Each run fails if a test fails, if none ran, or if a process of it was not in the mode. What it said stays in
build/strict.
"""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "strict"
MODES = {
    "switch": {},
    "dev": {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"},
    "optimised": {"PYTHONOPTIMIZE": "1"},
    "malloc": {"PYTHONMALLOC": "debug"},
}
# pytest rewrites the asserts of every distribution that has a plugin, ours among them, into code that -O
# leaves in: so it is told its plugins. That the asserts of other modules than tests are off is wanted.
PLUGINS = ["xdist.plugin", "_hypothesis_pytestplugin", "python_server.api.pytest_plugin"]
OF_OPTIMISED = ["--disable-plugin-autoload", *(f"-p{name}" for name in PLUGINS)]
OF_OPTIMISED += ["-W", "ignore:assertions not in test modules"]
PIPED: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
PIPED["start_new_session"] = True
# All that runs code of ours; what reads texts, counts instructions or measures is the same in every mode.
TESTS = ["tests/server", "tests/wsframe", "tests/e2e", "tests/conformance", "-mnot extended"]


def run(mode: str, arguments: list[str]) -> list[str]:
    """What was wrong with it."""
    processes, log = KEPT / f"{mode}.processes", KEPT / f"{mode}.log"
    processes.unlink(missing_ok=True)
    environment = {
        **os.environ,
        **MODES[mode],
        "PYTHONPATH": str(Path(__file__).parent),
        "PYTEST_PLUGINS": "strict_mode",
        "STRICT_MODE": mode,
        "STRICT_PROCESSES": str(processes),
    }
    command = [str(Path(sys.executable).parent / "pytest"), "-rs", "-n2", "--dist=worksteal"]
    command += [*(OF_OPTIMISED if mode == "optimised" else []), *arguments]
    with log.open("w") as kept, subprocess.Popen(command, cwd=ROOT, env=environment, **PIPED) as pytest:
        try:
            for line in pytest.stdout or []:
                kept.write(line)
                kept.flush()
                print(line, end="", flush=True)
        except KeyboardInterrupt:
            pytest.send_signal(signal.SIGINT)  # in a session of its own: it hears this one alone
            try:
                kept.write(pytest.communicate(timeout=60)[0])
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(pytest.pid, signal.SIGKILL)
            sys.exit(f"interrupted; what was found stays in {log}")
    noted = processes.read_text().splitlines() if processes.exists() else []
    print(f"strict {mode}: {len(noted)} processes", flush=True)
    return what_is_wrong(pytest.returncode, log.read_text(), noted)


def what_is_wrong(status: int, said: str, noted: list[str]) -> list[str]:
    """With a run that ended so, said this, and whose processes noted these lines."""
    wrong = [f"pytest ended with {status}"] if status else []
    wrong += sorted({f"a process was {line}" for line in noted if not line.startswith("in ")})
    return wrong + [
        what
        for what, is_so in [("no test passed", not re.search(r"\d+ passed", said)), ("no process", not noted)]
        if is_so
    ]


def main(words: list[str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's `&` has the first ignored, by pytest too
        signal.signal(number, signal.default_int_handler)
    KEPT.mkdir(parents=True, exist_ok=True)
    arguments = [word for word in words if word not in MODES] or TESTS
    wrong = []
    for mode in [word for word in words if word in MODES] or MODES:
        wrong += [f"{mode}: {what}" for what in run(mode, arguments)]
    print("\n".join(wrong) or "every mode was on, and nothing failed in it")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
