"""Wiring, second half: sessions on their mounts, siblings, and what a request finds.

It must not know how a worker begins or ends.
"""

import json
from collections.abc import Callable
from time import monotonic
from types import SimpleNamespace
from typing import Any

from python_server import Server
from python_server.net.link import Link, pair
from python_server.net.loop import Loop
from python_server.net.scoreboard import Scoreboard
from python_server.observe import log
from python_server.workers import link_messages
from python_server.workers.peers import MessageKind
from python_server.workers.spawn import WorkerSlot
from wired_worker import POLLING, Wired, site_of, wire

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
