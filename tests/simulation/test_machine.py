"""The simulated machine itself: a whole worker on it, and the same again with the same seed.

It must not know how a worker is wired.
"""

from __future__ import annotations

import logging
import socket
from functools import partial
from itertools import count
from typing import Any

import pytest

from python_server import Server
from python_server.net.threads import ServerStopped, Waiter
from python_server.serve.mounts import Site
from python_server.settings import Settings
from simulated_machine import Machine, Stuck, ToldPool
from wsframe import Connection, Role

UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
NUMBERS = range(20)


def nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise AssertionError("nobody asked")


def numbering() -> Server:
    """Numbers what it hears; a thread asks the loop before it answers everybody."""
    server, numbers = Server(), count()

    @server.on("say")
    def say(sid: str, word: str) -> int:
        server.enter_room(sid, "all")
        assert "all" in server.rooms(sid)
        number = next(numbers)
        server.emit("said", [number, word], room="all")
        return number

    return server


class Talker:
    """A WebSocket client that says its words one after the other, without waiting."""

    def __init__(self, end: socket.socket, name: str) -> None:
        self._end = end
        self._frames = Connection(Role.CLIENT)
        self._head: bytes | None = b""
        self.heard: list[str] = []
        end.send(UPGRADE)
        self._words = [f'42{number}["say","{name}{number}"]' for number in NUMBERS]

    def look(self) -> None:
        try:
            data = self._end.recv(65_536)
        except BlockingIOError:
            return
        if self._head is not None:
            self._head += data
            _, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._head = None
            self._frames.send_text("40")
        for message in self._frames.receive_data(data) if data else []:
            assert isinstance(message, str)
            self.heard.append(message)
            if message.startswith("40"):
                for word in self._words:
                    self._frames.send_text(word)
            elif message == "2":
                self._frames.send_text("3")
        self._end.send(self._frames.data_to_send())


def conversation(seed: int) -> list[list[str]]:
    machine = Machine(seed)
    worker = machine.worker(Site(nothing, [numbering().mount("/socket.io/")]), Settings())
    talkers = [Talker(machine.connect(worker), name) for name in "ab"]

    def told() -> bool:
        for talker in talkers:
            talker.look()
        return all(len([word for word in talker.heard if word.startswith("43")]) == 20 for talker in talkers)

    machine.run(10.0, told)
    machine.run(1.0)
    told()
    machine.end(worker)
    assert machine.now == pytest.approx(5_001.0)
    for talker in talkers:
        talker._end.close()
    return [talker.heard for talker in talkers]


def test_a_seed_says_the_same_again() -> None:
    heard = {seed: conversation(seed) for seed in (1, 2, 3)}
    assert heard[1] != heard[2] != heard[3]
    assert heard == {seed: conversation(seed) for seed in heard}
    for talk in heard[1]:
        own = [int(word[2:].partition("[")[0]) for word in talk if word.startswith("43")]
        assert own == [*NUMBERS]


def test_a_handler_whose_worker_ends_while_it_waits_for_it_has_made_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine, server, ends = Machine(1), Server(), list[str]()

    @server.event
    def connect(sid: str, environ: Any) -> None:
        try:
            server.enter_room(sid, "all")  # the last turn of the loop answers this
            server.enter_room(sid, "some")
        except ServerStopped:
            ends.append(sid)
            raise

    worker = machine.worker(Site(nothing, [server.mount("/socket.io/")]), Settings())
    talker = Talker(machine.connect(worker), "a")
    while not any(pool.away for pool in machine.pools):
        talker.look()
        assert machine.step()
    machine.end(worker)
    talker._end.close()
    assert len(ends) == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_time_passes_where_nobody_acts() -> None:
    machine = Machine(1)
    worker = machine.worker(Site(nothing), Settings())
    client = machine.connect(worker)
    client.send(b"GET / HT")
    machine.run(60.0, until=lambda: not worker._acceptor.channels)
    assert client.recv(1_000).startswith(b"HTTP/1.1 408 ")
    assert 5_000.0 < machine.now < 5_060.0
    with pytest.raises(Stuck, match="seed 1: waited in vain"):
        machine.run(5.0, until=partial(bool, ()))
    machine.end(worker)
    client.close()


def test_what_is_held_back_comes_later() -> None:
    machine = Machine(1)
    worker = machine.worker(Site(nothing), Settings())
    client = machine.connect(worker)
    machine.hold(client, 2.0)
    client.send(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
    answers: list[float] = []

    def answered() -> bool:
        try:
            client.recv(1)
        except BlockingIOError:
            return False
        return bool(answers.append(machine.now) or True)

    machine.run(60.0, answered)
    assert answers == [5_002.0]
    machine.end(worker)
    client.close()


def test_a_thread_goes_on_in_the_step_behind_its_answer() -> None:
    """Whoever brings it: how fast the system wakes it decides nothing."""
    machine = Machine(1)
    pool = ToldPool("threads", machine.loop())
    machine.pools.append(pool)
    heard: list[int] = []
    for number in range(50):
        waiter: Waiter[int] = Waiter()
        pool.submit(lambda waiter=waiter: heard.append(waiter.wait(60.0)))  # type: ignore[misc]
        assert machine.step()
        assert not machine.step()
        waiter.set(number)
        assert machine.step()
        assert heard[-1] == number
    pool.close(0.0)
    machine.loops[0].close()
