"""Packets and payloads of Engine.IO 4 against tests/vectors/engineio.json (engineio/packet.py).

It must not know sessions.
"""

import json
from base64 import b64decode
from typing import Any

import pytest

from deflate_libraries import TOGETHER, only_installed
from python_server.engineio.packet import (
    NOOP,
    EnginePacketError,
    EnginePacketType,
    Prepared,
    decode_packet,
    decode_payload,
    join_payload,
    message,
    open_packet,
)
from wsframe import Decoder, Role
from wsframe.deflate import Agreement, MessageDeflate, Options


@pytest.mark.parametrize("names", TOGETHER)
@pytest.mark.parametrize("window_bits", [9, 15])
def test_frames_are_compressed_once_per_window_and_only_where_it_gains(window_bits: int, names: str) -> None:
    agreement = Agreement(True, server_max_window_bits=window_bits, options=Options(threshold_bytes=20))
    prepared = Prepared(["4short", "4" + "é" * 1000, b"\x00" * 1000, b""])
    with only_installed(names):
        frames = prepared.deflated_frames(agreement)
        assert prepared.deflated_frames(agreement) is frames
        assert prepared.deflated_frames(Agreement(True, server_max_window_bits=10)) is not frames
    assert len(frames) < 100
    decoder = Decoder(Role.CLIENT, inflate=MessageDeflate(agreement, Role.CLIENT).inflate)
    assert decoder.receive(frames) == Decoder(Role.CLIENT).receive(prepared.frames) == prepared.packets


def test_payloads_decode_as_the_table_says(vectors: Any) -> None:
    """R28: digit and text, or binary; text is never read as JSON."""
    for body, packets in vectors["payloads"]:
        expected = [
            (EnginePacketType(kind), b64decode(data["base64"]) if isinstance(data, dict) else data)
            for kind, data in packets
        ]
        assert list(decode_payload(body.encode())) == expected, body


def test_refused_payloads(vectors: Any) -> None:
    """R28: an empty packet is refused, as every other that is malformed."""
    for body, why in vectors["refused"]:
        with pytest.raises(EnginePacketError):
            print(why, list(decode_payload(body.encode())))


def test_packets_before_a_malformed_one_are_delivered() -> None:
    packets = decode_payload(b"4a\x1e9")
    assert next(packets) == (EnginePacketType.MESSAGE, "a")
    with pytest.raises(EnginePacketError):
        next(packets)


def test_a_payload_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(EnginePacketError):
        list(decode_payload(b"4\xff"))


def test_more_than_sixteen_packets_in_one_payload() -> None:
    assert len(list(decode_payload(b"\x1e".join([b"4x"] * 1000)))) == 1000


def test_a_payload_of_separators_is_refused_at_the_first() -> None:
    with pytest.raises(EnginePacketError):
        next(decode_payload(b"\x1e" * 1_000_000))


@pytest.mark.parametrize("packet", ["", "x", "9", "bAQI="])
def test_websocket_messages_that_are_no_packet(packet: str) -> None:
    with pytest.raises(EnginePacketError):
        decode_packet(packet)


def test_a_binary_websocket_message_is_a_message() -> None:
    assert decode_packet(b"\x04") == (EnginePacketType.MESSAGE, b"\x04")


def test_a_prepared_packet_is_encoded_once_for_each_transport() -> None:
    prepared = Prepared(["4é", b"\x00\xff\x10"])
    assert prepared.payload == "4é\x1ebAP8Q"
    assert prepared.frames is prepared.frames
    assert Decoder(Role.CLIENT).receive(prepared.frames) == ["4é", b"\x00\xff\x10"]
    assert join_payload([NOOP, prepared]) == "6\x1e4é\x1ebAP8Q"


def test_message_prefixes_text_alone() -> None:
    assert message("a") == "4a"
    assert message(b"a") == b"a"


@pytest.mark.parametrize(("seconds", "milliseconds"), [(25.0, 25000), (0.3, 300), (1.5, 1500), (0.0004, 0)])
def test_the_handshake_has_five_keys_and_true_milliseconds(seconds: float, milliseconds: int) -> None:
    packet = open_packet("s", ["websocket"], seconds, 20.0, 1_000_000)
    assert packet[0] == "0"
    assert json.loads(packet[1:]) == {
        "sid": "s",
        "upgrades": ["websocket"],
        "pingInterval": milliseconds,
        "pingTimeout": 20000,
        "maxPayload": 1_000_000,
    }
