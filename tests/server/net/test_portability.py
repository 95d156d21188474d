"""What stands in for calls that a system lacks, on this one.

It must not know who calls; `tests/e2e/test_other_systems.py` has a whole server without them.
"""

import errno
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from python_server.net import portability
from python_server.net.portability import WakeUp

PAGE = Path(__file__).resolve().parents[3] / "docs" / "deployment.md"


def test_the_page_has_the_table_of_the_module() -> None:
    table = [line for line in str(portability.__doc__).splitlines() if line.startswith("|")]
    assert len(table) > 10
    assert "\n".join(table) in PAGE.read_text("utf-8")


@pytest.fixture
def no_unix(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"UNIX": False, "AF_UNIX": None}.items():
        monkeypatch.setattr(portability, name, value)
    monkeypatch.delattr(os, "memfd_create", raising=False)


def test_signals_that_a_system_lacks_are_left_out() -> None:
    table = {"SIGTERM": "stop", "SIGNEVER": "never", "SIGINT": "stop too"}
    assert portability.signals(table) == {signal.SIGTERM: "stop", signal.SIGINT: "stop too"}


@pytest.fixture(params=["pipe", "pair"])
def wake_up(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[WakeUp]:
    monkeypatch.setattr(portability, "UNIX", request.param == "pipe")
    wake_up = WakeUp()
    yield wake_up
    wake_up.close()


def test_a_wake_up_is_heard_and_neither_end_blocks(wake_up: WakeUp) -> None:
    with pytest.raises(BlockingIOError):
        wake_up.receive(1)
    former = signal.set_wakeup_fd(wake_up.sender, warn_on_full_buffer=False)
    handler = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        signal.raise_signal(signal.SIGINT)
        assert select.select([wake_up.receiver], [], [], 30)[0]
        assert wake_up.receive(4096) == bytes([signal.SIGINT])
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.set_wakeup_fd(former)
    with suppress(BlockingIOError):  # else it never ends
        while wake_up.send(bytes(4096)):
            pass


def test_a_wake_up_that_was_closed_is_refused(wake_up: WakeUp) -> None:
    other = WakeUp()
    other.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        other.send(b"x")


def test_pieces_leave_in_one_call_or_one_by_one() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert portability.send_gathered(left, [b"ab", memoryview(b"cd")]) == (2, 4)
        assert portability._send_first(left, [b"ef", b"gh"]) == (1, 2)
        assert right.recv(99) == b"abcdef"
        assert portability.send_gathered(left, [b"x"] * 2000) == (1024, 1024)


def test_unix_sockets_are_made_or_refused(no_unix: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="no UNIX sockets") as caught:
        portability.unix_socket()
    assert caught.value.errno == errno.EAFNOSUPPORT
    monkeypatch.setattr(portability, "AF_UNIX", socket.AF_UNIX)
    with portability.unix_socket(socket.SOCK_DGRAM) as sock:
        assert (sock.family, sock.type) == (socket.AF_UNIX, socket.SOCK_DGRAM)


def test_shared_memory_is_a_file_without_a_name_where_there_is_no_better(no_unix: None) -> None:
    descriptor = portability.shared_memory("a-test")
    os.ftruncate(descriptor, 8)
    assert os.fstat(descriptor).st_nlink == 0
    os.close(descriptor)


def test_a_child_is_told_where_processes_fork(no_unix: None, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(os, "register_at_fork", lambda **given: told.append(given))
    portability.in_children(print)
    assert told == []
    monkeypatch.setattr(portability, "UNIX", True)
    portability.in_children(print)
    assert told == [{"after_in_child": print}]


def test_modules_that_windows_lacks_are_none() -> None:
    program = (
        "import sys; sys.modules.update(fcntl=None, resource=None);"
        "from python_server.net.portability import fcntl, resource; print(fcntl, resource)"
    )
    said = subprocess.check_output([sys.executable, "-c", program], text=True, cwd="/")
    assert said == "None None\n"


@pytest.mark.parametrize(
    ("system", "told"),
    [("linux", "sport = :80"), ("darwin", "TCP:80"), ("win32", "netstat"), ("freebsd14", "-p 80")],
)
def test_who_has_a_port_is_looked_up_as_the_system_has_it(system: str, told: str) -> None:
    program = (
        "import os, signal, socket, sys, tempfile; sys.platform = sys.argv[1];"
        "from python_server.net.portability import PORT_TOOL; print(PORT_TOOL.format(80))"
    )
    said = subprocess.check_output([sys.executable, "-c", program, system], text=True, cwd="/")
    assert told in said
