"""The memory of large messages, in the process and in the kernel (net/memory.py).

It must not know messages: blocks of their size come and go in a fresh process, whose page faults are counted,
and go out over a real socket.
"""

import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from python_server.net.loop import Loop
from python_server.net.memory import UNSENT_MAX_BYTES, UNSENT_OPTION
from python_server.net.transport import Transport
from python_server.settings import TransportSettings

BLOCKS_COUNT, BLOCK_BYTES, ROUNDS_COUNT = 4, 4 << 20, 50
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# As messages of four connections: all alive at once, then all gone.
PROGRAM = f"""
import resource
from python_server.net.memory import keep_large_blocks
{{call}}
def round():
    blocks = [b"x" * {BLOCK_BYTES} for _ in range({BLOCKS_COUNT})]
for _ in range(5):
    round()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({ROUNDS_COUNT}):
    round()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_count(call: str, **environment: str) -> int:
    """Page faults of the rounds in a process of its own: what an allocator learnt is never unlearnt."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{call}", call)],
        env={**{name: value for name, value in os.environ.items() if "MALLOC" not in name}, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the bounds are glibc's")
def test_large_blocks_come_from_memory_that_is_there_already() -> None:
    """Without the call every page of every block is fresh."""
    pages_count = ROUNDS_COUNT * BLOCKS_COUNT * BLOCK_BYTES // PAGE_BYTES
    assert faults_count("") > pages_count / 2
    assert faults_count("keep_large_blocks()") < pages_count / 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the bounds are glibc's")
def test_whoever_chose_the_bounds_keeps_them() -> None:
    pages_count = ROUNDS_COUNT * BLOCKS_COUNT * BLOCK_BYTES // PAGE_BYTES
    bounds = {"MALLOC_MMAP_THRESHOLD_": "131072"}
    assert faults_count("keep_large_blocks()", **bounds) > pages_count / 2


class Deaf:
    """A handler that hears nothing."""

    def receive_buffer(self) -> None:
        return None

    def data_received(self, buffer: Any, nbytes: int) -> None: ...

    def write_blocked(self, blocked: bool) -> None: ...

    def connection_lost(self, reason: str) -> None: ...


def fail(what: str, error: BaseException) -> None:
    raise AssertionError(what) from error


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop(fail)
    yield loop
    loop.close()


@pytest.mark.skipif(UNSENT_OPTION is None, reason="this system has no TCP_NOTSENT_LOWAT")
def test_the_kernel_is_told_once_its_buffer_was_full(loop: Loop) -> None:
    """Who always takes at once pays for no system call; every byte still arrives, in order."""
    assert UNSENT_OPTION is not None
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    before = ours.getsockopt(socket.IPPROTO_TCP, UNSENT_OPTION)
    transport = Transport(loop, ours, fail, replace(TransportSettings(), hard_limit_bytes=1 << 30))
    transport.set_handler(Deaf())
    transport.write(b"small")
    loop.run_once(0)
    assert peer.recv(100) == b"small"
    assert ours.getsockopt(socket.IPPROTO_TCP, UNSENT_OPTION) == before != UNSENT_MAX_BYTES
    sent = bytearray()
    while not transport.blocked:
        sent += (piece := os.urandom(1 << 20))
        transport.write(piece)
    assert ours.getsockopt(socket.IPPROTO_TCP, UNSENT_OPTION) == UNSENT_MAX_BYTES
    got = bytearray()
    peer.setblocking(False)
    while len(got) < len(sent):
        loop.run_once(0)
        try:
            got += peer.recv(1 << 20)
        except BlockingIOError:
            pass
    assert got == sent
    transport.close("test over")
    loop.run_once(0)
    peer.close()


def test_a_stream_that_is_not_tcp_is_left_alone(loop: Loop) -> None:
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    transport = Transport(loop, ours, fail, TransportSettings())
    transport.set_handler(Deaf())
    while not transport.blocked:
        transport.write(bytes(1 << 20))
    assert transport.queued_bytes
    transport.close("test over")
    loop.run_once(0)
    peer.close()
