"""Holds the wheel and the sdist in dist/ against what a release must be, for `make release-check`.

It must not publish anything. A line for each check: ok, Left out (and why) or FAULT; a fault ends it with 1.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("common")))

import package_contents

PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
SMOKE = Path(__file__).with_name("smoke.py").resolve()
LICENCES = """
import json, importlib.metadata as metadata
print(json.dumps({one.metadata["Name"]: " ".join(filter(None, [
    one.metadata["License-Expression"], (one.metadata["License"] or "")[:60],
    *(line for line in one.metadata.get_all("Classifier", []) if line.startswith("License"))]))
    for one in metadata.distributions()}))
"""
PERMISSIVE = re.compile(r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL")
COPYLEFT = re.compile(r"\bA?GPL|General Public")
TYPED_MIN_PERCENT = {"wsframe": 100.0, "python_server": 98.0}


class LeftOutError(Exception):
    """A check that this machine cannot make."""


class FaultError(Exception):
    """What must be mended before a release."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What it printed; a fault with its last lines when it failed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode:
        last = " / ".join((done.stdout + done.stderr).strip().splitlines()[-4:])
        raise FaultError(f"{Path(command[0]).name} {command[1]} ended with {done.returncode}: {last}")
    return done.stdout.strip()


class Release:
    """The two built files, and the environments that they were installed in."""

    def __init__(self, dist: Path, place: Path) -> None:
        (self.wheel,), (self.sdist,) = (sorted(dist.glob(kind)) for kind in ("*.whl", "*.tar.gz"))
        self.place = place
        self.installed: list[Path] = []

    def contents(self) -> str:
        files = package_contents.tracked()
        faults = [f"the wheel {fault}" for fault in package_contents.wheel_faults(self.wheel, files)]
        faults += [f"the sdist {fault}" for fault in package_contents.sdist_faults(self.sdist, files)]
        if faults:
            raise FaultError("; ".join(faults))
        return (
            f"{self.wheel.name} has {self.wheel.stat().st_size:,} bytes, the sdist {len(files)} files of git"
        )

    def client(self) -> str:
        if package_contents.has_client(self.wheel):
            return "the wheel has the Socket.IO client for browsers"
        missing = "the wheel has no Socket.IO client: `make client` fetches it, with npm"
        raise FaultError(missing) if os.environ.get("CI") == "true" else LeftOutError(missing)

    def description(self) -> str:
        twine = Path(sys.executable).with_name("twine")
        if not twine.exists():
            raise LeftOutError("twine is not installed here: nobody renders README as an index would")
        run(twine, "--no-color", "check", "--strict", self.wheel, self.sdist)
        return "twine renders README as an index would"

    def install(self, python: str, package: Path) -> str:
        """Into an empty environment, a wheel alone first; with Flask a request is served from there."""
        program = f"python{python}"
        try:
            run(program, "--version")
        except (FaultError, OSError):
            raise LeftOutError(f"{program} is not installed here") from None
        tag = f"-cp{python.replace('.', '')}-"
        if package.suffix == ".whl" and tag not in package.name:
            raise LeftOutError(f"this machine's wheel is for another Python than {python}")
        folder = self.place / f"{program}-{package.suffix[1:]}"
        run(program, "-m", "venv", folder)
        inside = folder / "bin" / "python"
        pip = (inside, "-m", "pip", "--quiet", "--disable-pip-version-check")
        if package.suffix == ".whl":
            before = run(*pip, "freeze", cwd=self.place).splitlines()
            run(*pip, "install", "--no-index", package, cwd=self.place)
            brought = set(run(*pip, "freeze", cwd=self.place).splitlines()) - set(before)
            if len(brought) != 1:
                raise FaultError(f"without an extra it installs {', '.join(sorted(brought))}")
        run(*pip, "install", f"{package}[flask]", cwd=self.place)
        said = run(inside, SMOKE, cwd=self.place)
        if "cython" not in said:
            raise FaultError(f"the compiled core is not there: {said}")
        run(*pip, "check", cwd=self.place)
        version = run(folder / "bin" / "wsframe", "--version", cwd=self.place)
        self.installed.append(folder)
        return f"{version}: {said.splitlines()[-1]}"

    def licences(self) -> str:
        """Those of all that an installation with Flask brings."""
        if not self.installed:
            raise LeftOutError("nothing was installed")
        found = json.loads(run(self.installed[0] / "bin" / "python", "-c", LICENCES, cwd=self.place))
        for name, licence in found.items():
            if COPYLEFT.search(licence) or not PERMISSIVE.search(licence):
                raise FaultError(f"{name}: {licence or 'it names no licence'}")
        return ", ".join(sorted(found, key=str.lower))

    def typed(self) -> str:
        """The share of the public names whose types are known."""
        pyright = shutil.which("pyright")
        if pyright is None:
            raise LeftOutError("pyright is not on PATH (npm install --global pyright)")
        if not self.installed:
            raise LeftOutError("nothing was installed")
        said = []
        env = {
            "VIRTUAL_ENV": str(self.installed[0]),
            "PATH": f"{self.installed[0] / 'bin'}:{os.environ['PATH']}",
        }
        for package, least in TYPED_MIN_PERCENT.items():
            command = [pyright, "--verifytypes", package, "--ignoreexternal", "--outputjson"]
            # It ends with 1 below 100 percent.
            done = subprocess.run(
                command, cwd=self.place, env=os.environ | env, capture_output=True, text=True, check=False
            )
            percent = 100 * json.loads(done.stdout)["typeCompleteness"]["completenessScore"]
            said.append(f"{package} {percent:.1f} %")
            if percent < least:
                raise FaultError(f"{said[-1]} of the public names are typed, {least} % is the least")
        return ", ".join(said)


def checks(release: Release) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "contents", release.contents
    yield "client", release.client
    yield "description", release.description
    for python in PYTHONS:
        for package in (release.wheel, release.sdist):
            kind = "wheel" if package.suffix == ".whl" else "sdist"
            yield (
                f"{kind} under {python}",
                lambda python=python, package=package: release.install(python, package),
            )
    yield "licences", release.licences
    yield "types", release.typed


def choose_all_of_pyenv() -> None:
    """So that its python3.12 and others run whichever one is chosen here."""
    if shutil.which("pyenv"):
        versions = run("pyenv", "versions", "--bare").split()
        os.environ["PYENV_VERSION"] = ":".join(one for one in versions if one.startswith(PYTHONS))


def main(dist: Path) -> bool:
    good = True
    with tempfile.TemporaryDirectory() as place:
        for name, check in checks(Release(dist.resolve(), Path(place))):
            try:
                print(f"ok        {name}: {check()}", flush=True)
            except LeftOutError as reason:
                print(f"Left out  {name}: {reason}", flush=True)
            except FaultError as fault:
                good = False
                print(f"FAULT     {name}: {fault}", flush=True)
    return good


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    choose_all_of_pyenv()
    sys.exit(not main(Path(sys.argv[1])))
