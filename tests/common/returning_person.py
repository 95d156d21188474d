"""A client that is lost and comes back to any of several worlds, as the official one does.

It must not know what joins the worlds, or who remembers it.
"""

import json
from typing import Any, Protocol


class Worlds(Protocol):
    """Each as socketio_world.World."""

    def __getitem__(self, index: int) -> Any: ...

    def arrived(self, peer: Any) -> None:
        """Somebody has asked to come in."""


class Person:
    """It keeps pid, offset and events.

    Attributes:
        recovered: what it was told each time it came. connected: it was told so, and has not been lost since.
    """

    def __init__(self, worlds: Worlds) -> None:
        self._worlds = worlds
        self.auth: Any = None
        self.got: list[str] = []
        self.recovered: list[bool] = []
        self.connected = False
        self.peer: Any = None

    def connect(self, index: int, flow: bool = True) -> None:
        """`flow`: what its arrival needs happens at once."""
        self.peer = self._worlds[index].peer(None)
        self.peer.say("0" + ("" if self.auth is None else json.dumps(self.auth)))
        if flow:
            self._worlds.arrived(self.peer)
        self.look()

    def look(self) -> None:
        """Take what has come."""
        for packet in self.peer.heard():
            if packet[0] == "0":
                names = json.loads(packet[1:])
                former = None if self.auth is None else self.auth.get("pid")
                self.recovered.append(names["pid"] == former)
                self.auth = {"pid": names["pid"], "offset": (self.auth or {}).get("offset")}
                if self.auth["offset"] is None:
                    del self.auth["offset"]
                self.sid = names["sid"]
                self.connected = True
            elif packet[0] == "2":
                name, *rest = json.loads(packet[1:])
                self.got.append(name)
                if rest:
                    self.auth["offset"] = rest[-1]

    def lose(self, unseen: bool = False) -> None:
        """The connection goes; `unseen`: with what was on its way."""
        if not unseen:
            self.look()
        self.peer.lose()
        self.connected = False
