"""Socket.IO clients on a told machine: over every transport, with recovery, events and acks.

It must not know which worker serves it, or what is done to the server.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from invariants import EVERYBODY, Ledger, Life
from simulated_network import Network, Wire
from simulated_transports import Polling, WebSocket

ROOMS = ("red", "blue")
SPEAK_SECONDS = 0.7
CONNECT_SECONDS = 25.0  # for the whole way into the namespace


class Client:
    """Comes back whenever it is lost, and keeps count.

    Args:
        kind: "websocket", "polling" or "upgrade". paths: of the machines, of which it takes any.

    Attributes:
        life: since it was last told that it is a new one; None before it has ever been in.
        joined: it is in the namespace now. recovers: it asks for what it missed.
    """

    def __init__(
        self, name: str, kind: str, network: Network, host: str, paths: Sequence[str], ledger: Ledger
    ) -> None:
        self.name = name
        self._host = host
        self._kind = kind
        self._network = network
        self._paths = paths
        self._path = self._came_by = ""
        self._ledger = ledger
        self._random = network.machine.random
        self._pid: str | None = None
        self._offset: str | None = None
        self._connection = 0
        self._lives = 0
        self._visits = 0  # of this life
        self._lost_at: float | None = None  # since then it has got no event: what it missed is as old
        self._numbers = 0
        self._asked: dict[int, tuple[str, Any]] = {}
        self._transport: WebSocket | Polling | None = None
        self.life: Life | None = None
        self.joined = False
        self.ended = False
        self._connect()

    def note(self, *words: object) -> None:
        self._ledger.note(self._network.machine.now, self.name, *words)

    # The connection

    def _connect(self) -> None:
        if self.ended or self._transport is not None:
            return
        self._connection += 1
        self.note("connects", self._connection)
        self._path = self._paths[0] if len(self._paths) == 1 else self._random.choice(self._paths)
        if self._kind == "websocket":
            self._transport = WebSocket(self._network, self._path, "", self)
        else:
            self._transport = Polling(self._network, self._path, self._kind == "upgrade", self)
        number = self._connection
        self._network.loop.call_later(CONNECT_SECONDS, lambda: self._give_up(number))

    def _give_up(self, number: int) -> None:
        if number == self._connection and not self.joined and self._transport is not None:
            self._ledger.happened["given up"] += 1
            self._transport.close()
            self.dropped()

    @property
    def wires(self) -> list[Wire]:
        transport = self._transport
        if transport is None:
            return []
        return [transport.wire] if isinstance(transport, WebSocket) else transport.wires

    def cut(self, away_seconds: float = 0.0) -> None:
        """The client's side notices at once, the server whenever it does."""
        if self._transport is not None:
            self._transport.close()
            self.dropped(away_seconds)

    def fall_silent(self) -> None:
        """Neither side is told; the client looks for another way."""
        for wire in self.wires:
            wire.silence()
            self._network.loop.call_later(60.0, wire.close)
        if self._transport is not None:
            self._transport.forget()
            self.dropped()

    def leave(self) -> None:
        """For good, with a goodbye."""
        self.ended = True
        if self.joined:
            self._packet("41")
        if self._transport is not None:
            transport, self._transport = self._transport, None
            self._network.loop.call_later(2.0, transport.close)

    def dropped(self, away_seconds: float = 0.0) -> None:
        self._transport = None
        if self.joined and self._lost_at is None:
            self._lost_at = self._network.machine.now
        self.joined = False
        self.note("dropped")
        self._asked.clear()
        if not self.ended:
            pause = away_seconds or self._random.random() * 1.2
            self._network.loop.call_later(pause, self._connect)

    def _packet(self, text: str) -> None:
        if self._transport is not None:
            self._transport.send(text)

    # What comes

    def upgraded(self) -> None:
        self._ledger.happened["upgraded"] += 1

    def packet(self, text: str) -> None:
        if self.ended:
            return
        if text[0] == "0":
            # Chance says whether one that saw nothing asks with a pid alone.
            auth = {} if self._pid is None else {"pid": self._pid, "offset": self._offset}
            auth = {name: value for name, value in auth.items() if value is not None}
            self._packet("40" + json.dumps({"name": self.name, **auth}))
        elif text == "2":
            self._packet("3")
        elif text[:2] == "40":
            self._in(json.loads(text[2:]))
        elif text[:2] == "41":
            self.note("sent out")
            self._ledger.happened["sent out"] += 1
            self.cut()
        elif text[:2] == "42":
            self._event(text[2:])
        elif text[:2] == "43":
            ack, _, values = text[2:].partition("[")
            self._acknowledged(int(ack), json.loads("[" + values))
        elif text[:2] == "44":
            self._ledger.broken.append(f"refused: {self.name}: {text}")

    def _in(self, told: dict[str, str]) -> None:
        recovered = told.get("pid") is not None and told.get("pid") == self._pid
        if recovered and self._path != self._came_by:
            self._ledger.happened["recovered elsewhere"] += 1
        self._came_by = self._path
        if self._pid is not None and self._lost_at is not None:
            self._ledger.come_back(
                self.life, recovered, self._offset, self._lost_at, self._network.machine.now, self._pid
            )
        self._pid = told.get("pid")
        self._visits += 1
        if not recovered:
            self._visits = 1
            self._lives += 1
            self._offset = self._lost_at = None
            self.life = Life(self.name, self._lives, self._host)
            self.life.maybe.add(EVERYBODY)
            self.life.held[EVERYBODY] = self._ledger.next_place()
        self.joined = True
        self.note("in", "recovered" if recovered else "new", self._lives)
        number = self._connection
        self._network.loop.call_later(self._random.random() * SPEAK_SECONDS, lambda: self._speak(number))

    def _event(self, text: str) -> None:
        ack, _, rest = text.partition("[")
        event, *values = json.loads("[" + rest)
        if self._pid is not None and values and isinstance(values[-1], str) and not ack:
            self._offset = values.pop()
            if self.joined:
                self._lost_at = None
        if event == "said":
            origin, serial, room, _ = values
            self.note("got", origin, serial, room)
            if self.life is not None:
                self._ledger.receive(self.life, origin, serial, room)
        elif event == "question":
            self.note("asked", *values)
            self._packet(f"43{ack}[{values[0]}]")

    # What it says

    def _speak(self, number: int) -> None:
        """As long as this connection lasts."""
        if number != self._connection or not self.joined or self._network.calm:
            return
        for _ in range(self._random.choice((1, 1, 2, 5))):
            self._say_something()
        self._network.loop.call_later(self._random.random() * 2 * SPEAK_SECONDS, lambda: self._speak(number))

    def _say_something(self) -> None:
        kind = self._random.choice(("say",) * 8 + ("join", "leave", "ask"))
        room = self._random.choice(ROOMS)
        if kind == "say":
            self.say(self._random.choice((EVERYBODY, EVERYBODY, *ROOMS)))
        elif kind == "ask":
            self._emit("ask", self.name, self._numbers)
        elif self.life is not None and not any(asked == room for _, asked in self._asked.values()):
            if kind == "join":
                self.life.maybe.add(room)
            else:
                self.life.held.pop(room, None)
            self._emit(kind, self.name, room)

    def say(self, room: str) -> None:
        pad = self._random.choice((0, 0, 0, 0, 10, 300, 20_000))
        self._emit("say", self.name, self._connection, self._numbers, room, "x" * pad)

    def _emit(self, event: str, *values: object) -> None:
        number, self._numbers = self._numbers, self._numbers + 1
        self._asked[number] = (event, values[1])
        self.note(event, number)
        self._packet(f"42{number}" + json.dumps([event, *values]))

    def _acknowledged(self, number: int, values: list[Any]) -> None:
        event, room = self._asked.pop(number, ("", None))
        self.note("acknowledged", number, *values)
        if event == "say":
            self._ledger.acknowledge(self.name, number, values[0])
        elif event == "ask" and self.life is not None:
            self._ledger.remember(self.life, self._visits, values[0])
        elif event and self.life is not None and room is not None:
            if event == "join":
                self.life.held.setdefault(room, self._ledger.next_place())
            elif event == "leave":
                self.life.maybe.discard(room)
                self.life.left[room] = self._ledger.next_place()
