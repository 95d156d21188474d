"""A handshake on its way through an application's middleware, to whoever holds what it is for.

Must not know: what it is for, how it is answered then, threads, exchanges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

# Where an environ says that it is a handshake on its way.
KEY: Final = "python_server.arrival"


@dataclass(slots=True)
class Arrival:
    """One handshake."""

    holder: object  # the part of the application that it is for; what stands around that sees it first
    environ: dict[str, Any] | None = field(default=None, init=False)  # as it has come to the holder


def arrived(holder: object, environ: dict[str, Any], start_response: Callable[..., object]) -> bool:
    """What a holder asks of each request first: is it a handshake for it, which is then answered?"""
    arrival: Arrival | None = environ.get(KEY)
    if arrival is None or arrival.holder is not holder:
        return False
    arrival.environ = environ
    start_response("200 OK", [("Content-Length", "0")])
    return True
