"""Are the two links to the broker there, and what is said of it: one worker speaks, once, for its machine.

Must not know: what travels, how a link is made again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from python_server.socketio.cluster.broker.connections import BrokerLinkState
from python_server.socketio.cluster.broker.leader import Place
from python_server.socketio.cluster.broker.plugins import without_password
from python_server.socketio.cluster.port import BrokerOptions

PUBLISH: Final = "publish"
SUBSCRIBE: Final = "subscribe"


class LinkStatus:
    """Every method belongs to the loop's thread.

    Args:
        say, warn: a line for the log.

    Attributes:
        dropped_count: messages that were given up.
    """

    def __init__(
        self, options: BrokerOptions, place: Place, say: Callable[[str], None], warn: Callable[[str], None]
    ) -> None:
        self._broker = f"the broker {without_password(options.url)}"
        self._channel = options.channel
        self._place = place
        self._say = say
        self._warn = warn
        self._links = {PUBLISH: BrokerLinkState.STARTING, SUBSCRIBE: BrokerLinkState.STARTING}
        self._told = BrokerLinkState.STARTING  # of both, as it was last said
        self._unsaid: Callable[[], None] | None = None
        self.dropped_count = 0

    def up(self, *names: str) -> bool:
        """Are those links there?"""
        return all(self._links[name] is BrokerLinkState.UP for name in names)

    @property
    def connected(self) -> bool:
        return self.up(PUBLISH, SUBSCRIBE)

    def changed(self, name: str, state: BrokerLinkState, reason: str) -> None:
        """A link is UP, or LOST for that reason."""
        first = self._links[name] is BrokerLinkState.STARTING
        self._links[name] = state
        if state is BrokerLinkState.LOST:
            what = "cannot be reached" if first else "is lost"
            line = f"{self._broker} {what}: {reason}; this machine serves on alone and keeps trying"
            self._tell(state, line, self._warn)
        elif self.connected and self._told is BrokerLinkState.LOST:
            dropped = f"{self.dropped_count} messages have been dropped so far"
            self._tell(state, f"{self._broker} is there again; {dropped}", self._warn)
        elif self.connected:
            self._tell(state, f"joined {self._broker}, channel {self._channel!r}", self._say)

    def look(self) -> None:
        """Workers have come or gone: it may be known now who speaks."""
        if self._unsaid is not None and self._place.settled():
            say, self._unsaid = self._unsaid, None
            if self._place.leads():
                say()

    def _tell(self, state: BrokerLinkState, line: str, say: Callable[[str], None]) -> None:
        """Once; until it is known who speaks, the latest line waits."""
        if self._told is state:
            return
        self._told = state
        self._unsaid = partial(say, line)
        self.look()
