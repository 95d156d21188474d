"""How many descriptors this process may have open.

Must not know: what they are used for.
"""

from __future__ import annotations

from typing import Final

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# Of the descriptors one eighth is left to the application: files, databases, links between workers.
RESERVE_DIVISOR: Final = 8


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
