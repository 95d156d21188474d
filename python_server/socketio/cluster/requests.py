"""The shapes of questions between processes and of their answers, and values that travel in them. Sans-I/O.

Must not know: who asks, who answers, how a question travels.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from python_server.socketio.cluster.port import Malformed, Room
from python_server.socketio.jsoncodec import JSONError, dumps, loads
from python_server.socketio.packet import PacketError, extract, fill
from python_server.socketio.values import JSONValue

# JSON text with placeholders, then each attachment in base64. Text within text: what JSON readers disagree
# about (large integers, lone surrogates) is not seen by any of them on the way.
Packed = list[str]
# Clients of one process that one event may ask; more cannot be connected to it.
ASKED_MAX_COUNT: Final = 10_000_000


class AcksQuestion(msgspec.Struct, forbid_unknown_fields=True):
    """Send an event here, and tell the acks. Answered by one AcksAsked, then an AckHeard for each ack.

    Attributes:
        event: [name, *arguments], packed. timeout_seconds: after it an ack comes too late.
        joined_only: nobody is asked where a client's connect handler has not returned.
    """

    rooms: list[Room] | None
    excepted: list[Room]
    event: Packed
    timeout_seconds: float | None = None
    joined_only: bool = False


class AcksAsked(msgspec.Struct, tag="asked", forbid_unknown_fields=True):
    """How many clients were asked; or that none was, as one was not ready."""

    asked_count: Annotated[int, msgspec.Meta(ge=0, le=ASKED_MAX_COUNT)]
    unready: bool = False


class AckHeard(msgspec.Struct, tag="heard", forbid_unknown_fields=True):
    """The values of one ack, packed; None: it will not come."""

    values: Packed | None


class Member(msgspec.Struct, array_like=True, frozen=True):
    """What is known of a client in a room.

    Attributes:
        key: joins several clients of one user; None: it stands for itself. text: its metadata, as JSON.
    """

    key: str | None
    text: str


class EnterQuestion(msgspec.Struct, forbid_unknown_fields=True):
    """Put a client into a room. Answered by True (done), False (not here) or a sentence that refuses."""

    sid: str
    room: Room
    member: Member | None = None


def convert(data: JSONValue, shape: Any) -> Any:
    """JSON values as what they should be. Raises Malformed."""
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        raise Malformed(str(error)) from None


def plain(value: msgspec.Struct) -> JSONValue:
    """The JSON values of a shape."""
    return msgspec.to_builtins(value)


def pack(values: Sequence[object]) -> Packed:
    """Values of an ack, bytes anywhere within.

    Raises:
        TypeError, ValueError: JSON has no word for one of them.
    """
    attachments: list[bytes] = []
    return pack_text(dumps(extract(list(values), attachments)), attachments)


def pack_text(text: str, attachments: Sequence[bytes]) -> Packed:
    """What an encoded packet holds (see Codec.data_text)."""
    return [text, *(b64encode(attachment).decode("ascii") for attachment in attachments)]


def unpack(packed: Packed) -> list[JSONValue]:
    """The values again. Raises Malformed."""
    if not packed:
        raise Malformed("values without their text")
    try:
        values = loads(packed[0])
        if len(packed) > 1:
            attachments = [b64decode(part, validate=True) for part in packed[1:]]
            values = fill(values, attachments, set())
    except (JSONError, PacketError, binascii.Error, UnicodeError) as error:
        raise Malformed(f"malformed values: {error}") from None
    if type(values) is not list:
        raise Malformed("values must be an array")
    return values
