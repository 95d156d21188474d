"""`python -m wsframe URL` as people and scripts use it: pipes, exit codes, Ctrl-C, Socket.IO.

It must not call its functions: each test runs the command.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from flask import Flask, request

from hand_made_server import accepted
from python_server import SocketIO, WSGIServer, disconnect, emit

COMMAND = [sys.executable, "-m", "wsframe"]
# Who waits for ever, and ends because the server does.
FOR_EVER = ["--wait", "inf"]


def run(*arguments: str, said: bytes = b"", command: list[str] = COMMAND) -> tuple[int, bytes, str]:
    """Exit code, output, and the one line of an error."""
    done = subprocess.run([*command, *arguments], input=said, capture_output=True, check=False)
    errors = done.stderr.decode()
    assert errors.count("\n") == (1 if errors else 0), errors
    return done.returncode, done.stdout, errors


@pytest.mark.parametrize(
    "said",
    [
        b"one\ntwo\nthree\n",
        b"one\r\ntwo\r\nthree",
        b"one\n\nGr\xc3\xbc\xc3\x9fe\n",
        b"x" * 300_000 + b"\na\nb",
    ],
)
def test_lines_in_messages_out(peer: str, said: bytes) -> None:
    lines = said.replace(b"\r", b"").splitlines()
    assert run(f"{peer}/count/3", *FOR_EVER, said=said) == (0, b"".join(line + b"\n" for line in lines), "")


def test_at_the_end_of_the_input_it_closes(peer: str) -> None:
    """After a silence: of no time at all here, so that what comes may be missing."""
    code, output, error = run(f"{peer}/echo", "--wait", "0", said=b"one\ntwo\n")
    assert (code, error) == (0, "")
    assert b"one\ntwo\n".startswith(output)
    assert run(f"{peer}/echo", "--wait", "0") == (0, b"", "")


def test_binary(peer: str) -> None:
    assert run(f"{peer}/binary", *FOR_EVER) == (0, b"00ff\ntext\n", "")
    assert run(f"{peer}/binary", "--binary", *FOR_EVER) == (0, b"\x00\xfftext\n", "")
    assert run(f"{peer}/count/2", "--binary", *FOR_EVER, said=b"\xff\r\n\x00") == (0, b"\xff\r\x00", "")
    code, output, error = run(f"{peer}/echo", *FOR_EVER, said=b"\xff\n")
    assert (code, output) == (1, b"")
    assert "not UTF-8" in error


def test_what_the_request_says(peer: str) -> None:
    words = ["--header", "X-Test: a: b", "--header", "User-Agent: me", "--origin", "https://example.org"]
    code, output, error = run(f"{peer}/headers/", *words, "--subprotocol", "chat.v2", *FOR_EVER)
    assert (code, error) == (0, "")
    assert output.splitlines()[1:4] == [b"Origin: https://example.org", b"X-Test: a: b", b"User-Agent: me"]


def test_a_ping(peer: str) -> None:
    code, output, error = run(f"{peer}/echo", "--ping")
    assert (code, error) == (0, "")
    assert re.fullmatch(rb"[0-9]+\.[0-9]{3} ms\n", output)


def test_a_ping_that_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept_and_read() -> None:
            with accepted(server) as theirs:
                while theirs.recv(65_536):
                    pass

        thread = threading.Thread(target=accept_and_read)
        thread.start()
        url = f"ws://127.0.0.1:{server.getsockname()[1]}/"
        code, output, error = run(url, "--ping", "--timeout", "0.1")
        thread.join()
    assert (code, output) == (1, b"")
    assert "no pong came within 0.1 seconds" in error


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals of POSIX")
def test_a_terminal_obeys_no_message(peer: str) -> None:
    """In a pipe each message is what it is."""
    said = "\x1b[31mred\x9b1m\ttab\n".encode()
    ours, theirs = os.openpty()
    done = subprocess.run([*COMMAND, f"{peer}/count/1", *FOR_EVER], input=said, stdout=theirs, check=True)
    assert done.returncode == 0
    assert os.read(ours, 1000) == b"?[31mred?1m\ttab\r\n"
    os.close(theirs)
    os.close(ours)
    assert run(f"{peer}/count/1", *FOR_EVER, said=said) == (0, said, "")


def test_tls(tls_peer: str, authority: tuple[trustme.CA, Path]) -> None:
    url = f"{tls_peer}/greet/1"
    assert run(url, "--cacert", str(authority[1]), *FOR_EVER) == (0, b"hello 0\n", "")
    assert run(url, "--insecure", *FOR_EVER) == (0, b"hello 0\n", "")
    code, _, error = run(url)
    assert code == 1
    assert "certificate" in error.lower()
    code, _, error = run(url, "--cacert", "nowhere.pem")
    assert code == 2
    assert "nowhere.pem" in error


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("/close/1000", 0, ""),
        ("/close/1001", 0, ""),
        ("/close/4000/full", 1, "4000 full"),
        ("/drop", 1, "no close frame"),
        ("/forbidden", 1, "HTTP 403 Forbidden not you"),
    ],
)
def test_exit_codes(peer: str, path: str, code: int, words: str) -> None:
    found, output, error = run(peer + path, *FOR_EVER)
    assert (found, output) == (code, b"")
    assert words in error
    assert error.startswith("python -m wsframe: ") or not code


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://h/"], "scheme"),
        (["ws://h/#a"], "fragment"),
        (["ws://h/", "--header", "none"], "NAME: VALUE"),
        (["ws://h/", "--header", "Upgrade: x"], "Upgrade"),
        (["ws://h/", "--subprotocol", "a b"], "token"),
        (["ws://h/", "--insecure"], "incompatible"),
        (["ws://h/", "--socketio", "--event", "a", "no"], "a text needs its quotes too"),
        (["ws://h/", "--socketio", "--auth", "{"], "is not JSON"),
        (["connect", "ftp://h/"], "wsframe connect: "),
    ],
)
def test_wrong_arguments(arguments: list[str], words: str) -> None:
    code, output, error = run(*arguments)
    assert (code, output) == (2, b"")
    assert words in error


def test_nobody_listens() -> None:
    code, _, error = run("ws://127.0.0.1:9/")
    assert code == 1
    assert "refused" in error


def test_help() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    for option in ("--header", "--origin", "--subprotocol", "--binary", "--insecure", "--cacert", "--ping"):
        assert option in done.stdout
    assert "wsframe connect URL" in done.stdout
    assert "Exit codes" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_servers_command_line_has_it(peer: str) -> None:
    cli = [sys.executable, "-c", "from python_server.command.cli import main; main(prog_name='wsframe')"]
    done = subprocess.run([*cli, "--help"], capture_output=True, text=True, check=True)
    assert re.search(r"^  connect +A WebSocket in the terminal", done.stdout, re.MULTILINE)
    assert run("connect", f"{peer}/greet/1", *FOR_EVER, command=cli) == (0, b"hello 0\n", "")
    code, _, error = run("connect", "ftp://h/", command=cli)
    assert (code, error.partition(": ")[0]) == (2, "wsframe connect")


class Running:
    """The command with its input open."""

    def __init__(self, *arguments: str) -> None:
        # A shell's background process would ignore it, and those that it starts with it.
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def hear(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT is sent to one process there")
def test_ctrl_c(peer: str, told_codes: queue.SimpleQueue[int | None]) -> None:
    running = Running(f"{peer}/tell")
    with running.process as process:
        running.say(b"hello\n")
        assert running.hear() == b"hello\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate() == (b"", b"")
        assert process.returncode == 130
    assert told_codes.get(timeout=60) == 1001


def test_a_reader_that_has_seen_enough(peer: str) -> None:
    running = Running(f"{peer}/echo")
    with running.process as process:
        running.say(b"hello\n")
        assert running.hear() == b"hello\n"
        assert process.stdout is not None
        process.stdout.close()
        running.say(b"again\n")
        assert process.wait() == 1
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.fixture
def events() -> Iterator[str]:
    """A server of Socket.IO whose handlers tell what they got."""
    app = Flask(__name__)
    socketio = SocketIO(app)

    @socketio.on("connect", namespace="/shop")
    def on_connect(auth: Any) -> bool:
        emit("welcome", auth)
        return bool(auth)

    @socketio.on("order", namespace="/shop")
    def on_order(*arguments: Any) -> tuple[Any, ...]:
        emit("heard", arguments)
        emit("picture", b"\x00\xff")
        return arguments

    @socketio.on("leave", namespace="/shop")
    def on_leave() -> None:
        disconnect(request.sid, namespace="/shop")

    with WSGIServer(("127.0.0.1", 0), app) as server:
        yield server.url


def test_socketio(events: str) -> None:
    words = [events, "--socketio", "--namespace", "/shop", "--auth", '{"name": "Grüße"}', *FOR_EVER]
    code, output, error = run(*words, "--event", "order", "1", '{"a": [null]}', "--event", "leave")
    assert (code, error) == (0, "")
    lines = output.decode().splitlines()
    expected = ['welcome {"name": "Grüße"}', 'heard 1 {"a": [null]}', 'picture "00ff"']
    expected.append('ack 1 1 {"a": [null]}')
    assert lines[:4] == expected
    # The same as lines of the input, whose form is that of what is printed.
    again = run(*words, said=b'order 1 {"a": [null]}\r\nleave\n')
    assert again[1].decode().splitlines()[:4] == expected


def test_socketio_without_an_answer(peer: str) -> None:
    code, _, error = run(f"{peer}/silent/", "--socketio", "--timeout", "0.1", *FOR_EVER)
    assert code == 1
    assert "did not let us join / within 0.1 seconds" in error


def test_socketio_json_too_deep(events: str) -> None:
    deep = "[" * 100_000
    code, _, error = run(events, "--socketio", "--auth", deep)
    assert code == 2
    assert "is not JSON" in error
    words = [events, "--socketio", "--namespace", "/shop", "--auth", '{"a": 1}', *FOR_EVER]
    code, _, error = run(*words, said=b"order " + deep.encode())
    assert code == 1
    assert "is not JSON" in error


def test_socketio_refused(events: str) -> None:
    words = [events, "--socketio", "--namespace", "/shop", *FOR_EVER]
    code, _, error = run(*words, "--event", "order")
    assert code == 1
    assert "the server refuses /shop" in error


def test_socketio_where_none_is_spoken(peer: str) -> None:
    code, _, error = run(f"{peer}/headers/", "--socketio", *FOR_EVER)
    assert code == 1
    assert "does not speak Socket.IO 5" in error
    code, _, error = run(f"{peer}/hang-up", "--socketio", *FOR_EVER)
    assert code == 1
    assert "before it let us join /" in error


def test_socketio_heartbeats_and_other_packets(peer: str) -> None:
    """The server pings, says twice that we are in, and closes Engine.IO; it is answered meanwhile."""
    words = ["--socketio", *FOR_EVER]
    assert run(f"{peer}/engine/", *words, "--event", "a") == (0, b"heard 1\n", "")


def test_socketio_what_came_before_the_end_is_heard(peer: str) -> None:
    """Though a heartbeat before it is answered too late; half of a character is written as JSON has it."""
    assert run(f"{peer}/engine-that-ends/", "--socketio", *FOR_EVER) == (0, b'last "\\ud800"\n', "")


def test_socketio_line_that_is_no_event(events: str) -> None:
    words = [events, "--socketio", "--namespace", "/shop", "--auth", "{}", *FOR_EVER]
    words[words.index("{}")] = '{"a": 1}'
    code, _, error = run(*words, said=b"order not json\n")
    assert code == 1
    assert "is not JSON" in error


def test_socketio_without_the_servers_packages() -> None:
    program = "import sys; sys.modules['msgspec'] = None; from wsframe.__main__ import main; sys.exit(main())"
    code, _, error = run("ws://h/", "--socketio", command=[sys.executable, "-c", program])
    assert code == 2
    assert "--socketio needs msgspec" in error
    assert "wsframe[server]" in error


@pytest.mark.parametrize(("closed", "output"), [("<&-", b""), (">&-", b""), ("2>&-", b"one\n")])
def test_closed_streams(peer: str, closed: str, output: bytes) -> None:
    """The socket does not take their place."""
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND]
    wait = ["--wait", "0"] if closed == "<&-" else FOR_EVER
    path = "echo" if closed == "<&-" else "count/1"
    assert run(f"{peer}/{path}", *wait, said=b"one\n", command=command) == (0, output, "")
    if closed == "2>&-":
        assert run(f"{peer}/forbidden", command=command) == (1, b"", "")


def test_times(peer: str) -> None:
    for seconds in ("inf", "1e300"):
        words = ["--timeout", seconds, "--wait", seconds]
        assert run(f"{peer}/count/1", *words, said=b"one\n") == (0, b"one\n", "")
    for wrong in ("nan", "-1", "soon"):
        for name in ("--timeout", "--wait"):
            done = subprocess.run([*COMMAND, "ws://h/", name, wrong], capture_output=True, check=False)
            assert done.returncode == 2
            assert b"invalid seconds value" in done.stderr


def test_no_control_characters_in_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            with server.accept()[0] as client:
                client.recv(65_536)
                client.sendall(b"HTTP/1.1 403 No\x9b\r\n\r\n\x1b[31mred")

        thread = threading.Thread(target=refuse)
        thread.start()
        code, _, error = run(f"ws://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
    assert (code, error.rstrip("\n").isprintable()) == (1, True)
    assert error.endswith("HTTP 403 No? ?[31mred\n")
