"""Feeds mutated frames to both cores; fails where they differ, where a cut matters, or where one raises.

It must not know a rule of the protocol. Long run: python tests/fuzz/mutate.py --frames 1000000
"""

from __future__ import annotations

import argparse
import importlib
import sys
from types import ModuleType
from typing import Any

from streams import StreamMaker

from wsframe import Close, Decoder, ProtocolError, Role, deflate

MAX_MESSAGE_BYTES = 100_000


def plain(events: list[Any], with_deflate: bool) -> list[Any]:
    """Comparable: a fault is its code and words.

    With compression 1007 and 1009 are one: zlib keeps back what it inflated before it met corrupt data, so
    of two faults in one message (corrupt, not UTF-8, too big) the size of the reads decides which is first.
    """
    either = (1007, 1009) if with_deflate else ()
    return [
        (("refused" if event.code in either else event.code), "" if with_deflate else str(event))
        if isinstance(event, ProtocolError)
        else event
        for event in events
    ]


def new_decoder(core: ModuleType, role: Role, with_deflate: bool, limit: int) -> Decoder:
    inflate = deflate.MessageDeflate(deflate.Agreement(), role).inflate if with_deflate else None
    decoder: Decoder = core.Decoder(role, max_message_bytes=limit, max_fragments=6, inflate=inflate)
    return decoder


def in_reads(decoder: Decoder, stream: bytes, sizes: list[int]) -> list[Any]:
    """As a server reads: from one reused buffer, or into the place the decoder lends."""
    events: list[Any] = []
    buffer = bytearray(40_000)
    at = 0
    for size in sizes:
        end = at + size
        while at < end:
            place = decoder.receive_buffer()
            target = buffer if place is None else place
            piece = stream[at : min(end, at + len(target))]
            target[: len(piece)] = piece
            at += len(piece)
            if place is None:
                events += decoder.receive(buffer, len(piece))
            else:
                events += decoder.buffer_received(len(piece))
    return events


def same_state(decoders: list[Decoder]) -> bool:
    return len({(decoder.failed, decoder.unfinished) for decoder in decoders}) == 1


def check(stream: bytes, role: Role, maker: StreamMaker, cores: list[ModuleType], limit: int) -> str:
    """What the stream came to; AssertionError with the stream when two ways of feeding it differ."""
    whole, outcomes = [], []
    for core in cores:
        decoder = new_decoder(core, role, maker.deflate, limit)
        outcomes.append(plain(decoder.receive(stream), maker.deflate))
        whole.append(decoder)
    for core in cores:
        decoder = new_decoder(core, role, maker.deflate, limit)
        outcomes.append(plain(in_reads(decoder, stream, maker.cuts(len(stream))), maker.deflate))
        whole.append(decoder)
    if any(outcome != outcomes[0] for outcome in outcomes) or not same_state(whole):
        raise AssertionError(f"{role.name} limit {limit} {stream.hex()}: {outcomes}")
    if whole[0].failed:
        return "refused"
    return "closed" if outcomes[0] and isinstance(outcomes[0][-1], Close) else "read"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cores", nargs="+", default=["_codec", "_pure"])
    options = parser.parse_args()
    cores = [importlib.import_module(f"wsframe.{name}") for name in options.cores]
    makers = [StreamMaker(options.seed), StreamMaker(options.seed + 1, deflate=True)]
    seen = {"refused": 0, "closed": 0, "read": 0}
    streams = 0
    while sum(maker.frames for maker in makers) < options.frames:
        maker = makers[streams % 2]
        role = Role.SERVER if streams % 4 < 2 else Role.CLIENT
        limit = maker.random.choice((1, 100, 1000, MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES))
        seen[check(maker.stream(role), role, maker, cores, limit)] += 1
        streams += 1
    frames = sum(maker.frames for maker in makers)
    print(f"{frames} frames in {streams} streams, seed {options.seed}, {'+'.join(options.cores)}: {seen}")
    return 0 if all(seen.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
