"""permessage-deflate: each parameter in offers and answers, and inflation under its bound, with both cores.

It must not test field syntax: that is test_handshake.py's.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from counted_memory import counts_memory, tracemalloc
from wsframe import MessageTooBig, ProtocolError, Role, deflate
from wsframe._compressors import Libraries
from wsframe.deflate import Agreement, MessageDeflate, Options, ParameterError

MakeFrame = Callable[[int, bytes, bytes | None], bytes]
MASK = b"\x01\x02\x03\x04"
PLAIN = Options(server_no_context_takeover=False)
MIB = 1 << 20
pytestmark = pytest.mark.usefixtures("libraries")


def params(text: str) -> list[tuple[str, str | None]]:
    pairs = []
    for part in filter(None, text.split(";")):
        name, equals, value = part.strip().partition("=")
        pairs.append((name, value if equals else None))
    return pairs


def raw(data: bytes, bits: int = 15, end: int = zlib.Z_SYNC_FLUSH) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -bits)
    return compressor.compress(data) + compressor.flush(end)


@pytest.mark.parametrize(
    ("offer", "options", "answer"),
    [
        ("", PLAIN, ""),
        ("", Options(), "server_no_context_takeover"),
        ("server_no_context_takeover", PLAIN, "server_no_context_takeover"),
        ("client_no_context_takeover", PLAIN, "client_no_context_takeover"),
        ("", Options(False, True), "client_no_context_takeover"),
        ("server_max_window_bits=9", PLAIN, "server_max_window_bits=9"),
        ("server_max_window_bits=12", PLAIN, "server_max_window_bits=12"),
        ("server_max_window_bits=15", PLAIN, "server_max_window_bits=15"),
        ("server_max_window_bits=12", Options(False, False, 10), "server_max_window_bits=10"),
        ("server_max_window_bits=10", Options(False, False, 12), "server_max_window_bits=10"),
        ("", Options(False, False, 12), "server_max_window_bits=12"),
        ("client_max_window_bits", PLAIN, ""),
        ("client_max_window_bits", Options(False, False, 15, 11), "client_max_window_bits=11"),
        ("client_max_window_bits=15", Options(False, False, 15, 11), "client_max_window_bits=11"),
        ("client_max_window_bits=10", Options(False, False, 15, 11), "client_max_window_bits=10"),
        ("client_max_window_bits=8", PLAIN, "client_max_window_bits=8"),
        ("", Options(False, False, 15, 11), ""),  # the client cannot be told
        (
            "client_max_window_bits=9; server_max_window_bits=9; server_no_context_takeover; "
            "client_no_context_takeover",
            PLAIN,
            "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; "
            "client_max_window_bits=9",
        ),
    ],
)
def test_answers(offer: str, options: Options, answer: str) -> None:
    chosen = deflate.answer([params(offer)], options)
    assert chosen is not None
    words, agreed = chosen
    assert words == "; ".join(filter(None, ["permessage-deflate", answer]))
    told = dict(params(answer))
    assert agreed.server_no_context_takeover is ("server_no_context_takeover" in told)
    assert agreed.client_no_context_takeover is ("client_no_context_takeover" in told)
    assert agreed.server_max_window_bits == int(told.get("server_max_window_bits") or 15)
    assert agreed.client_max_window_bits == int(told.get("client_max_window_bits") or 15)


REFUSED = [
    "unknown",
    "server_no_context_takeover=1",
    "client_no_context_takeover=true",
    "server_no_context_takeover; server_no_context_takeover",
    "client_max_window_bits; client_max_window_bits=10",
    "server_max_window_bits",
    "server_max_window_bits=",
    "server_max_window_bits=7",
    "server_max_window_bits=16",
    "server_max_window_bits=010",
    "server_max_window_bits=+9",
    "client_max_window_bits=7",
    "client_max_window_bits=1_0",
    "client_max_window_bits=٩",
]


@pytest.mark.parametrize("offer", [*REFUSED, "server_max_window_bits=8"])
def test_offers_declined_fall_back(offer: str) -> None:
    assert deflate.answer([params(offer)], PLAIN) is None
    chosen = deflate.answer([params(offer), params("client_no_context_takeover")], PLAIN)
    assert chosen is not None
    assert chosen[0] == "permessage-deflate; client_no_context_takeover"


@pytest.mark.parametrize(
    ("options", "offer"),
    [
        (PLAIN, "client_max_window_bits"),
        (Options(), "server_no_context_takeover; client_max_window_bits"),
        (
            Options(True, True, 10, 11),
            "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; "
            "client_max_window_bits=11",
        ),
    ],
)
def test_offers(options: Options, offer: str) -> None:
    assert deflate.offer(options) == f"permessage-deflate; {offer}"


@pytest.mark.parametrize("answer", [*REFUSED, "client_max_window_bits"])
def test_answers_that_fail_the_connection(answer: str) -> None:
    with pytest.raises(ParameterError, match="RFC 7692"):
        deflate.agree(params(answer), PLAIN)


def test_what_was_asked_for_must_be_granted() -> None:
    asked = Options(True, False, 10, 12)
    with pytest.raises(ParameterError, match="server_no_context_takeover"):
        deflate.agree(params("server_max_window_bits=10"), asked)
    for answer in ("server_no_context_takeover", "server_no_context_takeover; server_max_window_bits=11"):
        with pytest.raises(ParameterError, match="server_max_window_bits"):
            deflate.agree(params(answer), asked)
    granted = "server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=13"
    assert deflate.agree(params(granted), asked) == Agreement(True, False, 9, 12, asked)


def test_a_window_of_8_bits_is_never_compressed_for() -> None:
    """zlib refuses it, and RFC 7692 lets an endpoint send any message uncompressed."""
    agreed = deflate.agree(params("client_max_window_bits=8"), PLAIN)
    assert agreed.client_max_window_bits == 8
    assert not MessageDeflate(agreed, Role.CLIENT).possible
    assert not MessageDeflate(agreed, Role.CLIENT).wanted(1 << 20)
    assert MessageDeflate(agreed, Role.SERVER).possible


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server_max_window_bits", 8),
        ("client_max_window_bits", 16),
        ("level", 10),
        ("memory_level", 0),
        ("threshold_bytes", -1),
    ],
)
def test_options_out_of_range(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        Options(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("forget", [True, False])
@pytest.mark.parametrize(("role", "other"), [(Role.SERVER, Role.CLIENT), (Role.CLIENT, Role.SERVER)])
def test_there_and_back(bits: int, forget: bool, role: Role, other: Role) -> None:
    agreed = Agreement(forget, forget, bits, bits)
    ours, theirs = MessageDeflate(agreed, role), MessageDeflate(agreed, other)
    source = random.Random(bits)
    words = [source.randbytes(300) for _ in range(20)]
    for _ in range(10):
        message = b"".join(source.choices(words, k=source.randrange(60)))
        wire = ours.deflate(message)
        assert theirs.inflate(wire, True, len(message) + 1) == message
        reference = zlib.decompressobj(-bits)  # a peer that holds no more than the window agreed on
        if forget:
            assert reference.decompress(wire + deflate.TAIL) == message


def test_no_takeover_gives_the_same_bytes_for_all() -> None:
    agreed = Agreement(server_no_context_takeover=True, server_max_window_bits=12)
    ours = MessageDeflate(agreed, Role.SERVER)
    assert ours.deflate(b"broadcast" * 50) == ours.deflate(b"broadcast" * 50)
    assert ours.deflate(b"broadcast" * 50) == deflate.compress(b"broadcast" * 50, 12)


@pytest.mark.parametrize("forget", [True, False])
def test_empty_messages_in_a_row(forget: bool) -> None:
    """Section 7.2.3.6: one byte, 0x00, is the compressed form of an empty message."""
    agreed = Agreement(forget, forget)
    ours, theirs = MessageDeflate(agreed, Role.SERVER), MessageDeflate(agreed, Role.CLIENT)
    for _ in range(3):
        wire = ours.deflate(b"")
        assert wire == b"\x00"
        assert theirs.inflate(wire, True, 10) == b""


def test_nothing_stands_between_empty_messages_and_others() -> None:
    ours = MessageDeflate(Agreement(), Role.SERVER)
    theirs = MessageDeflate(Agreement(), Role.CLIENT)
    for message in (b"", b"first " * 9, b"", b"", b"first " * 9, b""):
        assert theirs.inflate(ours.deflate(message), True, 100) == message
    assert deflate.compress(b"") == b"\x00"


@pytest.mark.parametrize("bits", range(9, 15))
@pytest.mark.parametrize("forget", [True, False])
def test_nothing_refers_beyond_the_window_agreed_on(bits: int, forget: bool) -> None:
    """A peer holds no more than it: read in small steps, zlib refuses what lies farther back."""
    block = random.Random(bits).randbytes((1 << bits) + 300)
    message = block + block + block
    wires = [MessageDeflate(Agreement(forget, False, bits), Role.SERVER).deflate(message)]
    if forget:
        wires.append(deflate.compress(message, bits))
    for wire in wires:
        assert in_small_steps(wire, bits) == message
    with pytest.raises(zlib.error, match="too far back"):
        in_small_steps(deflate.compress(message, 15), bits)


def in_small_steps(wire: bytes, bits: int) -> bytes:
    inflater = zlib.decompressobj(-bits)
    out, rest = b"", wire + deflate.TAIL
    while piece := inflater.decompress(rest, 32):
        out, rest = out + piece, inflater.unconsumed_tail
    return out


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("forgets", [True, False])
def test_the_peers_context_is_kept_as_agreed(role: Role, forgets: bool) -> None:
    """Section 7.1.1: who agreed to forget must not refer to his last message; who did not may."""
    sender = zlib.compressobj(9, zlib.DEFLATED, -15)
    message = random.Random(1).randbytes(500)
    first, second = (sender.compress(message) + sender.flush(zlib.Z_SYNC_FLUSH) for _ in range(2))
    assert len(second) < 100  # it refers to the first
    agreed = (
        Agreement(client_no_context_takeover=forgets)
        if role is Role.SERVER
        else Agreement(server_no_context_takeover=forgets)
    )
    theirs = MessageDeflate(agreed, role)
    assert theirs.inflate(first[:-4], True, 1000) == message
    assert theirs.inflate(second[:-4], True, 1000) == (None if forgets else message)


@pytest.mark.parametrize("threshold", [1, 100, 1024])
def test_the_threshold_is_the_smallest_size_compressed(threshold: int) -> None:
    ours = MessageDeflate(Agreement(options=Options(threshold_bytes=threshold)), Role.SERVER)
    assert [ours.wanted(threshold + more) for more in (-1, 0, 1)] == [False, True, True]


def test_memory_that_runs_out_is_not_the_peers_fault(
    libraries: Libraries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """zlib tells it with the same exception as corrupt data."""

    class Poor:
        def __init__(self, words: str) -> None:
            self.words = words

        def decompress(self, *_: object) -> bytes:
            raise libraries.error(self.words)

    theirs = MessageDeflate(Agreement(), Role.SERVER)
    monkeypatch.setattr(theirs, "_inflater", Poor("Error -4 while decompressing data"))
    with pytest.raises(MemoryError):
        theirs.inflate(b"x", True, 10)
    monkeypatch.setattr(theirs, "_inflater", Poor("Error -3 while decompressing data"))
    assert theirs.inflate(b"x", True, 10) is None


def test_what_did_not_leave_is_not_referred_to() -> None:
    ours = MessageDeflate(Agreement(), Role.SERVER)
    theirs = MessageDeflate(Agreement(), Role.CLIENT)
    message = random.Random(2).randbytes(500)
    assert theirs.inflate(ours.deflate(b"before"), True, 1000) == b"before"
    ours.deflate(message)
    ours.begin_anew()
    assert theirs.inflate(ours.deflate(message), True, 1000) == message


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 100])
def test_inflation_in_pieces(cut: int) -> None:
    message = b"some text " * 1000
    wire = raw(message)[:-4]
    theirs = MessageDeflate(Agreement(), Role.SERVER)
    for _ in range(2):
        out = b""
        for at in range(0, len(wire), cut):
            chunk: bytes | None = wire[at : at + cut]
            last = at + cut >= len(wire)
            while True:
                piece = theirs.inflate(chunk, last, 333)
                assert piece is not None
                assert len(piece) <= 333
                out += piece
                chunk = None
                if len(piece) < 333:
                    break
        assert out == message
        theirs = MessageDeflate(Agreement(), Role.SERVER)


@pytest.mark.parametrize("size", [deflate.FEED_BYTES, 10 * deflate.FEED_BYTES])
@pytest.mark.parametrize("room", [100, MIB])
def test_zlib_gets_little_at_a_time(size: int, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It copies what it leaves of it, so a message in one piece would cost its size for each 100 bytes."""
    fed = []

    class Counting:
        def __init__(self, real: Any) -> None:
            self._real = real

        def decompress(self, data: bytes, max_length: int) -> Any:
            fed.append(len(data))
            return self._real.decompress(data, max_length)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    theirs = MessageDeflate(Agreement(), Role.SERVER)
    monkeypatch.setattr(theirs, "_inflater", Counting(zlib.decompressobj(-15)))
    message = random.Random(size).randbytes(size)
    chunk: bytes | None = raw(message)[:-4]
    out = b""
    while len(piece := theirs.inflate(chunk, True, room) or b"") == room:
        out, chunk = out + piece, None
    assert out + piece == message
    assert max(fed) <= deflate.FEED_BYTES + len(deflate.TAIL)


def test_blocks_with_bfinal(core: ModuleType, make_frame: MakeFrame) -> None:
    """Section 7.2.3.4: they end zlib's stream, not the message and not the connection."""
    message = b"one block, " * 20
    wire = raw(message, end=zlib.Z_FINISH) + b"\x00"
    inflate = MessageDeflate(Agreement(), Role.SERVER).inflate
    decoder = core.Decoder(Role.SERVER, inflate=inflate)
    stream = make_frame(0xC2, wire, MASK) * 3 + make_frame(0xC2, raw(message)[:-4], MASK)
    assert decoder.receive(stream) == [message] * 4
    two = raw(message, end=zlib.Z_FINISH) + raw(message, end=zlib.Z_FINISH) + b"\x00"
    assert decoder.receive(make_frame(0xC2, two, MASK)) == [message * 2]


@pytest.mark.parametrize("forget", [True, False])
@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("max_bytes", [1, 100, 1000, 1001])
def test_output_that_takes_several_calls(max_bytes: int, pieces: int, forget: bool) -> None:
    """Also where the last of them is full: what is still to come is of the same message."""
    agreed = Agreement(client_no_context_takeover=forget)
    theirs = MessageDeflate(agreed, Role.SERVER)
    sender = MessageDeflate(agreed, Role.CLIENT)
    for size in (3000, 3001, 999):
        message = random.Random(size).randbytes(10) * (size // 10) + b"x" * (size % 10)
        wire = sender.deflate(message)
        cut = -(-len(wire) // pieces)
        chunks = [wire[at : at + cut] for at in range(0, len(wire), cut)]
        out = b""
        for chunk in chunks:
            given: bytes | None = chunk
            while True:
                piece = theirs.inflate(given, chunk is chunks[-1], max_bytes)
                assert piece is not None
                out += piece
                given = None
                if len(piece) < max_bytes:
                    break
        assert out == message


def test_final_blocks_are_counted_in_each_message() -> None:
    theirs = MessageDeflate(Agreement(), Role.SERVER)
    wire = raw(b"one block", end=zlib.Z_FINISH) + b"\x00"
    for _ in range(3 * deflate.MAX_FINAL_BLOCKS):
        assert theirs.inflate(wire, True, 100) == b"one block"
    most = raw(b"", end=zlib.Z_FINISH) * deflate.MAX_FINAL_BLOCKS
    assert theirs.inflate(most + b"\x00", True, 100) == b""
    assert theirs.inflate(raw(b"", end=zlib.Z_FINISH) + most + b"\x00", True, 100) is None


def test_a_flood_of_final_blocks_is_refused(core: ModuleType, make_frame: MakeFrame) -> None:
    """Each would cost a fresh zlib stream: 500,000 of them fit into a message of 1 MiB."""
    inflate = MessageDeflate(Agreement(), Role.SERVER).inflate
    decoder = core.Decoder(Role.SERVER, inflate=inflate)
    (fault,) = decoder.receive(make_frame(0xC2, b"\x03\x00" * 10_000, MASK))
    assert isinstance(fault, ProtocolError)
    assert fault.code == 1007


@pytest.fixture(scope="module")
def bomb_bytes() -> bytes:
    """200 MiB, which take longer to compress than to refuse."""
    return raw(bytes(200 * MIB))[:-4]


@counts_memory
@pytest.mark.parametrize("limit", [MIB, 4 * MIB])
def test_a_bomb_is_1009_within_the_limit(
    core: ModuleType, make_frame: MakeFrame, limit: int, bomb_bytes: bytes
) -> None:
    """Memory stays under limit + 1 MiB, whatever the message would inflate to."""
    bomb = make_frame(0xC2, bomb_bytes, MASK)
    inflate = MessageDeflate(Agreement(), Role.SERVER).inflate
    decoder = core.Decoder(Role.SERVER, inflate=inflate, max_message_bytes=limit)
    tracemalloc.start()
    try:
        events = decoder.receive(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [type(event) for event in events] == [MessageTooBig]
    assert events[0].code == 1009
    if core.IMPLEMENTATION == "cython":
        assert peak < limit + MIB
    else:  # the plain core also copies its input
        assert peak < limit + MIB + len(bomb) * 6


def test_a_bomb_in_many_fragments(core: ModuleType, make_frame: MakeFrame) -> None:
    wire = raw(bytes(20 * MIB))[:-4]
    inflate = MessageDeflate(Agreement(), Role.SERVER).inflate
    decoder = core.Decoder(Role.SERVER, inflate=inflate)
    events = decoder.receive(make_frame(0x42, wire[:10], MASK))
    for at in range(10, len(wire), 100):
        events += decoder.receive(make_frame(0x00, wire[at : at + 100], MASK))
    assert [type(event) for event in events] == [MessageTooBig]


def test_work_on_blocks_without_output_is_bounded(core: ModuleType, make_frame: MakeFrame) -> None:
    """Empty stored blocks inflate to nothing, so the compressed size has a bound of its own."""
    inflate = MessageDeflate(Agreement(), Role.SERVER).inflate
    decoder = core.Decoder(Role.SERVER, inflate=inflate, max_message_bytes=1000)
    (fault,) = decoder.receive(make_frame(0xC2, b"\x00\x00\x00\xff\xff" * 1000, MASK))
    assert type(fault) is MessageTooBig


def test_incompressible_messages_of_the_limit_pass(core: ModuleType, make_frame: MakeFrame) -> None:
    message = random.Random(0).randbytes(MIB)
    wire = raw(message)[:-4]
    assert len(wire) > MIB
    decoder = core.Decoder(Role.SERVER, inflate=MessageDeflate(Agreement(), Role.SERVER).inflate)
    assert decoder.receive(make_frame(0xC2, wire, MASK)) == [message]
