"""How many descriptors this process may have: the soft limit raised, and restored in a forked child.

Must not know: what they are for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from python_server.net.poller import WATCHED_MAX_COUNT
from python_server.net.portability import in_children, resource

# Of the descriptors one eighth is left to the application: files, databases, links between workers.
RESERVE_DIVISOR: Final = 8
# Beside connections: listening sockets, links, logs, files on their way out, an application's databases.
# nginx warns when its connections alone fill the limit.
OTHERS_COUNT: Final = 256
# Linux's own default of what any process may have (fs.nr_open); programs that close every descriptor up to
# their limit, and inherit ours, would be slow above it.
MOST_COUNT: Final = 1_048_576


def _limits() -> list[int | None]:
    """Soft and hard, None for no limit."""
    if resource is None:
        return [None, None]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [None if limit == resource.RLIM_INFINITY else limit for limit in limits]


def descriptors_max_count() -> int | None:
    """The soft limit, or what the poller watches if that is less; None where there is none."""
    soft, _ = _limits()
    return WATCHED_MAX_COUNT if soft is None else min(soft, WATCHED_MAX_COUNT or soft)


def connections_max_count() -> int | None:
    """How many of them connections may take; None where there is no limit."""
    most = descriptors_max_count()
    return None if most is None else max(1, most - most // RESERVE_DIVISOR)


def allow_descriptors(connections_count: int | None, warn: Callable[[str], None]) -> None:
    """Raise the soft limit to what so many connections need, as far as the hard limit allows.

    Node and Go raise it at their start too. A child made by `fork` alone gets the former limit back; one made
    by `subprocess` inherits the higher one: Python runs nothing of ours between its fork and its exec.

    Args:
        connections_count: None for as many as the system allows.
        warn: told when the hard limit is too low.
    """
    soft, hard = _limits()
    most = WATCHED_MAX_COUNT or MOST_COUNT
    allowed = most if hard is None else min(hard, most)
    wanted = allowed if connections_count is None else connections_count + OTHERS_COUNT
    if wanted > allowed:
        bound, mend = "the hard limit allows", " (ulimit -Hn, LimitNOFILE=)"
        if allowed == WATCHED_MAX_COUNT:
            bound, mend = "this system's select watches", ""
        warn(
            f"--limit-concurrency {connections_count} needs {wanted} descriptors, {bound} "
            f"{allowed}: further connections will wait{mend}"
        )
        wanted = allowed
    if soft is None or wanted <= soft:
        return
    try:
        _allow(wanted)
    except (OSError, ValueError):
        return  # macOS refuses what its kernel cannot give
    in_children(partial(_allow, soft))


def _allow(soft: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
