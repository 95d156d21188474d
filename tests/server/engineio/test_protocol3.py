"""Payloads and messages of Engine.IO 3 against tests/vectors/engineio3.json (engineio/protocol3.py).

It must not know sessions.
"""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from python_server.engineio.packet import NOOP, EnginePacketError, EnginePacketType, Prepared
from python_server.engineio.protocol3 import (
    PROTOCOL3,
    PROTOCOL3_AS_TEXT,
    decode_octets,
    decode_packet,
    decode_payload,
    encoded,
    join_payload,
    join_text_payload,
)
from wsframe import Decoder, Role

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "engineio3.json").read_text("utf-8"))
ROWS = [
    (
        [(kind, b64decode(data["base64"]) if isinstance(data, dict) else data) for kind, data in packets],
        text,
        b64decode(octets),
    )
    for packets, text, octets in VECTORS["payloads"]
]
DECODERS = {"text": decode_payload, "octets": decode_octets}


def prepared(packets: Any) -> Prepared:
    return Prepared([data if isinstance(data, bytes) else kind + data for kind, data in packets])


@pytest.mark.parametrize(("packets", "text", "octets"), ROWS)
def test_payloads_decode_as_the_official_parser_writes_them(packets: Any, text: str, octets: bytes) -> None:
    assert list(decode_payload(text.encode())) == packets
    assert list(decode_octets(octets)) == packets


@pytest.mark.parametrize(("packets", "text", "octets"), ROWS)
def test_payloads_are_written_as_by_the_official_parser(packets: Any, text: str, octets: bytes) -> None:
    """In one piece, and of pieces: each packet prepared alone."""
    binary = any(isinstance(data, bytes) for _, data in packets)
    for pieces in ([prepared(packets)], [prepared([packet]) for packet in packets]):
        assert join_text_payload(pieces) == text
        assert join_payload(pieces) == (octets if binary else text)
    assert encoded(prepared(packets)).octets == octets


@pytest.mark.parametrize("form", DECODERS)
@pytest.mark.parametrize(("packets", "text", "octets"), ROWS)
def test_a_payload_that_is_cut_short_gives_whole_packets_alone(
    packets: Any, text: str, octets: bytes, form: str
) -> None:
    """At every cut: those that are whole, then the refusal, unless the cut is between two."""
    body = octets if form == "octets" else text.encode()
    for cut in range(len(body)):
        taken: list[Any] = []
        try:
            for packet in DECODERS[form](body[:cut]):
                taken.append(packet)
        except EnginePacketError:
            pass
        else:
            assert taken
        assert taken == packets[: len(taken)]
        assert len(taken) < len(packets)


@pytest.mark.parametrize(("body", "why"), VECTORS["refused"])
def test_refused_payloads(body: str, why: str) -> None:
    with pytest.raises(EnginePacketError):
        print(why, list(decode_payload(body.encode())))


@pytest.mark.parametrize(("body", "why"), VECTORS["refused_octets"])
def test_refused_binary_payloads(body: str, why: str) -> None:
    with pytest.raises(EnginePacketError):
        print(why, list(decode_octets(b64decode(body))))


@pytest.mark.parametrize("body", [b"2:4\xff", b"4:4\xed\xa0\x80", b"2:4\xf0\x9f"])
def test_a_text_payload_that_is_not_utf8_is_refused(body: bytes) -> None:
    with pytest.raises(EnginePacketError):
        next(decode_payload(body))


def test_packets_before_a_malformed_one_are_delivered() -> None:
    for packets in (decode_payload(b"2:4a9:4b"), decode_octets(b"\0\2\xff4a\0\x09\xff4b")):
        assert next(packets) == (EnginePacketType.MESSAGE, "a")
        with pytest.raises(EnginePacketError):
            next(packets)


def test_a_payload_without_packets_is_a_noop_that_counts() -> None:
    """Else half a million of them would be one step."""
    packets = decode_payload(b"0:" * 500_000)
    assert next(packets) == next(packets) == (EnginePacketType.NOOP, "")


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        ("4a", (EnginePacketType.MESSAGE, "a")),
        ("2", (EnginePacketType.PING, "")),
        ("b4AP8=", (EnginePacketType.MESSAGE, b"\x00\xff")),
        (b"\x04\x00\xff", (EnginePacketType.MESSAGE, b"\x00\xff")),
        (b"\x04", (EnginePacketType.MESSAGE, b"")),
    ],
)
def test_websocket_messages(packet: Any, expected: Any) -> None:
    assert decode_packet(packet) == expected


@pytest.mark.parametrize("packet", ["", "x", "9", "b", "b4A", "bAP8=", b"", b"\x00a", b"4a", b"\x02"])
def test_websocket_messages_that_are_no_packet(packet: Any) -> None:
    with pytest.raises(EnginePacketError):
        decode_packet(packet)


def test_each_form_is_made_once_for_all_recipients() -> None:
    item = prepared([("4", "é"), ("4", b"\x00\xff")])
    assert encoded(item) is encoded(item)
    for dialect, messages in (
        (PROTOCOL3, ["4é", b"\x04\x00\xff"]),
        (PROTOCOL3_AS_TEXT, ["4é", "b4AP8="]),
    ):
        sent = dialect.for_websocket(item)
        assert dialect.for_websocket(item) is sent
        assert Decoder(Role.CLIENT).receive(sent.frames) == messages
    assert item.packets == ["4é", b"\x00\xff"]


def test_text_leaves_on_a_websocket_as_in_version_4() -> None:
    for dialect in (PROTOCOL3, PROTOCOL3_AS_TEXT):
        assert dialect.for_websocket(NOOP) is NOOP
