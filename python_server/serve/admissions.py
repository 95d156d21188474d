"""Who is asked before a session or a raw WebSocket opens: what stands around the part that carries it.

Must not know: what middleware looks at, what is opened, paths.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from python_server.net.threads import Door
from python_server.serve.mounts import Mount, Site
from python_server.websocket.application import Admit
from python_server.wsgi.environ import ServerFacts
from python_server.wsgi.handshake_middleware import HandshakeMiddleware, admission


class Admissions:
    """Of one worker.

    Args:
        facts: for the environ of a handshake. report: for what the middleware raises.
    """

    def __init__(
        self, site: Site, facts: ServerFacts, door: Door, report: Callable[[str, BaseException], None]
    ) -> None:
        self._site = site
        self._facts = facts
        self._door = door
        self._report = report

    def of_routes(self) -> dict[str | re.Pattern[str], Admit]:
        """Of the raw WebSockets, by path."""
        return {path: self._around(holder) for path, holder in self._site.holders.items()}

    def of_mount(self, mount: Mount) -> Admit | None:
        """Of a mount that serves, None where nobody is to be asked."""
        if mount.admit is not None:
            return HandshakeMiddleware(mount.admit, self._door, self._report).ask
        return None if mount.holder is None else self._around(mount.holder)

    def _around(self, holder: object) -> Admit:
        admit = admission(self._site.application, self._facts, holder)
        return HandshakeMiddleware(admit, self._door, self._report).ask
