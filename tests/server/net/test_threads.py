"""The door: mailbox wake-ups in every interleaving, strands, questions to the loop (net/threads.py).

It must not know jobs; time is an argument of the tests, never waited for.
"""

from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

import pytest

from python_server.net import threads
from python_server.net.threads import Door, InlineExecutor, Lock, Mailbox, ServerStopped, Strand, Waiter

PATIENCE_SECONDS = 60.0  # on a busy machine; nothing here waits that long


def never(what: str, error: BaseException) -> None:
    raise AssertionError(what) from error


# The wake-up as steps. `Mailbox` must take them in this order; the walk below shows that this order never
# loses a wake-up, and that the near variants do.


class Model:
    """What poster and loop share."""

    def __init__(self) -> None:
        self.queue = 0
        self.raised = False
        self.pipe = 0
        self.done = 0


Step = Callable[[Model, dict[str, Any]], None]


def append(model: Model, own: dict[str, Any]) -> None:
    model.queue += 1


def read_flag(model: Model, own: dict[str, Any]) -> None:
    own["down"] = not model.raised


def raise_flag(model: Model, own: dict[str, Any]) -> None:
    if own["down"]:
        model.raised = True


def ring(model: Model, own: dict[str, Any]) -> None:
    if own["down"]:
        model.pipe += 1


def empty_pipe(model: Model, own: dict[str, Any]) -> None:
    own["awake"] = model.pipe > 0
    model.pipe = 0


def lower_flag(model: Model, own: dict[str, Any]) -> None:
    if own["awake"]:
        model.raised = False


def drain(model: Model, own: dict[str, Any]) -> None:
    if own["awake"]:
        model.done += model.queue
        model.queue = 0


POSTER = [append, read_flag, raise_flag, ring]
LOOP = [empty_pipe, lower_flag, drain]


def interleavings(lengths: list[int]) -> Iterator[tuple[int, ...]]:
    """Every order in which the actors may take their steps."""
    if not any(lengths):
        yield ()
        return
    for actor, left in enumerate(lengths):
        if left:
            rest = [*lengths]
            rest[actor] -= 1
            for tail in interleavings(rest):
                yield (actor, *tail)


def loses(poster: list[Step], loop: list[Step]) -> bool:
    """Does some interleaving of two posts and one turn leave a call behind with nobody ringing?"""
    actors = [poster, poster, loop]
    for order in interleavings([len(steps) for steps in actors]):
        model = Model()
        own: list[dict[str, Any]] = [{}, {}, {}]
        at = [0, 0, 0]
        for actor in order:
            actors[actor][at[actor]](model, own[actor])
            at[actor] += 1
        while model.pipe:  # the loop turns as long as it is woken
            for step in loop:
                step(model, own[2])
        if model.done != 2:
            return True
    return False


def test_the_order_of_a_wake_up_never_loses_one() -> None:
    assert not loses(POSTER, LOOP)


@pytest.mark.parametrize(
    ("poster", "loop"),
    [
        ([read_flag, append, raise_flag, ring], LOOP),
        ([read_flag, raise_flag, ring, append], LOOP),
        (POSTER, [empty_pipe, drain, lower_flag]),
        (POSTER, [lower_flag, drain, empty_pipe]),
    ],
    ids=["flag read before appending", "append last", "flag lowered after draining", "pipe emptied last"],
)
def test_near_variants_lose_wake_ups(poster: list[Step], loop: list[Step]) -> None:
    def lower_always(model: Model, own: dict[str, Any]) -> None:
        model.raised = False

    def drain_always(model: Model, own: dict[str, Any]) -> None:
        model.done += model.queue
        model.queue = 0

    if loop[0] is lower_flag:
        loop = [lower_always, drain_always, empty_pipe]
    assert loses(poster, loop)


def test_the_mailbox_takes_the_steps_in_that_order() -> None:
    steps: list[str] = []

    class Watched(Mailbox):
        def __getattribute__(self, name: str) -> Any:
            if name in ("raised", "_calls"):
                steps.append(f"read {name}")
            return super().__getattribute__(name)

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "raised":
                steps.append("raise" if value else "lower")
            super().__setattr__(name, value)

    box = Watched(lambda: steps.append("ring"), 10)
    steps.clear()
    box.post(lambda: steps.append("call"))
    assert steps == ["read _calls", "read raised", "raise", "ring"]
    steps.clear()
    box.post(lambda: None)
    assert steps == ["read _calls", "read raised"]
    steps.clear()
    box.drain(never)
    assert steps[:2] == ["lower", "read _calls"]
    assert "call" in steps


def test_calls_are_made_in_order_and_a_fault_stops_none() -> None:
    box = Mailbox(lambda: None, 10)
    made: list[int] = []
    reported: list[str] = []

    def fail() -> None:
        raise RuntimeError("fault")

    for number in range(3):
        box.post(made.append, number)
        box.post(fail)
    assert not box.drain(lambda what, error: reported.append(str(error)))
    assert made == [0, 1, 2]
    assert reported == ["fault"] * 3


def test_one_turn_makes_a_bounded_number_of_calls() -> None:
    box = Mailbox(lambda: None, 10)
    made: list[int] = []
    for number in range(threads.MAILBOX_BATCH_COUNT + 1):
        box.post(made.append, number)
    assert box.drain(never)
    assert len(made) == threads.MAILBOX_BATCH_COUNT
    assert not box.drain(never)


def test_a_worker_waits_for_room_and_the_loop_never_does() -> None:
    box = Mailbox(lambda: None, 5)
    made: list[int] = []
    box.post(made.append, 1, nbytes=6)
    box.post(made.append, 2, nbytes=6)  # the loop's own thread
    begun = Event()

    def work() -> None:
        begun.set()
        box.post(made.append, 3, nbytes=1)

    worker = Thread(target=work, daemon=True)
    worker.start()
    assert begun.wait(60)
    while 3 not in made:
        box.drain(never)
    worker.join(60)
    assert made == [1, 2, 3]


def test_a_closed_mailbox_refuses_and_frees_who_waits() -> None:
    box = Mailbox(lambda: None, 0)
    box.post(lambda: None, nbytes=1)
    worker = Thread(target=lambda: box.post(lambda: None, nbytes=1), daemon=True)
    worker.start()
    box.close()
    worker.join(60)
    assert not worker.is_alive()
    with pytest.raises(ServerStopped):
        box.post(lambda: None)


def test_a_strand_runs_its_jobs_in_order_and_tells_when_it_has_emptied() -> None:
    waiting: list[Callable[[], None]] = []

    class Manual:
        def submit(self, job: Callable[[], None]) -> None:
            waiting.append(job)

        resubmit = submit

    strand = Strand(Manual(), Lock())
    made: list[int] = []
    for number in range(40):
        strand.submit(lambda number=number: made.append(number))  # type: ignore[misc]
    strand.when_below(10, lambda: made.append(-1))
    assert len(waiting) == 1
    assert not strand.idle
    while waiting:
        waiting.pop(0)()
    assert [number for number in made if number >= 0] == list(range(40))
    assert made.index(-1) == 30
    assert strand.idle


def test_a_question_that_the_loop_ends_before_is_not_waited_for() -> None:
    asked = Event()
    box = Mailbox(asked.set, 10)
    door = Door(box, InlineExecutor())
    found: list[object] = []

    def work() -> None:
        try:
            door.ask(lambda: 7)
        except (ServerStopped, TimeoutError) as error:
            found.append(type(error))

    worker = Thread(target=work, daemon=True)
    worker.start()
    assert asked.wait(PATIENCE_SECONDS)
    box.close()
    worker.join(PATIENCE_SECONDS)
    assert found == [ServerStopped]


def test_the_door_asks_the_loop_and_brings_back_values_and_faults() -> None:
    box = Mailbox(lambda: None, 10)
    door = Door(box, InlineExecutor())
    assert door.ask(lambda: 5) == 5
    found: list[object] = []

    def fault() -> int:
        raise LookupError("none")

    def work() -> None:
        found.append(door.ask(lambda: 7))
        try:
            door.ask(fault)
        except LookupError as error:
            found.append(str(error))

    worker = Thread(target=work, daemon=True)
    worker.start()
    while worker.is_alive():
        box.drain(never)
    assert found == [7, "none"]


def test_the_first_answer_of_a_waiter_counts() -> None:
    waiter: Waiter[str] = Waiter()
    with pytest.raises(TimeoutError, match="no answer within 0 s"):
        waiter.wait(0, lends=True)
    with pytest.raises(TimeoutError):
        waiter.wait(0)
    waiter.set(1)
    waiter.set(2)
    assert waiter.wait(None) == 1


@pytest.mark.parametrize("early", [True, False], ids=["gone on before its job returned", "after"])
def test_a_strand_that_is_held_waits_for_its_last_part(early: bool) -> None:
    order: list[str] = []
    executor = InlineExecutor()
    strand = Strand(executor, Lock())

    def first() -> None:
        strand.hold()
        strand.submit(lambda: order.append("next"))
        order.append("first")
        if early:
            strand.go_on(lambda: order.append("last part"))

    strand.submit(first)
    if not early:
        assert order == ["first"]
        assert not strand.idle
        strand.go_on(lambda: order.append("last part"))
    assert order == ["first", "last part", "next"]
    assert strand.idle


def test_a_strand_whose_job_held_it_and_raised_goes_on() -> None:
    strand = Strand(InlineExecutor(), Lock())
    made: list[str] = []

    def hold() -> None:
        strand.hold()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        strand.submit(hold)
    strand.go_on(lambda: made.append("last part"))
    strand.submit(lambda: made.append("next"))
    assert made == ["last part", "next"]
    assert strand.idle


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_strand_outlives_whatever_a_job_raises(kind: type[BaseException]) -> None:
    waiting: list[Callable[[], None]] = []

    class Manual(InlineExecutor):
        submit = staticmethod(waiting.append)  # type: ignore[assignment]
        resubmit = submit

    strand = Strand(Manual(), Lock())
    made: list[int] = []

    def fail() -> None:
        raise kind

    strand.submit(fail)
    strand.submit(lambda: made.append(1))
    with pytest.raises(kind):
        waiting.pop(0)()
    while waiting:
        waiting.pop(0)()
    assert made == [1]
    assert strand.idle
    strand.submit(lambda: made.append(2))
    waiting.pop(0)()
    assert made == [1, 2]


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_question_brings_back_whatever_it_raises(kind: type[BaseException]) -> None:
    """Else a worker would wait for its answer until the time is over."""
    box = Mailbox(lambda: None, 10)
    door = Door(box, InlineExecutor())
    found: list[BaseException] = []

    def fault() -> int:
        raise kind

    def work() -> None:
        try:
            door.ask(fault)
        except BaseException as error:
            found.append(error)

    worker = Thread(target=work, daemon=True)
    worker.start()
    while worker.is_alive():
        box.drain(never)
    assert [type(error) for error in found] == [kind]
