"""Acknowledgements that are waited for: one event sent to many clients, here and in other processes.

Must not know: who may ask, how an answer travels, threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from python_server.engineio.packet import Prepared
from python_server.socketio.client import Socket
from python_server.socketio.cluster.requests import AckHeard, AcksAsked, convert, unpack

# Unanswered questions to one client in one namespace.
ACKS_MAX_COUNT: Final = 10_000

# Called for every client that was asked: with it (None: it is another process's) and the values of its ack,
# or with values None when it has left or its time is over.
Heard = Callable[[Socket | None, list[Any] | None], None]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a whole room answered: the values of each ack that came, and how many did not."""

    values: list[list[Any]]
    missing_count: int


class AckGroup:
    """The acks of one event. Every method belongs to the loop's thread.

    Args:
        heard: see there. done: called once, when nobody is waited for any more.
        parties_count: who ask clients in the name of this group: we, and all other processes together.
    """

    __slots__ = ("_done", "_heard", "_parties_count", "_waiting_count")

    def __init__(self, heard: Heard, done: Callable[[], None], parties_count: int = 1) -> None:
        self._heard = heard
        self._done: Callable[[], None] | None = done
        self._parties_count = parties_count
        self._waiting_count = 0

    def expect(self, count: int) -> None:
        """So many more clients were asked."""
        self._waiting_count += count

    def answer(self, socket: Socket | None, values: list[Any] | None) -> None:
        """One of them has acknowledged, or never will (None)."""
        if self._done is not None:
            self._waiting_count -= 1
            self._heard(socket, values)
            self._look()

    def asked(self) -> None:
        """One party has asked all it will ever ask."""
        self._parties_count -= 1
        self._look()

    def expire(self) -> None:
        """Nobody is waited for any more; those who have not answered are not heard."""
        done, self._done = self._done, None
        if done is not None:
            done()

    def _look(self) -> None:
        if not self._waiting_count and not self._parties_count:
            self.expire()


class Acks:
    """Asks the clients of this process. Every method belongs to the loop's thread.

    Args:
        call_later: the loop's timer.
    """

    def __init__(self, call_later: Callable[[float, Callable[[], Any]], Any]) -> None:
        self._call_later = call_later

    def ask(
        self,
        sockets: list[Any],
        prepared: Prepared,
        ack_id: int,
        group: AckGroup,
        timeout_seconds: float | None = None,
    ) -> None:
        """Send, and have `group` told of every ack, and of every client that leaves or is late."""
        group.expect(len(sockets))
        for socket in sockets:
            if len(socket.acks) >= ACKS_MAX_COUNT:  # it answers nothing: the oldest question is given up
                socket.acks.pop(next(iter(socket.acks)))(None)
            socket.acks[ack_id] = partial(group.answer, socket)
            socket.send(prepared)
            socket.client.backlog.resume()  # else the answer would never be read
        if timeout_seconds is not None and sockets:
            self._call_later(timeout_seconds, partial(self.give_up, sockets, ack_id))
        group.asked()

    def give_up(self, sockets: Iterable[Any], ack_id: int) -> None:
        """The time is over for those who have not answered."""
        for socket in sockets:
            resolve = socket.acks.pop(ack_id, None)
            if resolve is not None:
                resolve(None)


class DistantAcks:
    """The acks of other processes' clients, as parts of answers to one AcksQuestion.

    Args:
        unready: called when somewhere a client was not ready to be asked.
    """

    def __init__(self, group: AckGroup, unready: Callable[[], None] | None = None) -> None:
        self._group = group
        self._unready = unready
        self._waiting_count = 0

    def heard(self, part: Any) -> None:
        """One part of an answer. Raises Malformed."""
        shaped = convert(part, AcksAsked | AckHeard)
        if isinstance(shaped, AcksAsked):
            if shaped.unready and self._unready is not None:
                self._unready()
            self._waiting_count += shaped.asked_count
            self._group.expect(shaped.asked_count)
        elif self._waiting_count:
            values = None if shaped.values is None else unpack(shaped.values)
            self._waiting_count -= 1
            self._group.answer(None, values)

    def ended(self, silent_count: int) -> None:
        """No more parts will come: those who have not answered never will."""
        waiting_count, self._waiting_count = self._waiting_count, 0
        for _ in range(waiting_count):
            self._group.answer(None, None)
        self._group.asked()
