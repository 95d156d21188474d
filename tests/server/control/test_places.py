"""Where control sockets are, and which servers are found there (control/places.py).

It must not know what is said on a control socket.
"""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from python_server.control import places
from python_server.control.places import (
    Server,
    addresses_of,
    check_free,
    control_path,
    default_path,
    lives,
    make_folder,
    register,
    servers,
    whole_address,
    workers,
)
from python_server.control.server import open_control
from python_server.net.sockets import BindError, Listening, TCPAddress, UnixAddress, bind_unix, listen


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which no other server runs: its only folder for control sockets."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / "wsframe"
    monkeypatch.setattr(places, "_folders", lambda: iter([(str(folder), "")]))
    return folder


@pytest.fixture
def port() -> Iterator[Listening]:
    with listen([TCPAddress("127.0.0.1", 0)], 1) as listening:
        yield listening


def test_a_server_is_found_as_long_as_it_answers(alone: Path, port: Listening) -> None:
    warned: list[str] = []
    number = port.sockets[0].getsockname()[1]
    with open_control(None, port, warned.append):
        [found] = servers()
        assert (found.process, found.addresses) == (os.getpid(), [f"127.0.0.1:{number}"])
        assert found.control == default_path(number) == str(alone / f"{number}.sock")
        assert found.choice() == f"--port {number} (process {os.getpid()}, 127.0.0.1:{number})"
    assert servers() == []
    assert os.listdir(alone) == []
    assert warned == []


def test_one_that_listens_on_a_path_alone_has_the_same_place_after_a_restart(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for _ in range(2):
        with listen([UnixAddress("shop.sock")], 1) as listening, open_control(None, listening, print):
            found += servers()
    assert found[0] == found[1]
    assert found[0].addresses == [f"unix:{tmp_path}/shop.sock"] == [whole_address("unix:shop.sock")]
    assert found[0].choice().startswith(f"--bind unix:{tmp_path}/shop.sock (process ")
    with listen([UnixAddress("other.sock")], 1) as listening:
        assert control_path(None, listening) != found[0].control


def test_one_whose_control_socket_stands_elsewhere_is_found(
    alone: Path, tmp_path: Path, port: Listening
) -> None:
    with open_control(str(tmp_path / "own.sock"), port, print):
        assert [each.control for each in servers()] == [str(tmp_path / "own.sock")]
    with open_control("none", port, print):
        assert servers() == []


def test_two_servers_of_one_process_are_found(alone: Path, port: Listening) -> None:
    with listen([TCPAddress("127.0.0.1", 0)], 1) as other:
        with open_control(None, port, print), open_control(None, other, print):
            assert {tuple(each.addresses) for each in servers()} == {
                tuple(addresses_of(port)),
                tuple(addresses_of(other)),
            }
        assert os.listdir(alone) == []


def test_another_address_with_the_same_port_takes_nobodys_place(
    alone: Path, tmp_path: Path, port: Listening
) -> None:
    number = port.sockets[0].getsockname()[1]
    with open_control(None, port, print), listen([TCPAddress("127.0.0.2", number)], 1) as other:
        [first] = servers()
        with pytest.raises(
            BindError, match=r"is of another server \(--port \d+ .*: give one of them --control-socket"
        ):
            check_free(other, default_path(number))
        check_free(port, default_path(number))
        check_free(other, str(tmp_path / "own.sock"))
        assert servers() == [first]
        with open_control(str(tmp_path / "own.sock"), other, print):
            assert len(servers()) == 2
        assert servers() == [first]
        again = msgspec.json.decode((alone / f"{number}.json").read_bytes(), type=Server)
    (alone / f"{number}.json").write_bytes(msgspec.json.encode(again))  # it was killed
    with listen([TCPAddress("127.0.0.2", number)], 1) as other, open_control(None, other, print):
        assert [each.addresses for each in servers()] == [addresses_of(other)]


def test_where_it_cannot_be_listed_it_still_hears(alone: Path, tmp_path: Path, port: Listening) -> None:
    alone.mkdir(0o755)
    warned: list[str] = []
    with open_control(str(tmp_path / "own.sock"), port, warned.append) as control:
        assert len(control.sockets) == 1
    assert len(warned) == 1
    assert warned[0].startswith("commands do not find this server: ")


def test_what_a_server_that_was_killed_has_left_is_no_server(
    alone: Path, port: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(str(alone))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    control = str(alone / "1.sock")
    register(port, control, ended.pid)
    assert servers() == []
    register(port, control, os.getpid())  # a process lives, and nobody answers there
    assert servers() == []
    (alone / "broken.json").write_text("{")
    (alone / "1.sock.1x").touch()
    for process in (ended.pid, os.getpid()):
        (alone / f"1.sock.{process}").touch()
    assert workers(control) == {os.getpid(): f"{control}.{os.getpid()}"}
    assert not (alone / f"1.sock.{ended.pid}").exists()
    assert servers() == []
    os.unlink(f"{control}.{os.getpid()}")
    with bind_unix(f"{control}.{os.getpid()}", 0, 0o600):
        assert [each.control for each in servers()] == [control]  # one of its workers lives
        monkeypatch.setattr(places, "PROBE_SECONDS", 0.01)
        assert len(servers()) == 1  # and is known to, though it lets nobody in any more


def test_where_no_temporary_file_can_be_made_a_server_goes_without(
    monkeypatch: pytest.MonkeyPatch, port: Listening
) -> None:
    """A container whose file system is read-only."""

    def fail() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    def read_only(*arguments: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", fail)
    monkeypatch.setattr(os, "mkdir", read_only)
    warnings: list[str] = []
    with open_control(None, port, warnings.append) as control:
        assert control.sockets == []
    [warning] = warnings
    assert warning.startswith("no control socket: cannot make the folder /tmp/wsframe-")
    servers()


def test_a_child_that_nobody_waits_for_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert lives(child.pid)
    assert child.stdin is not None
    child.stdin.close()
    while lives(child.pid):
        pass
    child.wait()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_folders_that_others_look_into_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    monkeypatch.setattr(places, "OTHER_ROOTS", str(tmp_path / "root*"))
    own = tmp_path / "root1" / "tmp" / f"wsframe-{os.geteuid()}"
    own.mkdir(0o700, parents=True)
    assert (str(own), str(tmp_path / "root1")) in [*places._folders()]
    own.chmod(mode)
    assert str(own) not in [folder for folder, _ in places._folders()]
    with pytest.raises(BindError, match="of this user alone"):
        make_folder(str(own))


def test_a_link_to_another_folder_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "theirs").mkdir(0o700)
    (tmp_path / "wsframe").symlink_to(tmp_path / "theirs")
    assert str(tmp_path / "wsframe") not in [folder for folder, _ in places._folders()]


def test_a_folder_of_another_user_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "wsframe").mkdir(0o700)
    assert str(tmp_path / "wsframe") in [folder for folder, _ in places._folders()]
    monkeypatch.setattr(places, "user_id", lambda: os.geteuid() + 1)
    assert str(tmp_path / "wsframe") not in [folder for folder, _ in places._folders()]


def test_in_a_service_with_its_own_root_paths_are_below_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: Listening
) -> None:
    """PrivateTmp: the service says /tmp/..., which a login shell reaches through /proc alone."""
    root = tmp_path / "root1"
    folder = root / "tmp" / f"wsframe-{os.geteuid()}"
    folder.mkdir(0o700, parents=True)
    number = port.sockets[0].getsockname()[1]
    inside = f"/tmp/wsframe-{os.geteuid()}/{number}.sock"
    monkeypatch.setattr(places, "_folders", lambda: iter([(str(folder), str(root))]))
    with open_control(str(folder / f"{number}.sock"), Listening(port.sockets), print):
        (folder / f"{number}.json").write_bytes(
            b'{"process":%d,"addresses":[],"control":"%b","system":%d}'
            % (os.getpid(), inside.encode(), places._system())
        )
        assert servers() == []  # in a container somebody might write down any process
        monkeypatch.setattr(places, "_root_of", lambda process: str(root))
        assert [each.control for each in servers()] == [f"{root}{inside}"]


def test_the_same_folder_is_looked_into_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "OTHER_ROOTS", "/proc/self/root")  # /tmp once more
    folders = [os.stat(folder) for folder, _ in places._folders()]
    assert len({(each.st_dev, each.st_ino) for each in folders}) == len(folders)


def test_process_ids_of_a_container_are_not_taken_for_ours(
    alone: Path, port: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shares the folder, and its process 7 is another one here, which `wsframe stop` would end."""
    ours = places._system()
    monkeypatch.setattr(places, "_system", lambda: ours + 1)
    with open_control(None, port, print):
        assert len(servers()) == 1
        monkeypatch.setattr(places, "_system", lambda: ours)
        assert servers() == []


def test_a_choice_of_one_with_several_addresses() -> None:
    server: Any = Server(7, ["unix:/run/shop.sock", "[::1]:8000"], "/run/c.sock")
    assert server.ports == ["8000"]
    assert server.choice() == "--port 8000 (process 7, unix:/run/shop.sock, [::1]:8000)"
