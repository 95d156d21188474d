"""Messages between workers of one machine: a head in MessagePack, then packets as they are. Sans-I/O.

Must not know: who sends or receives, sockets, what a question is about.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from msgspec.structs import astuple

from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.last_words import HowFar
from python_server.socketio.cluster.port import (
    Command,
    Envelope,
    Malformed,
    Question,
    QuestionKind,
    Room,
    StreamMarks,
)
from python_server.socketio.values import JSONValue
from python_server.workers.link_messages import encode

# In front of the head of an envelope or command: its length.
HEAD_LENGTH: Final = struct.Struct("!I")


class _EnvelopeHead(msgspec.Struct, tag=1, array_like=True):
    """`sizes_bytes` are the lengths of the packets that follow; of a binary one the complement (~) of it."""

    namespace: str
    rooms: list[Room] | None
    excepted: list[Room]
    sizes_bytes: list[int]
    offset: str | None
    volatile: bool


class _TracedHead(_EnvelopeHead, tag=1, array_like=True):
    """Of a worker that traces, or passes on a stream; others write the shorter one, and overread the rest."""

    traceparent: str | None = None
    place: int = 0


class _CommandHead(Command, frozen=True, tag=2, array_like=True):
    """All of it."""


class _MarksHead(StreamMarks, frozen=True, tag=3, array_like=True):
    """All of it."""


# Of what is nothing but its head.
_HEADS: Final = {Command: _CommandHead, StreamMarks: _MarksHead}

Head = TypeVar("Head")
_decode_message: Final = msgspec.msgpack.Decoder(_TracedHead | _CommandHead | _MarksHead).decode
# Number, kind, namespace, data; number, last, part.
_decode_question: Final = msgspec.msgpack.Decoder(tuple[int, QuestionKind, str, JSONValue]).decode
_decode_how_far: Final = msgspec.msgpack.Decoder(HowFar).decode
_decode_answer: Final = msgspec.msgpack.Decoder(tuple[int, bool, JSONValue]).decode


def encode_message(message: Envelope | Command | StreamMarks) -> list[bytes]:
    """Its pieces. Raises TypeError, ValueError: a name in it does not travel."""
    if not isinstance(message, Envelope):
        head = encode(_HEADS[type(message)](*astuple(message)))
        return [HEAD_LENGTH.pack(len(head)) + head]
    sizes: list[int] = []
    packets: list[bytes] = []
    for packet in message.prepared.packets:
        if isinstance(packet, str):
            packets.append(packet.encode())
            sizes.append(len(packets[-1]))
        else:
            packets.append(packet)
            sizes.append(~len(packet))
    rooms = None if message.rooms is None else list(message.rooms)
    said = (message.namespace, rooms, list(message.excepted), sizes, message.offset, message.volatile)
    more = message.traceparent, message.place
    head = encode(_EnvelopeHead(*said) if more == (None, 0) else _TracedHead(*said, *more))
    return [HEAD_LENGTH.pack(len(head)) + head, *packets]


def decode_message(payload: bytes, start: int) -> Envelope | Command | StreamMarks:
    """What `encode_message` wrote, from byte `start` on. Raises Malformed."""
    if len(payload) < start + HEAD_LENGTH.size:
        raise Malformed("a message without its head")
    at = start + HEAD_LENGTH.size + HEAD_LENGTH.unpack_from(payload, start)[0]
    head = _decoded(_decode_message, payload[start + HEAD_LENGTH.size : at])
    if not isinstance(head, _TracedHead):
        if at != len(payload):
            raise Malformed("a command of another length than it says")
        return Command(*astuple(head)) if isinstance(head, _CommandHead) else StreamMarks(*astuple(head))
    packets: list[str | bytes] = []
    for size in head.sizes_bytes:
        end = at + (size if size >= 0 else ~size)
        piece = payload[at:end]
        try:
            packets.append(piece.decode() if size >= 0 else piece)
        except UnicodeDecodeError:
            raise Malformed("a text packet that is not UTF-8") from None
        at = end
    if at != len(payload) or not packets:
        raise Malformed("an envelope of another length than it says")
    rooms = None if head.rooms is None else tuple(head.rooms)
    return Envelope(
        head.namespace,
        rooms,
        tuple(head.excepted),
        Prepared(packets),
        head.offset,
        head.volatile,
        head.traceparent,
        head.place,
    )


def encode_question(number: int, question: Question) -> bytes:
    """A question that its asker knows by `number`."""
    return encode((number, question.kind, question.namespace, question.data))


def decode_question(payload: bytes, start: int) -> tuple[int, Question]:
    """Raises Malformed."""
    number, kind, namespace, data = _decoded(_decode_question, payload[start:])
    return number, Question(kind, namespace, data)


def encode_answer(number: int, part: JSONValue, last: bool) -> bytes:
    """A part of the answer to the question `number`."""
    return encode((number, last, part))


def decode_answer(payload: bytes, start: int) -> tuple[int, JSONValue, bool]:
    """Number, part, last. Raises Malformed."""
    number, last, part = _decoded(_decode_answer, payload[start:])
    return number, part, last


def encode_how_far(word: HowFar) -> bytes:
    """How far a worker that has gone was heard."""
    return encode(word)


def decode_how_far(payload: bytes, start: int) -> HowFar:
    """Raises Malformed."""
    return _decoded(_decode_how_far, payload[start:])


def _decoded(decode: Callable[[bytes], Head], data: bytes) -> Head:
    try:
        return decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Malformed(str(error)) from None
