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
    """One handshake.

    Attributes:
        environ: as it has come to the holder; None as long as it has not.
    """

    _holder: object  # the part of the application that it is for; what stands around that sees it first
    environ: dict[str, Any] | None = field(default=None, init=False)

    def at(self, holder: object, environ: dict[str, Any], start_response: Callable[..., object]) -> bool:
        """It has come to `holder`: is it the one, and has it been answered?"""
        if holder is not self._holder:
            return False
        self.environ = environ
        start_response("200 OK", [("Content-Length", "0")])
        return True


def arrived(holder: object, environ: dict[str, Any], start_response: Callable[..., object]) -> bool:
    """What a holder asks of each request first: is it a handshake for it, which is then answered?"""
    arrival: Arrival | None = environ.get(KEY)
    return arrival is not None and arrival.at(holder, environ, start_response)
