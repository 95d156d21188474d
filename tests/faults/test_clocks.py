"""Clocks jump: wall time to and fro, monotonic time an hour ahead, as after a laptop's sleep.

It must not know which part of the server asks which clock.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from faulty_world import Client, World
from injected_faults import Faults, FaultyMachine, injected
from python_server import Server
from python_server.observe import log
from python_server.serve.mounts import Site
from python_server.settings import Settings
from simulated_machine import WALL_SECONDS

HOUR_SECONDS = 3_600.0
DAY_SECONDS = 86_400.0


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


class Jumping(World):
    """One whose wall time is `jump_seconds` ahead of the machine's."""

    jump_seconds = 0.0


@pytest.fixture
def world() -> Iterator[Jumping]:
    faults = Faults()
    machine = FaultyMachine(1, faults)
    wall = machine.system.wall
    machine.system = replace(machine.system, wall=lambda: wall() + Jumping.jump_seconds)
    server = Server(ping_interval=25, ping_timeout=20)
    server.on("say", lambda sid, word: word)
    with tempfile.TemporaryDirectory() as folder, injected(faults, machine):
        world = Jumping(
            machine, faults, [Site(application, [server.mount("/socket.io/")])], Settings(), folder
        )
        yield world
        Jumping.jump_seconds = 0.0
        world.end()


def join(world: World) -> Client:
    client = world.client()
    assert client.upgrade("/socket.io/?EIO=4&transport=websocket")
    client.say("40")
    assert client.hear("0")
    assert client.hear("40")
    return client


def date_of(client: Client) -> float:
    client.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    assert client.until(lambda: b"\r\n\r\nok" in client.came or None)
    head = bytes(client.came).decode()
    client.came.clear()
    return parsedate_to_datetime(head.partition("Date: ")[2].partition("\r\n")[0]).timestamp()


def test_wall_time_may_go_to_and_fro(world: Jumping, caplog: pytest.LogCaptureFixture) -> None:
    """Answers and the access log show it as it is; nobody's session depends on it."""
    jumps = [0.0, DAY_SECONDS, -DAY_SECONDS, 2.0, 1_000.0 - WALL_SECONDS, 0.0]
    client, watching = world.client(), join(world)
    before, propagates = log.ACCESS.level, log.ACCESS.propagate
    log.ACCESS.setLevel(logging.INFO)
    log.ACCESS.propagate = log.LOGGER.propagate = True
    try:
        dates = []
        for Jumping.jump_seconds in jumps:
            dates.append(date_of(client))
    finally:
        log.ACCESS.setLevel(before)
        log.ACCESS.propagate = propagates
    assert [date - dates[0] for date in dates] == jumps
    lines = [record.getMessage() for record in caplog.records if '"GET / ' in record.getMessage()]
    shown = [datetime.strptime(re.findall(r"\[(.*?)\]", line)[0], "%d/%b/%Y:%H:%M:%S %z") for line in lines]
    assert [moment.timestamp() for moment in shown] == dates
    watching.say('420["say","still here"]')
    assert watching.hear("43") == '430["still here"]'


@pytest.mark.parametrize("pinged", [False, True], ids=["quiet", "pinged"])
def test_an_hour_of_sleep_ends_no_client_that_answers(world: Jumping, pinged: bool) -> None:
    """The machine sleeps: what a client has answered before, or answers then, counts; who is silent ends."""
    client, silent, half = join(world), join(world), world.client()
    half.send(b"GET / HT")
    world.machine.run(1.0)
    if pinged:
        world.machine.run(25.0)
        client.look()  # its pong is on its way
    world.machine.now += HOUR_SECONDS
    for _ in range(30):
        world.machine.run(5.0)
        client.look()
    client.say('420["say","awake"]')
    assert client.hear("43") == '430["awake"]'
    silent.look()
    half.look()
    assert silent.ended
    assert b" 408 " in half.came
    assert [len(engine.sessions) for _, engine in world.workers[0]._cluster.engines] == [1]
    assert date_of(world.client())
