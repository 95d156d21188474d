"""What is wrong with a built wheel or sdist: a list of sentences, an empty one when it may go out.

It must not know how they are built or installed.
"""

import re
import subprocess
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

from python_server.serve.client_release import SCRIPTS, VERSION

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WHEEL_MAX_BYTES = 820_000
PLACES = {
    "src/wsframe/": "wsframe/",
    "python_server/": "python_server/",
    "src/wsframe_start.py": "wsframe_start.py",
}
SHIPPED = {".py", ".pyi", ".typed", ".html", ".md"}
# What building adds: the core, the mark of a build without it, the client for browsers.
CLIENT = f"python_server/client/{VERSION}/"
BUILT = re.compile(
    rf"wsframe/_codec\.[\w.-]+\.(so|pyd)|wsframe/_pure_build\.py|{re.escape(CLIENT)}(LICENSE|[\w.]+\.js\.gz)"
    r"|wsframe-[\w.]+\.dist-info/[\w./]+"
)
BUILT_INTO_SDIST = re.compile(
    rf"PKG-INFO|setup\.cfg|src/wsframe\.egg-info/[\w.-]+|{re.escape(CLIENT)}(LICENSE|[\w.]+\.(js|map)\.gz)"
)
RELATIVE_LINK = re.compile(r"""(?:\]\(|\b(?:src|href)=")(?![a-z]+:|[/#])([^)"]+)""")


def tracked() -> set[str]:
    """What git holds of this tree and lies in it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}


def differences(expected: set[str], found: set[str], allowed: re.Pattern[str]) -> list[str]:
    strays = sorted(name for name in found - expected if not allowed.fullmatch(name))
    return [
        *(f"is missing: {name}" for name in sorted(expected - found)),
        *(f"does not belong there: {name}" for name in strays),
    ]


def wheel_faults(wheel: Path, files: set[str]) -> list[str]:
    """`files`: what git holds."""
    expected = {
        target + name.removeprefix(source)
        for name in files
        for source, target in PLACES.items()
        if name.startswith(source) and Path(name).suffix in SHIPPED
    }
    faults = []
    with zipfile.ZipFile(wheel) as packed:
        found = set(packed.namelist())
        faults += differences(expected, found, BUILT)
        for name in found:
            if name.endswith(".so") and b".debug_info" in packed.read(name):
                faults.append(f"has debug information: {name}")
            if name.endswith(".dist-info/METADATA"):
                faults += metadata_faults(packed.read(name).decode())
    if wheel.stat().st_size > WHEEL_MAX_BYTES:
        faults.append(f"has {wheel.stat().st_size:,} bytes, more than {WHEEL_MAX_BYTES:,}")
    return faults


def has_client(wheel: Path) -> bool:
    with zipfile.ZipFile(wheel) as packed:
        return {f"{CLIENT}{name}.gz" for name in SCRIPTS} <= set(packed.namelist())


def sdist_faults(sdist: Path, files: set[str]) -> list[str]:
    with tarfile.open(sdist) as packed:
        found = {member.name.partition("/")[2] for member in packed.getmembers() if member.isfile()}
    return differences(files, found, BUILT_INTO_SDIST)


def metadata_faults(text: str) -> list[str]:
    fields = Parser().parsestr(text)
    faults = [
        f"METADATA lacks {name}" for name in ("Author", "License-Expression", "Summary") if not fields[name]
    ]
    for label, url in PROJECT["urls"].items():
        if f"{label}, {url}" not in fields.get_all("Project-URL", []):
            faults.append(f"METADATA lacks the address of {label}")
    if fields["Description-Content-Type"] != "text/markdown":
        faults.append("METADATA does not say that README is Markdown")
    links = RELATIVE_LINK.findall(str(fields.get_payload()))
    return faults + [f"README leads nowhere on an index: {link}" for link in links]
