"""What a server keeps of clients that have gone: objects by type, allocated blocks, private memory.

It must not know the server's insides: clients come and leave in every way, then the application counts.

    python tests/e2e/drivers/cycles.py [--cycles 10000]
"""

import argparse
import asyncio
import json
from typing import Any

from sessions import Client, memory_bytes, serving  # type: ignore[import-not-found]

WARM_UP_COUNT = 1200
AT_ONCE_COUNT = 50
HALF = b'451-["take",{"_placeholder":true,"num":0}]'


async def lose_websocket(client: Any) -> None:
    await client.open("websocket")


async def lose_half_a_packet(client: Any) -> None:
    await client.open("websocket")
    client.send_frame(HALF)
    await client.writer.drain()


async def lose_an_ack(client: Any) -> None:
    await client.open("websocket")
    client.send_frame(b'42["ask"]')
    assert b"question" in await client.frame()


async def lose_a_parked_poll(client: Any) -> None:
    await client.open("polling")
    client.write("GET", f"transport=polling&sid={client.sid}")
    await client.writer.drain()


async def say_goodbye(client: Any) -> None:
    await client.open("polling")
    await client.request("POST", f"transport=polling&sid={client.sid}", b"1")


async def leave_a_question_unfetched(client: Any) -> None:
    """The question stays in the queue of a session whose poll is lost before it is answered."""
    await client.open("polling")
    await client.request("POST", f"transport=polling&sid={client.sid}", b'42["ask"]\x1e' + HALF)
    await client.request("POST", f"transport=polling&sid={client.sid}", b"bAQI=\x1e1")


WAYS = [
    lose_websocket,
    lose_half_a_packet,
    lose_an_ack,
    lose_a_parked_poll,
    say_goodbye,
    leave_a_question_unfetched,
]


async def cycle(port: int, number: int) -> None:
    client = Client(port)
    await WAYS[number % len(WAYS)](client)
    client.writer.close()
    await client.writer.wait_closed()


async def left(port: int, count: int) -> tuple[dict[str, int], int]:
    """Objects by type, and allocated blocks, once so many have gone."""
    asker = Client(port)
    asker.reader, asker.writer = await asyncio.open_connection("127.0.0.1", port)
    asker.writer.write(f"GET /left/{count} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    answer = json.loads(await asker.read())
    asker.writer.close()
    assert answer["gone"] == count, f"{answer['gone']} of {count} clients have gone"
    return answer["objects"], answer["blocks"]


async def measure(port: int, process: int, cycles_count: int) -> None:
    done_count = 0
    seen: list[tuple[dict[str, int], int, int]] = []
    for goal in (WARM_UP_COUNT, WARM_UP_COUNT + cycles_count):
        while done_count < goal:
            numbers = range(done_count, min(done_count + AT_ONCE_COUNT, goal))
            await asyncio.gather(*(cycle(port, number) for number in numbers))
            done_count = numbers.stop
        seen.append((*await left(port, goal), memory_bytes(process)))
    (before, blocks_before, memory_before), (after, blocks_after, memory_after) = seen
    grown = {name: count - before.get(name, 0) for name, count in after.items()}
    most = max(grown, key=lambda name: grown[name])
    print(f"{cycles_count} clients came and went: at most {grown[most]} objects more of a type ({most})")
    print(f"allocated blocks, strings and all: {blocks_after - blocks_before:+}")
    print(f"private memory: {(memory_after - memory_before) / cycles_count:+.1f} bytes per client")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=10_000)
    options = parser.parse_args()
    with serving("cycles_app:app") as (port, process):
        asyncio.run(measure(port, process, options.cycles))


if __name__ == "__main__":
    main()
