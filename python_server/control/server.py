"""The control socket: one JSON object a line from this machine's own user, one line in answer.

Must not know: what a line asks for; file permissions say who may ask.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from python_server.control.places import control_path, make_folder, register, workers
from python_server.net.byte_handler import Buffer
from python_server.net.listener import Listener
from python_server.net.loop import Loop
from python_server.net.pauses import Pause
from python_server.net.portability import AF_UNIX
from python_server.net.sockets import BindError, Listening, Socket, bind_unix
from python_server.net.transport import Transport
from python_server.settings import TransportSettings

# A line holds one event with its data.
LINE_MAX_BYTES: Final = 16 * 1024 * 1024
# Whoever may connect may also end the process: a bound against accidents alone.
CHANNELS_MAX_COUNT: Final = 64
PERMISSIONS: Final = 0o600
NO_SOCKET: Final = "none"

# Loop's thread: the answer to one line, without its newline.
Obey = Callable[[bytes], bytes]
Report = Callable[[str, BaseException], None]


def bind_control(path: str, *, own_folder: bool) -> Listening:
    """A listening socket that its user alone may connect to.

    Args:
        own_folder: make the folder for it, and refuse one that others may write to or look into.

    Raises:
        BindError: the path cannot be listened on, or its folder is not safe.
    """
    if own_folder:
        make_folder(os.path.dirname(path))
    sock = bind_unix(path, CHANNELS_MAX_COUNT, PERMISSIONS)
    return Listening([sock], [(path, os.stat(path).st_ino)])


def open_control(
    asked: str | None, listening: Listening, warn: Callable[[str], None], *, registers: bool = True
) -> Listening:
    """The control socket that the settings ask for, or none; its file goes when it is closed.

    Args:
        asked: a path, "none", or None for the default path.
        warn: told why the default path could not be had; the server goes without.
        registers: say that this process is the server, which commands may look for.

    Raises:
        BindError: the path that was asked for cannot be listened on.
    """
    path = control_path(asked, listening)
    if asked == NO_SOCKET or (asked is None and AF_UNIX is None) or path is None:
        return Listening()
    try:
        control = bind_control(path, own_folder=asked is None)
    except (BindError, OSError) as error:
        if asked is not None:
            raise BindError(f"--control-socket {asked!r}: {error}") from None
        warn(f"no control socket: {error}")
        return Listening()
    workers(path)  # of a server that was killed there
    try:
        if registers:
            written = register(listening, path, os.getpid())
            control.paths.append((written, os.stat(written).st_ino))
    except OSError as error:
        warn(f"commands do not find this server: {error}")
    return control


class Control:
    """The worker's end of the control socket. Every method belongs to the loop's thread.

    Args:
        sock: listening; shared by all workers. obey: answers one line; what it raises is reported.
    """

    def __init__(
        self, loop: Loop, sock: Socket, obey: Obey, report: Report, limits: TransportSettings
    ) -> None:
        self._loop = loop
        self._obey = obey
        self._report = report
        self._limits = limits
        self._channels: set[ControlChannel] = set()
        self._listener = Listener(loop, sock, self._accepted, lambda error: None, CHANNELS_MAX_COUNT)

    def start(self) -> None:
        """Begin to accept."""
        self._listener.start()

    def close(self) -> None:
        """Accept nothing more, and end what is open once its answers have left."""
        self._listener.close()
        for channel in list(self._channels):
            channel.close()

    def _accepted(self, sock: Socket, peer: object) -> None:
        transport = Transport(self._loop, sock, self._report, self._limits)
        channel = ControlChannel(transport, self._obey, self._report, self._channels.discard)
        self._channels.add(channel)
        transport.set_handler(channel)
        if len(self._channels) > CHANNELS_MAX_COUNT:
            channel.refuse("too many control connections")


@dataclass(slots=True, eq=False)
class ControlChannel:
    """One connection: lines in, lines out (the ByteHandler port)."""

    _transport: Transport
    _obey: Obey
    _report: Report
    _lost: Callable[[ControlChannel], None]
    _held: bytearray = field(default_factory=bytearray)
    _searched_bytes: int = 0

    def close(self) -> None:
        """End once what is queued has left."""
        self._transport.close()

    def refuse(self, reason: str) -> None:
        """Say why, and end."""
        self._transport.write(b'{"error":"%b"}\n' % reason.encode())
        self._held.clear()
        self._transport.close()

    def receive_buffer(self) -> memoryview | None:
        return None

    def data_received(self, buffer: Buffer, nbytes: int) -> None:
        if not nbytes:
            self._transport.close()
            return
        self._held += memoryview(buffer)[:nbytes]
        while (end := self._held.find(b"\n", self._searched_bytes)) >= 0:
            line = bytes(self._held[:end])
            del self._held[: end + 1]
            self._searched_bytes = 0
            if line.strip():
                self._transport.write(self._answer(line) + b"\n")
        self._searched_bytes = len(self._held)
        if len(self._held) > LINE_MAX_BYTES:
            self.refuse(f"a line of more than {LINE_MAX_BYTES} bytes")

    def _answer(self, line: bytes) -> bytes:
        try:
            return self._obey(line)
        except Exception as error:
            self._report("control socket", error)
            return b'{"error":"internal error, see the log"}'

    def write_blocked(self, blocked: bool) -> None:
        self._transport.pause_reading(Pause.UNSENT, blocked)

    def connection_lost(self, reason: str) -> None:
        self._lost(self)
