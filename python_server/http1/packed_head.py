"""A request's head as it is kept for as long as a session: packed, without what is only read at once.

Must not know: sessions, who reads it again.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from dataclasses import replace

from python_server.http1.head import Fields, Request


class PackedFields(Mapping[str, str]):
    """Fields by name in one piece of memory; each look takes all of them apart."""

    __slots__ = ("_packed",)

    def __init__(self, fields: Fields) -> None:
        # Neither a name nor a value holds a line end.
        self._packed = "\n".join(part for field in fields.items() for part in field).encode()

    def _unpacked(self) -> dict[str, str]:
        if not self._packed:
            return {}
        parts = iter(self._packed.decode().split("\n"))
        return dict(zip(parts, parts, strict=True))

    def __getitem__(self, name: str) -> str:
        return self._unpacked()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._unpacked())

    def __len__(self) -> int:
        return len(self._unpacked())

    def items(self) -> ItemsView[str, str]:
        return self._unpacked().items()


def kept(request: Request) -> tuple[Request, int]:
    """(the request with its fields packed, bytes that it holds on to)."""
    fields = PackedFields(request.fields)
    head_bytes = len(fields._packed) + 2 * len(request.target)  # with its path and query
    return replace(request, headers=(), fields=fields, raw_head=b""), head_bytes
