"""What is kept of a lost client beside the stream, for the machine to which it returns, signed. Sans-I/O.

Must not know: sessions, who keeps a record, for how long, or what is done with it.
"""

from __future__ import annotations

import hmac
from typing import Any, Final

import msgspec

from python_server.socketio.cluster.port import Malformed, Room
from python_server.socketio.cluster.requests import Member

VERSION: Final = 1
DIGEST: Final = "sha256"
DIGEST_BYTES: Final = 32


class StreamRecord(msgspec.Struct, array_like=True):
    """A client of a namespace, and what it has got.

    A later version adds fields at the end; who does not know them passes them over.

    Attributes:
        is_live: it was connected still; it may have got more.
        version: of this shape. namespace, sid: of its socket. pid: the secret with which it asks for it.
        data: the application's own. rooms: those it was in.
        place: it has got what other machines had said in the stream until there.
        own: and of each process of the machine where it was, by its tag, all until the event of that name.
        ahead: the names of events beyond that it has got all the same.
        last_offset: the event it was sent last, None when there was none.
        sent_last: the names of what it was sent last, in that order; it may not have taken all. In front,
            unless there were very many, what it had got when it came, None for nothing.
        sent_from: what of them stands in the stream stands behind that place; 0: it is not known.
        private: the packets of those among them that no other process has heard.
        holder: the process that has stored it; "" in a record of an earlier version.
        authorized_until, members: as the socket's.
    """

    version: int
    namespace: str
    sid: str
    pid: str
    data: Any = None
    rooms: list[Room] = []
    place: int = 0
    own: dict[str, str] = {}
    ahead: list[str] = []
    last_offset: str | None = None
    sent_last: list[str | None] = msgspec.field(default_factory=lambda: [None])
    sent_from: int = 0
    private: dict[str, list[Any]] = {}
    is_live: bool = False
    holder: str = ""
    authorized_until: float | None = None
    members: dict[Room, Member] = {}


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(StreamRecord).decode


def sign(record: StreamRecord, secret: bytes) -> bytes:
    """The record behind its HMAC. Raises TypeError, ValueError, OverflowError: a value does not travel."""
    told = _encode(record)
    return hmac.digest(secret, told, DIGEST) + told


def verify(told: bytes, pid: str, secret: bytes) -> StreamRecord:
    """The record that `sign` made with the same secret. Raises Malformed: it was not, or is another's."""
    digest, told = told[:DIGEST_BYTES], told[DIGEST_BYTES:]
    if not hmac.compare_digest(digest, hmac.digest(secret, told, DIGEST)):
        raise Malformed("a record was signed with another --cluster-secret, or by nobody")
    try:
        record: StreamRecord = _decode(told)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Malformed(f"a record cannot be read: {error}") from None
    if not all(type(packet) in (str, bytes) for packets in record.private.values() for packet in packets):
        raise Malformed("a record has packets that are neither text nor bytes")
    if record.pid != pid:
        raise Malformed("a record is another client's")
    return record
