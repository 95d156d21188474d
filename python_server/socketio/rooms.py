"""Who is in which room, asked and changed by any thread, wherever the client is connected.

Must not know: events, acks, how a packet comes in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, cast

from python_server.net.threads import Waiter
from python_server.socketio.adapter import Adapter
from python_server.socketio.broadcast import check_hashable
from python_server.socketio.client import Socket
from python_server.socketio.cluster.port import (
    Command,
    CommandKind,
    Question,
    QuestionKind,
    Room,
    check_rooms,
)
from python_server.socketio.cluster.requests import EnterQuestion, convert, plain
from python_server.socketio.services import HubServices
from python_server.socketio.values import JSONValue, RoomName

# How long other processes may take to answer what they can answer at once.
QUESTION_SECONDS: Final = 2.0
# For our own loop, as `Door.ask` has it.
LOOP_SECONDS: Final = 30.0

# Called with (namespace, "join" or "leave", sid, room) on the loop's thread.
Moved = Callable[[str, str, str, RoomName], None]


class RoomDirectory:
    """The rooms of one Socket.IO server, here and in other processes.

    Args:
        services: of the worker. moved: told who of this process comes into a room and who leaves it.
        log_position: of the recovery log, noted for every room a client enters.
    """

    def __init__(self, services: HubServices, moved: Moved, log_position: Callable[[], int]) -> None:
        self._services = services
        self._backplane = services.backplane
        self._moved = moved
        self._log_position = log_position
        # Loop's thread: the clients of this process, by namespace.
        self.adapters: dict[str, Adapter[Socket]] = {}

    # Any thread

    def join(self, namespace: str, sid: str, room: RoomName) -> None:
        """Put a client into a room; takes effect before anything emitted after it."""
        self.check((room,))
        self._services.door.tell(self._join, namespace, sid, room)

    def enter(self, namespace: str, sid: str, room: RoomName) -> None:
        """`join` that waits for its verdict; on the loop's thread not for that of other processes.

        Raises:
            ValueError: no such client, or the room is another client's own.
        """
        self.check((room,))
        if self._services.door.ask(lambda: self.adapter(namespace).enter(sid, room)):
            return
        travelling = cast(Room, room)  # `check` has looked
        verdicts: list[bool | str] = []

        def heard(part: JSONValue) -> bool:
            verdict = convert(part, bool | str)
            verdicts.extend([verdict] if verdict is not False else [])
            return verdict is not False

        if not self._backplane.alone and self._services.door.on_loop():
            self._backplane.publish(Command(CommandKind.ENTER, namespace, sid, travelling))
            return
        self._ask_others(
            Question(QuestionKind.ENTER, namespace, plain(EnterQuestion(sid, travelling))), heard
        )
        if not verdicts:
            raise ValueError("sid is not connected to requested namespace")
        if verdicts[0] is not True:
            raise ValueError(verdicts[0])

    def leave(self, namespace: str, sid: str, room: RoomName) -> None:
        """Take a client out of a room; takes effect before anything emitted after it."""
        self.check((room,))
        self._services.door.tell(self._leave, namespace, sid, room)

    def close_room(self, namespace: str, room: RoomName) -> None:
        """Everyone leaves.

        Raises:
            ValueError: the room is a client's own.
        """
        self.check((room,))
        self._services.door.ask(lambda: self._close_room(namespace, cast(Room, room)))

    def rooms_of(self, namespace: str, sid: str) -> list[RoomName]:
        """The rooms a client is in, its own included.

        Raises:
            RuntimeError: on the loop's thread, for a client of another process.
        """
        found = self._services.door.ask(lambda: self.adapter(namespace).rooms_of(sid))

        def heard(part: JSONValue) -> bool:
            found.extend(convert(part, list[Room]))
            return bool(found)

        if not found:
            self._ask_others(Question(QuestionKind.ROOMS, namespace, sid), heard)
        return found

    def members_of(self, namespace: str, room: RoomName) -> list[str]:
        """The sids in a room, in all processes; those of one that does not answer in time are missing.

        Raises:
            RuntimeError: on the loop's thread, when there are other processes.
        """
        self.check(None if room is None else (room,))
        found = self._services.door.ask(lambda: self.adapter(namespace).members_of(room))

        def heard(part: JSONValue) -> bool:
            found.extend(convert(part, list[str]))
            return False

        self._ask_others(Question(QuestionKind.MEMBERS, namespace, room), heard)
        return found

    def find(self, namespace: str, sid: str) -> Socket | None:
        """The client of that name in the namespace, if it is connected to this process."""
        return self._services.door.ask(lambda: self.adapter(namespace).get(sid))

    def sockets(self) -> list[Socket]:
        """Every client of this process in every namespace."""

        def gather() -> list[Socket]:
            return [
                socket
                for adapter in self.adapters.values()
                for sid in adapter.members_of(None)
                if (socket := adapter.get(sid)) is not None
            ]

        return self._services.door.ask(gather)

    def check(self, *names: tuple[RoomName, ...] | None) -> None:
        """Refuse what names no room, or cannot travel where it would have to: TypeError, ValueError."""
        if not self._backplane.alone:
            check_rooms(*names)
        else:
            for rooms in names:
                check_hashable(rooms or ())

    def _ask_others(self, question: Question, heard: Callable[[JSONValue], bool]) -> None:
        """Wait for what the other processes answer; `heard` says of each part whether it suffices.

        Raises:
            RuntimeError: on the loop's thread, if there are others. TimeoutError: our own loop stands still.
        """
        if self._backplane.alone:
            return
        services = self._services
        if services.door.on_loop():
            raise RuntimeError(
                "other processes would be waited for on the server's own thread: "
                "register the handler without inline=True"
            )
        waiter: Waiter[int] = Waiter()

        def part(answer: JSONValue) -> None:
            if heard(answer):
                waiter.set(0)

        services.door.post(self._backplane.request, question, part, waiter.set, QUESTION_SECONDS)
        silent_count = waiter.wait(LOOP_SECONDS, lends=True)
        if silent_count:
            services.door.post(
                services.complain,
                f"silent {question.kind}",
                f"{silent_count} other processes did not answer within {QUESTION_SECONDS:g} s when asked for "
                f"{question.kind}: the answer lacks theirs",
            )

    # Loop's thread

    def adapter(self, namespace: str) -> Adapter[Socket]:
        """An unknown namespace has nobody in it."""
        return self.adapters.get(namespace) or Adapter(reserved=self._reserved)

    def open(self, namespace: str) -> Adapter[Socket]:
        """The namespace has its first client."""
        adapter = self.adapters.get(namespace)
        if adapter is None:
            adapter = self.adapters[namespace] = Adapter(
                partial(self._client_moved, namespace),
                self._log_position,
                self._reserved,
                Socket.send_to_all,
                self._services.rooms_max_count,
            )
        return adapter

    def _reserved(self, room: RoomName) -> bool:
        """May it be the sid of a client of another process?"""
        return self._services.names.reserves(room)

    def _join(self, namespace: str, sid: str, room: Room) -> None:
        adapter = self.adapters.get(namespace)
        if adapter is not None and adapter.get(sid) is not None:
            if adapter.full(sid, room):
                most = self._services.rooms_max_count
                text = f"a client is in {most} rooms and was not put into a further one: see --limit-rooms"
                self._services.complain("rooms", text)
            else:
                adapter.join(sid, room)
        else:
            self._backplane.publish(Command(CommandKind.ENTER, namespace, sid, room))

    def _leave(self, namespace: str, sid: str, room: Room) -> None:
        adapter = self.adapters.get(namespace)
        if adapter is not None and adapter.get(sid) is not None:
            adapter.leave(sid, room)
        else:
            self._backplane.publish(Command(CommandKind.LEAVE, namespace, sid, room))

    def _close_room(self, namespace: str, room: Room) -> None:
        self.adapter(namespace).close_room(room)
        self._backplane.publish(Command(CommandKind.CLOSE_ROOM, namespace, room=room))

    def _client_moved(self, namespace: str, kind: str, sid: str, room: RoomName) -> None:
        """Somebody came into a room or left it."""
        held = self._services.room_held
        if held is not None:
            count = self.adapters[namespace].count(room)
            if count == (kind == "join"):
                held(namespace, room, kind == "join")
        self._moved(namespace, kind, sid, room)
