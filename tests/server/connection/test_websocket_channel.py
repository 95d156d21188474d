"""One WebSocket on a fake transport: messages, pings, faults, limits in time, the two ways to close.

It must not know sockets; deadlines are moved by hand.
"""

import struct
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from python_server.connection.websocket_channel import (
    GATHERED_MIN_BYTES,
    MESSAGES_PER_TURN,
    WebSocketChannel,
    WebSocketServices,
)
from python_server.net.backpressure import Backpressure
from python_server.settings import WebSocketSettings
from told_time import HandDeadline
from wsframe import CloseCode, Connection, Opcode, Role, encode_frame
from wsframe.deflate import Agreement

MASK = b"\1\2\3\4"


class FakeTransport:
    """Remembers what a channel asks of it.

    Args:
        room_bytes: what the outbox may hold; with 0 everything comes by `write`.
    """

    peer = local = None
    blocked = False

    def __init__(self, room_bytes: int) -> None:
        self.sent = b""
        self.closed: str | None = None
        self.pauses = 0
        self.room_bytes = room_bytes
        self.held: Any = None

    @property
    def outbox(self) -> Any:
        return self.held

    @outbox.setter
    def outbox(self, outbox: Any) -> None:
        self.held = outbox
        outbox.open(self.room_bytes, FakeTransport.take, self)

    queued_bytes = 0

    def take(self) -> None:
        self.sent += self.held.take()

    def write(self, data: Any) -> None:
        self.take()
        self.sent += bytes(data)

    @property
    def paused(self) -> bool:
        return bool(self.pauses)

    def pause_reading(self, reasons: int, paused: bool) -> None:
        self.pauses = self.pauses | reasons if paused else self.pauses & ~reasons

    def set_handler(self, handler: Any) -> None:
        raise AssertionError("a WebSocket gives its connection to nobody")

    def close(self, abort: str | None = None) -> None:
        self.closed = abort or "orderly"


class Bench:
    """A channel with everything around it faked."""

    def __init__(
        self, max_message_bytes: int = 1000, deflate: Agreement | None = None, room_bytes: int = 1000
    ) -> None:
        self.deadlines: list[HandDeadline] = []
        self.ended: list[WebSocketChannel] = []
        self.soon: deque[Callable[[], None]] = deque()
        self.messages: list[str | bytes] = []
        self.closes: list[tuple[int, str]] = []
        self.transport = FakeTransport(room_bytes)
        services = WebSocketServices(
            settings=WebSocketSettings(
                max_message_bytes=max_message_bytes, ping_interval_seconds=20.0, ping_timeout_seconds=7.0
            ),
            closing_max_bytes=1000,
            send_timeout_seconds=60.0,
            backpressure=Backpressure({}, monotonic),
            deflate=None,
            deadline=self._deadline,
            began=lambda channel: None,
            ended=self.ended.append,
            call_soon=self.soon.append,
        )
        connection = Connection(
            Role.SERVER, max_message_bytes=max_message_bytes, max_fragments=100, deflate=deflate
        )
        self.channel = WebSocketChannel(self.transport, connection, services, sharing=deflate)
        self.channel.on_message = self.messages.append
        self.channel.on_close = lambda code, reason: self.closes.append((code, reason))

    def _deadline(self, function: Any) -> HandDeadline:
        self.deadlines.append(HandDeadline(function))
        return self.deadlines[-1]

    def turn(self) -> None:
        """What was to be called in the loop's next turn."""
        for _ in range(len(self.soon)):
            self.soon.popleft()()

    def armed(self) -> list[float]:
        return [deadline.seconds for deadline in self.deadlines if deadline.seconds is not None]

    def receive(self, data: bytes) -> None:
        self.channel.data_received(bytearray(data), len(data))

    def sent(self) -> bytes:
        self.transport.take()
        sent, self.transport.sent = self.transport.sent, b""
        return sent


@pytest.fixture(params=[0, 3, 1000], ids=lambda room_bytes: f"outbox of {room_bytes}")
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(room_bytes=request.param)


def client(opcode: int, payload: str | bytes = b"", fin: bool = True) -> bytes:
    return encode_frame(opcode, payload, MASK, fin)


def close_code(frame: bytes) -> int:
    assert frame[0] == 0x88
    return int(struct.unpack_from(">H", frame, 2)[0])


def test_messages_in_both_directions(bench: Bench) -> None:
    bench.receive(client(Opcode.TEXT, "é") + client(Opcode.BINARY, b"\0") + client(Opcode.TEXT))
    assert bench.messages == ["é", b"\0", ""]
    bench.channel.send("hi")
    bench.channel.send(b"\1")
    assert bench.sent() == b"\x81\x02hi\x82\x01\x01"


def test_a_ping_is_answered_between_messages(bench: Bench) -> None:
    bench.receive(client(Opcode.TEXT, "a") + client(Opcode.PING, b"x") + client(Opcode.TEXT, "b"))
    assert bench.messages == ["a", "b"]
    assert bench.sent() == b"\x8a\x01x"


def test_a_pong_leaves_before_answers_and_these_before_the_close_frame(bench: Bench) -> None:
    bench.channel.on_message = bench.channel.send
    bench.receive(client(Opcode.TEXT, "a") + client(Opcode.PING, b"x") + client(Opcode.CLOSE, b"\x03\xe8"))
    assert bench.sent() == b"\x8a\x01x\x81\x01a\x88\x02\x03\xe8"


@pytest.mark.parametrize("deflate", [None, Agreement(True)], ids=["plain", "compressed"])
@pytest.mark.parametrize("room_bytes", range(0, 40, 3))
def test_whatever_its_way_out_all_leaves_in_the_order_of_the_calls(
    room_bytes: int, deflate: Agreement | None
) -> None:
    """Small, shared and gathered messages, pings and the close frame, at every bound of the outbox."""
    bench = Bench(deflate=deflate, room_bytes=room_bytes)
    large = b"x" * GATHERED_MIN_BYTES
    taken_early = b""
    for number in range(3):
        bench.channel.send("small")
        bench.channel.send_frames(b"shared")
        bench.channel.ping(b"?")
        bench.channel.send(b"1")
        bench.channel.send(large, compress=False)
        bench.channel.send(bytearray(b"other"))
        if number == 1:
            taken_early = bench.sent()
    bench.channel.close(1001)
    bench.channel.send("too late")
    turn = b"\x81\x05smallshared\x89\x01?\x82\x011\x82\x7e\x40\x00" + large + b"\x82\x05other"
    assert taken_early + bench.sent() == turn * 3 + b"\x88\x02\x03\xe9"


def test_an_unsolicited_pong_changes_nothing(bench: Bench) -> None:
    bench.receive(client(Opcode.PONG, b"x"))
    assert (bench.messages, bench.sent(), bench.channel.open) == ([], b"", True)


def test_the_peer_closes(bench: Bench) -> None:
    bench.receive(client(Opcode.CLOSE, struct.pack(">H", 4000) + b"bye"))
    assert close_code(bench.sent()) == 4000
    assert bench.transport.closed == "orderly"
    bench.channel.connection_lost("closed")
    assert bench.closes == [(4000, "bye")]
    assert bench.ended == [bench.channel]


class Shared:
    frames = b"plain"

    def deflated_frames(self, agreement: Agreement) -> bytes:
        return b"deflated"


@pytest.mark.parametrize(
    ("deflate", "sent"),
    [(None, b"plain"), (Agreement(True), b"deflated"), (Agreement(False), b"plain")],
)
def test_shared_messages_are_compressed_for_who_agreed_to_no_context(deflate: Any, sent: bytes) -> None:
    bench = Bench(deflate=deflate)
    bench.channel.send_prepared(Shared())
    assert bench.sent() == sent
    bench.channel.close()
    bench.sent()
    bench.channel.send_prepared(Shared())
    assert bench.sent() == b""


@pytest.mark.parametrize(
    ("deflate", "taken"), [(None, True), (Agreement(True), False), (Agreement(False), True)]
)
def test_prepared_frames_may_be_written_past_the_channel_where_they_leave_plain(
    deflate: Any, taken: bool
) -> None:
    bench = Bench(deflate=deflate)
    assert bench.channel.prepared_outbox.write(Shared.frames) is taken
    assert bench.sent() == (Shared.frames if taken else b"")
    bench.channel.close()
    bench.sent()
    assert not bench.channel.prepared_outbox.write(Shared.frames)


def test_who_floods_instead_of_answering_our_close_frame_is_cut(bench: Bench) -> None:
    message = client(Opcode.BINARY, bytes(94))
    assert len(message) == 100
    for _ in range(20):
        bench.receive(message)  # an open one is not counted
    bench.channel.close(4001, "done")
    for _ in range(10):
        bench.receive(message)  # on its way, perhaps
    assert bench.transport.closed is None
    bench.receive(message)
    assert bench.transport.closed == "no close frame came back"


def test_we_close_and_wait_for_the_answer(bench: Bench) -> None:
    bench.channel.close(4001, "done")
    assert close_code(bench.sent()) == 4001
    assert bench.transport.closed is None
    assert bench.armed() == [10.0]
    bench.channel.close(4002)  # once is enough
    bench.channel.send("too late")
    bench.channel.send_frames(b"too late")
    assert bench.sent() == b""
    bench.receive(client(Opcode.CLOSE, struct.pack(">H", 4001)))
    assert bench.transport.closed == "orderly"


def test_an_answer_that_does_not_come_is_not_waited_for(bench: Bench) -> None:
    bench.channel.close()
    bench.deadlines[0].fire()
    assert bench.transport.closed == "no close frame came back"
    bench.channel.connection_lost("no close frame came back")
    assert bench.closes[0][0] == CloseCode.ABNORMAL_CLOSURE


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (1002, encode_frame(Opcode.TEXT, "unmasked")),
        (1007, client(Opcode.TEXT, b"\xff")),
        (1009, client(Opcode.BINARY, b"x" * 1001)),
    ],
)
def test_a_fault_is_answered_after_what_came_before_it(bench: Bench, code: int, data: bytes) -> None:
    bench.receive(client(Opcode.TEXT, "good") + data + client(Opcode.TEXT, "never seen"))
    assert bench.messages == ["good"]
    assert close_code(bench.sent()) == code
    assert bench.transport.closed == "orderly"
    bench.channel.connection_lost("closed")
    assert bench.closes[0][0] == code


def test_the_connection_just_ends(bench: Bench) -> None:
    bench.channel.data_received(bytearray(), 0)
    assert bench.transport.closed == "orderly"
    bench.channel.connection_lost("closed")
    bench.channel.connection_lost("closed")
    assert bench.closes == [(1006, "closed")]


def test_a_large_message_is_received_into_its_own_storage() -> None:
    bench = Bench(max_message_bytes=1 << 20)
    payload = bytes(range(256)) * 2048
    data = client(Opcode.BINARY, payload)
    at = direct_count = 0
    while at < len(data):
        buffer = bench.channel.receive_buffer()
        size = min(len(buffer) if buffer is not None else 100_000, len(data) - at)
        if buffer is None:
            bench.receive(data[at : at + size])
        else:
            buffer[:size] = data[at : at + size]
            bench.channel.data_received(buffer, size)
            direct_count += 1
        at += size
    assert direct_count > 0
    assert bench.messages == [payload]
    assert bench.channel.receive_buffer() is None


def test_an_unfinished_frame_has_its_time(bench: Bench) -> None:
    data = client(Opcode.TEXT, "hello")
    bench.receive(data[:4])
    assert bench.armed() == [30.0]
    bench.receive(data[4:])
    assert bench.armed() == []
    bench.receive(data[:4])
    bench.deadlines[-1].fire()
    assert close_code(bench.sent()) == 1008


def test_what_is_unfinished_behind_a_whole_message_has_its_own_time(bench: Bench) -> None:
    """A client that sends without a pause never ends a chunk between two messages."""
    data = client(Opcode.TEXT, "hello") * 3
    bench.receive(data[:4])
    (deadline,) = bench.deadlines
    for at in range(4, len(data) - 11, 11):
        deadline.seconds = 3.0
        bench.receive(data[at : at + 11])
        assert deadline.seconds == 30.0
    assert bench.messages == ["hello"] * 2
    assert bench.channel.held_bytes == 11


def test_pings_earn_an_unfinished_message_no_time(bench: Bench) -> None:
    bench.receive(client(Opcode.TEXT, "begun", fin=False))
    (deadline,) = bench.deadlines
    deadline.seconds = 3.0
    ping = client(Opcode.PING)
    bench.receive(ping)
    bench.receive(client(Opcode.CONTINUATION, "more", fin=False) + ping)
    assert deadline.seconds == 3.0
    bench.receive(client(Opcode.CONTINUATION, "end"))
    assert bench.messages == ["begunmoreend"]
    assert bench.channel.held_bytes == 0


def test_a_silent_client_is_pinged_and_then_ended(bench: Bench) -> None:
    bench.channel.keep_alive(None, None)
    (deadline,) = bench.deadlines
    assert deadline.seconds == 20.0
    deadline.fire()  # it was heard at the handshake
    assert (bench.sent(), deadline.seconds) == (b"", 20.0)
    deadline.fire()
    assert (bench.sent(), deadline.seconds) == (b"\x89\x00", 7.0)
    bench.receive(client(Opcode.PONG))
    deadline.fire()
    assert (bench.sent(), deadline.seconds) == (b"", 20.0)
    deadline.fire()
    assert bench.sent() == b"\x89\x00"
    deadline.fire()
    assert close_code(bench.sent()) == 1011
    assert bench.transport.closed == "orderly"
    # A dead peer's kernel may take none of it: then the connection is cut, not kept until the close timeout.
    assert bench.deadlines[-1].seconds == 1.0
    bench.deadlines[-1].fire()
    assert bench.transport.closed == "keepalive ping timeout"


def test_keepalive_can_be_switched_off(bench: Bench) -> None:
    bench.channel.keep_alive(0, None)
    assert bench.deadlines == []


def test_a_client_that_does_not_read_is_not_read_from(bench: Bench) -> None:
    bench.channel.write_blocked(True)
    assert bench.transport.paused
    bench.channel.write_blocked(False)
    assert not bench.transport.paused


def test_a_client_that_reads_again_still_waits_for_its_handler(bench: Bench) -> None:
    bench.channel.pause_reading(True)
    bench.channel.write_blocked(True)
    bench.channel.write_blocked(False)
    assert bench.transport.paused
    assert bench.channel.paused
    bench.channel.pause_reading(False)
    assert not bench.transport.paused


def test_the_silence_of_a_client_that_is_not_listened_to_is_not_its_own(bench: Bench) -> None:
    bench.channel.keep_alive(None, None)
    (deadline,) = bench.deadlines
    deadline.fire()
    deadline.fire()
    assert (bench.sent(), deadline.seconds) == (b"\x89\x00", 7.0)
    bench.channel.pause_reading(True)  # the pong cannot be seen
    for _ in range(3):
        deadline.fire()
        assert (bench.sent(), deadline.seconds) == (b"", 20.0)
    bench.channel.pause_reading(False)
    deadline.fire()
    assert (bench.sent(), deadline.seconds) == (b"\x89\x00", 7.0)
    deadline.fire()
    assert close_code(bench.sent()) == 1011


def test_a_graceful_stop_says_1001(bench: Bench) -> None:
    bench.channel.refuse_keep_alive()
    assert close_code(bench.sent()) == 1001
    bench.channel.close_when_idle()
    assert bench.sent() == b""


MANY = [str(number) for number in range(MESSAGES_PER_TURN * 3 + 5)]


def many(behind: bytes = b"") -> bytes:
    return b"".join(client(Opcode.TEXT, text) for text in MANY) + behind


def test_many_messages_of_one_chunk_leave_others_their_turn(bench: Bench) -> None:
    bench.receive(many())
    for turns_count in range(1, 4):
        assert bench.messages == MANY[: MESSAGES_PER_TURN * turns_count]
        assert bench.transport.paused
        assert len(bench.soon) == 1
        bench.turn()
    assert bench.messages == MANY
    assert not bench.transport.paused
    assert not bench.soon
    bench.receive(client(Opcode.TEXT, "more"))
    assert bench.messages[-1] == "more"


def test_messages_for_later_turns_wait_while_their_handler_is_behind(bench: Bench) -> None:
    bench.channel.on_message = lambda message: (
        bench.messages.append(message),
        bench.channel.pause_reading(True),
    )
    bench.receive(many())
    assert (bench.messages, list(bench.soon)) == (MANY[:MESSAGES_PER_TURN], [])
    for _ in range(5):  # to go on is asked for once, or again
        bench.channel.pause_reading(False)
        bench.channel.pause_reading(False)
        bench.turn()
    assert bench.messages == MANY


@pytest.mark.parametrize("behind", [client(Opcode.PING, b"?"), client(Opcode.CLOSE, b"\x03\xe8")])
def test_control_frames_behind_many_messages_are_answered(bench: Bench, behind: bytes) -> None:
    bench.receive(many(behind))
    while bench.soon:
        assert bench.transport.closed is None
        bench.turn()
    assert bench.messages == MANY
    sent = bench.sent()
    assert sent[0] == (0x8A if behind[0] == 0x89 else 0x88)
    assert bench.transport.closed == (None if behind[0] == 0x89 else "orderly")


def test_what_has_come_before_the_end_is_handed_up_before_it(bench: Bench) -> None:
    bench.receive(many())
    told: list[int] = []
    bench.channel.on_close = lambda code, reason: told.append(len(bench.messages))
    bench.channel.connection_lost("reset")
    assert told == [len(MANY)]
    bench.turn()
    assert bench.messages == MANY


def test_a_fault_drops_what_was_for_later_turns(bench: Bench) -> None:
    faults: list[BaseException] = []

    def fail(message: str) -> None:
        bench.messages.append(message)
        if message == MANY[MESSAGES_PER_TURN + 1]:
            raise ValueError(message)

    bench.channel.on_message, bench.channel.on_fault = fail, faults.append
    bench.receive(many())
    while bench.soon:
        bench.turn()
    assert len(faults) == 1
    assert bench.messages == MANY[: MESSAGES_PER_TURN + 2]
    assert not bench.transport.paused
