"""Calls that a signal interrupts, threads that do everything at once, programs that end or fork meanwhile.

It must not wait for a time to pass: what interrupts comes again until it has come often enough.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from hand_made_server import FRAMES, LONG, SOON, answer, opened, what_came
from wsframe.sync import ClientConnection, ConcurrencyError, ConnectionClosed, ConnectionClosedError, connect

Pair = tuple[socket.socket, socket.socket]
STORM_COUNT = 300


class Interrupted(Exception):
    """What a signal's handler raises."""


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """Have the main thread interrupted, from any."""
    if sys.platform == "win32":
        pytest.skip("no signals of threads and timers there")

    def raise_it(number: int, frame: object) -> None:
        raise Interrupted

    main = threading.main_thread().ident
    assert main is not None
    before = {number: signal.signal(number, raise_it) for number in (signal.SIGUSR1, signal.SIGALRM)}
    yield lambda: signal.pthread_kill(main, signal.SIGUSR1)
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def when_it_waits(websocket: ClientConnection, then: Callable[[], None]) -> threading.Thread:
    """Call that once a thread waits for the server."""

    def look() -> None:
        while not websocket._driver._polls_count:
            pass
        then()

    thread = threading.Thread(target=look)
    thread.start()
    return thread


def test_recv_goes_on_after_an_exception_of_a_handler(pair: Pair, interrupt: Callable[[], None]) -> None:
    ours, theirs = pair
    theirs.sendall(answer())
    websocket = opened(ours)
    thread = when_it_waits(websocket, interrupt)
    with pytest.raises(Interrupted):
        websocket.recv()
    thread.join(LONG)
    theirs.sendall(FRAMES["text"])
    assert websocket.recv() == "Grüße"
    websocket.close()
    assert ours.fileno() == -1


def test_iteration_in_a_block_is_interrupted(pair: Pair, interrupt: Callable[[], None]) -> None:
    ours, theirs = pair
    theirs.sendall(answer() + FRAMES["text"])
    websocket = opened(ours)
    heard: list[str | bytes] = []
    thread = when_it_waits(websocket, interrupt)
    with pytest.raises(Interrupted), websocket:
        heard.extend(websocket)
    thread.join(LONG)
    assert heard == ["Grüße"]
    assert ours.fileno() == -1
    assert what_came(theirs)[0].code == 1011


def test_interrupted_again_and_again(pair: Pair, interrupt: Callable[[], None]) -> None:
    """At any instruction: the lock is free, nobody is thought to receive, the socket can be closed."""
    ours, theirs = pair
    theirs.sendall(answer())
    websocket = opened(ours, ping_interval=None)
    driver = websocket._driver

    def wait_for_it(number: int) -> None:
        signal.setitimer(signal.ITIMER_REAL, (1 + number % 50) / 50_000)
        while True:
            websocket.recv(timeout=LONG) if number % 2 else websocket.ping().wait(LONG)

    for number in range(STORM_COUNT):
        with pytest.raises(Interrupted):
            wait_for_it(number)
        assert (driver.lock.locked(), driver._reading, driver._polls_count) == (False, False, 0)
    websocket.close()
    assert ours.fileno() == -1


def test_the_opening_is_interrupted(pair: Pair, interrupt: Callable[[], None]) -> None:
    ours, theirs = pair

    def read_the_request() -> None:
        theirs.recv(65_536)
        interrupt()

    thread = threading.Thread(target=read_the_request)
    thread.start()
    with pytest.raises(Interrupted):
        opened(ours)
    thread.join(LONG)
    assert ours.fileno() == -1
    assert theirs.recv(1) == b""


@pytest.fixture
def full() -> Iterator[str]:
    """Where no connection is accepted any more: the kernel lets the next one wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield f"ws://127.0.0.1:{server.getsockname()[1]}/"


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels refuse it instead")
def test_tcp_is_interrupted(full: str, interrupt: Callable[[], None]) -> None:
    with pytest.raises(TimeoutError):
        connect(full, open_timeout=SOON)
    with pytest.raises(TimeoutError, match="opening handshake"):
        connect(full, open_timeout=0)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    with pytest.raises(Interrupted):
        connect(full, open_timeout=LONG)


def test_tls_is_interrupted(pair: Pair) -> None:
    """The socket with TLS is closed as well, not left to the collector."""
    ours, theirs = pair
    made: list[ssl.SSLSocket] = []

    class Impatient(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            made.append(self)
            raise Interrupted

    context = ssl.create_default_context()
    context.sslsocket_class = Impatient
    with pytest.raises(Interrupted):
        connect("wss://h/", sock=ours, ssl=context)
    assert made[0].fileno() == -1
    assert theirs.recv(1) == b""


def test_a_ping_is_due_while_another_thread_closes(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(answer())
    websocket = opened(ours, ping_interval=0.05, close_timeout=0.5)
    thread = when_it_waits(websocket, websocket.close)
    with pytest.raises(ConnectionClosedError) as told:
        websocket.recv()
    thread.join(LONG)
    assert isinstance(told.value.__cause__, TimeoutError)


def test_all_at_once(own_server: str) -> None:
    """Whatever the threads do: each hears of the end, by the client's own exception, and nothing is left."""
    for number in range(6):
        websocket = connect(f"{own_server}/echo", max_queue=1 + number, ping_interval=SOON)
        heard = threading.Event()
        wrong: list[BaseException] = []

        def receive(websocket: ClientConnection = websocket, heard: threading.Event = heard) -> None:
            for _ in range(30):
                with suppress(TimeoutError):
                    websocket.recv(timeout=SOON)
            heard.set()
            while True:
                websocket.recv()

        def send(websocket: ClientConnection = websocket) -> None:
            while True:
                with suppress(ConcurrencyError):
                    websocket.send("x" * 1000)
                    websocket.send(["a", "b" * 70_000])

        def ping(websocket: ClientConnection = websocket) -> None:
            while True:
                websocket.ping().wait(SOON)

        def close(websocket: ClientConnection = websocket, heard: threading.Event = heard) -> None:
            heard.wait()
            websocket.close()
            websocket.send("too late")

        def run(act: Callable[[], None], wrong: list[BaseException] = wrong) -> None:
            try:
                act()
            except ConnectionClosed as error:
                if type(error) is ConnectionClosed:
                    wrong.append(error)
            except BaseException as error:
                wrong.append(error)

        acts = [receive, receive, send, send, ping, close, close]
        threads = [threading.Thread(target=run, args=[act]) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
            assert not thread.is_alive()
        assert wrong == []
        assert websocket.socket.fileno() == -1


IN_A_THREAD = "threading.Thread(target=act, daemon=True).start()"
PROGRAMS = {
    "a daemon receives": f"def act():\n for m in w: pass\n{IN_A_THREAD}\nw.send('x')",
    "a daemon sends": f"def act():\n while 1: w.send('x')\n{IN_A_THREAD}\nw.recv()",
    "closes at exit": "import atexit\natexit.register(w.close)\nw.send('x')",
    "a child ends": "w.send('x')\nif not os.fork(): os._exit(0)\nos.wait()\nw.recv()\nw.close()",
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.skipif(os.name != "posix", reason="os.fork")
def test_programs_that_end(peer: str, name: str) -> None:
    """With an open connection, in any thread: without a word on the standard error, and with 0."""
    begin = "import os, sys, threading\nfrom wsframe.sync import connect\nw = connect(sys.argv[1])\n"
    command = [sys.executable, "-X", "dev", "-c", begin + PROGRAMS[name], f"{peer}/echo"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if "ResourceWarning" not in line]
    assert (done.returncode, errors) == (0, [])
