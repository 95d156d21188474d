"""Frames that leave together, on both cores: what an outbox takes, declines, gives, and whom it wakes.

It must not send anything: transports are the server's.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from counted_memory import counts_memory

MessageRow = tuple[str | bytes, bytes]
# Each with the frame that section 5.2 makes of it.
MESSAGES: list[MessageRow] = [
    ("", b"\x81\x00"),
    (b"", b"\x82\x00"),
    ("Hello", b"\x81\x05Hello"),
    (b"\x00\xff", b"\x82\x02\x00\xff"),
    ("é", b"\x81\x02\xc3\xa9"),
    ("\U0001f600", b"\x81\x04\xf0\x9f\x98\x80"),
    ("a" * 125, b"\x81\x7d" + b"a" * 125),
    ("a" * 126, b"\x81\x7e\x00\x7e" + b"a" * 126),
    ("é" * 63, b"\x81\x7e\x00\x7e" + "é".encode() * 63),
    (b"b" * 16_383, b"\x82\x7e\x3f\xff" + b"b" * 16_383),
    ("\U0001f600" * 16_383, b"\x81\x7e\xff\xfc" + "\U0001f600".encode() * 16_383),
]
WIDE = 1 << 20


def opened(
    core: ModuleType, max_bytes: int = WIDE, encodes: bool = True, joins: Any = None
) -> tuple[Any, list[str]]:
    """An outbox and the list in which it tells that it woke somebody."""
    outbox, woken = core.Outbox(encodes, joins), []
    outbox.open(max_bytes, woken.append, "me")
    return outbox, woken


@pytest.mark.parametrize(("message", "frame"), MESSAGES)
def test_one_message_is_one_frame(core: ModuleType, message: str | bytes, frame: bytes) -> None:
    outbox, woken = opened(core)
    assert outbox.send(message) is True
    assert (len(outbox), woken) == (len(frame), ["me"])
    assert outbox.take() == frame
    assert (len(outbox), outbox.take()) == (0, b"")


@pytest.mark.parametrize("first", range(len(MESSAGES)))
def test_frames_leave_together_and_in_order(core: ModuleType, first: int) -> None:
    outbox, woken = opened(core)
    turned = MESSAGES[first:] + MESSAGES[:first]
    for turn in range(3):
        for index, (message, frame) in enumerate(turned):
            assert (
                outbox.write(frame)
                if (index + turn) % 3 == 0 and len(frame) < 16_384
                else outbox.send(message)
            )
        assert outbox.take() == b"".join(frame for _, frame in turned)
    assert woken == ["me"] * 3


@pytest.mark.parametrize("max_bytes", range(0, 40))
def test_the_bound_holds_at_every_byte(core: ModuleType, max_bytes: int) -> None:
    outbox, woken = opened(core, max_bytes)
    held = b""
    for message, frame in [("abc", b"\x81\x03abc"), (b"x" * 9, b"\x82\x09xxxxxxxxx")] * 3:
        taken = outbox.send(message) if len(held) % 2 else outbox.write(frame)
        assert taken is (len(held) + len(frame) <= max_bytes)
        held += frame if taken else b""
        assert len(outbox) == len(held)
    assert woken == (["me"] if held else [])
    assert outbox.take() == held


def test_what_is_not_for_it_is_declined_and_changes_nothing(core: ModuleType) -> None:
    outbox, woken = opened(core)

    class Text(str):
        """Its caller decides what it is."""

    class Data(bytes):
        """The same."""

    for message in (
        "a" * 16_384,
        b"b" * 16_384,
        bytearray(b"c"),
        memoryview(b"d"),
        Text("e"),
        Data(b"f"),
        7,
        None,
    ):
        assert outbox.send(message) is False
    assert outbox.write(b"g" * 16_384) is False
    for frames in ("text", bytearray(b"h"), None):
        with pytest.raises(TypeError, match="frames must be bytes"):
            outbox.write(frames)
    with pytest.raises(UnicodeEncodeError):
        outbox.send("\ud800")
    assert (len(outbox), outbox.take(), woken) == (0, b"", [])


def test_it_takes_nothing_before_it_is_opened_or_while_its_bound_is_nought(core: ModuleType) -> None:
    outbox = core.Outbox()
    assert (outbox.max_bytes, outbox.send("a"), outbox.send("\ud800"), outbox.write(b"b")) == (
        0,
        False,
        False,
        False,
    )
    woken: list[str] = []
    outbox.open(0, woken.append, "me")
    assert (outbox.send("a"), outbox.write(b"b")) == (False, False)
    outbox.max_bytes = 3
    assert (outbox.max_bytes, outbox.send("a"), outbox.send("a")) == (3, True, False)
    outbox.max_bytes = 0
    assert (outbox.send("a"), len(outbox), outbox.take(), woken) == (False, 3, b"\x81\x01a", ["me"])


@pytest.mark.parametrize("bound", [-1, 1 << 31])
def test_a_bound_out_of_range(core: ModuleType, bound: int) -> None:
    outbox = core.Outbox()
    with pytest.raises(ValueError, match="max_bytes"):
        outbox.max_bytes = bound
    with pytest.raises(ValueError, match="max_bytes"):
        outbox.open(bound, print, None)


def test_a_closed_one_gives_what_it_held_and_takes_no_more(core: ModuleType) -> None:
    outbox, woken = opened(core)
    outbox.send("last")
    outbox.close()
    outbox.max_bytes = WIDE
    outbox.open(WIDE, woken.append, "again")
    assert (outbox.max_bytes, outbox.send("late"), outbox.write(b"late")) == (0, False, False)
    assert (outbox.take(), woken) == (b"\x81\x04last", ["me"])


def test_one_that_does_not_encode_takes_encoded_frames(core: ModuleType) -> None:
    outbox, woken = opened(core, encodes=False)
    assert (outbox.send("a"), outbox.send(b"b"), outbox.write(b"\xc1\x01x")) == (False, False, True)
    assert (outbox.take(), woken) == (b"\xc1\x01x", ["me"])


def test_who_expects_is_not_woken_until_he_has_taken(core: ModuleType) -> None:
    outbox, woken = opened(core)
    assert outbox.expect() is True
    outbox.send("a")
    assert outbox.expect() is False
    assert (outbox.take(), woken) == (b"\x81\x01a", [])
    assert outbox.expect() is True
    outbox.take()
    outbox.send("b")
    outbox.write(b"c")
    assert (outbox.expect(), woken) == (False, ["me"])
    assert outbox.take() == b"\x81\x01bc"


def test_who_is_woken_may_take_at_once(core: ModuleType) -> None:
    outbox, taken = core.Outbox(), []
    outbox.open(WIDE, lambda whom: taken.append(whom.take()), outbox)
    outbox.send("a")
    outbox.write(b"b")
    assert (taken, len(outbox)) == ([b"\x81\x01a", b"b"], 0)


def test_a_fault_of_who_is_woken_leaves_the_frame(core: ModuleType) -> None:
    def fault(whom: object) -> None:
        raise RuntimeError("fault")

    outbox = core.Outbox()
    outbox.open(WIDE, fault, None)
    with pytest.raises(RuntimeError, match="fault"):
        outbox.send("a")
    outbox.send("b")
    assert outbox.take() == b"\x81\x01a\x81\x01b"


def test_one_piece_is_not_copied_and_never_changed(core: ModuleType) -> None:
    frames = b"\x81\x05" + b"share"
    first, second = opened(core)[0], opened(core)[0]
    first.write(frames)
    second.write(frames)
    second.send("more")
    assert first.take() is frames
    assert second.take() == b"\x81\x05share\x81\x04more"
    assert frames == b"\x81\x05share"


@counts_memory
def test_an_empty_one_owns_nothing(core: ModuleType) -> None:
    outbox, _ = opened(core)
    frames = b"\x81\x05share"
    before = sys.getrefcount(frames)
    for _ in range(50):
        outbox.write(frames)
        outbox.send("a")
        outbox.take()
        outbox.write(frames)
    del outbox
    assert sys.getrefcount(frames) == before


def test_what_is_shared_stays_shared(core: ModuleType) -> None:
    """The same broadcasts are one object in every outbox that got nothing else; nobody sees another's."""
    pieces = [b"\x82\x7e\x02\x00" + bytes([65 + index]) * 512 for index in range(12)]
    joins = core.JoinCache()
    many = [opened(core, joins=joins)[0] for _ in range(4)]
    for index, piece in enumerate(pieces):
        for outbox in many:
            assert outbox.write(piece)
        if index == 5:
            assert many[1].send("mine")
    first, second, third, fourth = (outbox.take() for outbox in many)
    assert first == third == fourth == b"".join(pieces)
    assert second == b"".join(pieces[:6]) + b"\x81\x04mine" + b"".join(pieces[6:])
    few = [opened(core, joins=joins)[0] for _ in range(3)]
    for piece in pieces[:4]:
        for outbox in few:
            outbox.write(piece)
    taken = [outbox.take() for outbox in few]
    assert taken == [b"".join(pieces[:4])] * 3
    if core.__name__.endswith("_codec"):
        assert taken[0] is taken[1] is taken[2]


def test_who_shares_nothing_joins_for_itself(core: ModuleType) -> None:
    for joins in (None, core.JoinCache()):
        outbox, _ = opened(core, joins=joins)
        for piece in (b"\x81\x01a", b"\x81\x01b", b"\x81\x01c"):
            assert outbox.write(piece)
        assert outbox.take() == b"\x81\x01a\x81\x01b\x81\x01c"
    with pytest.raises(TypeError):
        core.Outbox(True, "no cache")


@counts_memory
def test_what_was_joined_last_goes_with_the_cache(core: ModuleType) -> None:
    joins, frames = core.JoinCache(), bytearray(b"\x82\x01").join([b"x" * 10] * 2)
    pieces = [bytes(frames), bytes(frames)]
    before = [sys.getrefcount(piece) for piece in pieces]
    outbox, _ = opened(core, joins=joins)
    for piece in pieces:
        outbox.write(piece)
    outbox.take()
    del joins, outbox, piece
    assert [sys.getrefcount(piece) for piece in pieces] == before


@counts_memory
def test_whom_it_wakes_lives_until_he_is_awake(core: ModuleType) -> None:
    """A callable without a frame of its own looks at its argument again after the outbox let go of it."""

    class Closes:
        def __init__(self, outbox: Any) -> None:
            self.outbox = outbox

        def __float__(self) -> float:
            self.outbox.close()
            return "no float"  # type: ignore[return-value]

    outbox = core.Outbox()
    outbox.open(WIDE, float, Closes(outbox))
    with pytest.raises(TypeError, match="Closes"):
        outbox.send("news")
    assert outbox.take() == b"\x81\x04news"


def test_it_lets_go_of_whom_it_would_wake(core: ModuleType) -> None:
    outbox, whom = core.Outbox(), []
    before = sys.getrefcount(whom)
    outbox.open(WIDE, print, whom)
    outbox.close()
    assert sys.getrefcount(whom) == before


def test_an_outbox_without_anybody_to_wake_holds_what_fits(core: ModuleType) -> None:
    outbox = core.Outbox()
    assert outbox.send("before it has room") is False
    outbox.max_bytes = 10
    assert [outbox.send("12345678"), outbox.send("9")] == [True, False]
    assert outbox.take() == b"\x81\x0812345678"
