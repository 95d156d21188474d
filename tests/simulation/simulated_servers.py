"""Machines of one worker each, without sockets: hub, adapter, recovery and broker backplane are real.

It must not know what is done to them, or what is counted; a crowd of clients is one session, and a number.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from python_server.engineio.packet import PROTOCOL4, Prepared
from python_server.engineio.session import NO_OUTBOX, DisconnectReason, Session
from python_server.engineio.session_ids import SessionIds, tag_of
from python_server.net.threads import Door, InlineExecutor, Mailbox
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.cluster.broker.backplane import BrokerBackplane, join_broker
from python_server.socketio.cluster.broker.services import BrokerServices
from python_server.socketio.cluster.broker.url import broker_options
from python_server.socketio.cluster.port import NoBackplane
from python_server.socketio.packet import TextCodec
from python_server.socketio.recovery.event_names import ForeignEventNames
from python_server.socketio.recovery.option import recovery_log
from python_server.socketio.server import Hub
from python_server.socketio.services import Configuration, HubServices
from simulated_broker import STREAMS_URL, URL, Broker
from simulated_machine import Machine

EVERYBODY = "all"
CHANNEL = "large"


class CountedCodec(TextCodec):
    """The codec of text, whose encodings are counted."""

    encoded_count = 0

    def prepare(self, *args: Any) -> Prepared:
        CountedCodec.encoded_count += 1
        return super().prepare(*args)


class Crowd:
    """The WebSocket of so many clients that are in the same rooms: what each of them hears.

    Attributes:
        count: of the clients. delivered_count, delivered_bytes: of all of them together.
        texts: what one of them was sent; where it is not kept, the first alone.
    """

    blocked = closed = False
    prepared_outbox = NO_OUTBOX

    def __init__(self, count: int, keeps: bool) -> None:
        self.count = count
        self.delivered_count = self.delivered_bytes = 0
        self.texts: list[str] = []
        self._keeps = keeps

    def send_prepared(self, prepared: Prepared) -> None:
        self.delivered_count += self.count
        self.delivered_bytes += self.count * len(prepared.frames)
        if self._keeps or not self.texts:
            self.texts += map(str, prepared.packets)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = True

    def fail(self, code: int, reason: str) -> None:
        self.closed = True

    def pause_reading(self, paused: bool) -> None: ...


class Member:
    """A client of a machine, or a crowd of them, from its CONNECT on.

    Attributes:
        sid, pid: as the server named it; empty as long as it has not answered.
        heard: of each event its origin and number, in the order in which they came. offset: of the last one.
    """

    def __init__(
        self, server: MachineServer, auth: dict[str, str] | None = None, count: int = 1, keeps: bool = True
    ) -> None:
        self.crowd = Crowd(count, keeps)
        self.server = server
        self.sid = self.pid = self.offset = ""
        self.heard: list[tuple[str, int]] = []
        self._looked_count = 0
        sessions: Any = server.sessions
        nothing: Callable[..., None] = lambda *args: None  # noqa: E731
        self.session = Session("eio", sessions, None, nothing, nothing, 1_000_000, dialect=PROTOCOL4)  # type: ignore[arg-type]
        self.session.open_websocket(self.crowd)
        sessions.session_opened(self.session)
        self.session.receive("40" + ("" if auth is None else json.dumps(auth)))

    def look(self) -> None:
        """Read what has come since the last time."""
        texts = self.crowd.texts
        for text in texts[self._looked_count :]:
            if text.startswith("40"):
                named = json.loads(text[2:])
                self.sid, self.pid = named["sid"], named.get("pid", "")
            elif text.startswith("42"):
                _, origin, number, _, *offset = json.loads(text[2:])
                self.heard.append((origin, number))
                self.offset = offset[0] if offset else ""
        self._looked_count = len(texts)

    def lose(self) -> None:
        """Its connection is gone, and the server notices."""
        self.session.end(DisconnectReason.TRANSPORT_CLOSE)


class MachineServer:
    """One machine: what `serve/cluster_wiring.py` makes of a mount, without HTTP and sockets.

    Args:
        name: of whoever makes its connections, for the broker. per_room: each room has its own channel.
        recovery_seconds: how long lost clients may return; 0: there is no recovery.

    Attributes:
        lines: what it has said in the log. complaints: how often which kind.
        emitted_count: of its events, which have numbers from 0 on.
    """

    def __init__(
        self,
        machine: Machine,
        broker: Broker,
        name: str,
        per_room: bool = False,
        recovery_seconds: float = 0.0,
    ) -> None:
        self.name = name
        self.lines: list[str] = []
        self.complaints: Counter[str] = Counter()
        self.emitted_count = 0
        self.alive = True
        self._loop = broker.loop
        broker.owner = name
        kept = {"max_disconnection_duration": recovery_seconds} if recovery_seconds else None
        self.hub = hub = Hub(Configuration(codec=CountedCodec(), recovery=recovery_log(kept)))
        system, names = machine.system, ForeignEventNames(machine.system.monotonic)
        host_id = system.entropy(16).hex()
        url = STREAMS_URL if broker.streams else URL
        services = BrokerServices(
            post=self._post,
            call_later=self._call_later,
            complain=self._complain,
            report=self._report,
            say=self.lines.append,
            warn=self.lines.append,
            codec=lambda: hub.codec,
            next_offset=lambda: None if hub.recovery is None else names.make,
            lead_said=names.begin_series,
            secret=b"of all machines",
            system=system,
        )
        options = broker_options(url, CHANNEL, per_room)
        self.backplane: BrokerBackplane = join_broker(options, NoBackplane(), host_id, None, services)
        self.services = HubServices(
            door=Door(self._mailbox(), InlineExecutor()),
            call_later=self._call_later,
            report=self._report,
            complain=self._complain,
            now=lambda: machine.now,
            stop=lambda: None,
            entropy=system.entropy,
            wall=system.wall,
            backplane=self.backplane,
            names=SessionIds(None, tag_of(host_id), system.entropy),
            room_held=self.backplane.room_held,
            records=self.backplane.records,
        )
        self.sessions = hub.attach(self.services)

    def _mailbox(self) -> Mailbox:
        return self._loop.mailbox

    def _post(self, function: Callable[..., object], *args: object, nbytes: int = 0) -> None:
        self._loop.mailbox.post(partial(self._if_alive, function), *args)

    def _call_later(self, seconds: float, function: Callable[[], object]) -> Any:
        return self._loop.call_later(seconds, partial(self._if_alive, function))

    def _if_alive(self, function: Callable[..., object], *args: object) -> None:
        if self.alive:
            function(*args)

    def _complain(self, kind: str, sentence: str) -> None:
        self.complaints[kind] += 1

    def _report(self, what: str, error: BaseException) -> None:
        raise error

    @property
    def joined(self) -> bool:
        """Is it connected to the broker, and hears what others say?"""
        return self.backplane._status.connected and self.backplane._leadership.passes_on

    def emit(self, room: str, pad: str) -> int:
        """Say the next event to a room, or to a client; its number."""
        number, self.emitted_count = self.emitted_count, self.emitted_count + 1
        self.hub.emit("said", (self.name, number, pad), BroadcastOptions(rooms=(room,)))
        return number

    def enter(self, member: Member, room: str) -> None:
        self.hub.adapters()["/"].join(member.sid, room)

    def kill(self, broker: Broker) -> None:
        """Its process is gone at once."""
        self.alive = False
        broker.kill(self.name)
        self.close()

    def close(self) -> None:
        """Its threads end."""
        backplane = self.backplane
        backplane._publisher.close()
        backplane._subscriber.close()
        if backplane._shared is not None:
            backplane._shared.close()
