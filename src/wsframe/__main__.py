"""`wsframe connect URL`, `python -m wsframe URL`: a WebSocket in the terminal; lines in, messages out.

It must not know frames or sockets; the codec imports nothing of it.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Final

from .sync import ClientConnection, ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException, connect

DESCRIPTION: Final = "A WebSocket in the terminal. `python -m wsframe URL` is `wsframe connect URL`."
EPILOG: Final = """\
Each line of the input is sent as a message, and each message is printed as a
line, a binary one as hexadecimal digits. With --socketio a line is an event:
its name, then its arguments in JSON; so are events printed, and
acknowledgements as "ack NUMBER JSON". After the end of the input (Ctrl-D) it
stays until the server has read everything, then for --wait seconds of silence.

  wsframe connect wss://example.org/chat --subprotocol chat.v2
  echo hello | wsframe connect ws://127.0.0.1:8000/echo
  wsframe connect http://127.0.0.1:8000 --socketio --event order 1 '{"size": 2}'

Exit codes: 0, closed with 1000, 1001 or no code; 1, it failed, one line says
what; 2, wrong arguments; 130, Ctrl-C.
"""
READ_BYTES: Final = 65_536


class UsageError(Exception):
    """Arguments that do not fit; the process ends with 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code.

        sys.exit(main(["ws://127.0.0.1:8000/", "--ping"]))

    Args:
        arguments: those of the process if None, with or without the word `connect` in front.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    prog = "python -m wsframe"
    if words[:1] == ["connect"]:
        prog, words = "wsframe connect", words[1:]
    open_closed_streams()
    options = make_parser(prog).parse_args(words)
    try:
        converse(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # nobody reads what we print: `head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UsageError as error:
        return complain(prog, error, 2)
    except (WebSocketException, OSError, ValueError, RecursionError, MemoryError) as error:
        return complain(prog, error, 1)
    return 0


def open_closed_streams() -> None:
    """Those that the shell has closed, `<&-`: the socket would get their number, and be read as the input."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def complain(prog: str, error: Exception, code: int) -> int:
    """One line; returns `code`."""
    words = str(error) or type(error).__name__
    if isinstance(error, InvalidStatus):
        words += f" {error.response.body[:200].decode(errors='replace')}"
    line = harmless(" ".join(words.split()))
    if sys.stderr is not None:  # print would take the output instead
        print(f"{prog}: {line}", file=sys.stderr)
    return code


def harmless(text: str) -> str:
    """Without what a terminal would obey: the server's words are among these."""
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)


def seconds(text: str) -> float:
    """As an argument. Raises ValueError."""
    value = float(text)
    if not value >= 0:
        raise ValueError(text)
    return value


def make_parser(prog: str) -> argparse.ArgumentParser:
    """All options."""
    parser = argparse.ArgumentParser(prog, "%(prog)s URL [OPTIONS]", DESCRIPTION, EPILOG)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("url", metavar="URL", help="ws://HOST[:PORT]/PATH or wss://; http:// and https:// with --socketio")
    add("--header", metavar="'NAME: VALUE'", action="append", default=[], help="to send; may be repeated")
    add("--origin", metavar="ORIGIN", help="what a browser would say: https://example.org")
    add("--subprotocol", metavar="NAME", action="append", help="may be repeated, the preferred one first")
    add("--binary", action="store_true", help="send lines as binary messages, print those as they are")
    add("--insecure", action="store_true", help="TLS: accept any certificate")
    add("--cacert", metavar="FILE", help="TLS: authorities to trust instead of the system's")
    add("--timeout", metavar="SECONDS", type=seconds, default=10.0, help="to open and to close; usually 10")
    add("--wait", metavar="SECONDS", type=seconds, default=1.0, help="see below; usually 1, inf: for ever")
    add("--max-size", metavar="BYTES", type=int, default=2**20, help="of what comes; usually 1048576")
    add("--ping", action="store_true", help="print how many milliseconds a ping takes, and end")
    add("--socketio", action="store_true", help='speak Socket.IO; needs pip install "wsframe[server]"')
    words = ("NAME", "JSON")
    add("--event", metavar=words, nargs="+", action="append", help="instead of the input; may be repeated")
    add("--auth", metavar="JSON", help="an object for the server's connect handler (Socket.IO)")
    add("--namespace", metavar="NAME", default="/", help="of Socket.IO; usually /")
    return parser


def converse(options: argparse.Namespace) -> None:
    """Open, talk, close. Raises UsageError, WebSocketException, OSError, ValueError."""
    try:
        events = [(words[0], list(map(json_value, words[1:]))) for words in options.event or ()]
        auth = None if options.auth is None else json_value(options.auth)
        websocket = connect(
            socketio().socketio_uri(options.url) if options.socketio else options.url,
            origin=options.origin,
            subprotocols=options.subprotocol,
            additional_headers=[header(line) for line in options.header],
            ssl=tls_context(options),
            open_timeout=options.timeout,
            close_timeout=options.timeout,
            max_size=options.max_size,
        )
    except ssl.SSLError:
        raise
    except (InvalidURI, ValueError) as error:
        raise UsageError(error) from None
    try:
        if options.ping:
            if not websocket.ping().wait(options.timeout):
                raise TimeoutError(f"no pong came within {options.timeout} seconds")
            show(f"{websocket.latency * 1000:.3f} ms", False)
        elif options.socketio:
            talk = socketio().SocketIOTalk(websocket, options.namespace)
            talk.connect(auth, options.timeout)
            sends = (partial(talk.emit, *event) for event in events or map(event_of, stdin_lines()))
            exchange(websocket, sends, talk.lines(), options)
        else:
            lines = stdin_lines() if options.binary else map(text_of, stdin_lines())
            sends = (partial(websocket.send, line) for line in lines)
            exchange(websocket, sends, websocket, options)
    except BaseException:
        websocket.close(1001)
        raise
    websocket.close()


def exchange(
    websocket: ClientConnection,
    sends: Iterable[Callable[[], None]],
    heard: Iterable[str | bytes],
    options: argparse.Namespace,
) -> None:
    """Print what is heard; a thread sends, since it waits for the input, and closes at the end of it."""
    came = threading.Event()
    failed: list[Exception] = []

    def send_all() -> None:
        try:
            for send in sends:
                send()
            websocket.ping().wait()
            while came.wait(min(options.wait, threading.TIMEOUT_MAX)):
                came.clear()
        except ConnectionClosed:
            return  # the other thread says why
        except Exception as error:
            failed.append(error)
        websocket.close()

    threading.Thread(target=send_all, daemon=True).start()
    for message in heard:
        came.set()
        show(message, options.binary)
    if failed:
        raise failed[0]


def stdin_lines() -> Iterator[bytes]:
    """Without their ends. Past `sys.stdin`, whose lock a thread would still hold when the process ends."""
    parts: list[bytes] = []
    while piece := os.read(0, READ_BYTES):
        first, *others = piece.split(b"\n")
        parts.append(first)
        for line in others:
            yield b"".join(parts)
            parts = [line]
    if any(parts):
        yield b"".join(parts)


def text_of(line: bytes) -> str:
    """Raises ValueError."""
    try:
        return line.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"a line is not UTF-8, --binary would send it: {error}") from None


def event_of(line: bytes) -> tuple[str, list[object]]:
    """ "NAME JSON JSON": as events are printed. Raises ValueError."""
    name, _, rest = text_of(line).strip().partition(" ")
    arguments: list[object] = []
    try:
        while rest := rest.strip():
            value, end = json.JSONDecoder().raw_decode(rest)
            arguments.append(value)
            rest = rest[end:]
    except (ValueError, RecursionError) as error:
        raise not_json(rest, error) from None
    return name, arguments


def json_value(text: str) -> object:
    """Raises ValueError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise not_json(text, error) from None


def not_json(text: str, error: Exception) -> ValueError:
    return ValueError(f"{text[:60]!r} is not JSON ({error}): a text needs its quotes too")


def header(line: str) -> tuple[str, str]:
    """Raises ValueError."""
    name, colon, value = line.partition(":")
    if not colon:
        raise ValueError(f"--header {line!r}: write 'NAME: VALUE'")
    return name.strip(), value.strip()


def tls_context(options: argparse.Namespace) -> ssl.SSLContext | None:
    """None: the usual one. Raises UsageError."""
    if not options.insecure and options.cacert is None:
        return None
    try:
        context = ssl.create_default_context(cafile=options.cacert)
    except OSError as error:
        raise UsageError(f"--cacert {options.cacert}: {error}") from None
    if options.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def show(message: str | bytes, binary: bool) -> None:
    """A line, or with `binary` bytes as they are; now: the next program of a pipe may wait for it."""
    if sys.stdout is None:  # closed: as print does
        return
    if isinstance(message, bytes) and not binary:
        message = message.hex()
    if isinstance(message, str):
        message = f"{harmless(message) if sys.stdout.isatty() else message}\n".encode(
            errors="backslashreplace"
        )
    sys.stdout.buffer.write(message)
    sys.stdout.buffer.flush()


def socketio() -> ModuleType:
    """Its packets are the server's. Raises UsageError: they are not installed."""
    try:
        return import_module("wsframe.sync.socketio")
    except ModuleNotFoundError as error:
        raise UsageError(f'--socketio needs {error.name}: pip install "wsframe[server]"') from None


if __name__ == "__main__":
    sys.exit(main())
