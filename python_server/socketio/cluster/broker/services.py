"""What the broker's half needs of its worker.

Must not know: what is done with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from python_server.net.system import REAL, CallLater, System
from python_server.socketio.packet import Codec


@dataclass(frozen=True, slots=True)
class BrokerServices:
    """What the broker's half needs of its worker. `post` is for any thread, all else for the loop's."""

    post: Callable[..., None]
    call_later: CallLater
    complain: Callable[[str, str], None]
    report: Callable[[str, BaseException], None]
    say: Callable[[str], None]
    warn: Callable[[str], None]
    codec: Callable[[], Codec]
    next_offset: Callable[[], Callable[[bool], str] | None]
    lead_said: Callable[[], None]
    secret: bytes = b""
    system: System = REAL
