"""What a run needs: the peers' virtual environment, the Node packages, the generator; and the machine.
It must not know scenarios; whatever cannot be installed is returned by name, never silently dropped."""

import itertools
import json
import os
import platform
import shutil
import ssl
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "bench"
VENV = ROOT / "build" / "bench-venv"
SERVERS_FOLDER = HERE / "servers"
GENERATOR = BUILD / "generator"
CERTIFICATE, KEY = BUILD / "tls.crt", BUILD / "tls.key"
FLOOR = BUILD / "floor_epoll"
PYTHON = VENV / "bin" / "python"


# What the generator can be built without: the words to the compiler with it and without.
OPTIONAL = {
    "T2, T4: the generator was built without OpenSSL's headers and library": (
        ("-lssl", "-lcrypto"),
        ("-DWITHOUT_TLS",),
    ),
    "ZE, ZB: the generator was built without zlib's headers and library": (("-lz",), ("-DWITHOUT_DEFLATE",)),
}


def trouble_of(command: Sequence[str | Path], **options: object) -> str | None:
    """None when it went well, else the last line of what it said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode == 0:
        return None
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {done.returncode}"


def compile_c() -> list[str]:
    """The generator must build; the floor may fail and is then named."""
    BUILD.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        raise SystemExit(f"the load generator needs a C compiler; {compiler} is not there")
    sources = sorted((HERE / "generator").glob("*.c"))
    build = [compiler, "-O2", "-Wall", "-Wextra", "-o", GENERATOR, *sources]
    missing: list[str] = []
    first = ""
    for chosen in itertools.product(*OPTIONAL.values()):  # with everything first, with nothing last
        if not (trouble := trouble_of([*build, *itertools.chain(*chosen)])):
            missing = [
                f"{what}: {first}"
                for (what, (_, without)), words in zip(OPTIONAL.items(), chosen, strict=True)
                if words == without
            ]
            break
        first = first or trouble
    else:
        raise SystemExit(f"the load generator does not compile: {trouble}")
    trouble = trouble_of([compiler, "-O2", "-Wall", "-Wextra", "-o", FLOOR, SERVERS_FOLDER / "floor_epoll.c"])
    return [*missing, f"floor-c: {trouble}"] if trouble else missing


def make_certificate() -> list[str]:
    """For 127.0.0.1, signed by itself: the generator trusts it and nothing else."""
    if CERTIFICATE.exists() and KEY.exists():
        return []
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "3650", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    if shutil.which("openssl") is None:
        return ["T2, T4: the command openssl is not there to make a certificate"]
    trouble = trouble_of([*command, "-keyout", KEY, "-out", CERTIFICATE])
    return [f"T2, T4: {trouble}"] if trouble else []


def our_options(python: Path | None = None) -> str:
    """The help of the installed command line: what this build can be asked for."""
    command = [str(python or PYTHON), "-m", "python_server", "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def install_ours() -> list[str]:
    trouble = trouble_of([PYTHON, "-m", "pip", "install", "-q", "--force-reinstall", "--no-deps", ROOT])
    trouble = trouble or trouble_of([PYTHON, "-m", "pip", "install", "-q", f"{ROOT}[server]"])
    return [f"ours: {trouble}"] if trouble else []


def install_peers() -> list[str]:
    """All at once; where that fails, one by one, so that a single bad package costs only itself."""
    if not PYTHON.exists():
        print("creating the environment of the peers ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    wanted = HERE / "requirements.txt"
    stamp = VENV / "requirements.installed"
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        return _install_node()
    print("installing the peers ...", flush=True)
    pip: list[str | Path] = [PYTHON, "-m", "pip", "install", "-q"]
    missing: list[str] = []
    if trouble_of([*pip, "-r", wanted]):
        for line in wanted.read_text().splitlines():
            if line and not line.startswith("#") and (trouble := trouble_of([*pip, line])):
                missing.append(f"{line}: {trouble}")
    if not missing:
        stamp.write_text(wanted.read_text())
    return missing + _install_node()


def _install_node() -> list[str]:
    if shutil.which("npm") is None or shutil.which("node") is None:
        return ["node-ws, node-socketio: Node.js is not installed"]
    if (HERE / "node_modules" / "socket.io").exists():
        return []
    trouble = trouble_of(["npm", "ci", "--no-fund", "--no-audit"], cwd=HERE)
    return [f"node-ws, node-socketio: {trouble}"] if trouble else []


def versions() -> dict[str, str]:
    """Every package of the environment, and Node's."""
    found: dict[str, str] = {}
    for folder in (VENV / "lib").glob("python*/site-packages"):
        for package in metadata.distributions(path=[str(folder)]):
            found[package.metadata["Name"]] = package.version
    for name in ("ws", "socket.io"):
        text = HERE / "node_modules" / name / "package.json"
        if text.exists():
            found[f"node {name}"] = json.loads(text.read_text())["version"]
    if shutil.which("node"):
        found["node"] = subprocess.run(
            ["node", "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()
    found["OpenSSL"] = ssl.OPENSSL_VERSION.removeprefix("OpenSSL ")
    found["python"] = subprocess.run(
        [str(PYTHON), "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def machine() -> dict[str, object]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "congestion_control": congestion.read_text().strip() if congestion.exists() else "unknown",
    }


def _git(*words: str) -> str:
    """Nothing where there is no git: an unpacked archive can be measured as well."""
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def commit() -> str:
    """Of the measured source; `+changes` when it was not committed as it stood."""
    name = _git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{name}+changes" if _git("status", "--porcelain", "python_server", "src", "setup.py") else name
