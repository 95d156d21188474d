"""Runs Autobahn|Testsuite against both roles, messages whole and in pieces, the client, and the server.

It must not know a rule of the protocol: the suite's report is the judge. The suite needs a Python 2.7, which
is looked for and named when missing; anything but OK or INFORMATIONAL fails.
Whole run (an hour on 2 cores): python tests/conformance/autobahn.py
What each run of the tests does: --quick; `make test-all`: --sample as well.
One part: --cases "1.*" "2.*" --role server
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "common"))
from own_ports import port_of_its_own  # noqa: E402

ARTIFACTS = HERE.parent.parent / "artifacts" / "autobahn"
AGENT = "wsframe"
GOOD = {"OK", "INFORMATIONAL"}
# What CI leaves out: 9.* measures speed for minutes; 12.* and 13.* repeat each size for each setting, a
# thousand messages each, most of whose time is the suite's own. Quick: small ones of each text and setting.
BASIC = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
QUICK = [
    *BASIC,
    "12.1.1", "12.2.1", "12.3.2", "12.4.3", "12.5.1",
    "13.1.1", "13.2.1", "13.3.1", "13.4.1", "13.5.1", "13.6.2", "13.7.1",
]  # fmt: skip
SAMPLE = [
    *BASIC,
    "12.1.1", "12.1.7", "12.2.3", "12.3.5", "12.4.6", "12.5.4",
    "13.1.1", "13.2.2", "13.3.3", "13.4.4", "13.5.5", "13.6.6", "13.7.2",
]  # fmt: skip
START_SECONDS = 120.0  # of a machine with far more to do than this
# The suite's largest messages have 16 MiB, its most fragments 65,536.
COMMAND_LINE = [sys.executable, "-m", "python_server", "--no-access-log", "--ws-per-message-deflate"]
COMMAND_LINE += ["--ws-max-size", str(17 * 2**20), "--ws-max-fragments", "70000", "--ws-ping-interval", "0"]
CLIENTS = ("client", "streaming-client", "sync-client")
ROLES = ("server", "streaming-server", "command-line", *CLIENTS)
PLACES = (
    "python2.7",
    "~/.pyenv/versions/2.7*/bin/python2.7",
    "/opt/pyenv/versions/2.7*/bin/python2.7",
    "/usr/local/bin/python2.7",
    "/opt/python2.7/bin/python2.7",
    "/opt/python/cp27-cp27mu/bin/python2.7",
)


def find_python27() -> str | None:
    """WSFRAME_PYTHON27, the search path, and the usual places; it must run, not only be there."""
    candidates = [os.environ.get("WSFRAME_PYTHON27", "")]
    for place in PLACES:
        found = shutil.which(place) if "/" not in place else None
        candidates.extend([found] if found else sorted(glob.glob(os.path.expanduser(place))))
    for candidate in filter(None, candidates):
        check = "import sys; sys.exit(sys.version_info[:2] != (2, 7))"
        if subprocess.run([candidate, "-c", check], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def suite_environment(python27: str) -> dict[str, str]:
    """An environment in which that Python imports the suite, installed once below artifacts/."""
    # Pins of our own packages are for a Python of today.
    env = {name: value for name, value in os.environ.items() if not name.endswith("_CONSTRAINT")}
    env |= {"PYTHONUSERBASE": str(ARTIFACTS / "py27"), "PYTHONWARNINGS": "ignore"}
    env.pop("PYTHONPATH", None)
    env.pop("PYTHONNOUSERSITE", None)
    probe = [python27, "-c", "import autobahntestsuite"]
    if subprocess.run(probe, env=env, capture_output=True, check=False).returncode:
        print("installing autobahntestsuite ...", flush=True)
        install = [python27, "-m", "pip", "install", "--quiet", "--user", "autobahntestsuite"]
        done = subprocess.run(install, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"autobahntestsuite could not be installed with {python27}:\n{done.stderr[-3000:]}")
    return env


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"nothing listens on port {port}")


def wstest(python27: str, mode: str, spec: Path, log: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    run = "import sys; sys.argv[0] = 'wstest'; from autobahntestsuite.wstest import run; run()"
    with log.open("wb") as out:
        return subprocess.Popen(
            [python27, "-u", "-c", run, "-m", mode, "-s", str(spec), "-u", "0"],
            env=env,
            stdout=out,
            stderr=out,
            cwd=ARTIFACTS,
        )


def run_role(
    role: str, port: int, python27: str, env: dict[str, str], cases: list[str], exclude: list[str]
) -> Path:
    """Our `role` against the suite's other one. Returns the folder of the report."""
    reports = ARTIFACTS / role
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    url = f"ws://127.0.0.1:{port}"
    spec = {"outdir": str(reports), "cases": cases, "exclude-cases": exclude, "exclude-agent-cases": {}}
    echo = [sys.executable, str(HERE / "echo.py")]
    streaming = ["--streaming"] if role.startswith("streaming") else []
    server = [*echo, "server", *streaming, "--port", str(port)]
    if role == "command-line":
        server = [*COMMAND_LINE, "--port", str(port)]
        url += "/echo"
    if role not in CLIENTS:
        spec |= {"options": {"failByDrop": False}, "servers": [{"agent": AGENT, "url": url}]}
        mode = "fuzzingclient"
    else:
        spec |= {"url": url, "options": {"failByDrop": False}}
        mode = "fuzzingserver"
    spec_file = ARTIFACTS / f"{role}.json"
    spec_file.write_text(json.dumps(spec))
    log = ARTIFACTS / f"{role}.log"
    if role not in CLIENTS:
        with subprocess.Popen(server) as ours:
            wait_for(port, ours)
            code = wstest(python27, mode, spec_file, log, env).wait()
            ours.kill()
    else:
        suite = wstest(python27, mode, spec_file, log, env)
        wait_for(port, suite)
        client = [*echo, role.removeprefix("streaming-"), *streaming, "--port", str(port), "--agent", AGENT]
        code = subprocess.run(client, check=False).returncode
        suite.kill()
        suite.wait()
    if code:
        sys.exit(f"the {role} run ended with {code}; see {log}")
    return reports


def judge(role: str, reports: Path) -> bool:
    cases: dict[str, dict[str, object]] = json.loads((reports / "index.json").read_text())[AGENT]
    behaviour = Counter(str(case["behavior"]) for case in cases.values())
    closing = Counter(str(case["behaviorClose"]) for case in cases.values())
    bad = {name: case for name, case in cases.items() if {case["behavior"], case["behaviorClose"]} - GOOD}
    print(f"{role}: {len(cases)} cases; behaviour {dict(behaviour)}; closing {dict(closing)}")
    for name, case in sorted(bad.items()):
        file = reports / str(case["reportfile"])
        print(f"  {name}: {case['behavior']}, closing {case['behaviorClose']}; {file}")
    return bool(cases) and not bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=(*ROLES, "all"), default="all")
    parser.add_argument("--cases", nargs="+", default=["*"])
    parser.add_argument("--exclude", nargs="+", default=[])
    parser.add_argument(
        "--quick", action="store_true", help="all but section 9, and small messages of 12 and 13"
    )
    parser.add_argument("--sample", action="store_true", help="all but section 9, and a sample of 12 and 13")
    options = parser.parse_args()
    python27 = find_python27()
    if python27 is None:
        print("autobahntestsuite needs a Python 2.7, and none was found; set WSFRAME_PYTHON27 to one.")
        print("Looked for:", ", ".join(PLACES))
        return 3
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    env = suite_environment(python27)
    cases = QUICK if options.quick else SAMPLE if options.sample else options.cases
    roles = ROLES if options.role == "all" else (options.role,)
    with ThreadPoolExecutor(3) as pool:  # each of them mostly waits for its suite, whose times are short
        run = partial(run_role, python27=python27, env=env, cases=cases, exclude=options.exclude)
        reports = list(pool.map(run, roles, [port_of_its_own() for _ in roles]))
    verdicts = [judge(role, report) for role, report in zip(roles, reports, strict=True)]
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
