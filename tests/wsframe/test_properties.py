"""Properties by hypothesis: both cores agree, no cut matters, what one end sends the other receives.

It must not list cases by hand: those stand in the table of frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsframe import Close, Connection, Decoder, Fragment, Ping, Pong, Role, State, _pure, deflate

codec = pytest.importorskip("wsframe._codec", reason="a WSFRAME_PURE=1 build has no compiled core to compare")
# An emulated processor is too slow for Hypothesis, which looks at a clock.
patient = [HealthCheck.too_slow]
settings.register_profile(
    "wsframe", deadline=None, max_examples=200, derandomize=True, suppress_health_check=patient
)
settings.load_profile("wsframe")

MASK = st.one_of(st.none(), st.binary(min_size=4, max_size=4))
ROLES = st.sampled_from(Role)
PAYLOAD = st.one_of(
    st.binary(max_size=140), st.text(max_size=60).map(str.encode), st.binary(min_size=126, max_size=600)
)
MESSAGE = st.one_of(st.text(max_size=300), st.binary(max_size=300))


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """One frame, of any first byte, with the length in any form, sometimes cut short."""
    first = draw(
        st.one_of(
            st.sampled_from((0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A)), st.integers(0, 255)
        )
    )
    payload, mask = draw(PAYLOAD), draw(MASK)
    form = draw(st.integers(0, 9))
    top = 0x80 if mask else 0
    if len(payload) < 126 and form < 9:
        sized = bytes((top | len(payload),))
    elif form < 9:
        sized = bytes((top | 126,)) + len(payload).to_bytes(2, "big")
    else:
        sized = bytes((top | 127,)) + len(payload).to_bytes(8, "big")
    body = payload if mask is None else _pure.apply_mask(payload, mask)
    return bytes((first,)) + sized + (mask or b"") + body


STREAMS = st.lists(frames(), max_size=8).map(b"".join)
CUTS = st.lists(st.integers(1, 200), max_size=40)


def comparable(events: list[Any]) -> list[Any]:
    return [(event.code, str(event)) if isinstance(event, Exception) else event for event in events]


def outcome(decoder: Decoder, pieces: list[bytes]) -> tuple[list[Any], bool, bool]:
    events: list[Any] = []
    for piece in pieces:
        events += decoder.receive(piece)
    return comparable(events), decoder.failed, decoder.unfinished


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(stream[:size])
        stream = stream[size:]
    return [*pieces, stream]


@given(STREAMS, CUTS, ROLES)
def test_both_cores_agree_and_no_cut_matters(stream: bytes, sizes: list[int], role: Role) -> None:
    def decoder(core: Any) -> Decoder:
        made: Decoder = core.Decoder(role, max_message_bytes=2000, max_fragments=4)
        return made

    whole = outcome(decoder(codec), [stream])
    assert outcome(decoder(_pure), [stream]) == whole
    assert outcome(decoder(codec), cut(stream, sizes)) == whole
    assert outcome(decoder(_pure), cut(stream, sizes)) == whole


def joined(events: list[Any]) -> list[Any]:
    """With messages in the place of Fragments; a message without its end is none."""
    whole: list[Any] = []
    pieces: list[Any] = []
    for event in events:
        if not isinstance(event, Fragment):
            whole.append(event)
            continue
        pieces.append(event.data)
        if event.final:
            whole.append(type(event.data)().join(pieces))
            pieces = []
    return whole


@given(STREAMS, CUTS, ROLES, st.sampled_from((1, 3, 20, 130)))
def test_both_cores_hand_out_the_same_fragments(
    stream: bytes, sizes: list[int], role: Role, fragment_bytes: int
) -> None:
    """And joined they are what a decoder without them gives."""
    bounds: dict[str, Any] = {"max_message_bytes": 2000, "max_fragments": 4}
    whole = outcome(codec.Decoder(role, **bounds), [stream])
    for core in (codec, _pure):
        for pieces in ([stream], cut(stream, sizes)):
            decoder = core.Decoder(role, fragment_bytes=fragment_bytes, **bounds)
            events, *ends = outcome(decoder, pieces)
            assert (joined(events), *ends) == whole
    told = [
        outcome(core.Decoder(role, fragment_bytes=fragment_bytes, **bounds), cut(stream, sizes))
        for core in (codec, _pure)
    ]
    assert told[0] == told[1]


@given(st.binary(max_size=14), st.integers(0, 3))
def test_both_cores_read_headers_alike(data: bytes, offset: int) -> None:
    def read(core: Any) -> Any:
        try:
            return core.decode_header(data, offset)
        except Exception as error:
            return type(error), str(error)

    assert read(codec) == read(_pure)


@given(st.integers(-1, 17), st.one_of(PAYLOAD, st.text()), MASK, st.booleans(), st.booleans())
def test_both_cores_write_frames_alike(
    opcode: int, payload: bytes | str, mask: bytes | None, fin: bool, rsv1: bool
) -> None:
    def write(core: Any) -> Any:
        try:
            return core.encode_frame(opcode, payload, mask, fin, rsv1)
        except Exception as error:
            return type(error), str(error)

    assert write(codec) == write(_pure)


@given(st.binary(max_size=1000), st.binary(min_size=4, max_size=4), st.integers(0, 100))
def test_a_mask_undoes_itself(data: bytes, mask: bytes, at: int) -> None:
    for core in (codec, _pure):
        masked = core.apply_mask(data, mask)
        assert core.apply_mask(masked, mask) == data
        buffer = bytearray(masked)
        core.apply_mask_inplace(memoryview(buffer)[at:], mask, at)
        assert buffer[at:] == data[at:]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), MESSAGE),
        st.tuples(st.just("ping"), st.binary(max_size=125)),
        st.tuples(st.just("pong"), st.binary(max_size=125)),
    ),
    max_size=12,
)
AGREEMENTS = st.one_of(
    st.none(),
    st.builds(
        deflate.Agreement,
        st.booleans(),
        st.booleans(),
        st.integers(9, 15),
        st.integers(9, 15),
        st.just(deflate.Options(threshold_bytes=20)),
    ),
)


@given(
    ACTIONS, CUTS, ROLES, AGREEMENTS, st.sampled_from([1000, 1001, 1005, 3000, 4999]), st.text(max_size=30)
)
def test_what_is_sent_is_received(
    actions: list[tuple[str, Any]],
    sizes: list[int],
    role: Role,
    agreement: deflate.Agreement | None,
    code: int,
    reason: str,
) -> None:
    ours = Connection(role, deflate=agreement)
    theirs = Connection(Role.CLIENT if role is Role.SERVER else Role.SERVER, deflate=agreement)
    sent: list[Any] = []
    kinds: dict[str, Callable[[bytes], Any]] = {"ping": Ping, "pong": Pong}
    for action, payload in actions:
        if action == "send":
            (ours.send_text if isinstance(payload, str) else ours.send_binary)(payload)
        else:
            getattr(ours, action)(payload)
        sent.append(kinds[action](payload) if action in kinds else payload)
    reason = "" if code == 1005 else reason.encode()[:123].decode(errors="ignore")
    ours.close(code, reason)
    events: list[Any] = []
    for piece in cut(ours.data_to_send(), sizes):
        events += theirs.receive_data(piece)
    assert events == [*sent, Close(code, reason)]
    answers = ours.receive_data(theirs.data_to_send())
    pings = [event.payload for event in sent if isinstance(event, Ping)]
    assert answers == [*map(Pong, pings), Close(code, "")]
    assert ours.state is theirs.state is State.CLOSED


OUTBOX_CALLS = st.one_of(
    st.tuples(st.just("send"), MESSAGE),
    st.tuples(st.just("write"), st.binary(min_size=1, max_size=700)),
    st.sampled_from([("take",), ("expect",), ("__len__",), ("close",)]),
    st.tuples(st.just("bound"), st.integers(0, 2000)),
)


@given(st.lists(OUTBOX_CALLS, max_size=40), st.booleans())
def test_both_outboxes_agree(calls: list[tuple[Any, ...]], encodes: bool) -> None:
    told: list[list[Any]] = []
    for core in (codec, _pure):
        said: list[Any] = []
        outbox = core.Outbox(encodes)
        outbox.open(1000, said.append, "woken")
        for name, *arguments in calls:
            if name == "bound":
                outbox.max_bytes = arguments[0]
            else:
                said.append(getattr(outbox, name)(*arguments))
        told.append([*said, outbox.max_bytes, outbox.take()])
    assert told[0] == told[1]


# The same objects over and over, as broadcasts are: what one outbox has joined may be another's as well.
SHARED = [b"\x81\x01a", b"\x82\x02bc", b"\x82\x7e\x01\x00" + b"d" * 256, b"\x82\x7e\x0b\xb8" + b"e" * 3000]
SHARED_CALLS = st.one_of(
    st.tuples(st.integers(0, 2), st.just("write"), st.sampled_from(SHARED)),
    st.tuples(st.integers(0, 2), st.just("send"), st.sampled_from(["", "f", "g" * 200])),
    st.tuples(st.integers(0, 2), st.just("take")),
)


@given(st.lists(SHARED_CALLS, max_size=60))
def test_outboxes_that_share_agree(calls: list[tuple[Any, ...]]) -> None:
    told: list[list[Any]] = []
    for core in (codec, _pure):
        joins = core.JoinCache()
        outboxes = [core.Outbox(True, joins) for _ in range(3)]
        for outbox in outboxes:
            outbox.open(20_000, id, None)
        said = [getattr(outboxes[which], name)(*arguments) for which, name, *arguments in calls]
        told.append([*said, *(outbox.take() for outbox in outboxes)])
    assert told[0] == told[1]
    assert [piece[-1:] for piece in SHARED] == [b"a", b"c", b"d", b"e"]
