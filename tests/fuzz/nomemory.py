"""Lets each allocation of the codec's usual operations fail in turn: MemoryError or the right result.

It must not share its process, which a fault may end. It needs CPython's `_testcapi`.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import random
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeVar

from wsframe import Close, Connection, Ping, Pong, ProtocolError, Role, State, deflate
from wsframe._compressors import Libraries, installed

try:
    import _testcapi
except ImportError:
    _testcapi = None

T = TypeVar("T")
MASK = b"\x81\x80\xfa\x3d"
SIZE = 100_000
# Above the allocations of any operation here: a run that needs more has not come to its end.
MOST_ALLOCATIONS = 2_000
# Not for good: CPython 3.11 then goes round for ever itself, in want of memory for an exception's place. In
# the plain core each call takes memory, also those that answer a failure.
IN_A_ROW_COUNTS = {"_codec": 20, "_pure": 1}


class Failing:
    """In the `turn`-th call that a scenario gives to it, so many allocations from number `begin` on fail."""

    def __init__(self, turn: int, begin: int, count: int) -> None:
        self.turn, self.begin, self.end = turn, begin, begin + count
        self.calls = 0

    def __call__(self, call: Callable[[], T]) -> T:
        self.calls += 1
        if self.calls - 1 != self.turn:
            return call()
        _testcapi.set_nomemory(self.begin, self.end)
        try:
            return call()
        except SystemError as error:
            if "exception set" not in str(error):
                raise
            raise MemoryError from error  # which CPython had no memory to raise
        finally:
            _testcapi.remove_mem_hooks()


# A scenario does its work through `fail`, checks what it got, and tells whether nothing had failed.
Scenario = Callable[[ModuleType, Failing], bool]


def frame(first: int, payload: bytes, mask: bytes = MASK) -> bytes:
    """With a mask, as a server receives it."""
    size = len(payload)
    short = size if size < 126 else 126 if size < 65_536 else 127
    length = b"" if size < 126 else size.to_bytes(2 if size < 65_536 else 8, "big")
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes((first, 0x80 | short)) + length + mask + masked


def comparable(events: list[Any]) -> list[Any]:
    return [event.code if isinstance(event, ProtocolError) else event for event in events]


def refuses_cleanly(decoder: Any) -> None:
    """A decoder that ended gives nothing more; what it still owes the caller is the MemoryError."""
    assert decoder.failed
    assert not decoder.unfinished
    try:
        assert decoder.receive(b"\x81\x80abcd") == []
    except (MemoryError, SystemError):
        assert decoder.receive(b"\x81\x80abcd") == []
    assert decoder.receive_buffer() is None
    assert decoder.failed


def received(decoder: Any, fail: Failing, pieces: list[bytes], wanted: list[Any]) -> bool:
    events: list[Any] = []
    whole = True
    for piece in pieces:
        try:
            events += comparable(fail(lambda piece=piece: decoder.receive(piece)))
        except MemoryError:
            whole = False
            if not decoder.failed:  # nothing of it was taken: it can be given again
                events += comparable(decoder.receive(piece))
        if decoder.failed and not (events and isinstance(events[-1], int)):
            assert events == wanted[: len(events)], events
            refuses_cleanly(decoder)
            return False
    assert events == wanted, events
    return whole


def inflater() -> Any:
    return deflate.MessageDeflate(deflate.Agreement(), Role.SERVER).inflate


def stream(pieces: list[bytes], wanted: list[Any], compressed: bool = False) -> Scenario:
    def run(core: ModuleType, fail: Failing) -> bool:
        decoder = core.Decoder(
            Role.SERVER, max_message_bytes=1 << 20, inflate=inflater() if compressed else None
        )
        return received(decoder, fail, pieces, wanted)

    return run


def in_place(keep: bool, text: bool) -> Scenario:
    """A large payload, received in what was lent; parts of the loans are kept and written to."""
    payload = ("grüße " * (SIZE // 8)).encode() if text else random.Random(1).randbytes(SIZE)
    whole = frame(0x81 if text else 0x82, payload)
    message: Any = payload.decode() if text else payload

    def run(core: ModuleType, fail: Failing) -> bool:
        decoder = core.Decoder(Role.SERVER, max_message_bytes=1 << 20)
        rest = whole[20_000:]
        events = decoder.receive(whole[:20_000])
        kept: list[Any] = []
        told = True
        while rest and not decoder.failed:
            try:
                place = fail(decoder.receive_buffer)
            except MemoryError:
                told = False
                assert not decoder.failed
                place = decoder.receive_buffer()
            if decoder.failed:
                break
            try:
                if place is None:
                    events += fail(lambda rest=rest: decoder.receive(rest))
                    rest = b""
                    break
                if keep:
                    kept.append(place[len(place) // 2 :])
                count = len(place)
                place[:] = rest[:count]
                events += fail(lambda count=count: decoder.buffer_received(count))
            except MemoryError:
                told = False
                if decoder.failed:
                    break
                # Nothing was taken: what the loan holds, if there is one, can be told again.
                events += decoder.receive(rest) if place is None else decoder.buffer_received(count)
            rest = rest[count:] if place is not None else b""
            for view in kept:
                view[:] = b"\xff" * len(view)
        if decoder.failed:
            assert events == [message][: len(events)]
            refuses_cleanly(decoder)
            return False
        assert events == [message]
        return told

    return run


def function(name: str, *arguments: Any) -> Scenario:
    def run(core: ModuleType, fail: Failing) -> bool:
        call = lambda: getattr(core, name)(*arguments)  # noqa: E731
        wanted = call()
        try:
            got = fail(call)
        except MemoryError:
            return call() == wanted and False
        assert got == wanted
        return True

    return run


def outboxes(core: ModuleType, fail: Failing) -> bool:
    """Two outboxes that share frames. What was held before a failure is held after it, byte by byte."""
    shared = [b"\x82\x03abc", b"\x82\x7e\x02\x00" + b"s" * 512, b"\x82\x7e\x0b\xb8" + b"t" * 3000]
    calls: list[tuple[str, Any, bytes]] = [("write", each, each) for each in shared]
    calls += [("send", "é" * 20, b"\x81\x28" + "é".encode() * 20), ("take", None, b"")]
    calls += [("send", "x" * size, core.encode_message("x" * size)) for size in (5, 300, 9_000)]
    calls += [("take", None, b""), ("send", b"last", b"\x82\x04last"), ("take", None, b"")]
    pair = [core.Outbox(), core.Outbox()]
    held = [b"", b""]
    whole = True
    for outbox in pair:
        outbox.open(1 << 20, len, [])
    for name, argument, wire in calls:
        for number, outbox in enumerate(pair):
            before = held[number]
            try:
                if name == "take":
                    assert fail(outbox.take) == before
                    held[number] = b""
                else:
                    assert fail(lambda: getattr(outbox, name)(argument)) is True  # noqa: B023
                    held[number] += wire
            except MemoryError:
                whole = False
                # Who was woken may have failed behind the frame: then it is held.
                held[number] = before + wire if len(outbox) > len(before) else before
            assert len(outbox) == len(held[number])
    assert [outbox.take() for outbox in pair] == held
    return whole


def connected(core: ModuleType, role: Role, **options: Any) -> Connection:
    class OnCore(Connection):
        decoder_type = core.Decoder
        outbox_type = core.Outbox
        encoder_type = core.Encoder

    return OnCore(role, **options)


AGREED = deflate.Agreement(options=deflate.Options(server_no_context_takeover=False, threshold_bytes=10))


def sending(role: Role, agreed: deflate.Agreement | None) -> Scenario:
    """What was refused for want of memory did not leave; what was not is understood by the other end."""

    def run(core: ModuleType, fail: Failing) -> bool:
        ours = connected(core, role, deflate=agreed)
        theirs = Connection(Role(3 - role), deflate=agreed)
        out: list[bytes] = []
        sent: list[Any] = []
        whole = True
        for what in (
            "hello hello",
            b"hello hello hello",
            Ping(b"p"),
            "hello again, hello",
            Pong(b"q"),
            Close(1001, "bye"),
        ):
            try:
                if isinstance(what, Ping | Pong):
                    fail(lambda: (ours.ping if isinstance(what, Ping) else ours.pong)(what.payload))  # noqa: B023
                elif isinstance(what, Close):
                    fail(lambda: ours.close(what.code, what.reason))  # noqa: B023
                elif isinstance(what, str):
                    fail(lambda: ours.send_text(what))  # noqa: B023
                else:
                    out.append(ours.data_to_send())
                    out.append(fail(lambda: b"".join(ours.encode_pieces(what))))  # noqa: B023
                sent.append(what)
            except MemoryError:
                whole = False
        try:
            out.append(fail(ours.data_to_send))
        except MemoryError:
            whole = False
            out.append(ours.data_to_send())
        assert theirs.receive_data(b"".join(out)) == sent
        if not isinstance(sent[-1], Close):
            assert ours.state is State.OPEN
            ours.close(1001, "bye")
            assert theirs.receive_data(ours.data_to_send()) == [Close(1001, "bye")]
        assert ours.state is State.CLOSING
        return whole

    return run


def answering(end: bytes, wanted: list[Any], agreed: deflate.Agreement | None = None) -> Scenario:
    """Messages, pings and an end in one piece: an open connection hears, a closed one has said why."""
    compressed = deflate.compress(b"squeezed " * 50)
    pieces = frame(0x81, b"first") + frame(0x89, b"ping") + frame(0x82, b"second")
    if agreed is not None:
        pieces += frame(0xC2, compressed)
        wanted = [b"squeezed " * 50, *wanted]
    pieces += frame(0x89, b"pong") + end
    told = ["first", Ping(b"ping"), b"second", *wanted[: agreed is not None], Ping(b"pong")]
    told += wanted[agreed is not None :]

    def run(core: ModuleType, fail: Failing) -> bool:
        ours = connected(core, Role.SERVER, deflate=agreed)
        peer = Connection(Role.CLIENT, deflate=agreed)
        taken = True
        try:
            events = comparable(fail(lambda: ours.receive_data(pieces)))
        except MemoryError:
            events, taken = [], False
            if ours.state is State.OPEN:  # nothing of it was taken
                assert not ours.decoder.failed
                events = comparable(ours.receive_data(pieces))
        assert events == told[: len(events)]
        answers = comparable(peer.receive_data(ours.data_to_send()))
        whole = events == told and ours.close_code != 1011
        if whole:
            assert answers[:2] == [Pong(b"ping"), Pong(b"pong")]
            assert ours.state is (State.CLOSED if end else State.OPEN)
            return taken
        assert ours.state is State.CLOSED
        assert ours.close_code in (1000, 1002, 1011)
        assert all(isinstance(answer, Pong | Close) for answer in answers)
        for _ in range(2):  # the decoder's, and one of the answers'
            try:
                assert ours.receive_data(pieces) == []
            except (MemoryError, SystemError):
                pass
        assert ours.receive_data(pieces) == []
        assert ours.receive_eof() == []
        return False

    return run


LONG = "ж".encode() * 3_000
SCENARIOS: dict[str, Scenario] = {
    "short frames": stream(
        [frame(0x81, b"text") + frame(0x82, b"binary") + frame(0x81, "é".encode())],
        ["text", b"binary", "é"],
    ),
    "long frames": stream([frame(0x81, LONG) + frame(0x82, LONG)], [LONG.decode(), LONG]),
    "every header cut": stream(
        [bytes((byte,)) for byte in frame(0x81, b"a" * 130)[:12]] + [frame(0x81, b"a" * 130)[12:]],
        ["a" * 130],
    ),
    "pieces that grow": stream(
        [frame(0x82, LONG)[at : at + 700] for at in range(0, 6_100, 700)] + [frame(0x81, b"x")], [LONG, "x"]
    ),
    "fragments and a ping": stream(
        [frame(0x01, LONG[:3_001]) + frame(0x89, b"p"), frame(0x80, LONG[3_001:])],
        [Ping(b"p"), LONG.decode()],
    ),
    "close": stream([frame(0x82, b"m") + frame(0x88, b"\x03\xe8bye")], [b"m", Close(1000, "bye")]),
    "fault": stream([frame(0x82, b"m") + frame(0x83, b"")], [b"m", 1002]),
    "no UTF-8": stream([frame(0x82, b"m") + frame(0x81, b"\xff")], [b"m", 1007]),
    "compressed": stream(
        [frame(0x81, b"m") + frame(0xC1, deflate.compress(LONG)), frame(0xC2, deflate.compress(b"again"))],
        ["m", LONG.decode(), b"again"],
        compressed=True,
    ),
    "in place": in_place(keep=False, text=False),
    "in place, text": in_place(keep=False, text=True),
    "in place, parts of loans kept": in_place(keep=True, text=True),
    "encode_frame": function("encode_frame", 1, "é" * 500, MASK),
    "encode_message": function("encode_message", memoryview(b"abc")),
    "encode_header": function("encode_header", 2, 1 << 40, MASK),
    "decode_header": function("decode_header", frame(0x81, b"a" * 130)),
    "apply_mask": function("apply_mask", bytearray(300), MASK),
    "outboxes": outboxes,
    "server sends": sending(Role.SERVER, None),
    "server sends, compressed": sending(Role.SERVER, AGREED),
    "client sends, compressed": sending(Role.CLIENT, AGREED),
    "server answers": answering(b"", []),
    "server answers, close": answering(frame(0x88, b"\x03\xe8"), [Close(1000, "")]),
    "server answers, fault": answering(frame(0x83, b""), [1002]),
    "server answers, compressed": answering(frame(0x88, b"\x03\xe8"), [Close(1000, "")], AGREED),
}  # fmt: skip


def failures(scenario: Scenario, core: ModuleType) -> int:
    """Each call of the scenario with one allocation that fails, the first, the second..., or with some."""
    quiet = Failing(-1, 0, 0)
    assert scenario(core, quiet), "fails with all memory there is"
    runs = 0
    for turn in range(quiet.calls):
        for begin in range(MOST_ALLOCATIONS):
            scenario(core, Failing(turn, begin, 1))
            runs += 2
            if scenario(core, Failing(turn, begin, IN_A_ROW_COUNTS[core.__name__.rpartition(".")[2]])):
                break  # its last allocation stands before `begin`
        else:
            raise AssertionError(f"call {turn} takes {MOST_ALLOCATIONS} allocations")
    return runs


def with_each_library(scenario: str) -> Iterator[str]:
    """A scenario that compresses, with each library that is installed as the preferred one."""
    found = installed()
    for first in range(len(found) if "compressed" in scenario else 1):
        deflate._libraries = Libraries(found[first:])
        yield f"{scenario} ({found[first].name})" if "compressed" in scenario else scenario


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", nargs="+", default=["_codec"])
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    options = parser.parse_args()
    if _testcapi is None or not hasattr(_testcapi, "set_nomemory"):
        print("needs CPython's _testcapi.set_nomemory")
        return 3
    gc.disable()  # a collection would fall into the call that fails
    runs = 0
    for name in options.cores:
        core = importlib.import_module(f"wsframe.{name}")
        for scenario in options.only:
            for told in with_each_library(scenario):
                print(f"{name}: {told}", flush=True)
                runs += failures(SCENARIOS[scenario], core)
                gc.collect()
    print(f"{runs} runs without memory")
    return 0


if __name__ == "__main__":
    sys.exit(main())
