"""The debug log: lines about what clients do and are sent, to read in them why an event does not arrive.

Must not know: where lines go, HTTP, Flask, other processes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from python_server.engineio.observer import SessionObserver
from python_server.engineio.packet import Prepared
from python_server.engineio.session import DisconnectReason, Session
from python_server.http1.parser import Request
from python_server.observe.log import ENGINEIO, SOCKETIO, debug_lines
from python_server.observe.masking import masked, short
from python_server.socketio.client import NamespaceReason, Socket
from python_server.socketio.handlers import Handlers
from python_server.socketio.observer import SocketObserver
from python_server.socketio.packet import ACK, Codec, Packet, PacketError
from python_server.socketio.values import JSONValue, RoomName

# Of a name or a text that a client has chosen.
NAME_MAX_CHARACTERS: Final = 100
# Of the arguments of an event; nginx and gunicorn show no bodies at all.
PAYLOAD_MAX_CHARACTERS: Final = 200

NAMES_MAX_COUNT: Final = 20  # of a list in a line

# In the JSON of an event.
NAME: Final = re.compile(r'\[\s*("(?:[^"\\]|\\.)*")')

# Called with a line, and `extra=` its fields: a logger's method.
Debug = Callable[..., object]


def session_log(given: object, monotonic: Callable[[], float]) -> SessionObserver | None:
    """What writes lines about sessions; None: nobody reads them. `given`: see `debug_lines`."""
    debug = debug_lines(ENGINEIO, given)
    return None if debug is None else SessionLog(debug, monotonic)


def socket_log(
    given: object, handlers: Handlers, codec: Codec, monotonic: Callable[[], float], payloads: bool
) -> SocketObserver | None:
    """What writes lines about clients and events; None: nobody reads them. `given`: see `debug_lines`."""
    debug = debug_lines(SOCKETIO, given)
    return None if debug is None else SocketLog(debug, handlers, codec, monotonic, payloads)


def cut(value: object, most: int = NAME_MAX_CHARACTERS) -> str:
    """As a literal of Python, which a line can hold whatever it is, and not too long."""
    text = repr(value[: most + 1] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= most else f"{text[:most]}..."


def whence(request: Request) -> str:
    """Whose request it is, and from which page."""
    peer = request.peer
    origin = request.get("origin")
    address = str(peer[0]) if isinstance(peer, tuple) else "a UNIX socket"
    return ", ".join((address, f"origin {cut(origin)}" if origin else "no origin"))


def meant(name: str, names: Iterable[str]) -> str:
    """A hint for who has mistaken a name; "" without one."""
    near = get_close_matches(name[:NAME_MAX_CHARACTERS], list(names), 1)
    return f"did you mean {near[0]!r}?" if near else ""


def listed(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - NAMES_MAX_COUNT} more" if len(names) > NAMES_MAX_COUNT else ""
    return ", ".join(map(cut, names[:NAMES_MAX_COUNT])) + more


def name_in(prepared: Prepared) -> str:
    """Of an event that can be written and not read: with NaN, or more attachments than clients may send."""
    found = NAME.search(prepared.packets[0]) if isinstance(prepared.packets[0], str) else None
    return "?" if found is None else json.loads(found[1])


class SessionLog:
    """Lines about Engine.IO sessions."""

    def __init__(self, debug: Debug, monotonic: Callable[[], float]) -> None:
        self._debug = debug
        self._monotonic = monotonic
        self._opened: dict[Session, tuple[float, str]] = {}  # when, and its transport by now

    def session_opened(self, session: Session) -> None:
        self._opened[session] = self._monotonic(), session.transport
        self._tell_of_session(session, f"opened by {session.transport}, from {whence(session.request)}")

    def session_upgraded(self, session: Session) -> None:
        if session in self._opened:  # it may have ended while its upgrade was under way
            opened_at, _ = self._opened[session]
            self._opened[session] = opened_at, "websocket"
            self._tell_of_session(session, "upgraded to websocket")

    def session_closed(self, session: Session, reason: DisconnectReason) -> None:
        opened_at, transport = self._opened.pop(session, (self._monotonic(), session.transport))
        self._tell_of_session(
            session, f"closed: {reason}, after {self._monotonic() - opened_at:.3f} s, by {transport}"
        )

    def request_refused(self, request: Request, message: str) -> None:
        target = masked(request.target)
        self._debug(f"refused {request.method} {cut(target)} from {whence(request)}: {cut(message, 300)}")

    def _tell_of_session(self, session: Session, text: str) -> None:
        sid = short(session.sid)
        self._debug(f"session {sid} {text}", extra={"sid": sid})


class SocketLog:
    """Lines about the clients of one Socket.IO server."""

    def __init__(
        self, debug: Debug, handlers: Handlers, codec: Codec, monotonic: Callable[[], float], payloads: bool
    ) -> None:
        self._debug = debug
        self._handlers = handlers
        self._codec = codec
        self._payloads = payloads
        self.now: Callable[[], float] = monotonic
        self._joined: dict[tuple[str, str], float] = {}  # when, by namespace and sid

    # Clients

    def connected(self, socket: Socket) -> None:
        self._joined[socket.namespace, socket.sid] = self.now()
        session = socket.client.session
        again = ", as it was before it was lost" if socket.recovered else ""
        self._tell_of_client(socket, f"joined by session {short(session.sid)} ({session.transport}){again}")

    def refused(self, session: Session, namespace: str, message: str) -> None:
        hint = ""
        if not self._handlers.serves(namespace):
            served = sorted(self._handlers.namespaces())
            hint = f"; {meant(namespace, served) or f'served are {listed(served)}'}"
        sid = short(session.sid)
        text = f"session {sid} may not join {cut(namespace)}: {cut(message)}{hint}"
        self._debug(text, extra={"namespace": namespace[:NAME_MAX_CHARACTERS], "sid": sid})

    def disconnected(self, socket: Socket, reason: DisconnectReason | NamespaceReason) -> None:
        joined_at = self._joined.pop((socket.namespace, socket.sid), self.now())
        self._tell_of_client(socket, f"left: {reason}, after {self.now() - joined_at:.3f} s")

    def moved(self, namespace: str, kind: str, sid: str, room: RoomName) -> None:
        word = "entered" if kind == "join" else "left"
        self._debug(f"{cut(namespace)} {short(sid)}: {word} room {cut(room)}")

    # Events of clients

    def received(self, socket: Socket, packet: Packet) -> None:
        if packet.kind is ACK:
            text = f"ack {packet.id} received, {packet.size_bytes} bytes"
            late = "" if packet.id in socket.acks else "; nobody waits for it"
            self._tell_of_client(socket, f"{text}{self._payload(packet.data)}{late}")
            return
        name, *arguments = packet.data
        wants = "" if packet.id is None else f", wants ack {packet.id}"
        size = f"{packet.size_bytes} bytes{wants}"
        self._tell_of_client(socket, f"event {cut(name)} received, {size}{self._payload(arguments)}", name)
        if self._handlers.ignores(socket.namespace, name):
            self.unhandled(socket, name)

    def unhandled(self, socket: Socket, name: str) -> None:
        names = list(self._handlers.names())
        elsewhere = sorted(namespace for namespace, event in names if event == name)
        here = [event for namespace, event in names if namespace == socket.namespace]
        if elsewhere:
            hint = f"namespace {' and '.join(map(cut, elsewhere))} has one"
        elif here:
            hint = meant(str(name), here) or f"this namespace has {listed(sorted(here))}"
        else:
            hint = "this namespace has no handlers"
        self._tell_of_client(socket, f"event {cut(name)} has no handler: {hint}", name)

    def answered(self, socket: Socket, ack_id: int, prepared: Prepared) -> None:
        packet = self._read(prepared)
        payload = "" if packet is None else self._payload(packet.data)
        self._tell_of_client(socket, f"ack {ack_id} sent, {prepared.queued_bytes} bytes{payload}")

    def handled(self, socket: Socket, name: str, began: float, error: BaseException | None) -> None:
        end = "handled in" if error is None else f"failed with {type(error).__name__} after"
        self._tell_of_client(socket, f"event {cut(name)} {end} {(self.now() - began) * 1000:.1f} ms", name)

    # Events to clients

    def delivered(
        self, namespace: str, rooms: Sequence[RoomName] | None, prepared: Prepared, count: int
    ) -> None:
        packet = self._read(prepared)
        name, *arguments = [name_in(prepared)] if packet is None else packet.data
        wants = "" if packet is None or packet.id is None else f", wants ack {packet.id}"
        to = self._addressees(namespace, rooms)
        reached = f"{count} client{'' if count == 1 else 's'} of this process"
        if not count:
            reached = f"nobody of this process is {'in that namespace' if rooms is None else 'in it'}"
        text = f"{cut(namespace)} emit {cut(name)} to {to}: {reached}, {prepared.queued_bytes} bytes{wants}"
        fields = {"namespace": namespace, "event": str(name)[:NAME_MAX_CHARACTERS]}
        self._debug(f"{text}{self._payload(arguments)}", extra=fields)

    def _addressees(self, namespace: str, rooms: Sequence[RoomName] | None) -> str:
        if rooms is None:
            return "everybody"
        clients = [isinstance(room, str) and (namespace, room) in self._joined for room in rooms]
        names = zip(clients, rooms, strict=True)
        return " and ".join(
            f"client {short(str(room))}" if own else f"room {cut(room)}" for own, room in names
        )

    def _read(self, prepared: Prepared) -> Packet | None:
        """What was written; None if no client could write the same."""
        decoder, packet = self._codec.decoder(), None
        try:
            for each in prepared.packets:
                packet = decoder.receive(each[1:] if isinstance(each, str) else each)
        except PacketError:
            return None
        return packet

    def _payload(self, value: JSONValue) -> str:
        return f": {cut(value, PAYLOAD_MAX_CHARACTERS)}" if self._payloads else ""

    def _tell_of_client(self, socket: Socket, text: str, event: str = "") -> None:
        sid, namespace = short(socket.sid), socket.namespace
        fields = {"namespace": namespace[:NAME_MAX_CHARACTERS], "sid": sid}
        if event:
            fields["event"] = str(event)[:NAME_MAX_CHARACTERS]
        self._debug(f"{cut(namespace)} {sid}: {text}", extra=fields)
