"""POSTs of long polling: a body is gathered within its bound, its packets are taken, then it is answered.

Must not know: what a packet means, polls, handshakes, upgrades.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from python_server.connection.exchange import Exchange
from python_server.engineio.intake import Intake
from python_server.engineio.options import EngineError, EngineOptions, EngineRefusal, Payload
from python_server.engineio.packet import SEPARATOR_BYTE, EnginePacketError, decode_payload
from python_server.engineio.polling import PollingAnswers, jsonp_unwrap
from python_server.engineio.session import DisconnectReason, Session


@dataclass(slots=True, eq=False)
class Post:
    """The body of a POST under way; `jsonp` is its index when it is a form."""

    session: Session
    jsonp: str | None
    pieces: list[bytes] = field(default_factory=list)
    size_bytes: int = 0


@dataclass(slots=True, eq=False)
class Posts:
    """The POSTs of one engine, from head to answer. Every method belongs to the loop's thread.

    Args:
        soon: calls a function in the loop's next turn. complain: called with (kind, sentence).
    """

    _options: EngineOptions
    _answers: PollingAnswers
    _soon: Callable[[Callable[[], None]], object]
    _complain: Callable[[str, str], None]

    def begin(self, exchange: Exchange, session: Session, jsonp: str | None) -> None:
        """A head has come.

        Raises:
            EngineRefusal: another POST of the session is under way, or too many wait.
        """
        length = exchange.request.body_length
        if session.posting or (session.intake is not None and session.intake.full):
            session.end(DisconnectReason.TRANSPORT_ERROR)
            raise EngineRefusal(EngineError.BAD_REQUEST)
        post = exchange.context = Post(session, jsonp)
        session.posting = True
        if length is not None and length > self._options.max_payload_bytes:
            self._too_large(exchange, post)
        else:
            exchange.send_continue()

    def body_received(self, exchange: Exchange, post: Post, piece: bytes) -> None:
        post.size_bytes += len(piece)
        if post.size_bytes > self._options.max_payload_bytes:
            self._too_large(exchange, post)
        else:
            post.pieces.append(piece)
            exchange.held_bytes = post.size_bytes

    def body_ended(self, exchange: Exchange, post: Post) -> None:
        session = post.session
        exchange.context = None
        session.posting = False
        if not session.alive:
            self._answers.refuse(exchange, EngineError.UNKNOWN_SID)
            return
        sent = b"".join(post.pieces)
        body = sent if post.jsonp is None else jsonp_unwrap(sent)  # None for a form without a payload
        too_many = "" if body is None else self._too_many(body)
        if body is None or too_many:
            session.end(DisconnectReason.PARSE_ERROR)
            self._answers.refuse(exchange, EngineError.BAD_REQUEST, too_many or None)
            return
        if session.intake is None:
            session.intake = Intake(session, self._soon)
        session.intake.add(decode_payload(body), partial(self._answer, exchange))

    def lost(self, post: Post) -> None:
        """The connection went before the body's end."""
        post.session.posting = False
        post.session.end(DisconnectReason.TRANSPORT_ERROR)

    def _answer(self, exchange: Exchange, error: EnginePacketError | None) -> None:
        if error is None:
            self._answers.post(exchange)
        else:
            self._answers.refuse(exchange, EngineError.BAD_REQUEST)

    def _too_many(self, body: bytes) -> str:
        """Why a payload has more packets than it may, "" if it has not."""
        limit_count = self._options.max_packets_per_payload_count or Payload.max_decode_packets
        if limit_count is None or body.count(SEPARATOR_BYTE) < limit_count:
            return ""
        text = f"too many packets: a polling request exceeds max_decode_packets ({limit_count})"
        self._complain("too many packets", text)
        return text

    def _too_large(self, exchange: Exchange, post: Post) -> None:
        exchange.context = None
        post.session.posting = False
        self._answers.too_large(exchange)
