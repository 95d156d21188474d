"""A network of the test's own: namespaces for a site and for machines, joined by virtual Ethernet.

It must not know what runs there. Needs root and iproute2; all of it is removed, whatever has happened.

    site: a bridge `front` (10.77.0.254/24) and a bridge `links` without an address
    machine N: `front` (10.77.0.N/24) and `links` (10.78.0.N/24); their other ends in the site are `front-N`
        and `links-N`, ports of the bridges
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

NETWORKS = {"front": "10.77.0", "links": "10.78.0"}
SITE_ADDRESS = f"{NETWORKS['front']}.254"
END_SECONDS = 10.0


def ip(*words: str) -> str:
    """What `ip` says. Raises CalledProcessError."""
    return subprocess.run(["ip", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def missing_network() -> str:
    """What is not there that namespaces need."""
    if shutil.which("ip") is None:
        return "ip (iproute2) is not installed"
    if os.geteuid() != 0:
        return "network namespaces need root"
    trial = f"trial-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", trial], capture_output=True, text=True, check=False)
    if made.returncode == 0:
        names = (
            "link",
            "add",
            "trial-a",
            "netns",
            trial,
            "type",
            "veth",
            "peer",
            "name",
            "trial-b",
            "netns",
            trial,
        )
        made = subprocess.run(["ip", *names], capture_output=True, text=True, check=False)
        ip("netns", "del", trial)
    return f"network namespaces cannot be made here: {made.stderr.strip()}" if made.returncode else ""


class Spaces:
    """The names of the namespaces: `site`, and `machines` by their number; their links can be cut."""

    def __init__(self, name: str, machines_count: int) -> None:
        self.site = f"{name}-site"
        self.machines = {number: f"{name}-m{number}" for number in range(1, machines_count + 1)}

    def __enter__(self) -> "Spaces":
        try:
            self._make()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def _make(self) -> None:
        for space in (self.site, *self.machines.values()):
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
        for network, prefix in NETWORKS.items():
            ip("-n", self.site, "link", "add", network, "type", "bridge")
            ip("-n", self.site, "link", "set", network, "up")
            for number, space in self.machines.items():
                far = f"{network}-{number}"
                ip(
                    "link",
                    "add",
                    network,
                    "netns",
                    space,
                    "type",
                    "veth",
                    "peer",
                    "name",
                    far,
                    "netns",
                    self.site,
                )
                ip("-n", space, "address", "add", f"{prefix}.{number}/24", "dev", network)
                ip("-n", space, "link", "set", network, "up")
                ip("-n", self.site, "link", "set", far, "up")
                self.join(network, number)
        ip("-n", self.site, "address", "add", f"{SITE_ADDRESS}/24", "dev", "front")

    def join(self, network: str, number: int) -> None:
        ip("-n", self.site, "link", "set", f"{network}-{number}", "master", network)

    def cut(self, network: str, number: int) -> None:
        """What goes there vanishes, and nobody is told: the bridge has no such port any more."""
        ip("-n", self.site, "link", "set", f"{network}-{number}", "nomaster")

    def remove(self) -> int:
        """Also of what still runs in them, which is killed; how many processes that were."""
        left_count = 0
        known = ip("netns", "list").split()
        for space in (*self.machines.values(), self.site):
            if space in known:
                left_count += self._end_processes(space)
                ip("netns", "del", space)
        return left_count

    @staticmethod
    def _end_processes(space: str) -> int:
        left = pids = ip("netns", "pids", space).split()
        deadline = time.monotonic() + END_SECONDS
        while pids and time.monotonic() < deadline:
            for pid in pids:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue
            pids = ip("netns", "pids", space).split()
        return len(left)


def space_of(pid: int | str = "self") -> str:
    """What names the network namespace of a process, as `net:[4026531992]`."""
    return os.readlink(Path("/proc") / str(pid) / "ns" / "net")
