"""Acknowledgements that are waited for: one event sent to many clients, here and in other processes.

Must not know: who may ask, how an answer travels, threads.
"""

from __future__ import annotations

from collections.abc import Callable
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
    """The life of a request: two states in which acks are waited for, then one of four ends."""

    WAITING = auto()
    OVERDUE = auto()  # the deadline has come here; other processes time their own clients
    ENDED = auto()  # everybody who was asked has answered or left
    EXPIRED = auto()  # the deadline came first
    UNREADY = auto()  # nobody was asked: a client's connect handler has not returned
    FAILED = auto()  # not everybody could be asked


OPEN: Final = (AckState.WAITING, AckState.OVERDUE)


@dataclass(eq=False, slots=True)
class AckRequest:
    """One event whose acks are waited for. Every method belongs to the loop's thread.

    Attributes:
        to: who is asked. prepared: the event, with `ack_id` in it. heard: see there.
        ended: called once with the state at the end, when nobody is waited for any more.
        timeout_seconds: after it nobody is waited for; None: as long as they stay.
        one_client: the first answer is the end; and a client is not asked whose connect handler has not
            returned.
        deadline: the timer, once clients are asked.
        parties_count: who ask clients in its name, and have not said `asked`: this process; all others.
        waiting_count: clients that were asked and have not answered.
    """

    to: BroadcastOptions
    prepared: Prepared
    ack_id: int
    heard: Heard
    ended: Callable[[AckState], None] | None = None
    timeout_seconds: float | None = None
    one_client: bool = False
    state: AckState = AckState.WAITING
    deadline: TimerLike | None = None
    parties_count: int = 1
    waiting_count: int = 0

    def answer(self, socket: Socket | None, values: list[JSONValue] | None) -> None:
        """One of them has acknowledged, or never will (None)."""
        if self.state in OPEN:
            self.waiting_count -= 1
            self.heard(socket, values)
            if self.one_client and values is not None:
                self.end(AckState.ENDED)
            self._look()

    def asked(self) -> None:
        """One party has asked all it will ever ask."""
        self.parties_count -= 1
        self._look()

    def expire(self) -> None:
        """The deadline: who answers later is too late."""
        if self.state in OPEN:
            self.state = AckState.OVERDUE

    def end(self, state: AckState) -> None:
        """Nobody is waited for any more."""
        if self.state in OPEN:
            self.state = state
            if self.deadline is not None and not self.waiting_count:  # else it still gives those up
                self.deadline.cancel()
            if self.ended is not None:
                self.ended(state)

    def _look(self) -> None:
        if not self.waiting_count and not self.parties_count:
            self.end(AckState.EXPIRED if self.state is AckState.OVERDUE else AckState.ENDED)


def ask_clients(sockets: list[Socket], request: AckRequest, call_later: CallLater) -> None:
    """Loop's thread: send, and tell `request` of every ack, and of every client that leaves or is late."""
    if request.one_client and any(socket.state is SocketState.PENDING for socket in sockets):
        request.end(AckState.UNREADY)
        return
    request.waiting_count += len(sockets)
    ack_id, prepared = request.ack_id, request.prepared
    for socket in sockets:
        if len(socket.acks) >= ACKS_MAX_COUNT:  # it answers nothing: the oldest question is given up
            socket.acks.pop(next(iter(socket.acks)))(None)
        socket.acks[ack_id] = partial(request.answer, socket)
        socket.send(prepared)
        socket.client.backlog.resume()  # else the answer would never be read
    if request.timeout_seconds is not None:
        request.deadline = call_later(request.timeout_seconds, partial(_give_up, sockets, request))
    request.asked()


def _give_up(sockets: list[Socket], request: AckRequest) -> None:
    """The time is over for those who have not answered; other processes time their own clients."""
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
        request.parties_count += 1

    def heard(self, part: JSONValue) -> None:
        """One part of an answer. Raises Malformed."""
        shaped = convert(part, AcksAsked | AckHeard)
        if isinstance(shaped, AcksAsked):
            if shaped.unready and self._request.one_client:
                self._request.end(AckState.UNREADY)
            self._waiting_count += shaped.asked_count
            self._request.waiting_count += shaped.asked_count
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
