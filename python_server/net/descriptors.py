"""How many descriptors this process may have: the soft limit raised, and restored in a forked child.

Must not know: what they are for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Final

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# Of the descriptors one eighth is left to the application: files, databases, links between workers.
RESERVE_DIVISOR: Final = 8
# Beside connections: listening sockets, links, logs, files on their way out, an application's databases.
# nginx warns when its connections alone fill the limit.
OTHERS_COUNT: Final = 256
# Linux's own default of what any process may have (fs.nr_open); programs that close every descriptor up to
# their limit, and inherit ours, would be slow above it.
MOST_COUNT: Final = 1_048_576


def descriptors_max_count() -> int | None:
    """The soft limit; None where there is none."""
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def connections_max_count() -> int | None:
    """How many of them connections may take; None where there is no limit."""
    most = descriptors_max_count()
    return None if most is None else max(1, most - most // RESERVE_DIVISOR)


def open_count() -> int:
    """How many this process has; 0 where nobody tells."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        if os.path.isdir(folder):
            return len(os.listdir(folder))
    return 0


def allow_descriptors(connections_count: int | None, warn: Callable[[str], None]) -> None:
    """Raise the soft limit to what so many connections need, as far as the hard limit allows.

    Node and Go raise it at their start too. A child made by `fork` alone gets the former limit back; one made
    by `subprocess` inherits the higher one: Python runs nothing of ours between its fork and its exec.

    Args:
        connections_count: None for as many as the system allows.
        warn: told when the hard limit is too low.
    """
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = MOST_COUNT if hard == resource.RLIM_INFINITY else min(hard, MOST_COUNT)
    wanted = allowed if connections_count is None else connections_count + OTHERS_COUNT
    if wanted > allowed:
        warn(
            f"--limit-concurrency {connections_count} needs {wanted} descriptors, the hard limit allows "
            f"{allowed}: further connections will wait (ulimit -Hn, LimitNOFILE=)"
        )
        wanted = allowed
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return  # macOS refuses what its kernel cannot give
    os.register_at_fork(after_in_child=partial(_allow, soft))


def _allow(soft: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
