"""A worker's half of many: greeting, beating, counting, orders (member.py).

It must not know the supervisor: its end of the control link is read by hand.
"""

from collections.abc import Iterator
from time import monotonic

import pytest

from python_server.net.link import Link, pair
from python_server.net.loop import Loop
from python_server.net.scoreboard import Row, Scoreboard
from python_server.settings import Settings
from python_server.workers import link_messages
from python_server.workers import member as module
from python_server.workers.member import Membership
from python_server.workers.peers import MessageKind, PeersState
from python_server.workers.spawn import WorkerSlot


class Bench:
    def __init__(self, max_requests: int = 0, jitter: int = 0, *, together: bool = False) -> None:
        self.reported: list[str] = []
        self.loop = Loop(self.report)
        self.board = Scoreboard(monotonic)
        self.row = self.board.claim()
        ours, theirs = pair()
        self.heard: list[int] = []
        self.supervisor = Link(
            self.loop, ours, lambda kind, payload, _: self.heard.append(kind), lambda: None, self.report
        )
        self.drained: list[int | None] = []
        self.reopened: list[bool] = []
        self.membership = Membership(
            WorkerSlot(1, self.row, "host", self.board, theirs, together=together),
            self.loop,
            Row(self.board, self.row),
            self.report,
            lambda kind, message: None,
            self.drained.append,
            lambda: self.reopened.append(True),
            lambda count: (2).to_bytes(count),
            Settings(
                max_requests_count=max_requests,
                max_requests_jitter_count=jitter,
                worker_timeout_seconds=0.04,
            ),
        )

    def report(self, what: str, error: BaseException) -> None:
        self.reported.append(f"{what}: {error}")

    def turn(self, times: int = 6) -> None:
        for _ in range(times):
            self.loop.run_once(0)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.supervisor.close()
    bench.membership.close()
    bench.turn()
    bench.loop.close()
    assert bench.reported == []


def test_a_worker_accepts_says_so_and_beats(bench: Bench) -> None:
    accepted: list[bool] = []
    bench.membership.begin(lambda: accepted.append(True))
    bench.turn()
    assert accepted == [True]
    assert bench.heard == [MessageKind.READY]
    assert bench.board.mean() == 0
    bench.membership.row.count(4)
    assert bench.board.mean() == 4
    first = bench.board._cells[bench.row * 3 + 2]
    while bench.board._cells[bench.row * 3 + 2] == first:
        bench.loop.run_once(5)


@pytest.mark.parametrize("how", ["word", "silence"])
def test_one_of_a_start_holds_back_until_all_are_there(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORD_MAX_SECONDS", 0.001 if how == "silence" else 1e9)
    bench = Bench(together=True)
    allowed: list[int | None] = []
    bench.membership.row.count(50)
    bench.membership.begin(lambda: allowed.append(bench.membership.row.allowance()))
    bench.turn()
    assert allowed == [None]
    assert bench.heard == [MessageKind.READY]
    if how == "word":
        assert bench.membership.row.allowance() is None
        bench.supervisor.send(MessageKind.ACCEPT)
    while bench.membership.row.allowance() is None:
        bench.loop.run_once(1)
    assert bench.membership.row.allowance() == 6  # of fifty, alone: an eighth more
    bench.supervisor.close()
    bench.membership.close()
    bench.turn()
    bench.loop.close()
    assert bench.reported == []


def test_a_worker_that_drains_before_it_serves_never_accepts(bench: Bench) -> None:
    accepted: list[bool] = []
    bench.membership.begin(lambda: accepted.append(True))
    bench.membership.leave(None)
    bench.turn()
    assert accepted == []
    assert bench.heard == [MessageKind.DRAINING]


def test_who_leaves_tells_the_supervisor_who_takes_over(bench: Bench) -> None:
    bench.membership.begin(lambda: None)
    bench.turn()
    assert bench.membership.queued_bytes() == 0
    bench.membership.leave(7)
    assert bench.membership.queued_bytes() > 0
    bench.turn()
    assert bench.heard == [MessageKind.READY, MessageKind.DRAINING, MessageKind.SUCCESSOR]


def test_what_the_supervisor_says_of_siblings_comes_to_them(bench: Bench) -> None:
    word = link_messages.Succession(3, 1)
    bench.supervisor.send(MessageKind.SUCCESSOR, link_messages.encode(word))
    bench.turn()
    assert bench.membership.siblings.successor_of(3) == 1


def test_orders_of_the_supervisor_are_passed_on(bench: Bench) -> None:
    bench.supervisor.send(MessageKind.DRAIN, link_messages.encode(link_messages.Drain(4)))
    bench.supervisor.send(MessageKind.DRAIN, link_messages.encode(link_messages.Drain(None)))
    bench.supervisor.send(MessageKind.REOPEN_LOGS)
    bench.turn()
    assert bench.drained == [4, None]
    assert bench.reopened == [True]
    assert bench.membership.stop_server()
    bench.turn()
    assert bench.heard == [MessageKind.STOP]
    bench.supervisor.close()
    bench.turn()
    assert bench.drained == [4, None, None]  # nobody is above us any more
    assert not bench.membership.stop_server()


def test_leaving_takes_the_worker_out_of_the_balance(bench: Bench) -> None:
    bench.membership.begin(lambda: None)
    bench.turn()
    bench.membership.row.count(9)
    bench.membership.leave(None)
    assert bench.board.mean() == 0
    assert bench.membership.siblings.state is PeersState.DRAINING


@pytest.mark.parametrize(("limit", "jitter"), [(3, 0), (3, 2), (0, 5)])
def test_a_worker_asks_once_to_be_replaced(limit: int, jitter: int) -> None:
    bench = Bench(limit, jitter)
    asked_after = 0
    for number in range(1, 20):
        bench.membership.count_request()
        bench.turn()
        if bench.heard and not asked_after:
            asked_after = number
    if limit:
        assert bench.heard == [MessageKind.REPLACE_ME]
        assert asked_after == limit + jitter
    else:
        assert bench.heard == []
    bench.membership.close()
    bench.supervisor.close()
    bench.turn()
    bench.loop.close()
