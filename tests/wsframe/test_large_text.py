"""Large text, which the compiled core validates and widens by vectors: Python's own decoder is the judge.

It must not hold a table of UTF-8 of its own.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import pytest

from wsframe import ProtocolError, Role

MakeFrame = Callable[[int, bytes, bytes | None], bytes]
MASK = b"\xc3\x28\x00\x9f"
# Characters of each length, with the first and the last of each.
KINDS = [
    "a\x00\x7f ~",
    "\x80ÿéñÀ",
    "\u0100\u07ffщжё",
    "\u0800\uffff\ud7ff\ue000漢字かな",
    "\U00010000\U0010ffff😀𝄞",
]
BORDERS = (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE1, 0xF0, 0xFF)
LEADS = (
    *(0x7F, 0x80, 0xBF, 0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xDF, 0xE0, 0xE1, 0xEC),
    *(0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFF),
)


def judged(payload: bytes) -> Any:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return ProtocolError


def heard(events: list[Any]) -> Any:
    (event,) = events
    if isinstance(event, ProtocolError):
        assert event.code == 1007
        return ProtocolError
    return event


def whole_and_cut(core: ModuleType, make_frame: MakeFrame, payload: bytes, cuts: Iterable[int]) -> None:
    expected = judged(payload)
    for role, mask in ((Role.SERVER, MASK), (Role.CLIENT, None)):
        frame = make_frame(0x81, payload, mask)
        found = heard(core.Decoder(role).receive(frame))
        assert found == expected
        for cut in cuts:
            decoder = core.Decoder(role)
            events = decoder.receive(frame[: len(frame) - cut]) + decoder.receive(frame[len(frame) - cut :])
            assert heard(events) == expected
            # As narrow as it can be: otherwise equal strings would not be found in a dict.
            assert expected is ProtocolError or hash(events[0]) == hash(expected)


def mixed(source: random.Random, size: int, kinds: list[str]) -> bytes:
    text = ""
    while len(text) < size:
        text += "".join(source.choices(source.choice(kinds), k=source.choice((1, 1, 2, 7, 20))))
    return text[:size].encode()


@pytest.mark.parametrize("widest", range(1, len(KINDS) + 1))
def test_text_of_all_widths(core: ModuleType, make_frame: MakeFrame, widest: int) -> None:
    source = random.Random(widest)
    for size in (*range(1, 140), 255, 256, 300, 999, 5000):
        payload = mixed(source, size, KINDS[:widest])
        whole_and_cut(
            core,
            make_frame,
            payload,
            {1, 2, 3, 31, 32, 33, 64, 100, len(payload) // 2} & set(range(len(payload))),
        )


@pytest.mark.parametrize("kind", KINDS)
def test_text_of_one_width(core: ModuleType, make_frame: MakeFrame, kind: str) -> None:
    for size in (*range(20, 100), 500):
        for lead in range(4):
            whole_and_cut(core, make_frame, ("a" * lead + (kind * size)[:size]).encode(), (70,))


def test_one_wrong_byte_is_found_wherever_it_stands(core: ModuleType, make_frame: MakeFrame) -> None:
    source = random.Random(7)
    for size in (40, 90, 150):
        payload = bytearray(mixed(source, size, KINDS))
        for place in range(len(payload)):
            right = payload[place]
            payload[place] = source.choice([byte for byte in BORDERS if byte != right])
            whole_and_cut(core, make_frame, bytes(payload), (len(payload) // 3,))
            payload[place] = right


@pytest.mark.parametrize("place", [0, 29, 30, 31, 32, 62, 93, 94, 95, 96])
def test_all_sequences_that_could_be_wrong(make_frame: MakeFrame, place: int) -> None:
    """Within the vectors, over their borders and behind them: every pair, and what follows critical leads."""
    codec = pytest.importorskip("wsframe._codec", reason="a WSFRAME_PURE=1 build has no compiled core")
    sequences = itertools.chain(
        itertools.product(range(0x7E, 256), range(256)) if place in (30, 31) else (),
        itertools.product(LEADS, BORDERS, BORDERS, BORDERS),
    )
    receive, header = codec.Decoder(Role.CLIENT).receive, make_frame(0x81, bytes(100), None)[:2]
    filling = b"x" * 100
    for sequence in sequences:
        payload = filling[:place] + bytes(sequence) + filling[place + len(sequence) :]
        found = receive(header + payload[:100])[0]
        if type(found) is not str:
            found = ProtocolError
            receive = codec.Decoder(Role.CLIENT).receive
        assert found == judged(payload[:100]), bytes(sequence).hex()


@pytest.mark.parametrize("tail", ["", "\x7f", "é", "漢", "😀"])
def test_a_text_may_not_end_inside_a_character(core: ModuleType, make_frame: MakeFrame, tail: str) -> None:
    for lead in (60, 64, 93, 95, 96, 200):
        payload = b"x" * lead + ("漢" * 20 + tail).encode()
        for missing in range(4):
            whole_and_cut(core, make_frame, payload[: len(payload) - missing], (1, 2, 65))


def test_what_cannot_become_text_is_refused_before_the_rest_comes(
    core: ModuleType, make_frame: MakeFrame
) -> None:
    """At the first impossible byte (section 8.1), also behind the last whole vector of a piece."""
    for bad in (
        b"\xe0\x80",
        b"\xed\xa0",
        b"\xf0\x8f",
        b"\xf4\x90",
        b"\xf5",
        b"\xc1",
        b"\xe6\xbc\x7f",
        b"\x80",
    ):
        for lead in (*range(61, 70), 94, 95, 96, 97):
            decoder = core.Decoder(Role.SERVER)
            frame = make_frame(0x81, b"x" * lead + bad + b"y" * 300, MASK)
            (event,) = decoder.receive(frame[: 8 + lead + len(bad)])
            assert heard([event]) is ProtocolError
