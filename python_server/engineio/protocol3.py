"""Engine.IO 3, which Socket.IO 2 clients speak: its payloads and its WebSocket messages.

Must not know: sessions, clocks, what a message means.

Text packets are those of version 4. Different are: a payload says the length of each packet in front of it; a
binary packet has its type in front, as a byte or behind "b"; it is the client that pings.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

from python_server.engineio.packet import (
    BASE64,
    Dialect,
    EnginePacketError,
    EnginePacketType,
    Packet,
    Prepared,
)
from python_server.engineio.packet import decode_packet as decode_text

MESSAGE_BYTE: Final = b"\x04"
MESSAGE_BASE64: Final = "b4"
# A length in a text payload, which is read as UTF-16; JavaScript counts its units.
LENGTH_UTF16: Final = re.compile(rb"((?:[0-9]\0){1,10}):\0")
# A binary payload's: text or binary, the digits as numbers, 255. More digits than any bound on a body has.
LENGTH_OCTETS: Final = re.compile(rb"([\x00\x01])([\x00-\x09]{1,10})\xff")
DIGITS_OF_NUMBERS: Final = bytes.maketrans(bytes(range(10)), b"0123456789")
NUMBERS_OF_DIGITS: Final = bytes.maketrans(b"0123456789", bytes(range(10)))


def _base64(data: bytes) -> str:
    return MESSAGE_BASE64 + b64encode(data).decode("ascii")


def _with_length(packet: str) -> str:
    units_count = len(packet) if packet.isascii() else len(packet.encode("utf-16-le")) // 2
    return f"{units_count}:{packet}"


def _with_octets_length(packet: str | bytes) -> bytes:
    kind, data = (b"\x00", packet.encode()) if isinstance(packet, str) else (b"\x01", MESSAGE_BYTE + packet)
    return b"%b%b\xff%b" % (kind, str(len(data)).encode().translate(NUMBERS_OF_DIGITS), data)


class Encoded:
    """Packets in the forms that version 3 has for them, each made once for all its recipients."""

    def __init__(self, packets: Sequence[str | bytes]) -> None:
        self._packets = packets
        self.binary: bool = any(isinstance(packet, bytes) for packet in packets)

    @cached_property
    def text(self) -> str:
        """A piece of a text payload."""
        return "".join(
            _with_length(packet if isinstance(packet, str) else _base64(packet)) for packet in self._packets
        )

    @cached_property
    def octets(self) -> bytes:
        """A piece of a binary payload."""
        return b"".join(map(_with_octets_length, self._packets))

    @cached_property
    def on_websocket(self) -> Prepared:
        """Binary messages as such, with the byte that says so."""
        return Prepared(
            [packet if isinstance(packet, str) else MESSAGE_BYTE + packet for packet in self._packets]
        )

    @cached_property
    def on_websocket_as_text(self) -> Prepared:
        """For clients without binary."""
        return Prepared([packet if isinstance(packet, str) else _base64(packet) for packet in self._packets])


def encoded(prepared: Prepared) -> Encoded:
    """Loop's thread: what belongs to `prepared`, made when it is asked for first."""
    try:
        form: Encoded = prepared.version3
    except AttributeError:
        form = prepared.version3 = Encoded(prepared.packets)
    return form


def join_text_payload(prepared: Iterable[Prepared]) -> str:
    """One polling response body for a client without binary."""
    return "".join(encoded(item).text for item in prepared)


def join_payload(prepared: Iterable[Prepared]) -> str | bytes:
    """One polling response body: binary if one of its packets is."""
    forms = [encoded(item) for item in prepared]
    if any(form.binary for form in forms):
        return b"".join(form.octets for form in forms)
    return "".join(form.text for form in forms)


def decode_packet(packet: str | bytes) -> Packet:
    """A WebSocket message, or an entry of a payload, as a packet.

    Raises:
        EnginePacketError: empty, an unknown type, a type that is never binary, or bad base64.
    """
    if isinstance(packet, str):
        if packet[:1] != "b":
            return decode_text(packet)
        if packet[:2] != MESSAGE_BASE64 or not BASE64.match(packet, 2):
            raise EnginePacketError("malformed base64 in a binary packet")
        return EnginePacketType.MESSAGE, binascii.a2b_base64(packet[2:])
    if packet[:1] != MESSAGE_BYTE:
        raise EnginePacketError(f"a binary packet of type {packet[:1]!r}: only messages are binary")
    return EnginePacketType.MESSAGE, packet[1:]


def decode_payload(body: bytes) -> Iterator[Packet]:
    """The packets of a text payload, `<length>:<packet>` each, one by one.

    Raises:
        EnginePacketError: not UTF-8, empty, a length that is none or too long, half a character, a packet
            that `decode_packet` refuses.
    """
    try:
        units = body.decode("utf-8").encode("utf-16-le")
    except UnicodeDecodeError:
        raise EnginePacketError("the payload is not UTF-8") from None
    position = 0
    while position < len(units) or not units:
        match = LENGTH_UTF16.match(units, position)
        if match is None:
            raise EnginePacketError("a packet without its length")
        position = match.end()
        end = position + 2 * int(match[1].replace(b"\0", b""))
        if end > len(units):
            raise EnginePacketError("a packet that is shorter than its length")
        if end == position:  # "0:" is how the clients write a payload without packets
            yield EnginePacketType.NOOP, ""
            continue
        try:
            packet = units[position:end].decode("utf-16-le")
        except UnicodeDecodeError:
            raise EnginePacketError("a packet length that cuts a character in two") from None
        position = end
        yield decode_packet(packet)


def decode_octets(body: bytes) -> Iterator[Packet]:
    """The packets of a binary payload, one by one.

    Raises:
        EnginePacketError: empty, a length that is none or too long, text that is not UTF-8, a packet that
            `decode_packet` refuses.
    """
    position = 0
    while position < len(body) or not body:
        match = LENGTH_OCTETS.match(body, position)
        if match is None:
            raise EnginePacketError("a packet without its length")
        position = match.end()
        end = position + int(match[2].translate(DIGITS_OF_NUMBERS))
        if end > len(body):
            raise EnginePacketError("a packet that is shorter than its length")
        data, position = body[position:end], end
        try:
            packet = data if match[1] == b"\x01" else data.decode()
        except UnicodeDecodeError:
            raise EnginePacketError("a text packet that is not UTF-8") from None
        yield decode_packet(packet)


def _for_websocket(prepared: Prepared) -> Prepared:
    form = encoded(prepared)
    return form.on_websocket if form.binary else prepared


def _for_websocket_as_text(prepared: Prepared) -> Prepared:
    form = encoded(prepared)
    return form.on_websocket_as_text if form.binary else prepared


PROTOCOL3: Final = Dialect(
    revision=3,
    decode_packet=decode_packet,
    decode_payload=decode_payload,
    decode_octets=decode_octets,
    join_payload=join_payload,
    for_websocket=_for_websocket,
)
# For clients that say `b64=1`, or poll by <script>.
PROTOCOL3_AS_TEXT: Final = replace(
    PROTOCOL3, join_payload=join_text_payload, for_websocket=_for_websocket_as_text
)
