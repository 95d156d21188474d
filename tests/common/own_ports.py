"""Ports for programs that cannot be told to choose one themselves.

It must not know who listens there.
"""

import random
import socket


def port_of_its_own() -> int:
    """A free one below those that the kernel gives out: nobody else's while a server is stopped."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_768)  # two test processes may share a seed
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
