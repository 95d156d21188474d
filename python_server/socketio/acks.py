"""Acknowledgements that are waited for: one event sent to many clients, here and in other processes.

Must not know: who may ask, how an answer travels, threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Final

from python_server.engineio.packet import Prepared
from python_server.net.system import CallLater, TimerLike
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.client import Socket, SocketState
from python_server.socketio.cluster.requests import AckHeard, AcksAsked, convert, unpack
from python_server.socketio.values import JSONValue

# Unanswered questions to one client in one namespace.
ACKS_MAX_COUNT: Final = 10_000

# Called for every client that was asked: with it (None: it is another process's) and the values of its ack,
# or with values None when it has left or its time is over.
Heard = Callable[[Socket | None, list[JSONValue] | None], None]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a whole room answered: the values of each ack that came, and how many did not."""

    values: list[list[JSONValue]]
    missing_count: int


class AckState(Enum):
    """The life of a request: waiting, then one of three ends."""

    WAITING = auto()
    ENDED = auto()  # everybody who was asked has answered or left
    EXPIRED = auto()  # the deadline came first
    UNREADY = auto()  # nobody was asked: a client's connect handler has not returned


class AckRequest:
    """One event whose acks are waited for. Every method belongs to the loop's thread.

    Args:
        to: who is asked. prepared: the event, with `ack_id` in it. heard: see there.
        ended: called once with the state at the end, when nobody is waited for any more.
        timeout_seconds: after it nobody is waited for; None: as long as they stay.
        joined_only: nobody is asked where one of them has not finished its connect handler.
        parties_count: who ask clients in its name: this process, and all others together.
    """

    __slots__ = (
        "_ended",
        "_expired",
        "_heard",
        "_parties_count",
        "_waiting_count",
        "ack_id",
        "deadline",
        "joined_only",
        "prepared",
        "state",
        "timeout_seconds",
        "to",
    )

    def __init__(
        self,
        to: BroadcastOptions,
        prepared: Prepared,
        ack_id: int,
        heard: Heard,
        ended: Callable[[AckState], None] | None = None,
        timeout_seconds: float | None = None,
        joined_only: bool = False,
    ) -> None:
        self.to: BroadcastOptions = to
        self.prepared: Prepared = prepared
        self.ack_id: int = ack_id
        self.timeout_seconds: float | None = timeout_seconds
        self.joined_only: bool = joined_only
        self.state: AckState = AckState.WAITING
        self.deadline: TimerLike | None = None  # the timer, once clients are asked
        self._heard = heard
        self._ended = ended
        self._expired = False
        self._parties_count = 1
        self._waiting_count = 0

    def add_party(self) -> None:
        """Somebody else asks clients as well, and says `asked` at its end."""
        self._parties_count += 1

    def expect(self, count: int) -> None:
        """So many more clients were asked."""
        self._waiting_count += count

    def answer(self, socket: Socket | None, values: list[JSONValue] | None) -> None:
        """One of them has acknowledged, or never will (None)."""
        if self.state is AckState.WAITING:
            self._waiting_count -= 1
            self._heard(socket, values)
            self._look()

    def asked(self) -> None:
        """One party has asked all it will ever ask."""
        self._parties_count -= 1
        self._look()

    def expire(self) -> None:
        """The deadline: who answers later is too late; other processes time their own clients."""
        self._expired = True

    def refuse(self) -> None:
        """A client is not ready to be asked."""
        self._end(AckState.UNREADY)

    def _look(self) -> None:
        if not self._waiting_count and not self._parties_count:
            self._end(AckState.EXPIRED if self._expired else AckState.ENDED)

    def _end(self, state: AckState) -> None:
        if self.state is AckState.WAITING:
            self.state = state
            if self.deadline is not None:
                self.deadline.cancel()
            if self._ended is not None:
                self._ended(state)


class LocalAcks:
    """Asks the clients of this process. Every method belongs to the loop's thread.

    Args:
        call_later: the loop's timer.
    """

    def __init__(self, call_later: CallLater) -> None:
        self._call_later = call_later

    def ask(self, sockets: list[Socket], request: AckRequest) -> None:
        """Send, and tell `request` of every ack, and of every client that leaves or is late."""
        if request.joined_only and any(socket.state is SocketState.PENDING for socket in sockets):
            request.refuse()
            return
        request.expect(len(sockets))
        ack_id, prepared = request.ack_id, request.prepared
        for socket in sockets:
            if len(socket.acks) >= ACKS_MAX_COUNT:  # it answers nothing: the oldest question is given up
                socket.acks.pop(next(iter(socket.acks)))(None)
            socket.acks[ack_id] = partial(request.answer, socket)
            socket.send(prepared)
            socket.client.backlog.resume()  # else the answer would never be read
        if request.timeout_seconds is not None:
            late = partial(self._give_up, sockets, request)
            request.deadline = self._call_later(request.timeout_seconds, late)
        request.asked()

    @staticmethod
    def _give_up(sockets: Iterable[Socket], request: AckRequest) -> None:
        """The time is over for those who have not answered."""
        request.expire()
        for socket in sockets:
            resolve = socket.acks.pop(request.ack_id, None)
            if resolve is not None:
                resolve(None)


class RemoteAcks:
    """The acks of other processes' clients, as parts of answers to one AcksQuestion."""

    def __init__(self, request: AckRequest) -> None:
        self._request = request
        self._waiting_count = 0
        request.add_party()

    def heard(self, part: JSONValue) -> None:
        """One part of an answer. Raises Malformed."""
        shaped = convert(part, AcksAsked | AckHeard)
        if isinstance(shaped, AcksAsked):
            if shaped.unready and self._request.joined_only:
                self._request.refuse()
            self._waiting_count += shaped.asked_count
            self._request.expect(shaped.asked_count)
        elif self._waiting_count:
            values = None if shaped.values is None else unpack(shaped.values)
            self._waiting_count -= 1
            self._request.answer(None, values)

    def ended(self, silent_count: int) -> None:
        """No more parts will come: those who have not answered never will."""
        waiting_count, self._waiting_count = self._waiting_count, 0
        for _ in range(waiting_count):
            self._request.answer(None, None)
        self._request.asked()
