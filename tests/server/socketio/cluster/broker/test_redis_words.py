"""What a worker says of its broker: once for its machine, and not before it is known who speaks.

It must not know Redis: the links' news are told to it, nothing is connected.
"""

from collections.abc import Callable
from typing import Any

import pytest

from python_server.net.loop import Timer
from python_server.socketio.cluster.broker import leader
from python_server.socketio.cluster.broker.backplane import BrokerServices, RedisBackplane
from python_server.socketio.cluster.broker.connections import BrokerLinkState
from python_server.socketio.cluster.broker.leader import Place, Word
from python_server.socketio.cluster.broker.wire_json import write_command
from python_server.socketio.cluster.port import BrokerOptions, Envelope, NoBackplane, Question
from python_server.socketio.packet import TextCodec

pytest.importorskip("redis", reason="redis is not installed: pip install 'wsframe[redis]'")


class Told:
    """A backplane whose links tell what the test wants, and what it said of it."""

    def __init__(self, leads: bool = True, met: bool = True, succeeds: bool = False) -> None:
        self.said: list[str] = []
        self.leads, self.met = leads, met
        self.timers: list[Timer] = []
        place = Place("host", 1, lambda: self.met and self.leads, lambda: self.met, lambda: succeeds)
        services = BrokerServices(
            lambda function, *args, nbytes=0: function(*args),
            self._call_later,
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

    def _call_later(self, seconds: float, function: Callable[[], Any]) -> Timer:
        self.timers.append(Timer(seconds, function))
        return self.timers[-1]

    @staticmethod
    def _fail(what: str, error: BaseException) -> None:
        raise error

    def links(self, up: bool, *names: str) -> None:
        state = BrokerLinkState.UP if up else BrokerLinkState.LOST
        for name in names or ("publish", "subscribe"):
            self.backplane._changed(name, state, "" if up else "it went")


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
    told.links(True)
    leading = told.backplane._leadership
    leading.look()
    leading.subscribed()
    assert not told.backplane.leaving
    leading.heard(Word.LEAD, "host.1")
    assert not told.backplane.leaving
    told.leads = False
    told.backplane.look()
    assert told.backplane.leaving
    leading.heard(Word.LEAD, "host.2")
    assert not told.backplane.leaving


@pytest.mark.parametrize("heard", [False, True], ids=["its word is on its way", "it leads"])
@pytest.mark.parametrize("lost_first", [False, True])
def test_a_worker_that_drains_waits_for_nobody_while_the_broker_is_away(
    heard: bool, lost_first: bool
) -> None:
    """It would stay for the whole of its graceful time: no word can come."""
    told = Told()
    told.links(True)
    leading = told.backplane._leadership
    leading.look()
    leading.subscribed()
    if heard:
        leading.heard(Word.LEAD, "host.1")
    if lost_first:
        told.links(False)
    told.leads = False
    told.backplane.look()
    if not lost_first:
        assert told.backplane.leaving
        told.links(False)
    assert not told.backplane.leaving


class Ear:
    """The Receiver port: keeps what it is told, in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def receive(self, message: Any) -> None:
        self.heard.append(str(message.prepared.packets[0]) if isinstance(message, Envelope) else message.kind)

    def answer(self, question: Question, reply: Any) -> None:
        self.heard.append(question.kind)
        reply(None)


def said(number: int) -> tuple[bytes, bytes]:
    """An emit that another machine has published."""
    return b"channel", b'{"method":"emit","event":"said","data":[%d],"host_id":"other.1"}' % number


def word(method: Word, name: str, successor: str | None = None) -> tuple[bytes, bytes]:
    return b"channel", write_command(method, name, "/", detail=successor)


CLOSE_ROOM = (b"channel", b'{"method":"close_room","room":"r","namespace":"/","host_id":"other.1"}')


@pytest.mark.parametrize("ending", ["left", "time", "lost"])
def test_what_stands_behind_its_word_waits_for_the_predecessor(ending: str) -> None:
    """Else it could overtake what the predecessor still passes on (the whole machine: test_leader.py)."""
    told = Told(succeeds=True)
    ear = told.backplane._handler.receiver = Ear()
    told.backplane._leadership.look()
    told.backplane._heard([(b"channel", None), said(0), word(Word.LEAD, "host.1"), said(1), CLOSE_ROOM], 0)
    told.backplane._heard([word(Word.LEFT, "host.0", "host.3"), word(Word.LEFT, "elsewhere.1", "host.1")], 0)
    assert ear.heard == []
    (timer,) = told.timers
    if ending == "left":
        told.backplane._heard([said(2), word(Word.LEFT, "host.0", "host.1"), said(3)], 0)
        assert timer.function is None
    else:
        told.backplane._heard([said(2)], 0)
        if ending == "time":
            assert timer.function is not None
            timer.function()
        else:
            told.links(False, "subscribe")
        told.backplane._heard([said(3)], 0)
    assert ear.heard == ['42["said",1]', "close_room", '42["said",2]', '42["said",3]']


def test_a_successor_that_must_keep_too_much_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "HELD_MAX_COUNT", 10)
    told = Told(succeeds=True)
    ear = told.backplane._handler.receiver = Ear()
    told.backplane._leadership.look()
    told.backplane._heard([(b"channel", None), word(Word.LEAD, "host.1")], 0)
    told.backplane._heard([said(number) for number in range(10)], 0)
    assert ear.heard == []
    told.backplane._heard([said(10)], 0)
    assert ear.heard == [f'42["said",{number}]' for number in range(11)]
