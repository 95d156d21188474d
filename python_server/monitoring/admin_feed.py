"""What the Admin UI is shown of one worker: its clients, what happens to them, figures.

Must not know: who looks, or how a page is told: it is asked, now and then, for what is new. While nobody
asks, it keeps nothing.
"""

from __future__ import annotations

import os
import platform
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from itertools import islice
from math import isfinite
from typing import Final
from urllib.parse import parse_qsl
from weakref import WeakKeyDictionary, WeakSet

import msgspec

from python_server.engineio.packet import Prepared
from python_server.engineio.session import DisconnectReason, Session
from python_server.net.system import System, token
from python_server.observe.masking import masked, masked_header
from python_server.socketio.client import CONNECTED, NamespaceReason, Socket
from python_server.socketio.cluster.port import Question, Reply
from python_server.socketio.cluster.requests import convert, plain
from python_server.socketio.jsoncodec import loads
from python_server.socketio.packet import EVENT, Packet
from python_server.socketio.server import Hub
from python_server.socketio.services import HubServices
from python_server.socketio.values import JSONValue, RoomName

# The official page keeps that many events of a namespace; behind more, the clients are told anew.
ROWS_MAX_COUNT: Final = 1_000
# Of them: events that came or were sent. What nobody can read needs no work.
EVENTS_PER_SECOND_MAX_COUNT: Final = 100
# Told of one worker, and shown on one page, which looks through all of them for each.
SOCKETS_MAX_COUNT: Final = 2_000
SOCKETS_PER_TURN: Final = 100
# After it nobody is thought to look any more.
WATCHED_SECONDS: Final = 5.0
# What happened longer ago is not told; the page draws ten minutes.
COUNTED_SECONDS: Final = 60
NAMESPACES_MAX_COUNT: Final = 256
# An event whose packet is larger is told by its size.
READ_MAX_BYTES: Final = 8_192
TEXT_MAX_CHARACTERS: Final = 200
ITEMS_MAX_COUNT: Final = 20
ROOMS_MAX_COUNT: Final = 100
DEPTH_MAX: Final = 4

Row = list[JSONValue]


class Look(msgspec.Struct, forbid_unknown_fields=True):
    """A page's question. `marks`: the next row and the second, of each feed that it knows; figures: too?"""

    marks: dict[str, tuple[int, int]]
    figures: bool


class Shown(msgspec.Struct, forbid_unknown_fields=True):
    """A part of an answer.

    Attributes:
        feed: whose. mark: up to where it tells. rows: [event, *arguments] for the page.
        sockets: all clients, for a page that knows no feed; for others: rows are missing, it must begin anew.
    """

    feed: str
    mark: tuple[int, int]
    rows: list[Row]
    sockets: list[JSONValue] | None = None
    figures: JSONValue = None


def cut(value: object, depth: int = DEPTH_MAX) -> JSONValue:
    """A value as JSON, of a size that does not depend on its own."""
    if isinstance(value, str):
        text = value[:TEXT_MAX_CHARACTERS].encode("utf-8", "replace").decode()
        return text if len(value) <= TEXT_MAX_CHARACTERS else f"{text}... ({len(value)} characters)"
    if value is None or isinstance(value, bool) or (isinstance(value, float) and isfinite(value)):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else "a large number"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"({len(value)} bytes)"
    more = "..."
    if isinstance(value, dict) and depth:
        pairs = islice(value.items(), ITEMS_MAX_COUNT)
        shown: dict[str, JSONValue] = {str(cut(str(key))): cut(item, depth - 1) for key, item in pairs}
        return shown if len(value) <= ITEMS_MAX_COUNT else {**shown, more: f"{len(value)} entries"}
    if isinstance(value, (list, tuple)) and depth:
        items = [cut(item, depth - 1) for item in value[:ITEMS_MAX_COUNT]]
        return items if len(value) <= ITEMS_MAX_COUNT else [*items, f"{more} ({len(value)} items)"]
    return more if isinstance(value, (dict, list, tuple)) else type(value).__name__


def named(room: RoomName) -> JSONValue:
    """A room's name as the page shows it, and gives it back."""
    return room if isinstance(room, str) else cut(room if isinstance(room, (int, bool)) else repr(room))


def client_id(session: Session) -> str:
    """Of a session; nobody can tell its secret from it."""
    return blake2b(session.sid.encode(), digest_size=10).hexdigest()


class AdminFeed:
    """Watches the clients of one hub (a SocketObserver), and tells who asks. The loop's thread.

    Args:
        namespace: the page's own. details: of clients and events, not figures alone. server_id: of the
            program, None for the machine's name.
    """

    def __init__(
        self, hub: Hub, system: System, namespace: str, details: bool, server_id: str | None
    ) -> None:
        self._hub = hub
        self._wall = system.wall
        self.now: Callable[[], float] = system.monotonic
        self._namespace = namespace
        self._details = details
        self._server_id = server_id
        self._began = self.now()
        self.name: str = token(9, system.entropy)
        self._watched_until = float("-inf")
        self._rows: deque[Row] = deque()
        self._first = 0  # the number of the first row
        self._since: WeakKeyDictionary[Socket, float] = WeakKeyDictionary()
        self._polling: WeakSet[Socket] = WeakSet()
        self._counts: OrderedDict[int, Counter[tuple[str, str]]] = OrderedDict()
        self._namespaces: dict[str, int] = {"/": 0}
        self._told_second = self._told_count = 0

    # What happens (a SocketObserver)

    def connected(self, socket: Socket) -> None:
        if self._details:
            self._since[socket] = self._wall()
        if self._watched:
            if len(socket.client.sockets) == 1:
                self._count("rawConnection")
            if self._details:
                self._tell("socket_connected", self._told_socket(socket))

    def refused(self, session: Session, namespace: str, message: str) -> None:
        """The page has no place for it."""

    def disconnected(self, socket: Socket, reason: DisconnectReason | NamespaceReason) -> None:
        if self._watched:
            client = socket.client
            if not client.sockets and not client.session.alive:
                self._count("rawDisconnection", 1, str(reason))
            if self._details:
                self._tell("room_left", socket.namespace, socket.sid, socket.sid)
                self._tell("socket_disconnected", socket.namespace, socket.sid, str(reason))

    def moved(self, namespace: str, kind: str, sid: str, room: RoomName) -> None:
        if self._details and self._watched:
            self._tell("room_joined" if kind == "join" else "room_left", namespace, named(room), sid)

    def received(self, socket: Socket, packet: Packet) -> None:
        if self._watched:
            self._count("packetsIn")
            self._count("bytesIn", packet.size_bytes)
            if packet.kind is EVENT and self._may_tell(socket.namespace):
                self._tell("event_received", socket.namespace, socket.sid, _shown_event(packet))

    def unhandled(self, socket: Socket, name: str) -> None:
        """It was `received`."""

    def answered(self, socket: Socket, ack_id: int, prepared: Prepared) -> None:
        """The page has no place for it."""

    def handled(self, socket: Socket, name: str, began: float, error: BaseException | None) -> None:
        """The page has no place for it."""

    def delivered(
        self, namespace: str, rooms: Sequence[RoomName] | None, prepared: Prepared, count: int
    ) -> None:
        if self._watched:
            self._count("packetsOut", count)
            self._count("bytesOut", count * prepared.queued_bytes)
            if self._may_tell(namespace):
                names = ["everybody"] if rooms is None else map(str, map(named, rooms[:ITEMS_MAX_COUNT]))
                whom = (
                    ", ".join(names) or "nobody"
                )  # in the place of a client, where the page wants some text
                self._tell("event_sent", namespace, whom, self._event_of(namespace, prepared))

    # What is told

    def answer(self, question: Question, reply: Reply) -> None:
        """What is new for who asks. Raises Malformed."""
        self.show(convert(question.data, Look), reply)

    def show(self, look: Look, reply: Reply) -> None:
        """The same for a page of this worker."""
        if not self._watched:
            self._first += len(self._rows) + 1  # nobody knows a row of what comes
            self._rows.clear()
            self._counts.clear()
        self._watched_until = self.now() + WATCHED_SECONDS
        for socket in [each for each in self._polling if each.client.session.transport != "polling"]:
            self._polling.discard(socket)
            if socket.state is CONNECTED:
                change = {"id": socket.sid, "nsp": socket.namespace, "transport": "websocket"}
                self._tell("socket_updated", change, timed=False)
        row, second = look.marks.get(self.name, (-1, 0))
        anew = self._details and not look.marks
        here = (
            [each for each in self._hub.sockets() if each.state is CONNECTED] if anew or look.figures else []
        )
        shown = Shown(self.name, (self._first + len(self._rows), int(self._wall())), [])
        if look.figures:
            shown.figures = self._figures(here, second)
        else:
            shown.mark = (shown.mark[0], second)
        if anew:
            if len(here) > SOCKETS_MAX_COUNT:
                self._services.complain(
                    "admin clients", f"of {len(here)} clients the Admin UI is told of {SOCKETS_MAX_COUNT}"
                )
            self._show_sockets(here[:SOCKETS_MAX_COUNT], shown, reply)
            return
        if self._details and row < self._first:
            shown.sockets = []  # it has missed some, or knows other feeds alone: it has to begin anew
        elif self._details:
            shown.rows = list(islice(self._rows, row - self._first, None))
        reply(plain(shown))

    def _show_sockets(self, left: list[Socket], shown: Shown, reply: Reply) -> None:
        """Some in each turn of the loop; what happens to them meanwhile are rows behind the mark."""
        some, left = left[:SOCKETS_PER_TURN], left[SOCKETS_PER_TURN:]
        told = [self._told_socket(each) for each in some if each.state is CONNECTED]
        if left:
            reply(plain(Shown(self.name, shown.mark, [], told)), last=False)
            self._services.call_later(0, partial(self._show_sockets, left, shown, reply))
        else:
            shown.sockets = told
            reply(plain(shown))

    @property
    def _services(self) -> HubServices:
        services = self._hub.services
        assert services is not None  # a page has come
        return services

    def _figures(self, here: Sequence[Socket], since_second: int) -> JSONValue:
        """Of this worker; a namespace that was told once is told on, for the page never forgets it."""
        self._namespaces = dict.fromkeys(self._namespaces, 0)
        for socket in here:
            name = socket.namespace
            if name in self._namespaces or len(self._namespaces) < NAMESPACES_MAX_COUNT:
                self._namespaces[name] = self._namespaces.get(name, 0) + 1
        sessions = {socket.client.session for socket in here}
        now_second = int(self._wall())
        return {
            "serverId": self._shown_id(),
            "hostname": platform.node(),
            "pid": os.getpid(),
            "uptime": self.now() - self._began,
            "clientsCount": len(sessions),
            "pollingClientsCount": sum(session.transport == "polling" for session in sessions),
            "aggregatedEvents": [
                {"timestamp": at * 1000, "type": kind, "count": count} | ({"subType": sub} if sub else {})
                for at, counts in self._counts.items()
                if since_second <= at < now_second
                for (kind, sub), count in counts.items()
            ],
            "namespaces": [{"name": name, "socketsCount": count} for name, count in self._namespaces.items()],
        }

    def _shown_id(self) -> str:
        """One of several workers needs another name than they."""
        name = self._server_id or platform.node()
        return name if self._services.backplane.alone else f"{name}#{os.getpid()}"

    def _told_socket(self, socket: Socket) -> JSONValue:
        session = socket.client.session
        if session.transport == "polling":
            self._polling.add(socket)
        since = self._since.get(socket, 0.0)
        request = session.request
        headers = islice(request.fields.items(), ITEMS_MAX_COUNT)
        return {
            "id": socket.sid,
            "clientId": client_id(session),
            "transport": session.transport,
            "nsp": socket.namespace,
            "data": {},
            "handshake": {
                "address": str(request.peer[0]) if isinstance(request.peer, tuple) and request.peer else "",
                "headers": {name: cut(masked_header(name, value)) for name, value in headers},
                "query": cut(dict(parse_qsl(masked(request.query[:READ_MAX_BYTES])))),
                "secure": request.scheme == "https",
                "url": cut(request.path),
                "xdomain": "origin" in request.fields,
                "issued": int(since * 1000),
                "time": written(since),
            },
            "rooms": [
                named(room) for room in self._hub.rooms_of(socket.namespace, socket.sid)[:ROOMS_MAX_COUNT]
            ],
        }

    def _event_of(self, namespace: str, prepared: Prepared) -> JSONValue:
        """[name, *arguments] of what was sent, as far as it can be read."""
        size = f"({prepared.queued_bytes} bytes)"
        if prepared.queued_bytes > READ_MAX_BYTES:
            return ["...", size]
        try:
            event = loads(self._hub.codec.data_text(prepared, namespace)[0])
        except (TypeError, ValueError):
            return ["...", size]
        recovery = self._hub.recovery
        if recovery is not None and isinstance(event[-1], str) and event[-1].startswith(recovery.tag):
            event.pop()  # the event's name in the recovery log
        return [cut(each) for each in event[: ITEMS_MAX_COUNT + 1]]

    # What is kept

    @property
    def _watched(self) -> bool:
        return self.now() < self._watched_until

    def _tell(self, event: str, *arguments: JSONValue, timed: bool = True) -> None:
        if len(self._rows) >= ROWS_MAX_COUNT:
            self._rows.popleft()
            self._first += 1
        self._rows.append([event, *arguments, written(self._wall())] if timed else [event, *arguments])

    def _may_tell(self, namespace: str) -> bool:
        """Of events so many in a second, and none of the page's own."""
        if not self._details or namespace == self._namespace:
            return False
        second = int(self._wall())
        if second != self._told_second:
            self._told_second, self._told_count = second, 0
        self._told_count += 1
        if self._told_count == EVENTS_PER_SECOND_MAX_COUNT + 1:
            self._services.complain(
                "admin events",
                f"of the events of a second the Admin UI is told of {EVENTS_PER_SECOND_MAX_COUNT}",
            )
        return self._told_count <= EVENTS_PER_SECOND_MAX_COUNT

    def _count(self, kind: str, count: int = 1, sub: str = "") -> None:
        second = int(self._wall())
        counts = self._counts.get(second)
        if counts is None:
            counts = self._counts[second] = Counter()
            while len(self._counts) > COUNTED_SECONDS:
                self._counts.popitem(last=False)
        counts[kind, sub] += count


def _shown_event(packet: Packet) -> list[JSONValue]:
    """[name, *arguments] of what has come; a thousand of them are kept, each as wide as a client likes."""
    if packet.size_bytes > READ_MAX_BYTES:
        return [cut(packet.data[0]), f"({packet.size_bytes} bytes)"]
    return [cut(each) for each in packet.data[: ITEMS_MAX_COUNT + 1]]


def written(moment: float) -> str:
    """A moment as the page reads it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
