"""Ports for programs that cannot be told to choose one themselves.

It must not know who listens there.
"""

import os
import random
import socket

# Of test processes, which have ports of their own: a program listens at one long after it was chosen.
PROCESSES_MAX_COUNT = 16
_given: set[int] = set()


def port_of_its_own() -> int:
    """A free one below those that the kernel gives out: nobody else's while a server is stopped."""
    ours = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES_MAX_COUNT
    while True:
        # Two test processes may share a seed.
        port = random.SystemRandom().randrange(10_000 + ours, 32_768, PROCESSES_MAX_COUNT)
        if port in _given:
            continue
        try:
            with socket.create_server(("127.0.0.1", port)):
                _given.add(port)
                return port
        except OSError:
            continue
