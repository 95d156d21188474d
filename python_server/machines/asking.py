"""Our clients' polls and posts to one worker of another machine, many at a time on one connection.

Must not know: which sessions live there, how the connection was made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from python_server.connection.exchange import DeadlineLike, Exchange
from python_server.machines.greeting import MakeDeadline
from python_server.machines.stream import FrameStream
from python_server.machines.words import (
    FRAME_MAX_BYTES,
    About,
    ForeignAnswer,
    ForeignRequest,
    Kind,
    RequestOrigin,
    frame,
    read,
)

# So often the other end is asked whether it is there, and has to have said something since.
PING_SECONDS: Final = 5.0
# A request that waits, and what answers it when nobody does there.
Asked = tuple[Exchange, Callable[[Exchange], None]]


@dataclass(slots=True, eq=False)
class AskingLink:
    """The calling end. Every method belongs to the loop's thread.

    Attributes:
        stream: greeted. lost: called once, with the requests that wait, and why.
        passed_over: called with the kind of a frame that this release does not know.
    """

    stream: FrameStream
    lost: Callable[[list[Asked], str], None]
    passed_over: Callable[[int], None]
    make_deadline: MakeDeadline
    _asked: dict[int, Asked] = field(default_factory=dict, init=False)
    _numbers: dict[int, int] = field(default_factory=dict, init=False)  # of each exchange, by identity
    _last_number: int = field(default=0, init=False)
    _heard_count: int = field(default=-1, init=False)
    _pinging: DeadlineLike = field(init=False)

    def begin(self) -> None:
        stream = self.stream
        stream.take, stream.lost = self._take, self._lost
        stream.reader.limit_bytes = FRAME_MAX_BYTES
        self._pinging = self.make_deadline(self._ping)
        self._pinging.set(PING_SECONDS)

    def ask(
        self,
        exchange: Exchange,
        origin: RequestOrigin,
        body: bytes,
        gone: Callable[[Exchange], None],
        *,
        last: bool,
    ) -> None:
        """Have it answered there. The request's raw head stands in it; `gone` answers it when nobody does."""
        self._last_number = number = self._last_number + 1
        self._asked[number] = exchange, gone
        self._numbers[id(exchange)] = number
        head = exchange.request.raw_head
        self.stream.send_in_turn(number, Kind.REQUEST, ForeignRequest(number, origin, head, body, last))

    def forget(self, exchange: Exchange) -> None:
        """Its client has gone."""
        number = self._numbers.pop(id(exchange), None)
        if number is not None:
            del self._asked[number]
            if self.stream.held.pop(number, None) is None:
                self.stream.send(Kind.FORGET, About(number))

    def hurry(self) -> None:
        """This worker is about to end: what waits for long is to be answered now."""
        held = self.stream.held
        for number in self._asked:
            if number in held:  # one behind the other
                held[number] += frame(Kind.HURRY, About(number))
            else:
                self.stream.send(Kind.HURRY, About(number))

    def close(self) -> None:
        """`lost` is not called."""
        self.stream.release()
        self._pinging.cancel()
        self.stream.close("server stopped")

    def _ping(self) -> None:
        heard_count = self.stream.received_count
        # While it takes what it is sent, it may not have come to the last PING.
        if heard_count == self._heard_count and not self.stream.queued_bytes:
            self.stream.close("the other machine is silent")
            return
        self._heard_count = heard_count
        self.stream.send(Kind.PING)
        self._pinging.set(PING_SECONDS)

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == Kind.ANSWER:
            answer = read(payload, ForeignAnswer)
            exchange = self._pop(answer.number)
            if exchange is not None:
                exchange.pass_answer(answer.status, answer.data, keep_alive=answer.keep_alive)
        elif kind == Kind.CUT:
            exchange = self._pop(read(payload, About).number)
            if exchange is not None:
                exchange.abort("the answer was cut off")
        elif kind != Kind.PONG:
            self.passed_over(kind)

    def _pop(self, number: int) -> Exchange | None:
        """None: its client has gone meanwhile."""
        exchange, _ = self._asked.pop(number, (None, None))
        if exchange is not None:
            del self._numbers[id(exchange)]
        return exchange

    def _lost(self, reason: str) -> None:
        self._pinging.cancel()
        waiting, self._asked = [*self._asked.values()], {}
        self._numbers.clear()
        self.lost(waiting, reason)
