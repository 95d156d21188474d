"""The server's side of the official Admin UI: who may come in, what its pages are told, what they order.

Must not know: frames, Flask; how other processes are reached: their feeds are asked as its own is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from weakref import WeakSet

from python_server.monitoring.admin_credentials import Credentials
from python_server.monitoring.admin_feed import SOCKETS_MAX_COUNT, AdminFeed, Look, Shown
from python_server.net.system import REAL, System
from python_server.observe import log
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.client import ConnectionRefused, Handler, Socket, SocketState
from python_server.socketio.cluster.broker.requests import both
from python_server.socketio.cluster.port import PeerRequest, Question, QuestionKind
from python_server.socketio.cluster.requests import convert, plain
from python_server.socketio.handlers import ANY
from python_server.socketio.packet import EVENT, RESERVED
from python_server.socketio.server import Hub
from python_server.socketio.services import HubServices
from python_server.socketio.values import JSONValue, RoomName

MODES: Final = ("development", "production")
# From one look at what is new to the next; after one that had to tell all clients anew; while a page does not
# take what it was sent.
LOOK_SECONDS: Final = 0.5
ANEW_SECONDS: Final = 2.0
BUSY_SECONDS: Final = 0.1
# For the feeds of other workers.
ANSWER_SECONDS: Final = 2.0
# Of one worker: each costs all of them a question in every half second.
PAGES_MAX_COUNT: Final = 20
ORDERS: Final = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"]
# What the official page knows as the reason to ask for credentials again.
REFUSAL: Final = "invalid credentials"


@dataclass(eq=False, slots=True)
class Page:
    """One page. `marks`: what it knows of each feed, nothing until it was told of all clients."""

    socket: Socket
    marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    figures_due: float = float("-inf")


class Admin:
    """Serves the pages that join one namespace of a hub, before a worker serves it.

    Args:
        auth: see Credentials. mode: "production" tells figures alone. read_only: orders are refused.
        server_id: see AdminFeed. interval_seconds: between figures.

    Raises:
        ValueError, TypeError: an argument. RuntimeError: a worker serves already.
    """

    def __init__(
        self,
        hub: Hub,
        auth: object,
        mode: str,
        read_only: bool,
        server_id: str | None,
        namespace: str,
        interval_seconds: float,
        system: System = REAL,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode={mode!r}: it is {' or '.join(map(repr, MODES))}")
        if not interval_seconds > 0:
            raise ValueError(f"server_stats_interval={interval_seconds!r}: it is a number of seconds above 0")
        if not namespace.startswith("/"):
            raise ValueError(f"namespace={namespace!r}: it begins with a slash")
        if hub.handlers.handles(namespace):
            raise ValueError(f"namespace={namespace!r}: it has handlers already: choose another one")
        self._hub = hub
        self._now = system.monotonic
        self._credentials = Credentials(auth, system.wall)
        self._details = mode == "development"
        self._read_only = read_only
        self._namespace = namespace
        self._interval_seconds = interval_seconds
        self._feed = AdminFeed(hub, system, namespace, self._details, server_id)
        self._pages: set[Page] = set()
        # With always_connect a client may speak before it was refused.
        self._accepted: WeakSet[Socket] = WeakSet()
        hub.observe(self._feed)
        hub.on_watch(namespace, self._feed.answer)
        # All of the namespace's events are ours: none may fall to the application's handlers of "*".
        for event, function in (("connect", self._connect), ("disconnect", self._left), (ANY, self._order)):
            hub.handlers.on(namespace, event, Handler(function))
        if self._credentials.open:
            log.warn(
                f"the Admin UI asks for no credentials: who reaches {namespace} sees and does all it can"
            )

    # Handlers: a worker's thread

    def _connect(self, socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> None:
        if not self._credentials.accept(socket.auth):
            self._complain("admin refused", "the Admin UI was refused: invalid credentials")
            raise ConnectionRefused(REFUSAL)
        if len(self._pages) >= PAGES_MAX_COUNT:
            raise ConnectionRefused(f"{PAGES_MAX_COUNT} pages are open already")
        self._accepted.add(socket)
        self._services.post_quietly(self._welcome, socket, self._credentials.session_id())

    def _left(self, socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> None:
        """The next look finds out."""

    def _order(self, socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> None:
        """What a page wants done to clients of any worker."""
        orders: dict[str, Callable[..., None]] = {
            "emit": self._emit,
            "join": partial(self._move, self._hub.join),
            "leave": partial(self._move, self._hub.leave),
            "_disconnect": self._disconnect,
        }
        refusal = "it is none" if name not in orders else "it may only look" if self._read_only else None
        if refusal is None and socket in self._accepted:
            try:
                orders[name](*arguments)
                return
            except (TypeError, ValueError) as error:
                refusal = str(error)
        self._complain("admin order", f"an order of the Admin UI was refused: {name!r:.50}: {refusal!s:.200}")

    def _emit(self, namespace: JSONValue, room: JSONValue, event: JSONValue, *arguments: JSONValue) -> None:
        if not isinstance(event, str) or event in RESERVED:
            raise ValueError("the event has no name, or a reserved one")
        rooms = None if room is None else (_room(room),)
        self._hub.emit(event, arguments, BroadcastOptions(_text(namespace), rooms))

    def _move(
        self,
        move: Callable[[str, str, RoomName], None],
        namespace: JSONValue,
        room: JSONValue,
        chosen: JSONValue = None,
    ) -> None:
        place, named = _text(namespace), _room(room)
        for sid in self._chosen(place, chosen):
            move(place, sid, named)

    def _disconnect(self, namespace: JSONValue, close: JSONValue = False, chosen: JSONValue = None) -> None:
        place = _text(namespace)
        for sid in self._chosen(place, chosen):
            self._hub.disconnect(place, sid)

    def _chosen(self, namespace: str, room: JSONValue) -> list[str]:
        """Who is in a room, which may be a client's own; everybody for None."""
        return self._hub.members_of(namespace, None if room is None else _room(room))

    @property
    def _services(self) -> HubServices:
        services = self._hub.services
        assert services is not None  # a client has come
        return services

    def _complain(self, kind: str, text: str) -> None:
        self._services.post_quietly(self._services.complain, kind, text)

    # Pages: the loop's thread

    def _welcome(self, socket: Socket, session_id: str | None) -> None:
        if socket.state is SocketState.CLOSED:
            return
        page = Page(socket)
        self._pages.add(page)
        if session_id is not None:
            self._send(page, "session", session_id)
        features = [] if self._read_only else [*ORDERS]
        features += ["AGGREGATED_EVENTS", *(["ALL_EVENTS"] if self._details else [])]
        self._send(page, "config", {"supportedFeatures": features})
        self._look(page)

    def _look(self, page: Page) -> None:
        """Ask all feeds what is new; a page that is slow is not asked for, and nothing is kept for it."""
        services = self._services
        if page.socket.state is SocketState.CLOSED:
            self._pages.discard(page)
            return
        if not page.socket.client.session.writable:
            self._later(BUSY_SECONDS, page)
            return
        look = Look(dict(page.marks), figures=self._now() >= page.figures_due)
        if look.figures:
            page.figures_due = self._now() + self._interval_seconds
        parts: list[Shown] = []
        half_ended = both(partial(self._shown, page, parts))

        def heard(part: JSONValue) -> None:
            if part is not None:  # who does not show anything has nothing to say
                parts.append(convert(part, Shown))

        def told(part: JSONValue, last: bool = True) -> None:
            heard(part)
            if last:
                half_ended(0)

        question = Question(QuestionKind.WATCH, self._namespace, plain(look))
        services.backplane.request(PeerRequest(question, heard, half_ended, ANSWER_SECONDS))
        self._feed.show(look, told)

    def _shown(self, page: Page, parts: list[Shown], silent_count: int) -> None:
        """All feeds have answered, or will not."""
        known, marks = page.marks, {part.feed: part.mark for part in parts}
        for figures in [part.figures for part in parts if part.figures is not None]:
            self._send(page, "server_stats", figures)
        gone = not silent_count and bool(known.keys() - marks.keys())
        snapshots = [part.sockets for part in parts if part.sockets is not None]
        if self._details and known and (gone or snapshots):
            page.marks = {}  # a worker has begun or ended, or more has happened than it keeps: all anew
            self._later(ANEW_SECONDS, page)
            return
        if self._details and not known:
            sockets = [socket for snapshot in snapshots for socket in snapshot]
            self._send(page, "all_sockets", sockets[:SOCKETS_MAX_COUNT])
        for row in [row for part in parts for row in part.rows]:
            self._send(page, *row)
        page.marks = {**known, **marks} if silent_count else marks
        self._later(LOOK_SECONDS, page)

    def _later(self, seconds: float, page: Page) -> None:
        self._services.call_later(seconds, partial(self._look, page))

    def _send(self, page: Page, *event: JSONValue) -> None:
        page.socket.send(self._hub.codec.prepare(EVENT, self._namespace, event))


def _text(value: JSONValue) -> str:
    if not isinstance(value, str):
        raise TypeError("the namespace is a text")
    return value


def _room(value: JSONValue) -> RoomName:
    if type(value) is not str and type(value) is not int:
        raise TypeError("a room is a text or a number")
    return value
