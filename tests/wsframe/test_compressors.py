"""Which library compresses what, and each against the standard library's zlib: streams, windows, sizes.

It must not test messages of a connection: test_deflate.py has those, with each library as well.
"""

from __future__ import annotations

import argparse
import random
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batches import in_batches
from deflate_libraries import TOGETHER, only_installed
from wsframe import Role, deflate
from wsframe._compressors import LEVELS, NO_MEMORY, installed
from wsframe.deflate import Agreement, MessageDeflate, Options

MIB = 1 << 20
KIB = 1 << 10
ALONE = [names for names in TOGETHER if names.count(" ") < 2]  # both optional ones: no third behaviour
MODULES = {"isal": "isal_zlib", "zlib_ng": "zlib_ng"}


# --- which one ---


@pytest.mark.parametrize(
    ("names", "from_1_to_6", "others", "decompressing"),
    [
        ("isal zlib_ng zlib", "isal", "zlib_ng", "zlib_ng"),
        ("isal zlib", "isal", "zlib", "zlib"),
        ("zlib_ng zlib", "zlib_ng", "zlib_ng", "zlib_ng"),
        ("zlib", "zlib", "zlib", "zlib"),
    ],
)
def test_the_fastest_one_compresses_where_it_has_the_level(
    names: str, from_1_to_6: str, others: str, decompressing: str
) -> None:
    with only_installed(names) as libraries:
        assert libraries.compressing == from_1_to_6
        assert libraries.decompressing == decompressing
        module = {library.name: library.module for library in installed()}
        for level in LEVELS:
            name = from_1_to_6 if level in (-1, 1, 2, 3, 4, 5, 6) else others
            assert type(libraries.compressor(level, 15, 8)) is type(module[name].compressobj(1))
        assert type(libraries.decompressor(15)) is type(module[decompressing].decompressobj())
        assert libraries.error is module[decompressing].error


def test_what_is_in_use_can_be_asked() -> None:
    names = [library.name for library in installed()]
    assert names[0] == deflate.DEFLATE_IMPLEMENTATION
    assert next(name for name in names if name != "isal") == deflate.INFLATE_IMPLEMENTATION


@pytest.mark.parametrize("name", MODULES)
def test_one_that_is_not_installed_is_done_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # importing it raises ModuleNotFoundError
    assert name not in [library.name for library in installed()]
    assert installed()[-1].name == "zlib"


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("raise ImportError('of another Python')", "of another Python"),
        ("", "cannot import name"),
    ],
)
def test_one_that_cannot_be_imported_is_not_passed_over(
    name: str, text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for module in (name, f"{name}.{MODULES[name]}"):
        monkeypatch.setitem(
            sys.modules, module, None
        )  # so that this module is forgotten, or back, at the end
        del sys.modules[module]
    with pytest.raises(ImportError, match=said):
        installed()


# --- what it compresses ---


def events(count: int) -> list[bytes]:
    """Some 2 KiB each, as a feed of prices sends them."""
    source = random.Random(7)
    names = [
        "".join(source.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=source.randint(3, 5))) for _ in range(300)
    ]
    prices = [
        b'{"s":"%s","p":%.2f,"v":%d,"t":%d}'
        % (
            source.choice(names).encode(),
            source.lognormvariate(4, 1),
            source.randrange(100_000),
            1_764_520_000_000 + number * 40 + source.randrange(1000),
        )
        for number in range(count * 40)
    ]
    return [b'42["ticks",[%s]]' % b",".join(prices[at : at + 40]) for at in range(0, len(prices), 40)]


SOURCE = Path(argparse.__file__).read_bytes()
# What is larger than zlib makes it, at most: of events, and of source code in pieces of some 2 KiB.
LARGER = [
    (events(60), {"isal zlib": 1.15, "zlib_ng zlib": 1.03, "zlib": 1.0}),
    ([SOURCE[at : at + 2500] for at in range(0, len(SOURCE), 2500)],
     {"isal zlib": 1.19, "zlib_ng zlib": 1.03, "zlib": 1.0}),
]  # fmt: skip


@pytest.mark.parametrize("names", ALONE)
@pytest.mark.parametrize("forget", [True, False])
@pytest.mark.parametrize(("messages", "most"), LARGER, ids=["events", "source code"])
def test_a_level_means_the_size_that_it_means_to_zlib(
    names: str, forget: bool, messages: list[bytes], most: dict[str, float]
) -> None:
    def size(level: int) -> int:
        agreed = Agreement(forget, forget, options=Options(level=level))
        ours = MessageDeflate(agreed, Role.SERVER)
        return sum(len(ours.deflate(message)) for message in messages)

    for level in LEVELS:
        with only_installed("zlib"):
            wanted = size(level)
        with only_installed(names):
            assert size(level) <= most[names] * wanted, level


@pytest.mark.parametrize("names", ALONE)
@pytest.mark.parametrize("level", [1, 3, 6, 9])
@pytest.mark.parametrize("bits", range(9, 15))
def test_a_window_as_small_as_the_message_changes_no_byte(names: str, level: int, bits: int) -> None:
    """One without context is compressed with such a window: its end refers to its beginning."""
    source = random.Random(bits)
    words = [source.randbytes(5) for _ in range(60)]
    end = source.randbytes(6)
    with only_installed(names) as libraries:
        for size in range((1 << bits) - 270, (1 << bits) - 240):
            message = (end + b" ".join(source.choices(words, k=size)))[: size - 6] + end
            compressor = libraries.compressor(level, 15, 8)
            wire = compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)
            assert deflate.compress(message, 15, level) + deflate.TAIL == wire


@pytest.mark.parametrize("names", ALONE)
@pytest.mark.parametrize("level", LEVELS)
@in_batches("memory_level", range(1, 10), 9)
def test_every_level_and_memory_level_is_read_by_zlib(names: str, level: int, memory_level: int) -> None:
    message = b"".join(events(20)) + random.Random(level).randbytes(3000)
    with only_installed(names):
        wire = deflate.compress(message, 15, level, memory_level)
    assert zlib.decompressobj(-15).decompress(wire + deflate.TAIL) == message


@pytest.mark.parametrize("names", ALONE)
@pytest.mark.parametrize("forget", [True, False])
@pytest.mark.parametrize("around", [1 << bits for bits in range(9, 18)])
def test_sizes_around_a_buffers_end(names: str, forget: bool, around: int) -> None:
    """Where what does not compress fills the libraries' buffers and blocks just so."""
    source = random.Random(around)
    with only_installed(names):
        ours = MessageDeflate(Agreement(forget, forget), Role.SERVER)
        reference = None
        for size in range(around - 30, around + 10):
            message = source.randbytes(size)
            wire = ours.deflate(message)
            if reference is None or forget:
                reference = zlib.decompressobj(-15)
            assert reference.decompress(wire + deflate.TAIL) == message
            assert not reference.unconsumed_tail


PART = st.one_of(
    st.tuples(st.just("chance"), st.integers(1, 3000)),
    st.tuples(st.just("again"), st.integers(1, 70_000), st.integers(1, 3000)),
    st.tuples(st.just("one byte"), st.integers(1, 70_000)),
    st.tuples(st.just("words"), st.integers(1, 3000)),
)
MESSAGES = st.lists(st.lists(PART, max_size=6), min_size=1, max_size=6)
LARGE = st.sampled_from([0, 1, 65_535, 65_536, 300_000, MIB])


def written(parts: list[list[tuple[Any, ...]]], seed: int, large_bytes: int) -> list[bytes]:
    """Messages of random bytes, of bytes that stood some way back in the stream, of a byte many times."""
    source = random.Random(seed)
    stream, ends = bytearray(), []
    for message in parts:
        for kind, size, *more in message:
            if kind == "chance":
                stream += source.randbytes(size)
            elif kind == "again":
                stream += stream[-size:][: more[0]]
            elif kind == "one byte":
                stream += bytes((source.randrange(256),)) * size
            else:
                stream += b" ".join(source.choices((b"alpha", b"beta", b'{"id":', b"12345}"), k=size // 4))
        ends.append(len(stream))
    block = bytes(source.choices(b"0123456789abcdef", k=1000)) + source.randbytes(50)
    stream += (block * (large_bytes // len(block) + 1))[:large_bytes]
    ends.append(len(stream))
    return [bytes(stream[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]


def read_strictly(inflater: Any, wire: bytes) -> bytes:
    """In steps of 64 bytes zlib accepts no distance that goes farther back than the window and 64 bytes."""
    out, rest = bytearray(), b""
    for at in range(0, len(wire), 64):
        rest = wire[at : at + 64]
        while True:
            piece = inflater.decompress(rest, 64)
            out += piece
            rest = inflater.unconsumed_tail
            if len(piece) < 64:
                break
    assert not inflater.eof  # no BFINAL
    return bytes(out)


@pytest.mark.parametrize("names", ALONE)
@settings(deadline=None, max_examples=80, derandomize=True)
@given(
    parts=MESSAGES,
    seed=st.integers(0, 1 << 32),
    large_bytes=LARGE,
    bits=st.integers(9, 15),
    forget=st.booleans(),
    level=st.sampled_from(LEVELS),
    memory_level=st.integers(1, 9),
)
def test_a_peer_with_the_agreed_window_reads_what_was_sent(
    names: str,
    parts: list[list[tuple[Any, ...]]],
    seed: int,
    large_bytes: int,
    bits: int,
    forget: bool,
    level: int,
    memory_level: int,
) -> None:
    options = Options(level=level, memory_level=memory_level)
    with only_installed(names):
        ours = MessageDeflate(Agreement(forget, forget, bits, bits, options), Role.SERVER)
        reference = zlib.decompressobj(-bits)
        for message in written(parts, seed, large_bytes):
            wire = ours.deflate(message)
            assert len(wire) <= len(message) * 1.05 + 40  # 5 bytes for each stored block of 127 and more
            if forget:
                reference = zlib.decompressobj(-bits)
            assert read_strictly(reference, wire + deflate.TAIL) == message


@pytest.mark.parametrize(("names", "kept_kib"), [("isal zlib", 229), ("zlib_ng zlib", 343), ("zlib", 263)])
def test_what_a_connection_keeps_for_compression(names: str, kept_kib: int) -> None:
    """docs/codec.md has these figures; a buffer that grows with the messages would be one more."""
    message = random.Random(3).randbytes(MIB)
    with only_installed(names):
        ours = MessageDeflate(Agreement(), Role.SERVER)
        ours.deflate(message[:100])
        ours.begin_anew()
        tracemalloc.start()
        try:
            ours.deflate(message)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept <= kept_kib * KIB
    assert kept >= kept_kib * KIB // 2  # it is counted at all


# --- what it decompresses ---

STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)
HARM = st.one_of(
    st.tuples(st.just("turn"), st.integers(0, 1 << 20), st.integers(0, 7)),
    st.tuples(st.just("cut"), st.integers(0, 1 << 20), st.just(0)),
    st.tuples(st.just("add"), st.integers(0, 1 << 20), st.integers(1, 200)),
)


def streamed(messages: list[bytes], bits: int, level: int, strategy: int, final: int) -> list[bytes]:
    """The messages as zlib writes them; some of them end with BFINAL, as section 7.2.3.4 has it."""
    wires, compressor = [], None
    for number, message in enumerate(messages):
        if compressor is None:
            compressor = zlib.compressobj(level, zlib.DEFLATED, -bits, 8, strategy)
        if final and number % final == 0:
            wires.append(compressor.compress(message) + compressor.flush(zlib.Z_FINISH) + b"\x00")
            compressor = None
        else:
            wires.append((compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4])
    return wires


def harmed(wires: list[bytes], harms: list[tuple[str, int, int]]) -> list[bytes]:
    found = [bytearray(wire) for wire in wires]
    for kind, place, much in harms:
        wire = found[place % len(found)]
        at = place % (len(wire) + 1)
        if kind == "turn" and wire:
            wire[at % len(wire)] ^= 1 << much
        elif kind == "cut":
            del wire[at:]
        else:
            wire[at:at] = random.Random(place).randbytes(much)
    return [bytes(wire) for wire in found]


def read_back(wires: list[bytes], bits: int, forget: bool, cut: int, room: int) -> list[bytes | None]:
    """Each message as a decoder asks for it: in fragments of `cut` bytes, `room` bytes at once."""
    theirs = MessageDeflate(Agreement(forget, forget, bits, bits), Role.CLIENT)
    messages: list[bytes | None] = []
    for wire in wires:
        out = bytearray()
        for at in range(0, max(len(wire), 1), cut):
            chunk: bytes | None = wire[at : at + cut]
            while True:
                piece = theirs.inflate(chunk, at + cut >= len(wire), room)
                if piece is None:
                    return [*messages, None]
                assert len(piece) <= room
                out += piece
                chunk = None
                if len(piece) < room or len(out) > 4 * MIB:
                    break
        messages.append(bytes(out))
    return messages


READING: Callable[..., Any] = given(
    parts=MESSAGES,
    seed=st.integers(0, 1 << 32),
    large_bytes=LARGE,
    level=st.integers(0, 9),
    strategy=st.sampled_from(STRATEGIES),
    final=st.integers(0, 3),
    cut=st.sampled_from([1, 7, 333, 16_383, 16_384, 16_385, 1 << 30]),
    room=st.sampled_from([1, 17, 1000, 16_384, MIB]),
    bits=st.integers(9, 15),
    harms=st.lists(HARM, max_size=3),
)


@pytest.mark.parametrize("names", ALONE)
@settings(deadline=None, max_examples=120, derandomize=True)
@READING
def test_reading_agrees_with_zlib(
    names: str,
    parts: list[list[tuple[Any, ...]]],
    seed: int,
    large_bytes: int,
    level: int,
    strategy: int,
    final: int,
    cut: int,
    room: int,
    bits: int,
    harms: list[tuple[str, int, int]],
) -> None:
    """What was sent; and of harmed streams what zlib makes of them, or both refuse."""
    if min(cut, room) < 1000:
        large_bytes = min(large_bytes, 1)
        parts = [[(kind, min(size, 500), *more) for kind, size, *more in part] for part in parts[:3]]
    messages = written(parts, seed, large_bytes)
    wires = streamed(messages, 15 if harms else bits, level, strategy, final)
    if harms:  # zlib-ng refuses distances beyond a smaller window that zlib finds in its output
        bits, wires = 15, harmed(wires, harms)
    with only_installed(names):
        found = read_back(wires, bits, False, cut, room)
    with only_installed("zlib"):
        assert found == read_back(wires, bits, False, cut, room)
    if not harms:
        assert found == messages


def of_a_dictionary() -> bytes:
    """Its first distance goes back to what the reader does not have."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=b"hello, world")
    return compressor.compress(b"hello, world") + compressor.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize("names", ALONE)
@pytest.mark.parametrize(
    "wire",
    [b"\x06", b"\x00\x05\x00\x00\x00", b"\x04\xff\xff\xff", of_a_dictionary()],
    ids=["type of block", "length of a stored block", "codes of a block", "distance"],
)
def test_corrupt_streams_are_not_told_as_want_of_memory(names: str, wire: bytes) -> None:
    """By the words alone; `tests/fuzz/nomemory.py` has allocations fail."""
    with only_installed(names) as libraries:
        with pytest.raises(libraries.error) as told:
            libraries.decompressor(15).decompress(wire)
        assert not str(told.value).startswith(NO_MEMORY)
        assert MessageDeflate(Agreement(), Role.SERVER).inflate(wire, True, KIB) is None
