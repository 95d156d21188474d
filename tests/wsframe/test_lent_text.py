"""Text whose rest comes into a lent buffer: validated there, and handed out right, whatever came before it.

It must not test the loan itself: that is test_loans.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from wsframe import ProtocolError, Role

MakeFrame = Callable[[int, bytes, bytes | None], bytes]
MASK = b"\x85\x02\xc3\x04"
HEADS = {"ascii": "a" * 40_000, "above": "ж" * 20_000, "last above": "a" * 40_000 + "ж"}
RESTS = {"ascii": "b" * 40_000, "above": "ж" * 20_000, "first above": "€" + "b" * 40_000}


def received(core: ModuleType, role: Role, frame: bytes, first: int, keep: bool) -> list[Any]:
    """The first bytes as they are, the others into what is lent; of which slices may be kept."""
    decoder = core.Decoder(role)
    events = decoder.receive(frame[:first])
    rest, kept = frame[first:], []
    while rest and not decoder.failed:
        place = decoder.receive_buffer()
        if place is None:
            return events + decoder.receive(rest)
        piece = rest[: len(place)]
        place[: len(piece)] = piece
        if keep:
            kept.append(place[:1])
        events += decoder.buffer_received(len(piece))
        rest = rest[len(piece) :]
    return events


@pytest.mark.parametrize("keep", [False, True], ids=["let go", "kept"])
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("head", HEADS)
def test_text_is_what_was_sent(
    core: ModuleType, make_frame: MakeFrame, head: str, rest: str, role: Role, keep: bool
) -> None:
    text = HEADS[head] + RESTS[rest]
    frame = make_frame(0x81, text.encode(), MASK if role is Role.SERVER else None)
    begin = len(frame) - len(text.encode()) + len(HEADS[head].encode())
    for first in (begin, begin - 1, begin + 1):
        (message,) = received(core, role, frame, first, keep)
        assert message == text
        assert message.isascii() is text.isascii()
        assert message.encode() == text.encode()


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("place", [0, 1, 255, 256, 20_000, 39_998, 39_999])
@pytest.mark.parametrize("head", HEADS)
def test_a_wrong_byte_is_found(
    core: ModuleType, make_frame: MakeFrame, head: str, place: int, role: Role
) -> None:
    for wrong in (b"\x80", b"\xc3", b"\xff"):
        rest = bytearray(b"b" * 40_000)
        rest[place : place + 1] = wrong
        payload = HEADS[head].encode() + rest
        frame = make_frame(0x81, payload, MASK if role is Role.SERVER else None)
        (fault,) = received(core, role, frame, len(frame) - len(rest), False)
        assert isinstance(fault, ProtocolError)
        assert fault.code == 1007
