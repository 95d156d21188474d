"""A coverage-guided target: the same bytes to both cores, whole and cut, must give the same events.

It must not catch anything: every exception out of a decoder is a finding. Long run: add -max_total_time=3600.
"""

from __future__ import annotations

import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["wsframe"]):
    from mutate import in_reads, new_decoder, plain

    from wsframe import Role, _codec, _pure


def one_input(data: bytes) -> None:
    """The first byte chooses role, compression and limit; the second the size of the reads."""
    if len(data) < 2:
        return
    role = Role.SERVER if data[0] & 1 else Role.CLIENT
    with_deflate, limit = bool(data[0] & 2), 100 if data[0] & 4 else 100_000
    stream, size = data[2:], data[1] % 32 + 1
    sizes = [min(size, len(stream) - at) for at in range(0, len(stream), size)]
    outcomes: list[Any] = []
    for core in (_codec, _pure):
        whole = new_decoder(core, role, with_deflate, limit)
        outcomes.append(plain(whole.receive(stream), with_deflate))
        outcomes.append(
            plain(in_reads(new_decoder(core, role, with_deflate, limit), stream, sizes), with_deflate)
        )
    assert all(outcome == outcomes[0] for outcome in outcomes), outcomes


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
