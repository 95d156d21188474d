"""The standard library's waits: whoever has a turn gives it to others meanwhile, and takes it again.

It must not know which programs need them.
"""

import queue
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pkgutil import resolve_name
from typing import Any

import pytest
import trustme

from python_server.drop_in import library_waits
from python_server.drop_in.greenlets import GreenletExit, spawn
from python_server.drop_in.library_waits import WAITS, let_others_run
from python_server.drop_in.waiting import Timeout, with_timeout
from python_server.net.threads import WORKER
from python_server.net.turn import PROGRAM, Turn, run_in_turn

PATIENCE_SECONDS = 60.0
FOREVER = 3600.0
DONE = "done"
BESIDE = (("time", "sleep"), ("threading:Thread", "start"))
OPENED: list[socket.socket] = []  # closed when the test ends


def kept(*opened: socket.socket) -> tuple[socket.socket, ...]:
    OPENED.extend(opened)
    return opened


@pytest.fixture(autouse=True)
def turn() -> Iterator[Turn]:
    """That of the program, which is never taken over; the test's own thread has it."""
    places = [(resolve_name(place), names.split()) for place, names in [*WAITS.items(), *BESIDE]]
    plain = [(owner, name, vars(owner).get(name)) for owner, names in places for name in names]
    PROGRAM.turn = Turn(print, runnable=lambda native_id: True)
    PROGRAM.turn.join()
    let_others_run()
    yield PROGRAM.turn
    while OPENED:
        OPENED.pop().close()
    for owner, name, value in plain:
        if value is None:
            delattr(owner, name)  # it had its base's
        else:
            setattr(owner, name, value)
    WORKER.turn = PROGRAM.turn = None


Case = tuple[Callable[[], object], Callable[[], object]]


def event() -> Case:
    came = threading.Event()
    return lambda: came.wait(PATIENCE_SECONDS) and DONE, came.set


def items() -> Case:
    waiting: queue.Queue[str] = queue.Queue()
    return lambda: waiting.get(timeout=PATIENCE_SECONDS), lambda: waiting.put(DONE)


def full_queue() -> Case:
    full: queue.Queue[str] = queue.Queue(1)
    full.put(DONE)
    return lambda: full.put("next", timeout=PATIENCE_SECONDS) or DONE, full.get


def future() -> Case:
    result: Future[str] = Future()
    return lambda: result.result(PATIENCE_SECONDS), lambda: result.set_result(DONE)


def thread() -> Case:
    came = threading.Event()
    waits = threading.Thread(target=came.wait, args=(PATIENCE_SECONDS,))
    waits.start()
    return lambda: waits.join(PATIENCE_SECONDS) or DONE, came.set


def pair() -> tuple[socket.socket, ...]:
    left, right = kept(*socket.socketpair())
    left.settimeout(PATIENCE_SECONDS)
    return left, right


def bytes_of_a_socket() -> Case:
    left, right = pair()
    return lambda: left.recv(9).decode(), lambda: right.sendall(DONE.encode())


def line_of_a_file_of_a_socket() -> Case:
    left, right = pair()
    return lambda: left.makefile("r").read(4), lambda: right.sendall(DONE.encode())


def room_in_a_socket() -> Case:
    left, right = pair()
    return lambda: left.sendall(bytes(2**22)) or DONE, lambda: right.makefile("rb").read(2**22)


def connection() -> Case:
    (listening,) = kept(socket.create_server(("127.0.0.1", 0)))
    listening.settimeout(PATIENCE_SECONDS)
    return (
        lambda: kept(listening.accept()[0]) and DONE,
        lambda: kept(socket.create_connection(listening.getsockname(), PATIENCE_SECONDS)),
    )


def encrypted() -> Case:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    left, right = pair()

    def answer() -> None:
        with server.wrap_socket(right, server_side=True) as secured:
            secured.sendall(secured.recv(4))

    def ask() -> str:
        with client.wrap_socket(left, server_hostname="127.0.0.1") as secured:
            secured.sendall(DONE.encode())
            return secured.recv(4).decode()

    return ask, answer


def selected() -> Case:
    left, right = pair()
    return lambda: select.select([left], [], [], PATIENCE_SECONDS)[0] and DONE, lambda: right.sendall(b"x")


def process() -> Case:
    reads = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert reads.stdin is not None
    stdin = reads.stdin
    return lambda: reads.wait() or DONE, lambda: stdin.write(b"\n") and stdin.close()


def time_that_passes() -> Case:
    came: list[str] = []

    def look() -> str:
        while not came:
            time.sleep(0.001)
        return came[0]

    return look, lambda: came.append(DONE)


CASES = [
    event,
    items,
    full_queue,
    future,
    thread,
    bytes_of_a_socket,
    line_of_a_file_of_a_socket,
    room_in_a_socket,
    connection,
    encrypted,
    selected,
    process,
    time_that_passes,
]


@pytest.mark.parametrize("make", CASES)
def test_another_thread_of_turns_ends_the_wait(make: Callable[[], Case], turn: Turn) -> None:
    wait, end_it = make()
    other = threading.Thread(target=run_in_turn, args=(end_it,), daemon=True)
    other.start()
    assert wait() == DONE
    assert turn._holder == threading.get_ident()
    other.join(PATIENCE_SECONDS)
    assert not other.is_alive()


def test_who_starts_a_thread_keeps_the_turn() -> None:
    ran: list[str] = []
    greenlet = spawn(ran.append, DONE)
    other = threading.Thread(target=run_in_turn, args=(lambda: ran.append(DONE),))
    other.start()
    assert ran == []
    greenlet.join()
    other.join(PATIENCE_SECONDS)
    assert ran == [DONE, DONE]


def test_a_thread_without_a_turn_waits_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def beside(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(library_waits, "blocking", beside)
    found: list[object] = []

    def work() -> None:
        time.sleep(0)
        left, right = pair()
        right.sendall(b"x")
        found.append(left.recv(1))

    plain = threading.Thread(target=work)
    WORKER.turn, mine = None, WORKER.turn
    plain.start()
    plain.join(PATIENCE_SECONDS)
    WORKER.turn = mine
    assert found == [b"x"]


def test_time_sleep_is_ended_from_outside() -> None:
    with pytest.raises(Timeout):
        with_timeout(0.001, time.sleep, FOREVER)
    greenlet = spawn(time.sleep, FOREVER)
    time.sleep(0)
    greenlet.kill()
    assert isinstance(greenlet.value, GreenletExit)


def test_a_timeout_that_is_over_keeps_a_wait_from_beginning() -> None:
    with pytest.raises(Timeout), Timeout(0):
        threading.Event().wait(FOREVER)
