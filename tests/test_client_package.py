"""How the Socket.IO client comes into the package: fetched by npm and checked, packed into wheel and sdist.

It must not know the network or npm: a program of that name gives what a test says.
"""

import base64
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from built_package import built, needs_build_tools
from python_server.serve.client_release import CDN_TAG, NAMES, TARBALL_INTEGRITY, VERSION

ROOT = Path(__file__).resolve().parents[1]
EVERYTHING = {"LICENSE", *(f"{name}.gz" for name in NAMES)}
WITHOUT = "wsframe: built without the Socket.IO client, `make client` fetches it"


def tarball(place: Path) -> str:
    """npm's package as it would come; what is said of its bytes."""
    with tarfile.open(place, "w:gz") as package:
        for name in ["LICENSE", "package.json", *(f"dist/{name}" for name in NAMES)]:
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(name)
            package.addfile(info, io.BytesIO(name.encode()))
    return "sha512-" + base64.b64encode(hashlib.sha512(place.read_bytes()).digest()).decode()


class Tree:
    """A source tree with what the fetching needs, and an npm of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.clients = place / "python_server" / "client"
        self.package = place / "package.tgz"
        self.calls = place / "calls"
        (place / "bin").mkdir()
        (place / "src").mkdir()
        (place / "python_server" / "serve").mkdir(parents=True)
        for name in (
            "Makefile",
            "fetch_client.py",
            "python_server/__init__.py",
            "python_server/serve/__init__.py",
        ):
            shutil.copy(ROOT / name, place / name)
        release = (ROOT / "python_server" / "serve" / "client_release.py").read_text("utf-8")
        assert release.count(TARBALL_INTEGRITY) == 1
        release = release.replace(TARBALL_INTEGRITY, tarball(self.package))
        (place / "python_server" / "serve" / "client_release.py").write_text(release, "utf-8")

    def npm(self, script: str) -> None:
        program = self.place / "bin" / "npm"
        program.write_text(f'#!/bin/sh\necho "$*" >>"{self.calls}"\n{script}\n')
        program.chmod(0o755)

    def gives(self) -> None:
        self.npm(f'cp "{self.package}" .')

    def run(self, *command: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PATH": f"{self.place / 'bin'}{os.pathsep}{path}"}
        return subprocess.run(
            command, cwd=self.place, env=env, capture_output=True, text=True, check=False, timeout=300
        )

    def fetch(self, **path: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "fetch_client.py", **path)

    def found(self) -> dict[str, set[str]]:
        """Every release that is there, with its files."""
        return {release.name: {file.name for file in release.iterdir()} for release in self.clients.iterdir()}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_npms_package_is_unpacked_once(tree: Tree) -> None:
    tree.gives()
    for _ in range(2):
        done = tree.fetch()
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert tree.found() == {VERSION: EVERYTHING}
    assert len(tree.calls.read_text().splitlines()) == 1
    assert tree.calls.read_text().endswith(f" socket.io-client@{VERSION}\n")
    for name in NAMES:
        assert (
            gzip.decompress((tree.clients / VERSION / f"{name}.gz").read_bytes()) == f"dist/{name}".encode()
        )


@pytest.mark.parametrize(
    ("npm", "reason"),
    [
        ("", "npm is not installed"),
        ("echo ENOTFOUND >&2; exit 1", "ENOTFOUND"),
        ("exit 0", f"npm does not get socket.io-client {VERSION}"),
        ("echo other >a.tgz", "is another one than ours (sha512-"),
        ('cp "PACKAGE" a.tgz; echo x >>a.tgz', "is another one than ours (sha512-"),
        ('cp "PACKAGE" a.tgz; cp a.tgz b.tgz', f"npm does not get socket.io-client {VERSION}"),
    ],
)
def test_without_the_very_package_nothing_is_put_there(tree: Tree, npm: str, reason: str) -> None:
    """Nor is what another release has left there."""
    (tree.clients / "1.0.0").mkdir(parents=True)
    if npm:
        tree.npm(npm.replace("PACKAGE", str(tree.package)))
        done = tree.fetch()
    else:
        done = tree.fetch(path="")
    assert done.returncode == 1
    assert done.stderr.startswith("Left out: ")
    assert reason in done.stderr
    assert CDN_TAG in done.stderr
    assert done.stderr.count("\n") == 1
    assert tree.found() == {}


def test_a_fetching_that_was_killed_leaves_no_half_of_it(tree: Tree) -> None:
    tree.npm(f'cp "{tree.package}" .; kill -9 $PPID')
    assert tree.fetch().returncode == -9
    assert VERSION not in tree.found()
    tree.gives()
    assert tree.fetch().returncode == 0
    assert tree.found() == {VERSION: EVERYTHING}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_goes_on_without_it_and_builds_anew_when_it_has_come(tree: Tree) -> None:
    state = tree.place / "build" / "client"

    def make() -> tuple[str, int]:
        done = tree.run("make", "client", f"PYTHON={sys.executable}")
        assert done.returncode == 0, done.stderr
        return done.stderr, state.stat().st_mtime_ns

    tree.npm("exit 1")
    (first, changed), (second, unchanged) = make(), make()
    assert first == second
    assert first.startswith("Left out: npm does not get")
    assert unchanged == changed
    tree.gives()
    (third, come), (_, stays) = make(), make()
    assert third == ""
    tree.npm("exit 1")
    packages = tree.run("make", "optional-npm")
    assert (packages.returncode, packages.stdout.count("Left out: npm gets no packages")) == (0, 1)
    assert stays == come > changed


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., tuple[set[str], set[str], str]]:
    """build(names): the client's files in wheel and sdist where these lie in the tree, and what was said."""
    for name in (
        "setup.py",
        "readme_on_index.py",
        "pyproject.toml",
        "MANIFEST.in",
        "README.md",
        "LICENSE",
        "src",
        "python_server",
    ):
        ignored = shutil.ignore_patterns("client", "__pycache__", "*.c", "*.so", "*.egg-info")
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name, **({"ignore": ignored} if copy is shutil.copytree else {}))  # type: ignore[operator]

    def begin(names: set[str]) -> tuple[set[str], set[str], str]:
        for name in names:
            place = tmp_path / "python_server" / "client" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(name)
        wheel, sdist, said = built(tmp_path)
        with zipfile.ZipFile(wheel) as packed, tarfile.open(sdist) as source:
            lists = packed.namelist(), source.getnames()
        in_wheel, in_sdist = (
            {
                name.partition("python_server/client/")[2]
                for name in names
                if "/client/" in name and "." in name
            }
            for names in lists
        )
        return in_wheel, in_sdist, said

    return begin


@needs_build_tools
def test_wheel_and_sdist_pack_the_client_that_is_there(
    build: Callable[..., tuple[set[str], set[str], str]],
) -> None:
    files = {f"{VERSION}/{name}" for name in EVERYTHING}
    in_wheel, in_sdist, said = build(files)
    assert in_wheel == {name for name in files if ".map" not in name}
    assert in_sdist - {VERSION} == files
    assert WITHOUT not in said


@needs_build_tools
def test_a_build_without_the_client_says_so_in_one_line(
    build: Callable[..., tuple[set[str], set[str], str]],
) -> None:
    in_wheel, in_sdist, said = build(set())
    assert in_wheel == in_sdist == set()
    assert said.splitlines().count(WITHOUT) == 1


def test_the_repository_holds_none() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no repository here")
    listed = subprocess.run(
        ["git", "ls-files", "*socket.io*", "python_server/client"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout == ""
