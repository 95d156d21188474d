"""What metadata costs at a join, and what credentials that end cost meanwhile: `python bench/membership.py`.

It must not know sockets: sessions over a link without a wire; the time of the processor is counted.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from python_server.net.loop import Loop

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "common"))
from socketio_world import WALL, World

CLIENTS_COUNT = 10_000
ROUNDS_COUNT = 9
BATCH_COUNT = 500
META = {"name": "Ann", "colour": "red", "typing": False}
PING_INTERVAL_SECONDS = 25.0


def spent(act: Any) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


def joins(has_handler: bool, by_event: bool = False) -> tuple[float, float]:
    """Microseconds of a join into a room of CLIENTS_COUNT, without and with metadata, in turn.

    Args:
        by_event: with the client's event whose handler calls it, and the acknowledgement.
    """
    world = World()
    world.on("plain", lambda socket: world.hub.join("/", socket.sid, "plain"))
    world.on("described", lambda socket: world.hub.join("/", socket.sid, "described", META, socket.sid))
    if has_handler:
        world.hub.handlers.on_presence(lambda *move: None)
    peers = [world.peer() for _ in range(CLIENTS_COUNT + BATCH_COUNT)]
    sids = [peer.names["sid"] for peer in peers]
    members, guests = sids[:CLIENTS_COUNT], sids[CLIENTS_COUNT:]
    for number, sid in enumerate(members):
        world.hub.join("/", sid, "plain")
        world.hub.join("/", sid, "described", META, f"user {number // 2}")
    world.run()
    costs: dict[str, list[float]] = {"plain": [], "described": []}

    def ask(room: str) -> None:
        for peer in peers[CLIENTS_COUNT:]:
            peer.session.receive(f'421["{room}"]')
        world.run()

    def join(room: str) -> None:
        for number, sid in enumerate(guests):
            if room == "plain":
                world.hub.join("/", sid, room)
            else:
                world.hub.join("/", sid, room, META, f"guest {number}")
        world.run()

    for _ in range(ROUNDS_COUNT):
        for room, found in costs.items():
            act = ask if by_event else join
            found.append(spent(lambda act=act, room=room: act(room)) / BATCH_COUNT * 1e6)
            for sid in guests:
                world.hub.leave("/", sid, room)
            world.run()
    return median(costs["plain"]), median(costs["described"])


def minutes() -> tuple[float, float]:
    """Milliseconds in a minute of CLIENTS_COUNT heartbeats, and of as many credentials that end later."""
    world = World()
    loop = Loop(print)
    world.services = replace(world.services, call_later=loop.call_later)
    world.serve(world.hub)
    peers = [world.peer() for _ in range(CLIENTS_COUNT)]
    connections = world.hub._running.connections
    for peer in peers:
        connections.expire("/", peer.names["sid"], WALL + 10**6)
    sockets = world.hub.sockets()
    costs: tuple[list[float], list[float]] = [], []

    def beat() -> None:
        for peer in peers:
            peer.session.ping()
            peer.session.receive("3")

    def look() -> None:
        for socket in sockets:
            connections._watch_expiry(socket)

    for _ in range(ROUNDS_COUNT):
        costs[0].append(spent(beat) * 60 / PING_INTERVAL_SECONDS * 1e3)
        costs[1].append(spent(look) * 1e3)
        for peer in peers:
            peer.link.messages.clear()
    return median(costs[0]), median(costs[1])


def main() -> None:
    for has_handler, by_event in ((True, True), (False, False), (True, False)):
        plain, described = joins(has_handler, by_event)
        words = ("with" if has_handler else "without") + " presence handlers"
        words += ", an event and its acknowledgement included" if by_event else ", the call alone"
        print(f"a join, {words}: {plain:.2f} us, with metadata {described:.2f} us: {described / plain:.2f}x")
    beats, looks = minutes()
    print(f"{CLIENTS_COUNT} clients, each minute: heartbeats {beats:.0f} ms, credentials {looks:.0f} ms")


if __name__ == "__main__":
    main()
