"""Wiring, second half: sessions on their mounts, siblings, and what a request finds.

It must not know how a worker begins or ends.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator
from time import monotonic
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from python_server import EngineServer, Server
from python_server.engineio.packet import EnginePacketType
from python_server.net.link import Link, pair
from python_server.net.loop import Loop
from python_server.net.scoreboard import Scoreboard
from python_server.observe import log
from python_server.serve.mounts import Site
from python_server.workers import link_messages
from python_server.workers.peers import MessageKind
from python_server.workers.spawn import WorkerSlot
from wired_worker import POLLING, Wired, page, site_of, wire

__all__ = ["wire"]


def test_each_mount_has_sessions_within_the_bound_of_all(wire: Callable[..., Wired]) -> None:
    server = Server()
    wired = wire(site_of(server), sessions_max_count=1)
    assert [path for path, _ in wired.cluster.engines] == ["/socket.io/"]
    status, _, body = wired.ask(POLLING)
    assert status == 200
    sid = json.loads(body[1:])["sid"]
    assert "." not in sid  # one worker's names need no index
    assert list(wired.cluster.engines[0][1].sessions) == [sid]
    assert wired.ask(POLLING)[0] == 503
    assert wired.cluster.brokers() == []
    assert wired.cluster.recovery_handover is None


class Siblings:
    """The supervisor's end of one worker's link."""

    def __init__(self) -> None:
        ours, theirs = pair()
        self.board = Scoreboard(monotonic)
        self.slot = WorkerSlot(7, self.board.claim(), "host", self.board, theirs)
        self.ours = ours
        self.heard: list[int] = []

    def join(self, loop: Loop) -> Link:
        return Link(
            loop, self.ours, lambda kind, payload, _: self.heard.append(kind), lambda: None, log.report
        )


def test_one_of_several_is_a_member_whose_sessions_bear_its_index(wire: Callable[..., Wired]) -> None:
    several = Siblings()
    wired = wire(site_of(Server(connection_state_recovery=True)), several.slot, max_requests_count=2)
    supervisor = several.join(wired.loop)
    membership = wired.cluster.membership
    assert membership is not None
    begun: list[bool] = []
    membership.begin(lambda: begun.append(True))
    wired.until(lambda: several.heard == [MessageKind.READY])
    assert begun == [True]
    assert json.loads(wired.ask(POLLING)[2][1:])["sid"].startswith("7.")
    assert several.heard == [MessageKind.READY]
    wired.ask("/")
    wired.until(lambda: several.heard == [MessageKind.READY, MessageKind.REPLACE_ME])
    supervisor.send(MessageKind.DRAIN, link_messages.encode(link_messages.Drain(8)))
    wired.until(lambda: wired.drained == [8])
    assert wired.cluster.recovery_handover is not None
    assert wired.services.stop is not None
    foreign: Any = SimpleNamespace(path="/socket.io/", query="EIO=4&transport=polling&sid=8.abc")
    assert wired.services.stop(foreign)
    supervisor.close()


@pytest.fixture
def kept(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The lines of all logs."""
    lines: list[str] = []
    keeper = logging.Handler()
    keeper.emit = lambda record: lines.append(f"{record.name}: {record.getMessage()}")  # type: ignore[method-assign]
    loggers = [log.LOGGER, log.ACCESS, log.SOCKETIO, log.ENGINEIO]
    before = [(each, each.level) for each in loggers]
    monkeypatch.setattr(log.LOGGER, "handlers", [keeper])
    monkeypatch.setattr(log.ACCESS, "handlers", [])
    monkeypatch.setattr(log.ACCESS, "propagate", True)
    log.LOGGER.setLevel("INFO")
    log.ACCESS.setLevel("INFO")
    yield lines
    for each, level in before:
        each.setLevel(level)


@pytest.mark.parametrize("shown", [False, True])
def test_polls_of_an_open_session_have_lines_by_option_only(
    wire: Callable[..., Wired], kept: list[str], shown: bool
) -> None:
    wired = wire(site_of(Server()), access_log="-", access_log_polls=shown)
    sid = json.loads(wired.ask(POLLING)[2][1:])["sid"]
    session = wired.cluster.engines[0][1].sessions[sid]
    session.ping()
    assert wired.ask(f"{POLLING}&sid={sid}")[::2] == (200, b"2")
    assert wired.ask(f"{POLLING}&sid=unknown")[0] == 400
    assert wired.ask("/page?transport=polling&sid=x")[0] == 200  # it is no poll, whatever it says
    lines = [re.sub(r".*\"GET (.*) HTTP/1.1\" (\d+) .*", r"\1 \2", line) for line in kept]
    polls = [f"{POLLING}&sid=*** 200"] if shown else []
    others = [f"{POLLING}&sid=*** 400", "/page?transport=polling&sid=*** 200"]
    assert lines == [f"{POLLING} 200", *polls, *others]


def opened(wired: Wired) -> None:
    """A client comes over polling, and is told why another may not."""
    wired.ask(POLLING)
    wired.ask(POLLING.replace("polling", "pigeon"))
    engine = wired.cluster.engines[0][1]
    (session,) = engine.sessions.values()
    session.receive_packets(
        [(EnginePacketType.MESSAGE, "0"), (EnginePacketType.MESSAGE, '2["x","secret"]')], 5
    )


OFF: dict[str, Any] = {}
BOTH = {"logger": True, "engineio_logger": True}


@pytest.mark.parametrize(
    ("words", "level", "names"),
    [
        (OFF, "INFO", set()),
        (OFF, "DEBUG", {"python_server.socketio", "python_server.engineio"}),
        ({"logger": True}, "INFO", {"python_server.socketio"}),
        ({"engineio_logger": True}, "INFO", {"python_server.engineio"}),
        (BOTH, "WARNING", {"python_server.socketio", "python_server.engineio"}),
        ({"logger": False, "engineio_logger": None}, "INFO", set()),
    ],
)
def test_the_debug_log_is_for_who_asks_for_it(
    wire: Callable[..., Wired], kept: list[str], words: dict[str, Any], level: str, names: set[str]
) -> None:
    log.LOGGER.setLevel(level)
    opened(wire(site_of(Server(**words)), access_log=None))
    assert {line.partition(":")[0] for line in kept} == names
    assert ("python_server.engineio: refused GET" in "\n".join(kept)) == ("python_server.engineio" in names)
    assert any("event 'x' has no handler" in line for line in kept) == ("python_server.socketio" in names)


@pytest.mark.parametrize("shown", [False, True])
def test_what_events_say_is_shown_by_option_only(
    wire: Callable[..., Wired], kept: list[str], shown: bool
) -> None:
    opened(wire(site_of(Server(logger=True)), access_log=None, log_payloads=shown))
    (line,) = (line for line in kept if "event 'x' received" in line)
    assert ("secret" in line) is shown


def test_a_programs_own_loggers_have_the_lines(wire: Callable[..., Wired], kept: list[str]) -> None:
    own, engines = Mock(), Mock()
    opened(wire(site_of(Server(logger=own, engineio_logger=engines)), access_log=None))
    assert kept == []
    assert any("has no handler" in call.args[0] for call in own.info.mock_calls)
    assert any("refused GET" in call.args[0] for call in engines.info.mock_calls)


def test_an_engine_alone_has_lines_about_its_sessions(wire: Callable[..., Wired], kept: list[str]) -> None:
    engine = EngineServer(logger=True)
    wire(Site(page, [engine.mount("/socket.io/")]), access_log=None).ask(POLLING)
    assert [line.partition(" opened")[0][:-8] for line in kept] == ["python_server.engineio: session "]


def test_nobody_watches_unless_somebody_asks(wire: Callable[..., Wired], kept: list[str]) -> None:
    server = Server()
    wired = wire(site_of(server))
    assert wired.cluster.engines[0][1]._observer is None
    assert server._hub.services is not None
    assert server._hub.services.observer is None
