"""Puts the Socket.IO client for browsers into python_server/client, out of npm's package: `make client`.

It must not know how it is served; which release it is stands in python_server/serve/client_release.py.
"""

import base64
import gzip
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from python_server.serve.client_release import CDN_TAG, NAMES, TARBALL_INTEGRITY, VERSION

CLIENTS = Path(__file__).resolve().parent / "python_server" / "client"
# One quick second try: without a network the build goes on soon.
TRIES = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=30000"]
PACK = ["pack", "--loglevel=error", "--ignore-scripts", "--prefer-offline", *TRIES]
LEFT_OUT = f"Left out: {{}}, so pages get no Socket.IO client from this server, but 404 and the tag {CDN_TAG}"


class NoClient(Exception):
    """Why there is none."""


def download(folder: Path) -> Path:
    """The package's tarball, if it is the one that we know."""
    npm = shutil.which("npm")
    if npm is None:
        raise NoClient("npm is not installed")
    command = [npm, *PACK, f"socket.io-client@{VERSION}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    tarballs = list(folder.glob("*.tgz"))
    if done.returncode or len(tarballs) != 1:
        told = " ".join(done.stderr.split())[:200]
        raise NoClient(f"npm does not get socket.io-client {VERSION} ({told})")
    found = base64.b64encode(hashlib.sha512(tarballs[0].read_bytes()).digest()).decode()
    if f"sha512-{found}" != TARBALL_INTEGRITY:
        raise NoClient(f"npm's socket.io-client {VERSION} is another one than ours (sha512-{found})")
    return tarballs[0]


def unpack(tarball: Path, folder: Path) -> None:
    """Its licence, and its files as gzip: the same bytes whenever and wherever."""
    with tarfile.open(tarball) as package:

        def read(name: str) -> bytes:
            file = package.extractfile(f"package/{name}")
            assert file is not None, name
            return file.read()

        for name in NAMES:
            (folder / f"{name}.gz").write_bytes(gzip.compress(read(f"dist/{name}"), mtime=0))
        (folder / "LICENSE").write_bytes(read("LICENSE"))


def fetch() -> None:
    """The whole folder appears at once, or not at all; those of other releases go."""
    CLIENTS.mkdir(exist_ok=True)
    for other in CLIENTS.iterdir():
        if other.name != VERSION and other.is_dir():
            shutil.rmtree(other)
    if (CLIENTS / VERSION).is_dir():
        return
    with tempfile.TemporaryDirectory(dir=CLIENTS, prefix=".") as folder:
        tarball, whole = download(Path(folder)), Path(folder, VERSION)
        whole.mkdir()
        unpack(tarball, whole)
        whole.rename(CLIENTS / VERSION)


if __name__ == "__main__":
    try:
        fetch()
    except NoClient as reason:
        sys.exit(LEFT_OUT.format(reason))
