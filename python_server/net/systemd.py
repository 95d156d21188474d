"""systemd's two protocols: sockets it hands over (sd_listen_fds), states it is told (sd_notify).

Must not know: what is served, or when a state is reached.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Final

from python_server.net.portability import unix_socket

FIRST_DESCRIPTOR: Final = 3  # SD_LISTEN_FDS_START
LISTEN_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"


def activated_descriptors(environment: MutableMapping[str, str]) -> list[int]:
    """The descriptors passed to this very process; the variables are removed, so that no child takes them.

    Variables meant for another process (LISTEN_PID differs) are left alone.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environment.get("LISTEN_FDS", "")
    for name in LISTEN_VARIABLES:
        environment.pop(name, None)
    if not (count.isascii() and count.isdigit()):
        return []
    return list(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)))


def reloading() -> str:
    """The state to send before configuration is read anew; `Type=notify-reload` wants the moment too."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """How long the service manager waits for ALIVE before it kills this very process; None: it does not."""
    text = environment.get("WATCHDOG_USEC", "")
    ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(text) / 1e6 if ours and text.isascii() and text.isdigit() and int(text) else None


def notify(state: str) -> bool:
    """Send a state to the service manager; False when there is none, or it cannot be reached."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return False
    if path.startswith("@"):  # Linux's abstract names
        path = "\0" + path[1:]
    try:
        with unix_socket(socket.SOCK_DGRAM) as sock:
            sock.connect(path)
            sock.sendall(state.encode())
    except OSError:
        return False
    return True
