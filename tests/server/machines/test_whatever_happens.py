"""Clients of three machines do this and that, and links break: answers are right, and nothing is left over.

It must not know how requests are passed on.
"""

import random
from typing import Any

import pytest

from machine_world import World
from worker_town import Client, frame, frames_decoder, get, post, upgrade

TAGS = ("m1", "m2", "m3")
STEPS_COUNT = 150


def query(sid: str) -> str:
    return f"EIO=4&transport=polling&sid={sid}"


class Play:
    """`alive`: sessions that nothing has ended yet; each has one client's poll at most."""

    def __init__(self, seed: int) -> None:
        self.world = World(3)
        self.chance = random.Random(seed)
        self.alive: list[str] = []
        self.polls: dict[str, Client] = {}
        self.said = 0

    def session_of(self, sid: str) -> Any:
        return self.world[sid[:2]].engine.sessions.get(sid)

    def channels_count(self) -> int:
        return sum(len(machine.acceptor.channels) for machine in self.world.machines.values())

    def client(self) -> Client:
        return self.world.connect(self.chance.choice(TAGS))

    def one(self) -> str:
        return self.chance.choice(self.alive)

    def open(self) -> None:
        self.alive.append(self.world.session(self.chance.choice(TAGS)))

    def say(self) -> None:
        sid, text = self.one(), "x" * self.chance.choice((1, 10, 70_000))
        client = self.client()
        data = post(sid, b"4" + text.encode(), chunked=len(text) < 20 and self.chance.random() < 0.5)
        cut = self.chance.randrange(len(data))
        client.send(data[:cut])
        self.world.turn(self.chance.randrange(4))
        client.send(data[cut:])
        assert client.response() == (200, b"ok")
        self.hear(sid)
        client.leave()

    def hear(self, sid: str) -> None:
        """What was said comes back, by the poll that waits or a new one."""
        client = self.polls.pop(sid, None)
        if client is None:
            client = self.client()
            client.send(get(query(sid)))
        status, body = client.response()
        assert (status, body[:2]) == (200, b"4x")
        client.leave()

    def wait(self) -> None:
        sid = self.one()
        if sid not in self.polls:
            client = self.polls[sid] = self.client()
            client.send(get(query(sid)))
            self.world.until(lambda: self.session_of(sid)._answer is not None)

    def leave(self) -> None:
        """A client goes whose poll waits: its session ends, as at home."""
        if self.polls:
            sid = self.chance.choice(list(self.polls))
            self.polls.pop(sid).leave()
            self.alive.remove(sid)
            self.world.until(lambda: self.session_of(sid) is None)

    def half(self) -> None:
        """A client goes within its post, of which its home never hears (there it would end the session)."""
        sid = self.one()
        client = self.world.connect(self.chance.choice([tag for tag in TAGS if tag != sid[:2]]))
        data = post(sid, b"4" + b"y" * 50)
        client.send(data[: self.chance.randrange(len(data))])
        self.world.turn(self.chance.randrange(4))
        client.leave()

    def guess(self) -> None:
        sid = self.one()
        client = self.client()
        guessed = sid[:-1] + ("b" if sid.endswith("a") else "a")
        client.send(self.chance.choice((get(query(guessed)), post(guessed, b"4z"))))
        assert client.response()[0] == 400
        client.leave()

    def websocket(self) -> None:
        sid = self.one()
        if sid in self.polls:
            return
        client = self.client()
        client.send(upgrade(sid) + frame("2probe"))
        if self.chance.random() < 0.3:  # it thinks better of it
            self.world.turn(self.chance.randrange(12))
            client.leave()
            self.world.until(lambda: self.channels_count() == len(self.polls))  # one probe at a time
            return
        assert client.response()[0] == 101
        assert client.messages(1, decoder := frames_decoder()) == ["3probe"]
        client.send(frame("5") + frame("4up"))
        assert client.messages(1, decoder) == ["4up"]
        client.leave()
        self.alive.remove(sid)
        self.world.until(lambda: self.session_of(sid) is None)

    def break_link(self) -> None:
        """Polls that wait on it are refused, and their sessions end; no other one does."""
        links = [(tag, link) for tag in TAGS for link in self.world[tag].entrance._links]
        if not links:
            return
        _, link = self.chance.choice(links)
        waiting = {exchange.request.query.rpartition("=")[2] for exchange, _ in link._waiting.values()}
        link.stream.close("broken")
        for sid in waiting:
            self.alive.remove(sid)
            assert self.polls[sid].response()[0] == 400
            self.polls.pop(sid).leave()
        self.world.until(lambda: all(self.session_of(sid) is None for sid in waiting))
        self.world.turn()

    def end(self) -> None:
        world = self.world
        for sid in self.alive:
            assert self.session_of(sid) is not None
        for client in world.clients:
            client.leave()
        machines = world.machines.values()
        world.until(lambda: not any(machine.acceptor.channels for machine in machines))
        world.until(lambda: not any(link._waiting for each in machines for link in each.entrance._links))
        for machine in machines:
            for link in machine.links._links.values():
                assert (link._asked, link._numbers, link.stream.held) == ({}, {}, {})
            assert not machine.links._attempts
            assert not machine.links._waiting
            assert not machine.entrance._doorkeepers
        world.until(lambda: not any(each.links.relayed or each.entrance._streams for each in machines))
        world.close()
        assert world.faults == []


@pytest.mark.parametrize("seed", range(8))
def test_whatever_clients_do_and_whichever_link_breaks(seed: int) -> None:
    play = Play(seed)
    for _ in range(4):
        play.open()
    steps = [play.open, play.say, play.say, play.say, play.wait, play.wait, play.leave, play.half, play.guess]
    steps += [play.websocket, play.break_link]
    for _ in range(STEPS_COUNT):
        while len(play.alive) < 3:
            play.open()
        play.chance.choice(steps)()
    play.end()
