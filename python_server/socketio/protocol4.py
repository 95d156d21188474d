"""Socket.IO 4, which Socket.IO 2 clients speak on Engine.IO 3: what of it differs from version 5.

Must not know: handlers, rooms, sockets; how events, acks and attachments look, which is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from python_server.engineio.query import QueryError, read_query
from python_server.engineio.session import Session
from python_server.socketio.packet import Packet, PacketDecoder, PacketError


def is_version4(session: Session) -> bool:
    """Does its client speak it? It has joined "/" by opening the session, and is told no sid."""
    return session.dialect.revision == 3


def sid_of(session: Session, namespace: str) -> str:
    """The client's name in a namespace, which it makes up by itself in the same way."""
    return session.sid if namespace == "/" else f"{namespace}#{session.sid}"


def error_of(refusal: Mapping[str, object]) -> object:
    """What an ERROR packet says of a connect handler's refusal, as the official server does."""
    return refusal.get("data", refusal["message"])


@dataclass(slots=True)
class QueryDecoder:
    """One client's packets, where a CONNECT may carry a query: `0/admin?token=x,`. It becomes the data."""

    _decoder: PacketDecoder

    def receive(self, data: str | bytes) -> Packet | None:
        if type(data) is not str or data[:2] != "0/":
            return self._decoder.receive(data)
        namespace, _, query = data.partition(",")[0].partition("?")
        packet = self._decoder.receive(namespace)
        if packet is not None and query:
            try:
                packet.data = read_query(query) or None
            except QueryError as error:
                raise PacketError(str(error)) from None
        return packet
