"""Engine.IO 4 packets: type digit and text, or binary; payloads of long polling; frames of a WebSocket.

Must not know: sessions, clocks, what a message means.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from wsframe import Opcode, encode_frame, encode_message
from wsframe.deflate import Agreement, compress

# Packets of one polling payload are joined by U+001E (Engine.IO protocol, "HTTP long-polling").
SEPARATOR: Final = "\x1e"
SEPARATOR_BYTE: Final = b"\x1e"
BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z")


class EnginePacketType(StrEnum):
    """The first character of a text packet."""

    OPEN = "0"
    CLOSE = "1"
    PING = "2"
    PONG = "3"
    MESSAGE = "4"
    UPGRADE = "5"
    NOOP = "6"


PROBE_PING: Final = "2probe"
PROBE_PONG: Final = "3probe"


class EnginePacketError(ValueError):
    """A packet that the protocol does not know; the session ends."""


Packet = tuple[EnginePacketType, str | bytes]


class Prepared:
    """Packets encoded once, frozen, to be sent to any number of sessions; they stay together.

    Args:
        packets: encoded text packets (type digit included) and, as bytes, binary messages.

    Attributes:
        frames: unmasked WebSocket frames, one per packet.
        version3: what `protocol3` has made of it; event_block: what streams of rooms have; not there before.

    Raises:
        UnicodeEncodeError: a text has a lone surrogate.
    """

    __slots__ = ("_deflated", "_payload", "event_block", "frames", "packets", "version3")
    version3: Any
    event_block: tuple[str, bytes]

    def __init__(self, packets: Sequence[str | bytes]) -> None:
        self.packets: Sequence[str | bytes] = packets
        # At once, though a polling client has no use for them: every recipient on a WebSocket asks.
        self.frames: bytes = (
            encode_message(packets[0]) if len(packets) == 1 else b"".join(map(encode_message, packets))
        )
        self._deflated: dict[int, bytes] | None = None  # by window size
        self._payload: str | None = None

    def deflated_frames(self, agreement: Agreement) -> bytes:
        """The same for clients that share no context between messages: compressed once per window size."""
        options, window_bits = agreement.options, agreement.server_max_window_bits
        if self._deflated is None:
            self._deflated = {}
        frames = self._deflated.get(window_bits)
        if frames is None:
            pieces = []
            for packet in self.packets:
                data = packet.encode() if isinstance(packet, str) else packet
                opcode = Opcode.TEXT if isinstance(packet, str) else Opcode.BINARY
                squeeze = len(data) >= options.threshold_bytes
                if squeeze:
                    data = compress(data, window_bits, options.level, options.memory_level)
                pieces.append(encode_frame(opcode, data, rsv1=squeeze))
            frames = self._deflated[window_bits] = b"".join(pieces)
        return frames

    @property
    def queued_bytes(self) -> int:
        """What it weighs in a polling client's queue (characters and bytes, before base64)."""
        return sum(map(len, self.packets))

    @property
    def payload(self) -> str:
        """A piece of a polling payload. Any thread."""
        payload = self._payload
        if payload is None:
            payload = self._payload = SEPARATOR.join(
                packet if isinstance(packet, str) else "b" + b64encode(packet).decode("ascii")
                for packet in self.packets
            )
        return payload


PING: Final = Prepared([EnginePacketType.PING.value])
PONG: Final = Prepared([EnginePacketType.PONG.value])
CLOSE: Final = Prepared([EnginePacketType.CLOSE.value])
NOOP: Final = Prepared([EnginePacketType.NOOP.value])


def message(data: str | bytes) -> str | bytes:
    """The packet that carries `data`."""
    return "4" + data if isinstance(data, str) else data


def open_packet(
    sid: str,
    upgrades: Iterable[str],
    ping_interval_seconds: float,
    ping_timeout_seconds: float,
    max_payload_bytes: int,
) -> str:
    """The handshake packet: exactly these five keys, times in whole milliseconds."""
    handshake = {
        "sid": sid,
        "upgrades": list(upgrades),
        "pingInterval": round(ping_interval_seconds * 1000),
        "pingTimeout": round(ping_timeout_seconds * 1000),
        "maxPayload": max_payload_bytes,
    }
    return EnginePacketType.OPEN + json.dumps(handshake, separators=(",", ":"))


def join_payload(prepared: Iterable[Prepared]) -> str:
    """One polling response body."""
    return SEPARATOR.join(item.payload for item in prepared)


def decode_packet(packet: str | bytes) -> Packet:
    """A WebSocket message as a packet.

    Raises:
        EnginePacketError: empty, or an unknown type.
    """
    if not isinstance(packet, str):
        return EnginePacketType.MESSAGE, packet
    try:
        return EnginePacketType(packet[:1]), packet[1:]
    except ValueError:
        raise EnginePacketError(f"unknown packet type {packet[:1]!r}") from None


def decode_payload(body: bytes) -> Iterator[Packet]:
    """The packets of a polling request body, one by one.

    Raises:
        EnginePacketError: not UTF-8, an empty or unknown packet, or bad base64.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise EnginePacketError("the payload is not UTF-8") from None
    start = 0
    while start >= 0:  # no list of the parts: half a million of them may stand in a megabyte
        end = text.find(SEPARATOR, start)
        part = text[start:] if end < 0 else text[start:end]
        start = end + 1 or -1
        if part[:1] == "b":
            if not BASE64.match(part, 1):
                raise EnginePacketError("malformed base64 in a binary packet")
            yield EnginePacketType.MESSAGE, binascii.a2b_base64(part[1:])
        else:
            yield decode_packet(part)


@dataclass(frozen=True, slots=True)
class Dialect:
    """One version of the protocol, as what differs between them.

    Attributes:
        revision: its number. decode_packet: see there.
        decode_payload: of a POST. decode_octets: of one whose content type is application/octet-stream.
        join_payload: see there. for_websocket: how prepared packets leave on a WebSocket.
    """

    revision: int
    decode_packet: Callable[[str | bytes], Packet]
    decode_payload: Callable[[bytes], Iterator[Packet]]
    decode_octets: Callable[[bytes], Iterator[Packet]]
    join_payload: Callable[[Iterable[Prepared]], str | bytes]
    for_websocket: Callable[[Prepared], Prepared]


PROTOCOL4: Final = Dialect(
    revision=4,
    decode_packet=decode_packet,
    decode_payload=decode_payload,
    decode_octets=decode_payload,  # the content type means nothing
    join_payload=join_payload,
    for_websocket=lambda prepared: prepared,
)
