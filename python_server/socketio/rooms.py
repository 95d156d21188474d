"""Who is in which room, asked and changed by any thread, wherever the client is connected.

Must not know: events, acks, how a packet comes in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from python_server.net.tasks import wait
from python_server.net.threads import Strand, Waiter
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
from python_server.socketio.ground import Ground
from python_server.socketio.packet import Codec
from python_server.socketio.recovery.log import RecoveryLog

# How long other processes may take to answer what they can answer at once.
QUESTION_SECONDS: Final = 2.0
# For our own loop, as `Door.ask` has it.
LOOP_SECONDS: Final = 30.0
# Moves that wait for the application to hear of them, some 40 MB. Those of a client that comes or goes cannot
# be held up by reading less from it: above the bound they are dropped, as Linux drops inotify's above 16,384.
PRESENCE_MAX_COUNT: Final = 100_000


class Rooms(Ground):
    """The rooms of one Socket.IO server, here and in other processes."""

    def __init__(self, codec: Codec | None = None, recovery: RecoveryLog | None = None) -> None:
        super().__init__(codec, recovery)
        # Hears on one strand of its own ("join" or "leave", namespace, sid, room) of this process's clients.
        self.presence: Callable[[str, str, str, Any], None] | None = None
        self._presence_strand: Strand | None = None

    # Any thread

    def join(self, namespace: str, sid: str, room: Any) -> None:
        """Put a client into a room; takes effect before anything emitted after it."""
        self._check_rooms((room,))
        self._tell(self._join, namespace, sid, room)

    def enter(self, namespace: str, sid: str, room: Any) -> None:
        """`join` that waits for its verdict; on the loop's thread not for that of other processes.

        Raises:
            ValueError: no such client, or the room is another client's own.
        """
        self._check_rooms((room,))
        if self._ask(lambda: self._adapter(namespace).enter(sid, room)):
            return
        verdicts: list[Any] = []

        def heard(part: Any) -> bool:
            verdict = convert(part, bool | str)
            verdicts.extend([verdict] if verdict is not False else [])
            return verdict is not False

        if not self._backplane.alone and self._running().door.on_loop():
            self._backplane.publish(Command(CommandKind.ENTER, namespace, sid, room))
            return
        self._ask_others(Question(QuestionKind.ENTER, namespace, plain(EnterQuestion(sid, room))), heard)
        if not verdicts:
            raise ValueError("sid is not connected to requested namespace")
        if verdicts[0] is not True:
            raise ValueError(verdicts[0])

    def leave(self, namespace: str, sid: str, room: Any) -> None:
        """Take a client out of a room; takes effect before anything emitted after it."""
        self._check_rooms((room,))
        self._tell(self._leave, namespace, sid, room)

    def close_room(self, namespace: str, room: Any) -> None:
        """Everyone leaves.

        Raises:
            ValueError: the room is a client's own.
        """
        self._check_rooms((room,))
        self._ask(lambda: self._close_room(namespace, room))

    def rooms_of(self, namespace: str, sid: str) -> list[Any]:
        """The rooms a client is in, its own included.

        Raises:
            RuntimeError: on the loop's thread, for a client of another process.
        """
        found: list[Any] = self._ask(lambda: self._adapter(namespace).rooms_of(sid))

        def heard(part: Any) -> bool:
            found.extend(convert(part, list[Room]))
            return bool(found)

        if not found:
            self._ask_others(Question(QuestionKind.ROOMS, namespace, sid), heard)
        return found

    def members_of(self, namespace: str, room: Any) -> list[str]:
        """The sids in a room, in all processes; those of one that does not answer in time are missing.

        Raises:
            RuntimeError: on the loop's thread, when there are other processes.
        """
        self._check_rooms(None if room is None else (room,))
        found: list[str] = self._ask(lambda: self._adapter(namespace).members_of(room))

        def heard(part: Any) -> bool:
            found.extend(convert(part, list[str]))
            return False

        self._ask_others(Question(QuestionKind.MEMBERS, namespace, room), heard)
        return found

    def find(self, namespace: str, sid: str) -> Socket | None:
        """The client of that name in the namespace, if it is connected to this process."""
        found: Socket | None = self._ask(lambda: self._adapter(namespace).get(sid))
        return found

    def sockets(self) -> list[Socket]:
        """Every client of this process in every namespace."""

        def gather() -> list[Any]:
            return [
                socket
                for adapter in self._adapters.values()
                for sid in adapter.members_of(None)
                if (socket := adapter.get(sid)) is not None
            ]

        found: list[Socket] = self._ask(gather)
        return found

    def _check_rooms(self, *names: tuple[Any, ...] | None) -> None:
        if not self._backplane.alone:
            check_rooms(*names)

    def _ask_others(self, question: Question, heard: Callable[[Any], bool]) -> None:
        """Wait for what the other processes answer; `heard` says of each part whether it suffices.

        Raises:
            RuntimeError: on the loop's thread, if there are others. TimeoutError: our own loop stands still.
        """
        if self._backplane.alone:
            return
        services = self._running()
        if services.door.on_loop():
            raise RuntimeError(
                "other processes would be waited for on the server's own thread: "
                "register the handler without inline=True"
            )
        waiter = Waiter()

        def part(answer: Any) -> None:
            if heard(answer):
                waiter.set(0)

        self._post(self._backplane.request, question, part, waiter.set, QUESTION_SECONDS)
        silent_count = wait(waiter, LOOP_SECONDS)
        if silent_count:
            self._post(
                services.complain,
                f"silent {question.kind}",
                f"{silent_count} other processes did not answer within {QUESTION_SECONDS:g} s when asked for "
                f"{question.kind}: the answer lacks theirs",
            )

    # Posted calls

    def _join(self, namespace: str, sid: str, room: Any) -> None:
        adapter = self._adapters.get(namespace)
        if adapter is not None and adapter.get(sid) is not None:
            adapter.join(sid, room)
        else:
            self._backplane.publish(Command(CommandKind.ENTER, namespace, sid, room))

    def _leave(self, namespace: str, sid: str, room: Any) -> None:
        adapter = self._adapters.get(namespace)
        if adapter is not None and adapter.get(sid) is not None:
            adapter.leave(sid, room)
        else:
            self._backplane.publish(Command(CommandKind.LEAVE, namespace, sid, room))

    def _close_room(self, namespace: str, room: Any) -> None:
        self._adapter(namespace).close_room(room)
        self._backplane.publish(Command(CommandKind.CLOSE_ROOM, namespace, room=room))

    def _moved(self, namespace: str, kind: str, sid: str, room: Any) -> None:
        """Loop's thread: somebody came into a room or left it."""
        held = self._running().room_held
        if held is not None:
            count = self._adapters[namespace].count(room)
            if count == (kind == "join"):
                held(namespace, room, kind == "join")
        if self.presence is not None:
            if self._presence_strand is None:
                self._presence_strand = self._running().door.strand()
            if self._presence_strand.waiting_count >= PRESENCE_MAX_COUNT:
                self._running().complain(
                    "presence",
                    f"{PRESENCE_MAX_COUNT} moves wait for on_room_join, on_room_leave: further ones are lost",
                )
                return
            self._presence_strand.submit(partial(self._run_presence, kind, namespace, sid, room))

    def _run_presence(self, *arguments: Any) -> None:
        assert self.presence is not None
        try:
            self.presence(*arguments)
        except BaseException as error:
            self._running().report("presence handler", error)
