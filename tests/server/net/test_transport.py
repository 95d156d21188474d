"""Loop and transport over real sockets, turned by hand (net/loop.py, net/transport.py).

It must not know protocols.
"""

import contextlib
import errno
import os
import select
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from python_server.net.loop import SWEEP_MIN_COUNT, WIDE_MIN_COUNT, Deadline, Loop
from python_server.net.pauses import Pause
from python_server.net.poller import SelectorPoller, best_poller
from python_server.net.sendfile import FileSlice, FileSource
from python_server.net.system import REAL
from python_server.net.transport import Transport, TransportState
from python_server.settings import TransportSettings
from wsframe import Outbox

LIMITS = replace(
    TransportSettings(), high_watermark_bytes=200_000, low_watermark_bytes=50_000, hard_limit_bytes=8_000_000
)


def fail(what: str, error: BaseException) -> None:
    raise AssertionError(what) from error


class Handler:
    def __init__(self) -> None:
        self.got = bytearray()
        self.ended = False
        self.blocked: list[bool] = []
        self.lost: list[str] = []

    def receive_buffer(self) -> memoryview | None:
        return None

    def data_received(self, buffer: Any, nbytes: int) -> None:
        self.got += memoryview(buffer)[:nbytes]
        self.ended = nbytes == 0

    def write_blocked(self, blocked: bool) -> None:
        self.blocked.append(blocked)

    def connection_lost(self, reason: str) -> None:
        self.lost.append(reason)


@dataclass
class Pair:
    loop: Loop
    transport: Transport
    handler: Handler
    peer: socket.socket
    reported: list[str]

    def turn(self, times: int = 3) -> None:
        for _ in range(times):
            self.loop.run_once(0)

    def take_all(self) -> bytes:
        """Everything up to the end, the loop turning meanwhile."""
        taken = bytearray()
        self.peer.setblocking(False)
        while True:
            self.loop.run_once(0)
            try:
                piece = self.peer.recv(65_536)
            except BlockingIOError:
                if self.transport.queued_bytes == 0 and self.transport.state is TransportState.OPEN:
                    return bytes(taken)
                continue
            if not piece:
                return bytes(taken)
            taken += piece


@pytest.fixture(params=["best", "selectors"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    reported: list[str] = []
    poller = SelectorPoller if request.param == "selectors" else best_poller
    loop = Loop(lambda what, error: reported.append(f"{what}: {error}"), system=replace(REAL, poller=poller))
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    transport = Transport(loop, ours, lambda what, error: reported.append(f"{what}: {error}"), LIMITS)
    handler = Handler()
    transport.set_handler(handler)
    yield Pair(loop, transport, handler, peer, reported)
    transport.close("test over")
    loop.run_once(0)
    peer.close()
    loop.close()


def test_no_more_is_received_at_once_than_was_asked_for(pair: Pair) -> None:
    pieces: list[int] = []
    received = pair.handler.data_received
    pair.handler.data_received = lambda buffer, nbytes: (pieces.append(nbytes), received(buffer, nbytes))  # type: ignore[method-assign, assignment, func-returns-value]
    pair.transport.receive_max_bytes = 3
    pair.transport.set_handler(pair.handler)
    pair.peer.sendall(b"hello, you")
    pair.turn(4)
    assert (pieces, pair.handler.got) == ([3, 3, 3, 1], b"hello, you")


def test_bytes_come_in_and_go_out(pair: Pair) -> None:
    pair.peer.sendall(b"hello")
    pair.turn()
    assert pair.handler.got == b"hello"
    pair.transport.write(b"a")
    pair.transport.write(b"b")
    pair.turn()
    assert pair.peer.recv(10) == b"ab"


def test_writes_of_one_turn_leave_in_one_send_r13(pair: Pair) -> None:
    sends: list[int] = []
    real = pair.transport._socket

    class Counting:
        def __getattr__(self, name: str) -> Any:
            if name in ("send", "sendmsg"):
                sends.append(1)
            return getattr(real, name)

    pair.transport._socket = Counting()  # type: ignore[assignment]
    for _ in range(10):
        pair.transport.write(b"x" * 10)
    pair.turn()
    assert sends == [1]
    assert pair.peer.recv(1_000) == b"x" * 100


@pytest.mark.parametrize("sizes", [[3_000_000], [1] * 3_000, [70_000] * 20], ids=["one", "tiny", "middling"])
def test_all_bytes_arrive_in_order_whatever_the_kernel_takes(pair: Pair, sizes: list[int]) -> None:
    pieces = [bytes([index % 251]) * size for index, size in enumerate(sizes)]
    for piece in pieces:
        pair.transport.write(piece)
    pair.transport.close()
    assert pair.take_all() == b"".join(pieces)


def test_files_and_bytes_mixed_arrive_in_order(pair: Pair, tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1_000_000))
    content = path.read_bytes()
    with path.open("rb") as file:
        source = FileSource(file.fileno())
    descriptor = source.descriptor
    pair.transport.write(b"head")
    pair.transport.write(FileSlice(source, 0, 400_000))
    pair.transport.write(FileSlice(source, 400_000, 600_000))
    pair.transport.write(b"tail")
    pair.transport.write(FileSlice(source, 5, 10))
    del source
    pair.transport.close()
    assert pair.take_all() == b"head" + content + b"tail" + content[5:15]
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(descriptor)


def test_a_file_that_became_shorter_ends_the_connection(pair: Pair, tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"short")
    with path.open("rb") as file:
        pair.transport.write(FileSlice(FileSource(file.fileno()), 0, 10))
    pair.turn()
    assert pair.handler.lost == ["the file became shorter than announced"]


def test_pressure_is_told_at_the_watermarks(pair: Pair) -> None:
    while not pair.transport.blocked:
        pair.transport.write(bytes(50_000))
    assert pair.handler.blocked == [True]
    pair.take_all()
    assert pair.handler.blocked == [True, False]


def test_above_the_hard_limit_the_client_is_cut(pair: Pair) -> None:
    pair.transport.write(bytes(9_000_000))
    pair.turn()
    assert pair.handler.lost == ["slow client"]
    assert pair.transport.state is TransportState.CLOSED


def test_a_client_that_takes_nothing_is_given_up(pair: Pair) -> None:
    pair.transport.write(bytes(3_000_000))
    pair.turn()
    assert pair.handler.lost == []
    pair.loop.now += LIMITS.stall_timeout_seconds
    due = [timer for timer in pair.loop._timers if timer.function is not None]
    assert len(due) == 1
    due[0].function()  # type: ignore[misc]
    pair.turn()
    assert pair.handler.lost == ["client stopped reading"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_reading_goes_on_when_no_reason_to_pause_is_left(pair: Pair, order: tuple[int, int]) -> None:
    """What one room gives up, another may still want: each takes back its own."""
    reasons = (Pause.MESSAGES, Pause.UNSENT)
    for reason in (*reasons, reasons[0]):  # given twice, taken back once
        pair.transport.pause_reading(reason, True)
    pair.peer.sendall(b"later")
    for index in order:
        pair.turn()
        assert pair.handler.got == b""
        assert pair.transport.pauses & reasons[index]
        pair.transport.pause_reading(reasons[index], False)
    assert not pair.transport.pauses
    pair.turn()
    assert pair.handler.got == b"later"


def test_an_end_of_the_stream_is_told_once_and_again_on_request(pair: Pair) -> None:
    ends: list[int] = []
    pair.handler.data_received = lambda buffer, nbytes: ends.append(nbytes)  # type: ignore[method-assign]
    pair.transport.set_handler(pair.handler)
    pair.peer.shutdown(socket.SHUT_WR)
    for _ in range(3):
        pair.turn()
    pair.transport.pause_reading(Pause.MESSAGES, True)
    pair.transport.pause_reading(Pause.MESSAGES, False)  # nobody asks for the end by that
    pair.turn()
    assert ends == [0]
    pair.transport.pause_reading(Pause.ENDED, False)
    pair.turn()
    assert ends == [0, 0]


def test_a_socket_is_let_go_when_what_is_queued_has_left(pair: Pair) -> None:
    taken: list[socket.socket] = []
    pair.transport.write(bytes(3_000_000))
    assert pair.transport.detach() is None
    assert pair.transport.detach_when_sent(taken.append)
    pair.peer.send(b"for whoever gets it")
    pair.transport.write(b"too late")
    pair.transport.close()
    pair.turn()
    assert taken == []
    pair.peer.setblocking(False)
    received = 0
    while not taken:
        with contextlib.suppress(BlockingIOError):
            received += len(pair.peer.recv(65_536))
        pair.loop.run_once(0)
    with contextlib.suppress(BlockingIOError):
        while data := pair.peer.recv(65_536):
            received += len(data)
    assert received == 3_000_000
    assert taken[0].recv(100) == b"for whoever gets it"
    assert pair.handler.lost == []
    assert not pair.handler.got
    pair.turn()
    pair.peer.send(b"more")
    pair.turn()
    assert taken[0].recv(100) == b"more"
    taken[0].close()


@pytest.mark.parametrize("how", ["gone", "stalled", "cut"])
def test_a_socket_that_waits_to_be_let_go_still_ends(pair: Pair, how: str) -> None:
    taken: list[socket.socket] = []
    pair.transport.write(bytes(3_000_000))
    pair.turn()
    assert pair.transport.detach_when_sent(taken.append)
    if how == "gone":
        pair.peer.close()
    elif how == "cut":
        pair.transport.close("server stopped")
    else:
        pair.loop.now += LIMITS.stall_timeout_seconds
        (due,) = [timer for timer in pair.loop._timers if timer.function is not None]
        due.function()  # type: ignore[misc]
    pair.turn()
    assert len(pair.handler.lost) == 1
    assert taken == []
    assert pair.transport.detach_when_sent(taken.append)  # its end has been told


def test_paused_reading_leaves_bytes_in_the_kernel(pair: Pair) -> None:
    pair.transport.pause_reading(Pause.MESSAGES, True)
    pair.peer.sendall(b"later")
    pair.turn()
    assert pair.handler.got == b""
    pair.transport.pause_reading(Pause.MESSAGES, False)
    pair.turn()
    assert pair.handler.got == b"later"


def test_the_end_of_the_peers_side_is_told_as_no_bytes(pair: Pair) -> None:
    pair.peer.shutdown(socket.SHUT_WR)
    pair.turn(1)
    assert pair.handler.ended


def test_lingering_takes_what_still_comes_and_ends_with_the_peer_r4(pair: Pair) -> None:
    pair.transport.write(b"answer")
    pair.transport.close()
    pair.turn()
    assert pair.transport.state is TransportState.LINGERING
    pair.peer.sendall(b"unread")
    pair.turn()
    assert pair.peer.recv(100) == b"answer"
    assert pair.peer.recv(100) == b""
    pair.peer.close()
    pair.turn()
    assert pair.handler.lost == ["closed"]
    assert pair.handler.got == b""


def test_lingering_takes_a_bounded_number_of_bytes(pair: Pair) -> None:
    """A client that sends on for ever after its refusal is read no longer than its answer needs."""
    pair.transport.write(b"refused")
    pair.transport.close()
    pair.turn()
    pair.peer.setblocking(False)
    pieces_count, sent_bytes = 0, 0
    while not pair.handler.lost and pieces_count < 1_000:
        try:
            sent_bytes += pair.peer.send(bytes(65_536))
        except BlockingIOError:
            pass
        except OSError:  # the reset
            break
        pieces_count += 1
        pair.turn(1)
    pair.turn()
    assert pair.handler.lost == ["closed"]
    # What was read, one read beyond the bound, and what the two kernels hold.
    assert LIMITS.linger_max_bytes < sent_bytes <= LIMITS.linger_max_bytes + 8_000_000
    pair.peer.setblocking(True)
    try:
        assert pair.peer.recv(100) == b"refused"  # Linux hands it over before the reset
    except ConnectionResetError:
        pass


def test_the_end_is_told_once_and_the_descriptor_closed_once_r2(pair: Pair) -> None:
    pair.transport.close("first")
    pair.transport.close("second")
    pair.transport.write(b"nowhere")
    pair.turn()
    assert pair.handler.lost == ["first"]


def test_a_fault_of_the_handler_ends_its_connection_and_not_the_loop_r70(pair: Pair) -> None:
    def fault(buffer: Any, nbytes: int) -> None:
        raise RuntimeError("fault")

    pair.handler.data_received = fault  # type: ignore[method-assign]
    pair.transport.set_handler(pair.handler)
    pair.peer.sendall(b"x")
    pair.turn()
    assert pair.reported == ["connection: fault"]
    assert pair.handler.lost == ["internal error"]


# The outbox: the same bytes by another way in


def small_piece(pair: Pair, data: bytes) -> None:
    """As a handler gives it away: into the outbox, or by a write when that declines."""
    assert pair.transport.outbox is not None
    if not pair.transport.outbox.write(data):  # type: ignore[attr-defined]
        pair.transport.write(data)


@pytest.fixture
def boxed(pair: Pair) -> Pair:
    pair.transport.outbox = Outbox()
    return pair


def test_what_the_outbox_holds_leaves_in_one_send_at_the_turns_end_r13(boxed: Pair) -> None:
    sends: list[bytes] = []
    real = boxed.transport._socket

    class Recording:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def send(self, data: bytes) -> int:
            sends.append(data)
            return real.send(data)

    boxed.transport._socket = Recording()  # type: ignore[assignment]
    for number in range(10):
        small_piece(boxed, b"%d" % number)
    assert (sends, boxed.transport.queued_bytes) == ([], 10)
    boxed.turn()
    assert (sends, boxed.transport.queued_bytes) == ([b"0123456789"], 0)
    assert boxed.peer.recv(100) == b"0123456789"


def test_a_reply_leaves_behind_its_own_chunk_and_a_broadcast_at_the_turns_end(boxed: Pair) -> None:
    order: list[str] = []
    real = boxed.transport._socket

    class Recording:
        def __getattr__(self, name: str) -> Any:
            if name == "send":
                order.append("send")
            return getattr(real, name)

    def reply(buffer: Any, nbytes: int) -> None:
        small_piece(boxed, b"reply")
        boxed.loop.call_later(0, lambda: order.append("timer"))

    boxed.transport._socket = Recording()  # type: ignore[assignment]
    boxed.handler.data_received = reply  # type: ignore[method-assign]
    boxed.transport.set_handler(boxed.handler)
    boxed.peer.sendall(b"x")
    boxed.turn(1)
    assert order == ["send", "timer"]
    order.clear()
    small_piece(boxed, b"of others")  # before what is received in the same turn
    boxed.peer.sendall(b"x")
    boxed.turn(1)
    assert order == ["timer", "send"]
    assert boxed.peer.recv(100) == b"replyof othersreply"


@pytest.mark.parametrize("every", [1, 2, 3, 7])
@pytest.mark.parametrize("turned", [1, 5, 1_000])
def test_pieces_of_both_ways_in_arrive_in_order(boxed: Pair, every: int, turned: int) -> None:
    sizes = [1, 300, 5_000, 70_000, 16_383, 16_384] * 10
    expected = bytearray()
    taken = bytearray()
    boxed.peer.setblocking(False)
    for index, size in enumerate(sizes):
        piece = bytes([index]) * size
        expected += piece
        if index % every:
            small_piece(boxed, piece)
        else:
            boxed.transport.write(piece)
        if index % turned == 0:
            boxed.turn(1)
            try:
                taken += boxed.peer.recv(10_000)
            except BlockingIOError:
                pass
    boxed.transport.close()
    small_piece(boxed, b"too late")
    assert taken + boxed.take_all() == expected


@pytest.mark.parametrize("size", [100, 1_000, 10_000, 100_000])
def test_pressure_is_told_at_the_same_piece_with_and_without_an_outbox(pair: Pair, size: int) -> None:
    counts = []
    for boxed in (False, True):
        if boxed:
            pair.take_all()
            pair.handler.blocked.clear()
            pair.transport.outbox = Outbox()
        count = 0
        while not pair.handler.blocked:
            if boxed:
                small_piece(pair, bytes(size))
            else:
                pair.transport.write(bytes(size))
            count += 1
            assert pair.transport.blocked or pair.transport.queued_bytes <= LIMITS.high_watermark_bytes
        assert pair.transport.queued_bytes > LIMITS.high_watermark_bytes
        counts.append(count)
    assert counts[0] == counts[1]
    pair.take_all()
    assert pair.handler.blocked == [True, False]
    small_piece(pair, b"again")
    assert len(pair.transport.outbox or b"") == 5


def test_above_the_hard_limit_small_pieces_cut_the_client(boxed: Pair) -> None:
    for _ in range(2_000):
        small_piece(boxed, bytes(10_000))
    boxed.turn()
    assert boxed.handler.lost == ["slow client"]
    small_piece(boxed, b"nowhere")
    assert boxed.transport.queued_bytes == 0


def test_what_the_kernel_does_not_take_is_queued_and_nothing_passes_it(boxed: Pair) -> None:
    outbox = boxed.transport.outbox
    assert outbox is not None
    while not boxed.transport._waiting:
        small_piece(boxed, b"a" * 10_000)
        boxed.turn(1)
    assert outbox.max_bytes == 0
    small_piece(boxed, b"b")
    assert len(outbox) == 0
    got = boxed.take_all()
    assert got.endswith(b"ab")
    assert set(got) == {ord("a"), ord("b")}
    assert outbox.max_bytes == LIMITS.high_watermark_bytes


def test_what_comes_while_the_kernel_takes_nothing_stops_nothing(boxed: Pair) -> None:
    """A client that reads slowly and speaks meanwhile still gets what is said once it has read."""
    while not boxed.transport._waiting:
        small_piece(boxed, b"a" * 10_000)
        boxed.turn(1)
    boxed.peer.send(b"still here")
    boxed.turn()
    assert bytes(boxed.handler.got) == b"still here"
    assert set(boxed.take_all()) == {ord("a")}
    small_piece(boxed, b"b")
    boxed.turn()
    assert boxed.peer.recv(100) == b"b"


def test_an_outbox_that_comes_while_bytes_wait_opens_when_they_have_left(pair: Pair) -> None:
    outbox = Outbox()
    pair.transport.write(b"head")
    pair.transport.outbox = outbox
    assert outbox.max_bytes == 0
    small_piece(pair, b"tail")
    pair.turn()
    assert (outbox.max_bytes, pair.peer.recv(100)) == (LIMITS.high_watermark_bytes, b"headtail")


@pytest.mark.parametrize("reason", [None, "cut"])
def test_a_close_sends_what_the_outbox_holds_and_an_abort_drops_it(boxed: Pair, reason: str | None) -> None:
    small_piece(boxed, b"last")
    boxed.transport.close(reason)
    small_piece(boxed, b"too late")
    assert boxed.take_all() == (b"last" if reason is None else b"")
    assert boxed.transport.queued_bytes == 0


def test_a_socket_that_is_taken_away_leaves_nothing_behind(boxed: Pair) -> None:
    small_piece(boxed, b"last")
    taken = boxed.transport.detach()
    assert taken is not None
    small_piece(boxed, b"too late")
    boxed.turn()
    assert boxed.peer.recv(100) == b"last"
    taken.close()


@pytest.mark.parametrize(
    "outcome", [OSError(errno.ECONNRESET, "reset"), BlockingIOError(), InterruptedError()]
)
def test_a_send_of_the_outbox_that_fails(boxed: Pair, outcome: OSError) -> None:
    real = boxed.transport._socket
    outcomes = [outcome]

    class Failing:
        def __getattr__(self, name: str) -> Any:
            if name == "send" and outcomes:
                raise outcomes.pop()
            return getattr(real, name)

    boxed.transport._socket = Failing()  # type: ignore[assignment]
    small_piece(boxed, b"piece")
    boxed.turn()
    if type(outcome) is ConnectionResetError:
        assert boxed.handler.lost == ["reset"]
    else:
        assert (boxed.handler.lost, boxed.peer.recv(100)) == ([], b"piece")


# System calls that fail once, each in turn


@pytest.mark.parametrize("call", ["recv_into", "send", "sendmsg", "shutdown"])
def test_a_failing_system_call_ends_the_connection_and_frees_its_descriptor(pair: Pair, call: str) -> None:
    real = pair.transport._socket

    class Failing:
        def __getattr__(self, name: str) -> Any:
            if name == call:
                raise OSError(errno.ECONNRESET, "reset")
            return getattr(real, name)

    pair.transport._socket = Failing()  # type: ignore[assignment]
    pair.peer.sendall(b"x")
    pair.turn()
    pair.transport.write(b"small")
    if call == "sendmsg":
        pair.transport.write(bytes(100_000))
    pair.turn()
    if call == "shutdown":
        pair.transport.close()
    pair.turn()
    assert len(pair.handler.lost) == 1
    assert real.fileno() == -1
    assert pair.reported == []


# The loop


def test_a_turn_is_data_then_posts_then_timers_then_late_readers_then_flushes_r68_r69() -> None:
    loop = Loop(fail)
    order: list[str] = []
    first, first_peer = socket.socketpair()
    late, late_peer = socket.socketpair()

    class Item:
        def flush(self) -> None:
            order.append("flush")

    def data() -> None:
        order.append("data")
        first.recv(1)
        loop.flush_at_turn_end(Item())

    loop.add_reader(late.fileno(), lambda: order.append("late"), late=True)
    loop.add_reader(first.fileno(), data)
    loop.call_later(0, lambda: order.append("timer"))
    loop.mailbox.post(lambda: order.append("post"))
    for peer in (first_peer, late_peer):
        peer.send(b"x")
    loop.run_once(0)
    assert order == ["data", "post", "timer", "late", "flush"]
    for sock in (first, late):
        loop.remove_reader(sock.fileno())
    for sock in (first, first_peer, late, late_peer):
        sock.close()
    loop.close()


@pytest.mark.parametrize("count", [WIDE_MIN_COUNT - 1, WIDE_MIN_COUNT])
def test_a_flush_of_many_waits_for_one_more_look_and_no_longer(count: int) -> None:
    loop = Loop(fail)
    order: list[str] = []
    readable, peer = socket.socketpair()

    class Item:
        def flush(self) -> None:
            order.append("flush")

    items = [Item() for _ in range(count)]

    def broadcast() -> None:
        order.append("data")
        loop.call_at_turn_end(lambda: order.append("end"))
        for item in items:
            loop.flush_at_turn_end(item)

    loop.add_reader(readable.fileno(), broadcast)  # which is always readable: a sender that never rests
    peer.send(b"x")
    loop.run_once(0)
    if count < WIDE_MIN_COUNT:
        assert order == ["data", *["flush"] * count, "end"]
    else:
        assert order == ["data"]
        loop.run_once()  # waits for nothing, whatever may come
        assert order == ["data", "data", "end", "end", *["flush"] * 2 * count]
        loop.call_soon(loop.stop)
        loop.run()  # the last turn keeps nothing back
        assert order.count("flush") == 3 * count
    loop.remove_reader(readable.fileno())
    readable.close()
    peer.close()
    loop.close()


def test_a_fault_in_a_callback_never_stops_the_loop_r70() -> None:
    reported: list[str] = []
    loop = Loop(lambda what, error: reported.append(what))
    made: list[int] = []

    def fault() -> None:
        raise RuntimeError("fault")

    loop.call_soon(fault)
    loop.call_later(0, fault)
    loop.mailbox.post(fault)
    loop.call_soon(lambda: made.append(1))
    loop.call_later(0, loop.stop)
    loop.run()
    assert made == [1]
    assert len(reported) == 3
    loop.close()


def test_timers_run_in_order_and_a_cancelled_one_never() -> None:
    loop = Loop(fail)
    order: list[str] = []
    loop.call_later(0.0002, lambda: order.append("second"))
    loop.call_later(0.0001, lambda: order.append("first"))
    loop.call_later(0.0001, lambda: order.append("never")).cancel()
    loop.call_later(0.0003, loop.stop)
    loop.run()
    assert order == ["first", "second"]
    loop.close()


def test_cancelled_timers_do_not_add_up() -> None:
    loop = Loop(fail)
    kept = [loop.call_later(60.0, fail) for _ in range(100)]
    for _ in range(10_000):
        loop.call_later(45.0, fail).cancel()
    assert len(loop._timers) <= SWEEP_MIN_COUNT
    assert {id(timer) for timer in loop._timers} >= {id(timer) for timer in kept}
    first = loop.call_later(1.0, fail)
    assert loop._timers[0] is first
    loop.close()


def test_a_deadline_moves_and_waits_with_one_timer() -> None:
    loop = Loop(fail)
    fired: list[float] = []
    deadline = Deadline(loop, lambda: fired.append(loop.now))
    for _ in range(1_000):
        deadline.set(5.0)
        loop.now += 1.0
    assert len(loop._timers) == 1
    loop._run_due()
    assert fired == []
    loop.now += 10.0
    loop._run_due()
    assert len(fired) == 1
    deadline.set(1.0)
    deadline.clear()
    loop.now += 10.0
    loop._run_due()
    deadline.set(1.0)
    deadline.cancel()
    loop.now += 10.0
    loop._run_due()
    assert len(fired) == 1
    loop.close()


def test_a_post_from_a_thread_wakes_a_waiting_loop_r66() -> None:
    from threading import Thread

    loop = Loop(fail)
    worker = Thread(target=lambda: loop.mailbox.post(loop.stop))
    worker.start()
    loop.run()
    worker.join(10)
    loop.close()


def test_a_signal_ends_a_wait_that_begins_before_its_handler_has_run() -> None:
    """Not the handler writes the byte that wakes, but the interpreter, when the signal comes."""
    loop = Loop(fail)
    readable: list[list[int]] = []

    def look() -> None:
        signal.raise_signal(signal.SIGUSR2)
        readable.append(select.select([loop._wake_up.receiver], [], [], 0)[0])
        loop.stop()

    handler = signal.signal(signal.SIGUSR2, lambda number, frame: None)
    before = signal.set_wakeup_fd(-1)
    try:
        loop.call_soon(look)
        loop.run()
        assert readable == [[loop._wake_up.receiver]]
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGUSR2, handler)
        loop.close()


def test_bytes_are_received_into_one_buffer_of_the_loop_r79(pair: Pair) -> None:
    seen: list[int] = []
    pair.handler.data_received = lambda buffer, nbytes: seen.append(id(buffer))  # type: ignore[method-assign]
    pair.transport.set_handler(pair.handler)
    for _ in range(3):
        pair.peer.sendall(b"x")
        pair.turn(1)
    assert seen == [id(pair.loop.receive_buffer)] * 3


def test_a_connection_that_cannot_be_watched_any_more_ends(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its reading begins again the system may have no more memory."""

    def refuse(*given: Any) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    pair.transport.pause_reading(Pause.MESSAGES, True)
    monkeypatch.setattr(pair.loop, "_change", refuse)
    pair.transport.pause_reading(Pause.MESSAGES, False)
    pair.loop.run_once(0)
    assert pair.handler.lost == ["Cannot allocate memory"]
    assert pair.transport.state is TransportState.CLOSED


@pytest.mark.parametrize("size", [0, 20_000_000], ids=["lingering", "writing"])
def test_the_end_of_a_connection_that_cannot_be_watched(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    def refuse(*given: Any) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(pair.loop, "_change", refuse)
    pair.transport.write(b"x" * size)
    pair.transport.close()
    pair.loop.run_once(0)
    pair.loop.run_once(0)
    assert pair.handler.lost == ["Cannot allocate memory"]
    assert pair.reported == []


def test_a_reset_of_what_is_reset_already_ends_it_all_the_same() -> None:
    """macOS refuses options of such a socket."""

    class ResetAlready(socket.socket):
        def setsockopt(self, *option: Any) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    loop = Loop(fail)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        transport = Transport(loop, ResetAlready(fileno=server.accept()[0].detach()), fail, LIMITS)
        transport.set_handler(handler := Handler())
        transport.close("refused", reset=True)
        loop.run_once(0)
    assert handler.lost == ["refused"]
    loop.close()
