"""Feeds mixed frames for long and fails when memory does not come back to where it was after the warm-up.

It must not measure anything but the process's own resident size. Whole run: --frames 1000000
"""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
from pathlib import Path

from streams import StreamMaker

from wsframe import Connection, Outbox, Role, deflate

# The allocator's own slack; one leaked object of 32 bytes in a hundred frames would pass it in 10^6 frames.
ALLOWED_BYTES = 256 * 1024
STREAMS = 500
SAMPLES = 8
OPTIONS = deflate.Options(server_no_context_takeover=False, threshold_bytes=16)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def feed(streams: list[tuple[Role, bool, bytes]]) -> None:
    """Every path that owns memory: whole, cut, in place, refused, closed, compressed, encoded."""
    for role, with_deflate, stream in streams:
        agreed = deflate.Agreement(options=OPTIONS) if with_deflate else None
        connection = Connection(role, max_message_bytes=200_000, deflate=agreed)
        middle = len(stream) // 2
        events = connection.receive_data(stream[:middle])
        place = connection.receive_buffer()
        if place is not None:
            size = min(len(place), len(stream) - middle)
            place[:size] = stream[middle : middle + size]
            events += connection.buffer_received(size)
            middle += size
        events += connection.receive_data(bytearray(stream[middle:]))
        other = Connection(role, deflate=agreed)
        outbox = Outbox()
        outbox.open(100_000, len, outbox)  # a ring, for the collector
        for event in events:
            if isinstance(event, str | bytes):
                outbox.write(other.encode(event))
                outbox.send(event)
        connection.data_to_send()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    options = parser.parse_args()
    if not Path("/proc/self/statm").exists():
        print("needs /proc/self/statm (Linux)")
        return 3
    makers = [StreamMaker(3), StreamMaker(4, deflate=True)]
    streams = [
        (role, maker.deflate, maker.stream(role))
        for number in range(STREAMS)
        for maker, role in [(makers[number % 2], Role.SERVER if number % 4 < 2 else Role.CLIENT)]
    ]
    frames_each_round = sum(maker.frames for maker in makers)
    rounds = max(2 * SAMPLES, options.frames // frames_each_round)
    sizes = []
    for number in range(1, rounds + 1):
        feed(streams)
        if number % (rounds // SAMPLES) == 0:
            gc.collect()
            sizes.append(resident_bytes())
    core = importlib.import_module("wsframe").IMPLEMENTATION
    # The allocator breathes: a leak is what lifts the lowest size of the second half over the highest of
    # the first.
    grown = min(sizes[SAMPLES // 2 :]) - max(sizes[: SAMPLES // 2])
    told = ", ".join(f"{size / 1024:.0f}" for size in sizes)
    print(
        f"{rounds * frames_each_round} frames on the {core} core; resident KiB: {told}; grown {grown} bytes"
    )
    return 0 if grown <= ALLOWED_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
