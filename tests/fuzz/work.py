"""What one client does costs the loop the same, however much others have done before: its lines are counted.

It must not measure time. Each deed is done twice, after a little and after a lot of one history that does not
concern it.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client_end import Connection
from conversations import TEXT, TOKEN, UPGRADE
from findings import Fault, Record
from operations import render_frame, render_request
from served_site import Guard
from server import ERRORS, Played

import python_server
from counted_lines import lines_run
from python_server import Server
from python_server.api.python_socketio import WSGIApp

JOINED = re.compile(rb'40(\{"sid":[^}]*\})')
OFFSET = re.compile(rb'42\["said",\d+,"([^"]+)"\]')
PRODUCT = str(Path(python_server.__file__).parent)
# Turns of the loop come by chance, and a long list is gone through in C: so many lines are no finding.
CHANCE_LINES_COUNT = 200
# The least counts: what was put off before, as timers that were cancelled, is made up for once.
DEEDS_COUNT = 3


def make_application() -> Guard:
    server = Server(connection_state_recovery=True)

    @server.on("join")
    def join(sid: str, room: str, count: int) -> None:
        for number in range(count):
            server.enter_room(sid, f"{room}{number}")

    @server.on("shout")
    def shout(sid: str, room: str, count: int) -> None:
        for number in range(count):
            server.emit("said", number, room=room)

    @server.on("echo")
    def echo(sid: str, word: str) -> str:
        return word

    return Guard(WSGIApp(server, lambda environ, start_response: []))


class Place:
    """A server with one who does much, and some whose deeds are looked at."""

    def __init__(self, seed: int) -> None:
        self.played = Played(seed, make_application())
        self._names = iter(range(1_000_000))
        self.busy, *self.quiet = (self.come() for _ in range(1 + DEEDS_COUNT))
        for each in self.quiet:
            self.say(each, "join", "quiet", 1)
        self.say(self.busy, "join", "busy", 1)
        self.say(self.busy, "shout", "quiet0", 1)  # an event to come back by

    def come(self, auth: str = "") -> Connection:
        connection = self.played.open(f"w{next(self._names)}", "client")
        target = "/socket.io/?EIO=4&transport=websocket"
        connection.unsent += render_request("GET", target, [["Host", "here"], *UPGRADE, TOKEN], "", "none")
        connection.unsent += render_frame(TEXT, "40" + auth, {})
        self.played.settle()
        assert JOINED.search(connection.heard), connection.heard
        return connection

    def say(self, connection: Connection, *event: Any) -> None:
        connection.unsent += render_frame(TEXT, "42" + json.dumps(event), {})
        self.played.settle()

    def leave(self, connection: Connection) -> None:
        name = next(name for name, each in self.played.connections.items() if each is connection)
        self.played.leave(name, "end")
        self.played.settle()

    def come_back(self, lost: Connection) -> None:
        """To all that it has missed."""
        pid = json.loads(JOINED.findall(lost.heard)[0])["pid"]
        offset = OFFSET.findall(lost.heard)[-1].decode()
        back = self.come(json.dumps({"pid": pid, "offset": offset}))
        assert json.loads(JOINED.findall(back.heard)[0])["pid"] == pid, "it is not recovered"


def lost(place: Place, count: int) -> None:
    for _ in range(count):
        place.leave(place.come())


def others(place: Place, count: int) -> None:
    for _ in range(count):
        place.come()


# What has been: (a little, a lot, how).
HISTORIES: dict[str, tuple[int, int, Callable[[Place, int], None]]] = {
    "events to another room": (
        50,
        1_000,
        lambda place, count: place.say(place.busy, "shout", "busy0", count),
    ),
    "rooms of another": (50, 1_000, lambda place, count: place.say(place.busy, "join", "r", count)),
    "others": (5, 90, others),
    "others lost": (5, 200, lost),
}
# What is looked at: has the one who does it left before, and what it does.
DEEDS: dict[str, tuple[bool, Callable[[Place, Connection], object]]] = {
    "comes back": (True, Place.come_back),
    "comes": (False, lambda place, who: place.come()),
    "joins": (False, lambda place, who: place.say(who, "join", "x", 1)),
    "says": (False, lambda place, who: place.say(who, "shout", "quiet0", 1)),
    "asks": (False, lambda place, who: place.say(who, "echo", "x")),
    "leaves": (False, Place.leave),
}


PAIRS = [*itertools.product(HISTORIES, DEEDS)]


class WorkPlayer:
    """The machine that `findings.campaign` runs."""

    NAME = "work"

    def close(self) -> None:
        """It has started nothing."""

    def make(self, seed: int) -> Record:
        return [list(PAIRS[seed % len(PAIRS)])]  # one after the other: there are few

    def play(self, seed: int, record: Record) -> Counter[str]:
        counts: Counter[str] = Counter()
        for history, deed in record:
            if history not in HISTORIES or deed not in DEEDS:
                raise ValueError(f"no such work: {history!r}, {deed!r}")
            few, many, _ = HISTORIES[history]
            little, much = (self._lines(seed, history, count, deed) for count in (few, many))
            if much - little > CHANCE_LINES_COUNT + (many - few) // 2:
                raise Fault(
                    "work that grows",
                    f"{deed} after {history}: {little} lines after {few}, {much} after {many}",
                )
            counts.update(deeds=1, lines=little + much)
        return counts

    @staticmethod
    def _lines(seed: int, history: str, count: int, deed: str) -> int:
        place = Place(seed)
        try:
            away, do = DEEDS[deed]
            if away:
                for each in place.quiet:
                    place.leave(each)
            HISTORIES[history][2](place, count)
            found = min(lines_run(do, place, each, below=PRODUCT) for each in place.quiet)
            if ERRORS.lines:
                raise Fault("logged as an error", ERRORS.lines[0])
            return found
        finally:
            place.played.close()
