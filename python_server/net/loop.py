"""The selector loop: descriptors, timers, posted calls and the end of a turn, in one fair order.

Must not know: what the bytes mean, or that there are workers; a posted call is just a call.
"""

from __future__ import annotations

import errno
import heapq
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, Protocol

from python_server.net.forks import call_in_children, leave_children_alone, let_go
from python_server.net.poller import EXCLUSIVE, READABLE, WRITABLE
from python_server.net.portability import WakeUp
from python_server.net.system import REAL, System
from python_server.net.threads import FAULTS, Mailbox

NEVER: Final = float("inf")
# Without anything to do the loop turns once a day: no system waits for ever in a number of milliseconds.
LONGEST_WAIT_SECONDS: Final = 86_400.0
# From so many on, a flush waits for one more look at the descriptors: what has come while a broadcast was
# being queued leaves with it. Eight broadcasts in flight to 1,000 clients: 8.0 per send instead of 5.4, 1.4x
# the deliveries; the look is one system call against a send for each of them.
WIDE_MIN_COUNT: Final = 64


class SocketLike(Protocol):
    """What has a descriptor, until it is closed; then -1."""

    def fileno(self) -> int: ...


class Flushable(Protocol):
    """What asks to be called once at the end of a turn."""

    def flush(self) -> None: ...


# Timers at which the cancelled ones are looked for the first time; then whenever their number has doubled.
SWEEP_MIN_COUNT: Final = 256


class Timer:
    """A call that will be made once; `cancel` is free and may come at any time."""

    __slots__ = ("function", "when")

    def __init__(self, when: float, function: Callable[[], object]) -> None:
        self.when: float = when
        self.function: Callable[[], object] | None = function

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        self.function = None


class Deadline:
    """A moment that moves often and is seldom reached; then it calls `function`. It has one timer at most."""

    __slots__ = ("_function", "_loop", "_timer", "_when")

    def __init__(self, loop: Loop, function: Callable[[], object]) -> None:
        self._loop = loop
        self._function = function
        self._when = NEVER
        self._timer: Timer | None = None

    def set(self, seconds: float) -> None:
        """Move it to `seconds` from the start of this turn."""
        when = self._when = self._loop.now + seconds
        if self._timer is None or self._timer.when > when:
            self._arm(seconds)

    def clear(self) -> None:
        """There is none for now."""
        self._when = NEVER

    def cancel(self) -> None:
        """There will be none any more."""
        self._when = NEVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._when <= self._loop.now:
            self._when = NEVER
            self._function()
        elif self._when < NEVER:
            self._arm(self._when - self._loop.now)


@contextmanager
def _woken_by_signals(descriptor: int) -> Iterator[None]:
    """A signal's handler waits for the interpreter. One that came just before a wait would run after it."""
    former = None
    try:
        former = signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    except ValueError:
        pass  # no handler runs in any thread but the main one
    try:
        yield
    finally:
        if former is not None:
            signal.set_wakeup_fd(former)


class Loop:
    """One thread's event loop. All methods belong to that thread; others use `mailbox.post`.

    A turn: ready descriptors, posted calls, due timers, late callbacks (newly accepted connections
    come after the data of existing ones), then one flush of every link to another process, and one of
    every transport that was written to (of many, a turn later). A turn's end is the workers' time: see
    `call_at_turn_end`.

    Args:
        report: called with (what, exception) for a callback that raised; the loop goes on.
        mailbox_max_bytes: bytes that workers may have posted before they wait.
        system: its monotonic clock and its poller are used.
    """

    def __init__(
        self,
        report: Callable[[str, BaseException], None],
        *,
        receive_buffer_bytes: int = 262_144,
        mailbox_max_bytes: int = 67_108_864,
        system: System = REAL,
    ) -> None:
        self._monotonic = system.monotonic
        self.now: float = self._monotonic()
        self.receive_buffer: bytearray = bytearray(receive_buffer_bytes)
        self._report = report
        self._poller = system.poller()
        self._readers: dict[int, Callable[[], object]] = {}
        self._writers: dict[int, Callable[[], None]] = {}
        self._late: list[Callable[[], object]] = []
        self._timers: list[Timer] = []
        self._next_due = NEVER  # no timer is due earlier
        self._sweep_at_count = SWEEP_MIN_COUNT
        self._soon: list[Callable[[], None]] = []
        self._dirty: list[Flushable] = []
        # flush_at_turn_end(item): the list's own method, since most of a broadcast's turn are such calls.
        self.flush_at_turn_end: Callable[[Flushable], None] = self._dirty.append
        self._first: list[Flushable] = []
        self._wide_waited = False
        self._last: list[Callable[[], None]] = []
        self._stopping = False
        self._wake_up = WakeUp()
        # Of its listeners, connections and links, watched at the moment or not.
        self.sockets: set[SocketLike] = set()
        self.mailbox: Mailbox = Mailbox(self._wake, mailbox_max_bytes)
        self._poller.register(self._wake_up.receiver, READABLE)
        self._readers[self._wake_up.receiver] = self._empty_pipe
        self._mail_left = False
        # Something is to be done that no descriptor, posted call or timer tells of. A turn that had nothing
        # but descriptors asks for no list: with one client that would be paid for each of its messages. With
        # the transport's `_buffer` a message took 246 bytecodes instead of 309, and S2 gained 2 %.
        self._more = False
        self._reader_of = self._readers.get
        call_in_children(self._forked)

    # Descriptors

    def add_reader(
        self, descriptor: int, function: Callable[[], object], *, late: bool = False, exclusive: bool = False
    ) -> None:
        """Call `function` while the descriptor is readable.

        Args:
            late: after all others of the turn.
            exclusive: the socket is shared with other processes, which need not wake for what wakes us; it
                has no writer. Whoever is woken must take one connection at least.
        """
        events = READABLE | (WRITABLE if descriptor in self._writers else 0)
        if exclusive:
            events |= EXCLUSIVE
        self._change(descriptor, events)
        self._readers[descriptor] = partial(self._put_off, function) if late else function

    def remove_reader(self, descriptor: int) -> None:
        """Raises OSError: the system cannot change what it watches; the reader is still called."""
        if descriptor in self._readers:
            if descriptor in self._writers:
                self._poller.modify(descriptor, WRITABLE)
            else:
                self._poller.unregister(descriptor)
            del self._readers[descriptor]

    def add_writer(self, descriptor: int, function: Callable[[], None]) -> None:
        events = WRITABLE | (READABLE if descriptor in self._readers else 0)
        self._change(descriptor, events)
        self._writers[descriptor] = function

    def remove_writer(self, descriptor: int) -> None:
        """Raises OSError: the system cannot change what it watches; the writer is still called."""
        if descriptor in self._writers:
            if descriptor in self._readers:
                self._poller.modify(descriptor, READABLE)
            else:
                self._poller.unregister(descriptor)
            del self._writers[descriptor]

    def forget(self, descriptor: int) -> None:
        """Neither a reader nor a writer any more: it is about to be closed, or another's."""
        watched = (self._readers.pop(descriptor, None), self._writers.pop(descriptor, None))
        if watched != (None, None):
            self._poller.unregister(descriptor)

    def _put_off(self, function: Callable[[], object]) -> None:
        self._late.append(function)
        self._more = True

    def _change(self, descriptor: int, events: int) -> None:
        if descriptor in self._readers or descriptor in self._writers:
            self._poller.modify(descriptor, events)
        else:
            self._poller.register(descriptor, events)

    # Time

    def call_later(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Call `function` once, `seconds` after the start of this turn."""
        when = self.now + seconds
        timer = Timer(when, function)
        if when < self._next_due:
            self._next_due = when
        timers = self._timers
        if len(timers) >= self._sweep_at_count:
            # Cancelled ones would stay until their moment: of every client that came and went, for a minute.
            timers[:] = [item for item in timers if item.function is not None]
            heapq.heapify(timers)
            self._sweep_at_count = max(SWEEP_MIN_COUNT, 2 * len(timers))
        heapq.heappush(timers, timer)
        return timer

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call `function` at the start of the next turn."""
        self._soon.append(function)
        self._more = True

    def flush_before_clients(self, item: Flushable) -> None:
        """As `flush_at_turn_end`, before all that was asked for there: what others are told of an event has
        left before a client is told that they are."""
        self._first.append(item)
        self._more = True

    def call_at_turn_end(self, function: Callable[[], None]) -> None:
        """Call `function` once, after this turn's flush, or before it where a flush of many has waited."""
        self._last.append(function)
        self._more = True

    def stop_waking(self) -> None:
        """The caller holds the loop's thread for a moment: the next turn looks into the mailbox unasked."""
        self.mailbox.raised = True
        self._mail_left = self._more = True

    # Running

    def run(self) -> None:
        """Turn until `stop` is called."""
        self.mailbox.adopt()
        self._stopping = False
        with _woken_by_signals(self._wake_up.sender):
            while not self._stopping:
                self.run_once()

    def stop(self) -> None:
        """End `run` after this turn."""
        self._stopping = self._more = True

    def run_once(self, max_wait_seconds: float = LONGEST_WAIT_SECONDS) -> None:
        """One turn; waits at most `max_wait_seconds` for something to do."""
        wait = 0.0
        if not (self._more or self._dirty):
            wait = self._next_due - self._monotonic()
            if wait > max_wait_seconds:
                wait = max_wait_seconds
            elif wait < 0.0:
                wait = 0.0
        try:
            events = self._poller.poll(wait)
        except (OSError, MemoryError) as error:
            events = self._see_nothing(error)
        now = self.now = self._monotonic()
        reader_of = self._reader_of
        for descriptor, mask in events:
            try:
                if mask == READABLE:
                    if (function := reader_of(descriptor)) is not None:
                        function()
                else:
                    self._call_both(descriptor, mask)
            except FAULTS as error:
                self._report("descriptor callback", error)
        if self._more or self._dirty or self.mailbox.raised or self._next_due <= now:
            self._finish_turn()

    def _see_nothing(self, error: OSError | MemoryError) -> list[tuple[int, int]]:
        """There was no memory for the list of what is ready: the next turn asks again."""
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:
            raise error
        self._report("poll", error)
        return []

    def _call_both(self, descriptor: int, mask: int) -> None:
        if mask != WRITABLE and (function := self._readers.get(descriptor)) is not None:
            function()
        # An error or the end alone, as a full pipe without a reader has it, is the writer's news as well.
        if mask != READABLE and (function := self._writers.get(descriptor)) is not None:
            function()

    def _finish_turn(self) -> None:
        """What follows the descriptors, in its order."""
        if self._mail_left or self.mailbox.raised:
            self._mail_left = self.mailbox.drain(self._report)
        if self._soon or self._next_due <= self.now:
            self._run_due()
        if self._late:
            for function in self._late:
                self._call(function)
            self._late.clear()
        if self._dirty or self._first:
            if len(self._dirty) >= WIDE_MIN_COUNT and not (self._wide_waited or self._stopping):
                self._wide_waited = True
                return  # to the next turn, which waits for nothing
            if self._wide_waited and self._last:
                # What the handlers of that look say leaves with it as well: two broadcasts in flight to 200
                # clients, by handlers in threads, 1.8x the deliveries; eight, 1.4x.
                self._call_last()
                self._mail_left = self.mailbox.drain(self._report)
            self._wide_waited = False
            self._flush_dirty()
        if self._last:
            self._call_last()
        self._more = bool(self._soon or self._mail_left or self._last or self._stopping)

    def _call_last(self) -> None:
        """The workers' time."""
        last, self._last = self._last, []
        for function in last:
            self._call(function)

    def close(self) -> None:
        """Free the loop's own descriptors. Everything registered must have been closed before."""
        leave_children_alone(self._forked)
        self.mailbox.close()
        self._readers.clear()
        self._writers.clear()
        self._poller.close()
        self._wake_up.close()

    def _forked(self) -> None:
        """In a child: this loop runs in the parent alone."""
        self.mailbox.disown()
        with suppress(OSError):  # no child inherits a kqueue
            self._poller.close()
        let_go([self._wake_up.receiver, self._wake_up.sender, *(each.fileno() for each in self.sockets)])
        former = signal.set_wakeup_fd(-1)
        if former != self._wake_up.sender:
            signal.set_wakeup_fd(former)

    def _call(self, function: Callable[[], object]) -> None:
        try:
            function()
        except FAULTS as error:
            self._report("callback", error)

    def _run_due(self) -> None:
        if self._soon:
            soon, self._soon = self._soon, []
            for function in soon:
                self._call(function)
        timers = self._timers
        while timers and (timers[0].when <= self.now or timers[0].function is None):
            timer = heapq.heappop(timers)
            if timer.function is not None:
                due, timer.function = timer.function, None
                self._call(due)
        self._next_due = timers[0].when if timers else NEVER

    def _flush_dirty(self) -> None:
        while self._dirty or self._first:
            for items in (self._first, self._dirty):
                for item in items:  # which may become longer meanwhile
                    try:
                        item.flush()
                    except FAULTS as error:
                        self._report("flush", error)
                items.clear()

    # Waking the loop from other threads

    def _wake(self) -> None:
        """Any thread: make `poll` return."""
        try:
            self._wake_up.send(b"\0")
        except BlockingIOError:
            pass  # a full pipe wakes as well
        except OSError:
            pass  # the loop has gone; the mailbox tells posters so

    def _empty_pipe(self) -> None:
        """First of the three steps of a wake-up: empty the pipe, lower the flag, drain (`Mailbox.drain`)."""
        try:
            self._wake_up.receive(4096)
        except BlockingIOError:
            pass
