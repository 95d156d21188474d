"""What is kept of a lost client beside the stream, and that nobody else's is read (stream_record.py).

It must not know who keeps it.
"""

from typing import Any

import msgspec
import pytest

from python_server.socketio.cluster.port import Malformed
from python_server.socketio.recovery.stream_record import DIGEST_BYTES, VERSION, StreamRecord, sign, verify

SECRET = b"ours"


def record(**more: Any) -> StreamRecord:
    return StreamRecord(VERSION, "/", "S", "P", **more)


def test_it_comes_back_as_it_was() -> None:
    kept = record(
        data={"name": "Ann", "list": [1, None, 0.5]},
        rooms=["S", "news", 7, -(2**63)],
        place=2**60,
        own={"abcd": "abcd1f"},
        ahead=["efgh2"],
        last_offset="abcd1f",
        sent_last=[None, "abcd1e", "abcd1f"],
        sent_from=3,
        private={"abcd1e": ["42text", b"\x00\xff"]},
        is_live=True,
    )
    assert verify(sign(kept, SECRET), "P", SECRET) == kept


def test_nobody_has_chosen_a_secret() -> None:
    assert verify(sign(record(), b""), "P", b"") == record()


@pytest.mark.parametrize("position", [0, DIGEST_BYTES - 1, DIGEST_BYTES, -1])
def test_one_changed_bit_is_refused(position: int) -> None:
    told = bytearray(sign(record(), SECRET))
    told[position] ^= 1
    with pytest.raises(Malformed, match="signed with another --cluster-secret, or by nobody"):
        verify(bytes(told), "P", SECRET)


@pytest.mark.parametrize("length", [0, 1, DIGEST_BYTES - 1, DIGEST_BYTES, DIGEST_BYTES + 1, -1])
def test_what_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(Malformed):
        verify(sign(record(), SECRET)[:length], "P", SECRET)


def test_another_secret_is_refused() -> None:
    with pytest.raises(Malformed, match="another --cluster-secret"):
        verify(sign(record(), b"theirs"), "P", SECRET)


def test_a_record_of_another_client_is_refused() -> None:
    """Whoever may write to the store could else give one client's rooms to another."""
    with pytest.raises(Malformed, match="another client's"):
        verify(sign(record(), SECRET), "Q", SECRET)


def told(*values: Any) -> bytes:
    """Signed with our secret, whatever it is."""
    return sign(list(values), SECRET)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        (),
        (VERSION, "/", "S"),
        (VERSION, "/", "S", 7),
        ("1", "/", "S", "P"),
        (VERSION, "/", "S", "P", None, "news"),
        (VERSION, "/", "S", "P", None, [1.5]),
        (VERSION, "/", "S", "P", None, [], "0"),
        (VERSION, "/", "S", "P", None, [], 0, {"a": 1}),
    ],
)
def test_another_shape_is_refused(values: tuple[Any, ...]) -> None:
    with pytest.raises(Malformed, match="cannot be read"):
        verify(told(*values), "P", SECRET)


@pytest.mark.parametrize("packets", [[1], [None], [["nested"]]])
def test_packets_are_text_or_bytes(packets: list[Any]) -> None:
    with pytest.raises(Malformed, match="neither text nor bytes"):
        verify(sign(record(private={"a": packets}), SECRET), "P", SECRET)


def test_what_is_no_text_is_refused() -> None:
    broken = msgspec.msgpack.encode([VERSION, "/", "S", "P"]).replace(b"\xa1P", b"\xa1\xff")
    with pytest.raises(Malformed, match="cannot be read"):
        verify(sign(msgspec.Raw(broken), SECRET), "P", SECRET)  # type: ignore[arg-type]


def test_a_later_version_has_more_fields() -> None:
    fields = msgspec.to_builtins(record(place=5))
    later = told(VERSION + 1, *fields[1:], "more", {"and": "more"})
    assert verify(later, "P", SECRET) == record(place=5).__class__(
        **{**msgspec.structs.asdict(record(place=5)), "version": VERSION + 1}
    )


@pytest.mark.parametrize("value", ["\ud800", 2**70, object()], ids=["no text", "too big", "an object"])
def test_what_does_not_travel_is_no_record(value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        sign(record(data=value), SECRET)
