"""The workers' view of each other: found, lost, leader, successions, full queues (peers.py).

It must not know what the messages are for; several workers stand on one loop here.
"""

import os
from collections.abc import Callable, Iterator

import msgspec
import pytest

from joined_peers import joined
from python_server.net.link import Link, pair
from python_server.net.loop import Loop
from python_server.workers import link_messages
from python_server.workers import peers as module
from python_server.workers.peers import MessageKind, Peers


class Machine:
    def __init__(self) -> None:
        self.reported: list[str] = []
        self.complaints: list[str] = []
        self.loop = Loop(self.report)
        self.everybody: list[Peers] = []

    def report(self, what: str, error: BaseException) -> None:
        self.reported.append(f"{what}: {error}")

    def worker(
        self, index: int, max_queued_bytes: int = 1_000_000, successors: dict[int, int] | None = None
    ) -> Peers:
        siblings = Peers(
            self.loop,
            index,
            self.report,
            lambda kind, message: self.complaints.append(message),
            successors=successors,
            max_queued_bytes=max_queued_bytes,
        )
        self.everybody.append(siblings)
        return siblings

    def turn(self, times: int = 6) -> None:
        for _ in range(times):
            self.loop.run_once(0)


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    for siblings in machine.everybody:
        siblings.close()
    machine.turn()
    machine.loop.close()
    assert machine.reported == []


def three(machine: Machine) -> list[Peers]:
    workers = [machine.worker(index) for index in (1, 2, 3)]
    joined(*workers)
    machine.turn()
    return workers


def test_joined_workers_know_each_other(machine: Machine) -> None:
    workers = three(machine)
    assert [each.living for each in workers] == [(2, 3), (1, 3), (1, 2)]
    assert [each.leader() for each in workers] == [True, False, False]
    assert [workers[0].successor_of(index) for index in (1, 2, 3, 4)] == [1, 2, 3, None]


def test_messages_to_one_and_to_all_come_in_order_with_their_sender(machine: Machine) -> None:
    first, second, third = three(machine)
    got: list[tuple[str, int, bytes]] = []
    second.on(MessageKind.ENVELOPE, lambda index, payload, _: got.append(("second", index, payload)))
    third.on(MessageKind.ENVELOPE, lambda index, payload, _: got.append(("third", index, payload)))
    assert first.send(3, MessageKind.ENVELOPE, b"a", b"b")
    assert first.send_all(MessageKind.ENVELOPE, b"c") == 0
    assert not first.send(9, MessageKind.ENVELOPE, b"")
    machine.turn()
    assert [message for message in got if message[0] == "third"] == [("third", 1, b"ab"), ("third", 1, b"c")]
    assert [message for message in got if message[0] == "second"] == [("second", 1, b"c")]


def test_each_function_of_a_kind_is_called(machine: Machine) -> None:
    first, second, _ = three(machine)
    got: list[bytes] = []
    second.on(MessageKind.ENVELOPE, lambda index, payload, _: got.append(payload))
    second.on(MessageKind.ENVELOPE, lambda index, payload, _: got.append(payload))
    first.send(2, MessageKind.ENVELOPE, b"x")
    machine.turn()
    assert got == [b"x", b"x"]


def test_a_descriptor_travels_and_one_that_nobody_takes_is_closed(machine: Machine) -> None:
    first, second, _ = three(machine)
    taken: list[int | None] = []
    second.on(MessageKind.CONNECTION, lambda index, payload, descriptor: taken.append(descriptor))
    read, write = os.pipe()
    assert first.send(2, MessageKind.CONNECTION, b"", descriptor=os.dup(write))
    assert first.send(3, MessageKind.CONNECTION, b"", descriptor=write)
    machine.turn()
    assert taken[0] is not None
    os.write(taken[0], b"through")
    os.close(taken[0])
    assert os.read(read, 100) == b"through"
    assert os.read(read, 100) == b""  # no copy is open any more
    os.close(read)
    assert machine.complaints == [f"a message of kind {MessageKind.CONNECTION:d} from worker 1 is not taken"]


def test_a_sibling_that_does_not_read_loses_messages_and_holds_nobody_up(machine: Machine) -> None:
    first, second, third = (machine.worker(index, 100_000) for index in (1, 2, 3))
    joined(first, second, third)
    machine.turn()
    got: list[bytes] = []
    third.on(MessageKind.ENVELOPE, lambda index, payload, _: got.append(payload))
    machine.loop.remove_reader(second._links[1]._descriptor)
    sent = dropped = 0
    while dropped < 3:
        dropped += first.send_all(MessageKind.ENVELOPE, b"x" * 50_000)
        sent += 1
        machine.turn(3)
    assert first.dropped[MessageKind.ENVELOPE] == 3
    assert len(got) == sent
    assert "1 of 2 workers do not keep up" in machine.complaints[0]


def test_one_that_has_just_ended_is_not_said_to_be_slow(machine: Machine) -> None:
    first, second, _ = three(machine)
    machine.loop.remove_reader(first._links[2]._descriptor)  # its end has not been read yet
    second.close()
    for _ in range(3):
        assert first.send_all(MessageKind.ENVELOPE, b"x") == 0
        machine.turn()
    assert (first.hears(2), first.hears(3)) == (False, True)
    assert first.any_unnoticed()  # by itself: what the second one said before is still to be read
    assert (
        machine.complaints == [f"a message of kind {MessageKind.ENVELOPE:d} from worker 1 is not taken"] * 3
    )


def test_who_has_gone_speaks_as_long_as_somebody_has_not_noticed(machine: Machine) -> None:
    first, second, third = three(machine)
    link = third._links[1]
    machine.loop.remove_reader(link._descriptor)  # its last words have not been read there
    first.close()
    machine.turn()
    assert second.any_unnoticed()
    third.living = (2,)  # as if it had never been greeted by the first one: it says so all the same
    third._lost(1)
    link.close()
    machine.turn()
    assert not second.any_unnoticed()
    assert not third.any_unnoticed()


def test_the_end_of_a_worker_is_told_and_the_next_one_leads(machine: Machine) -> None:
    first, second, third = three(machine)
    lost: list[int] = []
    changed: list[bool] = []
    second.on_lost(lost.append)
    second.on_changed(lambda: changed.append(second.leader()))
    first.close()
    machine.turn()
    assert lost == [1]
    assert changed == [True, True]  # when it has gone, and when the third one has noticed
    assert not second.any_unnoticed()
    assert not third.leader()
    assert second.successor_of(1) is None
    assert not second.send(1, MessageKind.ENVELOPE, b"")


def test_a_draining_worker_leads_no_more_and_nobody_takes_over_from_it(machine: Machine) -> None:
    first, second, third = three(machine)
    assert first.likely_successor() == 3
    assert not first.any_beginning()
    first.announce_draining(None)
    machine.turn()
    assert [each.leader() for each in (first, second, third)] == [False, True, False]
    assert second.living == (1, 3)  # it still hears everything
    assert second.successor_of(1) == 1
    assert third.likely_successor() == 2
    first.close()
    machine.turn()
    assert second.successor_of(1) is None


def test_a_successor_is_followed_to_whoever_took_over_from_it(machine: Machine) -> None:
    first, second, third = three(machine)
    first.announce_draining(2)
    machine.turn()
    assert [each.successor_of(1) for each in (first, second, third)] == [2, 2, 2]
    second.announce_draining(3)
    machine.turn()
    second.close()
    first.close()
    machine.turn()
    assert third.successor_of(1) == third.successor_of(2) == 3
    assert third.likely_successor() is None


def test_of_many_successions_the_oldest_are_forgotten(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SUCCESSIONS_MAX_COUNT", 2)
    worker = machine.worker(5)
    for index in (1, 2, 3):
        worker.told(MessageKind.SUCCESSOR, link_messages.encode(link_messages.Succession(index, 5)), None)
    assert [worker.successor_of(index) for index in (1, 2, 3)] == [None, 5, 5]


def test_a_worker_that_starts_serves_only_when_those_who_serve_know_it(machine: Machine) -> None:
    first, second = machine.worker(1), machine.worker(2)
    joined(first, second)
    machine.turn()
    new, starting = machine.worker(3), machine.worker(4)
    for old in (first, second):
        ours, theirs = pair()
        old.join(3, ours, serving=False)
        new.join(old.index, theirs, serving=True)
    ours, theirs = pair()
    new.join(4, ours, serving=False)  # it has not come up yet: nobody waits for it
    starting.join(3, theirs, serving=False)
    machine.turn()
    assert first.living == (2,)
    assert (first.any_beginning(), starting.any_beginning()) == (True, True)
    known: list[tuple[int, ...]] = []
    new.begin(lambda: known.append((*first.living, *second.living)))
    machine.turn(12)
    assert known == [(2, 3, 1, 3)]
    assert first.living == (2, 3)
    starting.begin(lambda: None)
    machine.turn(12)
    assert new.living == (1, 2, 4)
    assert starting.living == (3,)
    assert not any(each.any_beginning() for each in (first, new, starting))


def test_a_worker_that_starts_does_not_wait_for_one_that_stands_still_or_dies(machine: Machine) -> None:
    still, dying = pair(), pair()
    new = machine.worker(3)
    new.join(1, still[0], serving=True)
    new.join(2, dying[0], serving=True)
    begun: list[float] = []
    new.begin(lambda: begun.append(machine.loop.now), timeout_seconds=0.05)
    dying[1].close()
    while not begun:
        machine.loop.run_once(5)
    assert new.living == ()
    still[1].close()


def test_the_supervisor_joins_and_tells_who_took_over(machine: Machine) -> None:
    worker, sibling = machine.worker(5, successors={1: 5, 2: 9}), machine.worker(6)
    ours, theirs = pair()
    sibling.join(5, ours, serving=False)
    message = link_messages.encode(link_messages.NewWorker(6))
    worker.told(MessageKind.HELLO, message, theirs.detach())
    worker.begin(lambda: None)
    sibling.begin(lambda: None)
    machine.turn(12)
    assert worker.living == (6,)
    assert [worker.successor_of(index) for index in (1, 2)] == [5, None]
    worker.told(MessageKind.SUCCESSOR, link_messages.encode(link_messages.Succession(2, 6)), None)
    assert worker.successor_of(2) == 6
    read, write = os.pipe()
    os.set_blocking(read, False)
    worker.told(MessageKind.STOP, b"", write)
    assert os.read(read, 1) == b""  # nobody takes it, and it is closed
    os.close(read)
    assert machine.complaints == [f"a message of kind {MessageKind.STOP:d} from worker 0 is not taken"]


@pytest.mark.parametrize("message", [b"", b"[]", b"{}", link_messages.encode(["6"])])
def test_the_link_to_a_worker_that_cannot_be_read_is_closed(machine: Machine, message: bytes) -> None:
    worker = machine.worker(5)
    ours, theirs = pair()
    with pytest.raises(msgspec.MsgspecError):
        worker.told(MessageKind.HELLO, message, theirs.detach())
    assert ours.recv(1) == b""
    ours.close()


def test_what_comes_with_a_word_and_is_no_socket_is_closed(machine: Machine) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with pytest.raises(OSError, match="non-socket"):
        machine.worker(5).told(MessageKind.HELLO, link_messages.encode(link_messages.NewWorker(6)), write)
    assert os.read(read, 1) == b""
    os.close(read)


def test_faults_of_functions_harm_no_other_and_own_kinds_are_guarded(machine: Machine) -> None:
    first, second, _ = three(machine)

    def fail(index: int) -> None:
        raise RuntimeError("mine")

    lost: list[int] = []
    second.on_lost(fail)
    second.on_lost(lost.append)
    first.close()
    machine.turn()
    assert lost == [1]
    assert machine.reported == ["news of worker 1: mine"]
    machine.reported.clear()
    with pytest.raises(ValueError, match="own life"):
        second.on(MessageKind.HELLO, lambda index, payload, descriptor: None)
    ends = pair()
    with pytest.raises(ValueError, match="joined already"):
        second.join(3, ends[0], serving=True)
    for end in ends:
        end.close()


@pytest.mark.parametrize(
    "message", [b"", b"[]", b"{}", link_messages.encode([2]), link_messages.encode([2, "3"])]
)
def test_a_malformed_word_is_reported(machine: Machine, message: bytes) -> None:
    first, second, _ = three(machine)
    tell: Callable[..., bool] = first._links[2].send
    tell(MessageKind.SUCCESSOR, message)
    machine.turn()
    assert len(machine.reported) == 1
    assert second.living == (1, 3)
    machine.reported.clear()


OTHER_VERSIONS = {
    "before versions": (b"", 0),
    "in JSON": (b'{"living": [], "settles": true}', 0),
    "a later one": (
        link_messages.encode([link_messages.VERSION + 1, {"more": 1}]),
        link_messages.VERSION + 1,
    ),
}


@pytest.mark.parametrize(("greeting", "version"), OTHER_VERSIONS.values(), ids=OTHER_VERSIONS.keys())
def test_a_sibling_of_another_version_is_told_and_its_link_closed(
    machine: Machine, greeting: bytes, version: int
) -> None:
    """Nobody waits for it, and nothing goes to it or is taken from it."""
    ours, theirs = pair()
    lost: list[bool] = []
    other = Link(machine.loop, theirs, lambda *_: None, lambda: lost.append(True), machine.report)
    worker = machine.worker(3)
    worker.join(1, ours, serving=True)
    begun: list[bool] = []
    worker.begin(lambda: begun.append(True))
    machine.turn()
    assert begun == []
    other.send(MessageKind.HELLO, greeting)
    other.send(MessageKind.DRAINING)
    machine.turn()
    assert (begun, lost, worker.living) == ([True], [True], ())
    assert machine.complaints == [
        f"worker 1 speaks version {version} of the workers' words, not {link_messages.VERSION}: "
        "restart the whole server; its link is closed"
    ]


def test_who_is_waited_for_in_vain_is_told(machine: Machine) -> None:
    still = pair()
    new = machine.worker(3)
    new.join(1, still[0], serving=True)
    begun: list[bool] = []
    new.begin(lambda: begun.append(True), timeout_seconds=0.01)
    while not begun:
        machine.loop.run_once(5)
    assert machine.complaints == ["worker 1 stands still: clients it loses may start anew"]
    still[1].close()


def test_workers_that_come_together_serve_whoever_begins_first(machine: Machine) -> None:
    """Each later one has connected to each earlier one, which takes that connection once it has begun."""
    workers = [machine.worker(index) for index in (1, 2, 3, 4)]
    waiting = {}
    for later in workers:
        for earlier in workers[: later.index - 1]:
            waiting[earlier.index, later.index], ours = pair()
            later.join(earlier.index, ours, serving=True, begins=True)
    serving: list[int] = []
    for begins in (1, 4, 3, 2):
        worker = workers[begins - 1]
        worker.begin(lambda: serving.append(0))
        for (earlier, later), sock in waiting.items():
            if earlier == begins:
                worker.join(later, sock, serving=False)
        machine.turn()
    assert len(serving) == len(workers)
    assert [each.living for each in workers] == [(2, 3, 4), (1, 3, 4), (1, 2, 4), (1, 2, 3)]


def test_who_never_met_one_that_has_gone_is_not_waited_for(machine: Machine) -> None:
    first, second = (machine.worker(index) for index in (1, 2))
    joined(first, second)
    machine.turn()
    link = second._links[1]
    machine.loop.remove_reader(link._descriptor)  # its last words have not been read there
    first.close()
    machine.turn()
    third = machine.worker(3)  # began since
    ours, theirs = pair()
    second.join(3, ours, serving=False)
    third.join(2, theirs, serving=True)
    third.begin(lambda: None)
    machine.turn()
    assert (second.living, third.living) == ((1, 3), (2,))
    link.close()
    second._lost(1)
    assert second.any_unnoticed()
    machine.turn()
    assert not second.any_unnoticed()
    assert not third.any_unnoticed()


def test_who_did_not_know_us_when_one_had_gone_is_told_later(machine: Machine) -> None:
    first, second = (machine.worker(index) for index in (1, 2))
    joined(first, second)
    third = machine.worker(3)
    ours, theirs = pair()
    first.join(3, ours, serving=False)
    third.join(1, theirs, serving=True)
    third.begin(lambda: None)
    machine.turn()
    link = third._links[1]
    machine.loop.remove_reader(link._descriptor)  # its last words have not been read there
    first.close()
    machine.turn()  # the second one tells nobody, whom it does not know yet
    ours, theirs = pair()
    second.join(3, ours, serving=False)
    third.join(2, theirs, serving=False)
    third._greet(2)
    second._greet(3)
    machine.turn()
    assert (second.living, third.living) == ((3,), (1, 2))
    link.close()
    third._lost(1)
    assert third.any_unnoticed()
    machine.turn()
    assert not third.any_unnoticed()
    assert not second.any_unnoticed()
