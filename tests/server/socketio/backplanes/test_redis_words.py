"""What a worker says of its broker: once for its machine, and not before it is known who speaks.

It must not know Redis: the links' news are told to it, nothing is connected.
"""

import pytest

from python_server.socketio.backplane import BrokerOptions, NoBackplane
from python_server.socketio.backplanes.leading import Place
from python_server.socketio.backplanes.redis_backplane import BrokerServices, RedisBackplane
from python_server.socketio.packet import TextCodec

pytest.importorskip("redis", reason="redis is not installed: pip install 'wsframe[redis]'")


class Told:
    """A backplane whose links tell what the test wants, and what it said of it."""

    def __init__(self, leads: bool = True, met: bool = True) -> None:
        self.said: list[str] = []
        self.leads, self.met = leads, met
        place = Place("host", 1, lambda: self.met and self.leads, lambda: self.met)
        services = BrokerServices(
            lambda function, *args, nbytes=0: function(*args),
            lambda seconds, function: None,
            lambda kind, line: None,
            self._fail,
            self.said.append,
            self.said.append,
            TextCodec,
            lambda: None,
        )
        self.backplane = RedisBackplane(
            BrokerOptions("redis://127.0.0.1:1/0", "channel"), NoBackplane(), place, services
        )

    @staticmethod
    def _fail(what: str, error: BaseException) -> None:
        raise error

    def links(self, up: bool, *names: str) -> None:
        for name in names or ("publish", "subscribe"):
            self.backplane._changed(name, up, "" if up else "it went")


def test_the_leader_says_that_its_machine_has_joined() -> None:
    told = Told()
    told.links(True, "subscribe")
    assert told.said == []
    told.links(True, "publish")
    assert told.said == ["joined the broker redis://127.0.0.1:1/0, channel 'channel'"]


def test_the_word_waits_until_the_workers_have_met() -> None:
    """The links of a machine's first worker may be there before it knows that it is the first."""
    told = Told(met=False)
    told.links(True)
    told.backplane.look()
    assert told.said == []
    told.met = True
    told.backplane.look()
    told.backplane.look()
    assert told.said == ["joined the broker redis://127.0.0.1:1/0, channel 'channel'"]


def test_who_does_not_lead_says_nothing() -> None:
    told = Told(leads=False, met=False)
    told.links(True)
    told.met = True
    told.backplane.look()
    told.links(False)
    told.links(True)
    told.leads = True
    told.backplane.look()
    assert told.said == []


def test_lost_and_there_again_are_said_once_each() -> None:
    told = Told()
    told.links(True)
    told.links(False)
    told.links(True)
    assert [line.split(":")[0] for line in told.said[1:]] == ["the broker redis"] * 2
    assert "is lost: it went; this machine serves on alone" in told.said[1]
    assert "is there again; 0 messages have been dropped" in told.said[2]


def test_a_leader_that_drains_is_busy_until_another_passes_on() -> None:
    """A worker that ended before would take with it what comes until its successor hears the channel."""
    told = Told()
    leading = told.backplane._leading
    leading.look()
    leading.subscribed()
    assert not told.backplane.leaving
    leading.word("host.1")
    assert not told.backplane.leaving
    told.leads = False
    told.backplane.look()
    assert told.backplane.leaving
    leading.word("host.2")
    assert not told.backplane.leaving
