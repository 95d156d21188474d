"""The control socket: who may connect, lines whole and in pieces, hostile lines.

It must not know how a server serves its clients.
"""

import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from python_server.api.emitter import EmitError, Emitter
from python_server.control.commands import ControlCommands
from python_server.control.places import default_path
from python_server.control.server import (
    CHANNELS_MAX_COUNT,
    Control,
    bind_control,
    open_control,
)
from python_server.net.loop import Loop
from python_server.net.sockets import BindError, Listening, TCPAddress, listen
from python_server.settings import TransportSettings
from python_server.socketio.server import Hub


class Place:
    """A control socket on a loop that turns while a test waits."""

    def __init__(self, path: Path, obey: Callable[[bytes], bytes]) -> None:
        self.path = path
        self.reports: list[str] = []
        self.loop = Loop(lambda what, error: self.reports.append(f"{what}: {error!r}"))
        self.listening = bind_control(str(path), own_folder=False)
        self.control = Control(
            self.loop, self.listening.sockets[0], obey, self.loop._report, TransportSettings()
        )
        self.control.start()

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.path))
        connection.setblocking(False)
        return connection

    def read(self, connection: socket.socket, until: bytes = b"\n", count: int = 1) -> bytes:
        """What comes until `until` has come `count` times, or the end."""
        heard = b""
        while heard.count(until) < count:
            self.loop.run_once(0.01)
            try:
                chunk = connection.recv(1 << 20)
            except BlockingIOError:
                continue
            if not chunk:
                return heard
            heard += chunk
        return heard

    def close(self) -> None:
        self.control.close()
        self.loop.run_once(0)
        self.listening.remove_paths()
        self.loop.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "control.sock", lambda line: b"<" + line + b">")
    yield place
    place.close()
    assert place.reports == []


def test_only_its_user_may_connect(tmp_path: Path) -> None:
    listening = bind_control(str(tmp_path / "own" / "1.sock"), own_folder=True)
    assert stat.S_IMODE(os.stat(tmp_path / "own").st_mode) == 0o700
    assert stat.S_IMODE(os.stat(tmp_path / "own" / "1.sock").st_mode) == 0o600
    listening.close()
    assert not (tmp_path / "own" / "1.sock").exists()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_others_look_into_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    with pytest.raises(BindError, match="of this user alone"):
        bind_control(str(tmp_path / "open" / "1.sock"), own_folder=True)


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(0o700)
    (tmp_path / "own").symlink_to(tmp_path / "theirs")
    with pytest.raises(BindError, match="of this user alone"):
        bind_control(str(tmp_path / "own" / "1.sock"), own_folder=True)


def test_a_stale_file_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "1.sock")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    living = bind_control(path, own_folder=False)
    with pytest.raises(BindError, match="another server answers there"):
        bind_control(path, own_folder=False)
    living.close()
    Path(path).write_text("not a socket")
    with pytest.raises(BindError, match="a file there is not a socket"):
        bind_control(path, own_folder=False)


def test_what_the_settings_ask_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    warned: list[str] = []
    with listen([TCPAddress("127.0.0.1", 0)], 1) as served:
        port = served.sockets[0].getsockname()[1]
        assert default_path(port) == str(tmp_path / "wsframe" / f"{port}.sock")
        first = open_control(None, served, warned.append)
        assert first.sockets[0].getsockname() == default_path(port)
        second = open_control(None, served, warned.append)
        assert second.sockets == []
        assert len(warned) == 1
        assert "another server" in warned[0]
        assert open_control("none", served, warned.append).sockets == []
        with pytest.raises(BindError):
            open_control(default_path(port), served, warned.append)
        first.close()
    assert open_control(None, Listening(), warned.append).sockets == []


def test_lines_whole_in_pieces_and_many_at_once(place: Place) -> None:
    connection = place.connect()
    connection.send(b'{"a":1}\n\n  \n{"b"')
    assert place.read(connection) == b'<{"a":1}>\n'
    for byte in b":2}\r\nlast":
        connection.send(bytes([byte]))
        place.loop.run_once(0)
    assert place.read(connection) == b'<{"b":2}\r>\n'
    connection.send(b"\n" + b"x\n" * 5000)
    assert place.read(connection, count=5001) == b"<last>\n" + b"<x>\n" * 5000
    connection.close()


def test_a_line_without_end_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("python_server.control.server.LINE_MAX_BYTES", 1000)
    connection = place.connect()
    connection.send(b"x" * 1001)
    assert b"more than" in place.read(connection, b"no such", 1)
    connection.close()


def test_too_many_connections_are_refused(place: Place) -> None:
    connections = [place.connect() for _ in range(CHANNELS_MAX_COUNT)]
    for _ in range(5):
        place.loop.run_once(0.01)
    one_more = place.connect()
    assert b"too many" in place.read(one_more, b"no such")
    connections[0].send(b"still\n")
    assert place.read(connections[0]) == b"<still>\n"
    for connection in [*connections, one_more]:
        connection.close()


def test_a_fault_of_ours_is_told_and_reported(tmp_path: Path) -> None:
    def fail(line: bytes) -> bytes:
        raise RuntimeError("on purpose")

    place = Place(tmp_path / "c.sock", fail)
    connection = place.connect()
    connection.send(b"x\ny\n")
    assert place.read(connection, count=2).count(b"internal error") == 2
    assert len(place.reports) == 2
    connection.close()
    place.close()


HOSTILE = [
    b"\x00\xff",
    b"[" * 5000,
    b"{}",
    b"null",
    b'{"method":"emit"}',
    b'{"method":"emit","event":5,"data":[]}',
    b'{"method":"callback","sid":"s","id":1,"host_id":"x","args":[]}',
    b'{"method":"wsframe_lead","host_id":"x"}',
    b'{"method":"emit","event":"e","data":[NaN]}',
    b'{"method":"emit","event":"e","data":[],"path":"/other/"}',
    b'{"method":"emit","event":"e","binary":true,"data":[[],"x"]}',
    b'{"method":"close_room","room":["a"]}',
]


def test_hostile_lines_change_nothing() -> None:
    refused: list[str] = []
    orders = ControlCommands({"/socket.io/": Hub()}, dict, lambda kind, text: refused.append(text))
    for line in HOSTILE:
        answer = json.loads(orders.obey(line))
        assert set(answer) == {"error"}, line
    assert len(refused) == len(HOSTILE)


def test_figures() -> None:
    orders = ControlCommands({}, lambda: {"connections": 7}, lambda kind, text: None)
    assert json.loads(orders.obey(b'{"method": "status"}')) == {"ok": True, "figures": {"connections": 7}}


def test_an_emitter_without_a_server_says_so(tmp_path: Path) -> None:
    with pytest.raises(EmitError, match="no server answers at the control socket"):
        Emitter(f"unix:{tmp_path}/nobody.sock").emit("x")


def test_a_path_that_cannot_be_had_names_its_option(tmp_path: Path) -> None:
    path = str(tmp_path / "none" / "c.sock")
    with pytest.raises(BindError, match=f"--control-socket '{path}': cannot listen on"):
        open_control(path, Listening(), print)


def test_an_emitter_needs_a_path() -> None:
    with pytest.raises(ValueError, match="names no control socket"):
        Emitter("unix:")
