"""Who is in which room, asked and changed by any thread, wherever the client is connected.

Must not know: events, acks, how a packet comes in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast

from python_server.net.threads import Waiter
from python_server.socketio.adapter import Adapter
from python_server.socketio.broadcast import check_hashable
from python_server.socketio.client import Socket
from python_server.socketio.cluster.port import (
    Command,
    CommandKind,
    PeerRequest,
    Question,
    QuestionKind,
    Room,
    check_rooms,
)
from python_server.socketio.cluster.requests import EnterQuestion, Member, convert, plain
from python_server.socketio.jsoncodec import DEPTH_MAX_COUNT, dumps, loads
from python_server.socketio.presence import Place
from python_server.socketio.services import HubServices
from python_server.socketio.traffic import TrafficOf
from python_server.socketio.values import JSONValue, RoomName

# How long other processes may take to answer what they can answer at once.
QUESTION_SECONDS: Final = 2.0
# For our own loop, as `Door.ask` has it.
LOOP_SECONDS: Final = 30.0

# Called with (namespace, "join" or "leave", sid, room, is more told of it) on the loop's thread.
Moved = Callable[[str, str, str, RoomName, bool], None]
# Called with (client, place, metadata as JSON) on the loop's thread; None: it has left the place.
Described = Callable[[Socket, Place, str | None], None]


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def member_of(meta: object, key: object, most_bytes: int) -> Member | None:
    """What is known of a client in a room, as it travels; None: nothing is.

    Raises:
        TypeError: `meta` is not a dictionary of JSON values, or `key` not a string. ValueError: too large.
    """
    if meta is None and key is None:
        return None
    if type(meta) is not dict:  # asked first: an abstract class takes its time
        if meta is not None and not isinstance(meta, Mapping):
            raise TypeError(f"meta= is a dictionary of JSON values, not a {type(meta).__name__}")
        meta = dict(meta or {})
    if key is not None and not isinstance(key, str):
        raise TypeError(f"key= is a string, not a {type(key).__name__}")
    try:
        text = dumps(meta)
    except RecursionError:
        raise ValueError("meta= is nested too deeply") from None
    size = _size(text) + _size(key or "")
    if size > most_bytes:
        raise ValueError(f"meta= and key= have {size} bytes, allowed are {most_bytes}: see meta_max_bytes")
    if size > DEPTH_MAX_COUNT and text.count("[") + text.count("{") > DEPTH_MAX_COUNT:
        loads(text)  # which looks
    return Member(key, text)


@dataclass(eq=False, slots=True)
class RoomDirectory:
    """The rooms of one Socket.IO server, here and in other processes.

    Attributes:
        moved: told who of this process comes into a room and who leaves it.
        described: of those with metadata, also told what changes of that.
        log_position: of the recovery log, noted for every room a client enters.
        adapters: for the loop's thread: the clients of this process, by namespace.
        leaving: for the loop's thread: who has left, until its disconnect handler has returned, which may ask
            for its rooms, its session and its environ still.
        traffic_of: where what goes through a namespace is counted; None: nowhere. `count_in` changes it.
        is_streamed: is there a stream of that room, which is no member?
    """

    services: HubServices
    moved: Moved
    described: Described
    log_position: Callable[[], int]
    adapters: dict[str, Adapter] = field(default_factory=dict)
    leaving: dict[tuple[str, str], Socket] = field(default_factory=dict)
    traffic_of: TrafficOf | None = None
    is_streamed: Callable[[str, RoomName], bool] = lambda namespace, room: False

    # Any thread

    def join(self, namespace: str, sid: str, room: RoomName, meta: object = None, key: object = None) -> None:
        """Put a client into a room; takes effect before anything emitted after it. Raises as `member_of`."""
        self.check((room,))
        member = member_of(meta, key, self.services.meta_max_bytes)
        self.services.door.tell(self._join, namespace, sid, room, member)

    def update(self, namespace: str, sid: str, room: RoomName, meta: object) -> None:
        """Replace what is known of a client in a room, if it is there. Raises as `member_of`."""
        self.check((room,))
        member = member_of({} if meta is None else meta, None, self.services.meta_max_bytes)
        self.services.door.tell(self._update, namespace, sid, room, member)

    def enter(
        self, namespace: str, sid: str, room: RoomName, meta: object = None, key: object = None
    ) -> None:
        """`join` that waits for its verdict; on the loop's thread not for that of other processes.

        Raises:
            ValueError: no such client, or the room is another client's own. Others as `member_of`.
        """
        self.check((room,))
        member = member_of(meta, key, self.services.meta_max_bytes)
        if self.services.door.ask(lambda: self.enter_here(namespace, sid, room, member)):
            return
        travelling = cast(Room, room)  # `check` has looked
        if not self.services.backplane.alone and self.services.door.on_loop():
            self._command(CommandKind.ENTER, namespace, sid, travelling, member)
            return
        verdicts: list[bool | str] = []

        def heard(part: JSONValue) -> bool:
            verdict: bool | str = convert(part, bool | str)
            if verdict is not False:
                verdicts.append(verdict)
            return bool(verdicts)

        question = Question(QuestionKind.ENTER, namespace, plain(EnterQuestion(sid, travelling, member)))
        self._ask_others(question, heard)
        if not verdicts:
            raise ValueError("sid is not connected to requested namespace")
        if verdicts[0] is not True:
            raise ValueError(verdicts[0])

    def leave(self, namespace: str, sid: str, room: RoomName) -> None:
        """Take a client out of a room; takes effect before anything emitted after it."""
        self.check((room,))
        self.services.door.tell(self._leave, namespace, sid, room)

    def close_room(self, namespace: str, room: RoomName) -> None:
        """Everyone leaves. Raises ValueError for a client's own room."""
        self.check((room,))
        self.services.door.ask(lambda: self._close_room(namespace, cast(Room, room)))

    def rooms_of(self, namespace: str, sid: str) -> list[RoomName]:
        """The rooms a client is in, its own included. Raises RuntimeError, as `_ask_others`."""
        found = self.services.door.ask(lambda: self._rooms_here(namespace, sid))

        def heard(part: JSONValue) -> bool:
            found.extend(convert(part, list[Room]))
            return bool(found)

        if not found:
            self._ask_others(Question(QuestionKind.ROOMS, namespace, sid), heard)
        return found

    def members_of(self, namespace: str, room: RoomName) -> list[str]:
        """The sids in a room; those of a process that is silent are missing. Raises as `_ask_others`."""
        self.check(None if room is None else (room,))
        found = self.services.door.ask(lambda: self.adapter(namespace).members_of(room))

        def heard(part: JSONValue) -> bool:
            found.extend(convert(part, list[str]))
            return False

        self._ask_others(Question(QuestionKind.MEMBERS, namespace, room), heard)
        return found

    def details_of(self, namespace: str, room: RoomName) -> list[dict[str, JSONValue]]:
        """As `members_of`, each with its key and its metadata."""
        self.check(None if room is None else (room,))
        found = self.services.door.ask(lambda: self.adapter(namespace).details_of(room))

        def heard(part: JSONValue) -> bool:
            found.extend(convert(part, list[tuple[str, str | None, str | None]]))
            return False

        self._ask_others(Question(QuestionKind.DETAILS, namespace, room), heard)
        return [
            {"sid": sid, "key": key, "meta": None if text is None else loads(text)}
            for sid, key, text in found
        ]

    def find(self, namespace: str, sid: str) -> Socket | None:
        """The client of that name in the namespace, if it is connected to this process or is leaving it."""
        return self.services.door.ask(
            lambda: self.adapter(namespace).get(sid) or self.leaving.get((namespace, sid))
        )

    def sockets(self) -> list[Socket]:
        """Every client of this process in every namespace."""
        return self.services.door.ask(
            lambda: [socket for adapter in self.adapters.values() for socket in adapter.recipients(None, ())]
        )

    def check(self, *names: tuple[RoomName, ...] | None) -> None:
        """Refuse what names no room, or cannot travel where it would have to: TypeError, ValueError."""
        if not self.services.backplane.alone:
            check_rooms(*names)
        else:
            for rooms in names:
                check_hashable(rooms or ())

    def _ask_others(self, question: Question, heard: Callable[[JSONValue], bool]) -> None:
        """Wait for what the other processes answer; `heard` says of each part whether it suffices.

        Raises:
            RuntimeError: on the loop's thread, if there are others. TimeoutError: our own loop stands still.
        """
        if self.services.backplane.alone:
            return
        services = self.services
        if services.door.on_loop():
            raise RuntimeError(
                "other processes would be waited for on the server's own thread: "
                "register the handler without inline=True [would-block]"
            )
        waiter: Waiter[int] = Waiter()

        def part(answer: JSONValue) -> None:
            if heard(answer):
                waiter.set(0)

        request = PeerRequest(question, part, waiter.set, QUESTION_SECONDS)
        services.door.post(services.backplane.request, request)
        silent_count = waiter.wait(LOOP_SECONDS, lends=True)
        if silent_count:
            services.door.post(
                services.complain,
                f"silent {question.kind}",
                f"{silent_count} other processes did not answer within {QUESTION_SECONDS:g} s when asked for "
                f"{question.kind}: the answer lacks theirs",
            )

    # Loop's thread

    def _rooms_here(self, namespace: str, sid: str) -> list[RoomName]:
        leaving = self.leaving.get((namespace, sid))
        found = self.adapter(namespace).rooms_of(sid)
        return found if leaving is None or found else [*leaving.last_rooms]

    def adapter(self, namespace: str) -> Adapter:
        """An unknown namespace has nobody in it."""
        return self.adapters.get(namespace) or Adapter(reserved=self.services.names.reserves)

    def open(self, namespace: str) -> Adapter:
        """The namespace has its first client."""
        adapter = self.adapters.get(namespace)
        if adapter is None:
            adapter = self.adapters[namespace] = Adapter(
                partial(self._client_moved, namespace),
                self.log_position,
                self.services.names.reserves,
                self.services.rooms_max_count,
                None if self.traffic_of is None else self.traffic_of(namespace),
            )
        return adapter

    def count_in(self, traffic_of: TrafficOf | None) -> None:
        """From here on; a handler that runs is still counted where it began."""
        self.traffic_of = traffic_of
        for namespace, adapter in self.adapters.items():
            adapter.count_in(None if traffic_of is None else traffic_of(namespace))

    def enter_here(self, namespace: str, sid: str, room: RoomName, member: Member | None) -> bool:
        """False: the client is not here. Raises ValueError, as `enter`."""
        adapter = self.adapter(namespace)
        if not adapter.may_enter(sid, room):
            return False
        self._put(adapter, namespace, sid, room, member)
        return True

    def update_here(self, namespace: str, sid: str, room: RoomName, member: Member | None) -> None:
        """Nothing happens for a client that is not there."""
        adapter = self.adapter(namespace)
        if adapter.is_in(sid, room):
            self._put(adapter, namespace, sid, room, member)

    def _update(self, namespace: str, sid: str, room: Room, member: Member | None) -> None:
        if self.adapter(namespace).get(sid) is None:
            self._command(CommandKind.UPDATE, namespace, sid, room, member)
        else:
            self.update_here(namespace, sid, room, member)

    def _command(
        self, kind: CommandKind, namespace: str, sid: str, room: Room, member: Member | None
    ) -> None:
        data = None if member is None else plain(member)
        self.services.backplane.publish(Command(kind, namespace, sid, room, data=data))

    def _put(self, adapter: Adapter, namespace: str, sid: str, room: RoomName, member: Member | None) -> None:
        socket = adapter.get(sid)
        if member is None or socket is None:
            adapter.join(sid, room)
            return
        if socket.members is None:
            socket.members = {}
        before = socket.members.get(room)
        if before is not None and member.key is None:
            member = Member(before.key, member.text)
        elif before is not None and before.key != member.key and room != sid:
            self.described(socket, (namespace, cast(Room, room), before.key or sid), None)
        socket.members[room] = member
        if room != sid and adapter.is_in(
            sid, room
        ):  # its own: nobody is told who comes into it, or leaves it
            self.described(socket, (namespace, cast(Room, room), member.key or sid), member.text)
        else:
            adapter.join(sid, room)

    def _join(self, namespace: str, sid: str, room: Room, member: Member | None) -> None:
        adapter = self.adapter(namespace)
        if adapter.get(sid) is None:
            self._command(CommandKind.ENTER, namespace, sid, room, member)
        elif adapter.full(sid, room):
            most = self.services.rooms_max_count
            text = f"a client is in {most} rooms and was not put into a further one: see --limit-rooms"
            self.services.complain("rooms", text)
        else:
            self._put(adapter, namespace, sid, room, member)

    def _leave(self, namespace: str, sid: str, room: Room) -> None:
        adapter = self.adapter(namespace)
        if adapter.get(sid) is None:
            self.services.backplane.publish(Command(CommandKind.LEAVE, namespace, sid, room))
        else:
            adapter.leave(sid, room)

    def _close_room(self, namespace: str, room: Room) -> None:
        self.adapter(namespace).close_room(room)
        self.services.backplane.publish(Command(CommandKind.CLOSE_ROOM, namespace, room=room))

    def _client_moved(self, namespace: str, kind: str, sid: str, room: RoomName) -> None:
        """Somebody came into a room or left it."""
        held = self.services.room_held
        if held is not None:
            count = self.adapters[namespace].count(room)
            if count == (kind == "join") and not self.is_streamed(namespace, room):
                held(namespace, room, kind == "join")
        socket = self.adapters[namespace].get(sid)
        members = None if socket is None else socket.members
        member = None if members is None else members.get(room)
        self.moved(namespace, kind, sid, room, member is not None)
        if member is not None and members is not None and socket is not None:
            if kind == "leave":
                del members[room]
            text = member.text if kind == "join" else None
            self.described(socket, (namespace, cast(Room, room), member.key or sid), text)
