"""Where workers of other machines come in: accepted, proven, and brought to the worker that they want.

Must not know: what their clients ask, how a sibling is reached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from python_server.connection.exchange import DeadlineLike, TransportLike
from python_server.http1.parser import BadRequest, Request
from python_server.machines.answering import AnsweringLink, AnsweringServices, request_of
from python_server.machines.greeting import GREETING_SECONDS, Called, Doorkeeper, MakeDeadline
from python_server.machines.stream import FrameStream
from python_server.machines.words import ForeignHandshake, Hello, Kind, WordsError, frame, read

# Connections that have not proven themselves: the oldest goes for a further one, since who is a machine has
# proven itself by then. So nobody is kept out by others that come and say nothing.
UNPROVEN_MAX_COUNT: Final = 256
# A head within the largest limits that anybody sets.
HANDSHAKE_MAX_BYTES: Final = 1024 * 1024


class Arrived(msgspec.Struct, array_like=True):
    """A caller that a sibling has let in, for us."""

    hello: Hello
    welcome: bytes


@dataclass(slots=True, eq=False)
class Entrance:
    """Every method belongs to the loop's thread.

    Attributes:
        tag: of this machine. index: of this worker. answering: what answers requests.
        pass_on: gives a caller to the sibling of that index; False when there is none.
        serve: takes a client's connection at its opening handshake: (transport, request, head).
        complain: called with (kind, sentence).
    """

    tag: str
    secret: bytes
    index: int
    pass_on: Callable[[int, Arrived, TransportLike], bool]
    answering: AnsweringServices
    serve: Callable[[TransportLike, Request, bytes], None]
    entropy: Callable[[int], bytes]
    complain: Callable[[str, str], None]
    make_deadline: MakeDeadline
    _doorkeepers: dict[Doorkeeper, None] = field(default_factory=dict, init=False)  # the oldest first
    _streams: dict[FrameStream, DeadlineLike] = field(default_factory=dict, init=False)
    _links: set[AnsweringLink] = field(default_factory=set, init=False)

    def accept(self, transport: TransportLike) -> None:
        """Somebody has come."""
        if len(self._doorkeepers) >= UNPROVEN_MAX_COUNT:
            oldest = next(iter(self._doorkeepers))
            del self._doorkeepers[oldest]
            oldest.close(f"{UNPROVEN_MAX_COUNT} others without proof have come since")
        doorkeeper = Doorkeeper(transport, self.secret, self.entropy, self._heard, self.make_deadline)
        self._doorkeepers[doorkeeper] = None
        doorkeeper.begin()

    def arrived(self, arrived: Arrived, transport: TransportLike) -> None:
        """A caller has proven itself, here or at a sibling, and wants this worker."""
        transport.write(arrived.welcome)
        stream = FrameStream(transport, lambda kind, payload: None, lambda reason: None)
        if not arrived.hello.websocket:
            link = AnsweringLink(
                stream, self.answering, self._links.discard, self._passed_over, self.make_deadline
            )
            self._links.add(link)
            link.begin()
            return
        stream.take = partial(self._handshake, stream)
        stream.lost = lambda reason: self._left(stream)
        stream.reader.limit_bytes = HANDSHAKE_MAX_BYTES
        deadline = self._streams[stream] = self.make_deadline(partial(stream.close, "no handshake in time"))
        deadline.set(GREETING_SECONDS)
        stream.begin()

    @property
    def queued_bytes(self) -> int:
        """What others have not taken yet."""
        return sum(link.queued_bytes for link in self._links)

    def close(self) -> None:
        for doorkeeper in self._doorkeepers:
            doorkeeper.close("server stopped")
        for stream, deadline in self._streams.items():
            deadline.cancel()
            stream.close("server stopped")
        for link in self._links:
            link.close()
        self._links.clear()

    def _left(self, stream: FrameStream) -> None:
        self._streams.pop(stream).cancel()

    def _heard(self, doorkeeper: Doorkeeper, called: Called | None, reason: str) -> None:
        self._doorkeepers.pop(doorkeeper, None)
        if called is None:
            self.complain("cluster port", f"a caller at the cluster's port is refused: {reason}")
            return
        hello, transport = called.hello, doorkeeper.transport
        arrived = Arrived(hello, called.welcome)
        if hello.to_machine == self.tag:
            if hello.to_worker == self.index:
                self.arrived(arrived, transport)
                return
            if self.pass_on(hello.to_worker, arrived, transport):
                return
        transport.set_handler(FrameStream(transport, lambda kind, payload: None, lambda reason: None))
        transport.write(frame(Kind.GONE))
        transport.close()

    def _handshake(self, stream: FrameStream, kind: int, payload: bytes) -> None:
        if kind != Kind.HANDSHAKE:
            raise WordsError(f"a frame of kind {kind} before a client's handshake")
        passed = read(payload, ForeignHandshake)
        try:
            request = request_of(passed.origin, passed.head, self.answering.limits)
        except BadRequest as error:
            raise WordsError(f"a client's handshake goes beyond our limits: {error}") from None
        self._left(stream)
        rest = stream.reader.take_rest()
        self.serve(stream.release(), request, passed.head + rest)

    def _passed_over(self, kind: int) -> None:
        self.complain("cluster words", f"a frame of unknown kind {kind} from another machine")
