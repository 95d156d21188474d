"""A head that is kept packed: what it gives back, and how many bytes it holds (http1/packed_head.py).

It must not know who keeps it.
"""

import pytest

from python_server.http1.head import Request
from python_server.http1.packed_head import PackedFields, kept

FIELDS = {"host": "example.test", "x-empty": "", "x-wide": "é\x85", "cookie": "a=1; b=2"}


@pytest.mark.parametrize("fields", [{}, {"host": ""}, FIELDS], ids=len)
def test_packed_fields_are_the_fields(fields: dict[str, str]) -> None:
    packed = PackedFields(fields)
    assert (dict(packed), dict(packed.items()), list(packed), len(packed)) == (
        fields,
        fields,
        list(fields),
        len(fields),
    )
    assert packed.get("x-none") is None
    with pytest.raises(KeyError):
        packed["x-none"]
    for name, value in fields.items():
        assert packed[name] == value


def test_a_kept_request_is_the_same_without_what_is_read_only_once() -> None:
    request = Request(
        *("GET", "/a?b", "/a", "b", (1, 1), tuple(FIELDS.items())), fields=FIELDS, raw_head=b"GET ..."
    )
    packed, head_bytes = kept(request)
    assert (packed.target, packed.path, packed.query, packed.version) == ("/a?b", "/a", "b", (1, 1))
    assert (packed.headers, packed.raw_head) == ((), b"")
    assert isinstance(packed.fields, PackedFields)
    assert dict(packed.fields) == FIELDS
    assert head_bytes == len("\n".join(f"{name}\n{value}" for name, value in FIELDS.items()).encode()) + 2 * 4
    assert request.raw_head, "the request itself stays as it was"
