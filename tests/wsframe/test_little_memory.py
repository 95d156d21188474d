"""Large payloads where the process gets no more memory: the decoder ends, its connection says 1011.

It must not let small objects fail: `tests/fuzz/nomemory.py` fails each allocation, in a process of its own.
"""

from __future__ import annotations

import gc
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from wsframe import Connection, Role, State

resource = pytest.importorskip("resource", reason="this system bounds no process's memory")
MIB = 1 << 20
# Above 32 MiB each allocation is a mapping of its own, which no freed memory serves.
HALF = bytes(24 * MIB)
HEADROOM_BYTES = 16 * MIB
# Each half fills what was allocated, so that the loan behind it needs an allocation.
UPLOAD = b"\x82\x7f" + (4 * len(HALF)).to_bytes(8, "big")
STATM = Path("/proc/self/statm")

pytestmark = pytest.mark.skipif(
    not STATM.exists() or "WSFRAME_TEST_SANITIZED" in os.environ,
    reason="needs the size of this process, and an allocator that returns NULL",
)


@pytest.fixture
def little_memory() -> Callable[[], AbstractContextManager[None]]:
    @contextmanager
    def bounded() -> Iterator[None]:
        gc.collect()  # what it frees later would be memory
        taken: list[bytearray] = []
        before = resource.getrlimit(resource.RLIMIT_AS)
        size_bytes = int(STATM.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size_bytes + HEADROOM_BYTES, before[1]))
        try:
            with suppress(OSError), mmap.mmap(-1, 1 << 30):  # qemu's emulation, and the machine would be full
                pytest.skip("this system does not hold the bound")
            # What was freed and not given back to the system is memory as well.
            with suppress(MemoryError):
                while True:
                    taken.append(bytearray(len(HALF)))
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    return bounded


def half_uploaded(connection_type: type[Connection]) -> Connection:
    connection = connection_type(Role.CLIENT, max_message_bytes=1 << 30)
    for piece in (UPLOAD, HALF, HALF):
        assert connection.receive_data(piece) == []
    return connection


def ended_by_ourselves(connection: Connection) -> None:
    assert (connection.state, connection.close_code) == (State.CLOSED, 1011)
    assert connection.decoder.failed
    assert connection.receive_buffer() is None
    assert connection.data_to_send()[:2] == bytes((0x88, 0x80 | (2 + len(connection.close_reason))))


def test_no_memory_to_lend_is_told_by_the_next_call(
    connection_type: type[Connection], little_memory: Callable[[], AbstractContextManager[None]]
) -> None:
    connection = half_uploaded(connection_type)
    with little_memory():
        assert connection.receive_buffer() is None
        with pytest.raises(MemoryError):
            connection.receive_data(HALF[:10])
    ended_by_ourselves(connection)
    assert connection.receive_data(HALF[:10]) == []


def test_no_memory_for_what_came_into_a_kept_loan(
    connection_type: type[Connection], little_memory: Callable[[], AbstractContextManager[None]]
) -> None:
    """A kept part of the loan makes the decoder copy what it has, so that nobody changes it."""
    connection = half_uploaded(connection_type)
    place = connection.receive_buffer()
    assert place is not None
    kept = place[:5]
    with little_memory(), pytest.raises(MemoryError):
        connection.buffer_received(10)
    ended_by_ourselves(connection)
    assert connection.buffer_received(10) == []
    kept[:] = b"still"
