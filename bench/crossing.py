"""What a broadcast costs to cross to the other workers of a machine: `python bench/crossing.py`.

It must not know clients: nobody is in the room anywhere, so only the crossing is counted. All workers stand
on one loop in this process; the time of the processor is counted.
"""

import sys
import time
from pathlib import Path
from typing import Any

from python_server.net.loop import Loop
from python_server.socketio.cluster.pipe_backplane import PipeBackplane
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.packet import PacketType, TextCodec
from python_server.workers.peers import Peers

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "common"))
from joined_peers import joined

MESSAGES_COUNT = 2_000
ROUNDS_COUNT = 9


class Hub:
    """Takes what comes."""

    def __init__(self) -> None:
        self.taken_count = 0

    def receive(self, message: Any) -> None:
        self.taken_count += 1

    def answer(self, question: Any, reply: Any) -> None:
        raise AssertionError("nothing is asked here")


def report(what: str, error: object) -> None:
    print(what, error, file=sys.stderr)


def no_timer(seconds: float, function: Any) -> None:
    raise AssertionError("nothing is asked here")


def measure(workers_count: int, batch_count: int) -> tuple[float, float]:
    """Microseconds of the sender's publish, and of sending and receiving at each sibling, per message."""
    loop = Loop(report)
    siblings = [Peers(loop, index, report, report) for index in range(workers_count)]
    joined(*siblings)
    for _ in range(4):
        loop.run_once(0)
    hubs = [Hub() for _ in siblings]
    backplanes = [PipeBackplane(each, "/socket.io/", no_timer, report) for each in siblings]
    for backplane, hub in zip(backplanes, hubs, strict=True):
        backplane.start(hub)
    codec = TextCodec()
    prepared = [
        codec.prepare(PacketType.EVENT, "/", ("chat", {"number": number, "text": "x" * 100}))
        for number in range(batch_count)
    ]
    envelopes = [Envelope("/", ("room",), (), each) for each in prepared]
    publish_seconds, cross_seconds = [], []
    for _ in range(ROUNDS_COUNT):
        spent = [0.0, 0.0]
        for _ in range(MESSAGES_COUNT // batch_count):
            began = time.process_time()
            for envelope in envelopes:
                backplanes[0].publish(envelope)
            said = time.process_time()
            loop.run_once(0)
            loop.run_once(0)
            spent[0] += said - began
            spent[1] += time.process_time() - said
        publish_seconds.append(spent[0])
        cross_seconds.append(spent[1])
    messages_count = MESSAGES_COUNT // batch_count * batch_count
    assert hubs[-1].taken_count == messages_count * ROUNDS_COUNT
    for each in siblings:
        each.close()
    loop.close()
    share = 1e6 / messages_count
    return min(publish_seconds) * share, min(cross_seconds) * share / max(1, workers_count - 1)


def main() -> None:
    print("| workers | messages per turn | publish, us | send and receive, us per sibling |")
    print("|---:|---:|---:|---:|")
    for workers_count in (2, 4, 8):
        for batch_count in (1, 8, 64):
            publish, cross = measure(workers_count, batch_count)
            print(f"| {workers_count} | {batch_count} | {publish:.1f} | {cross:.1f} |")


if __name__ == "__main__":
    main()
