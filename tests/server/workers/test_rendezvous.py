"""Workers that meet by a folder: indexes, who connects to whom, what is refused (rendezvous.py).

It must not know gunicorn, or what workers say to each other.
"""

import fcntl
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from python_server.workers.link_messages import Succession
from python_server.workers.rendezvous import Meeting, Rendezvous, RendezvousError, index_of

MANY_COUNT = 12

MEETING = """
import sys
from python_server.workers.rendezvous import Rendezvous, index_of
meeting = Rendezvous(sys.argv[1]).join()
print(meeting.index, *meeting.siblings, flush=True)
sys.stdin.read()
meeting.listening.setblocking(False)
while True:
    try:
        print(index_of(meeting.listening.accept()[1]), end=" ")
    except BlockingIOError:
        break
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """One with a short name: paths of sockets are short."""
    with tempfile.TemporaryDirectory(prefix="met-") as folder:
        yield Path(folder)


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "met"


def close(*meetings: Meeting) -> None:
    for meeting in meetings:
        for sock in (meeting.listening, *meeting.siblings.values()):
            sock.close()


def test_who_comes_is_connected_with_all_that_are_there(path: Path) -> None:
    first, second, third = (Rendezvous(str(path)).join() for _ in range(3))
    assert [each.index for each in (first, second, third)] == [1, 2, 3]
    assert [sorted(each.siblings) for each in (first, second, third)] == [[], [1], [1, 2]]
    for meeting, newcomers in ((first, [second, third]), (second, [third])):
        for newcomer in newcomers:
            accepted, peer = meeting.listening.accept()
            assert index_of(peer) == newcomer.index
            accepted.send(b"hello")
            assert newcomer.siblings[meeting.index].recv(9) == b"hello"
            accepted.close()
    assert sorted(os.listdir(path)) == ["1", "2", "3", "memory"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / "1").stat().st_mode) == 0o600
    close(first, second, third)


def test_the_folder_goes_with_the_last_one_and_no_index_is_given_again(path: Path) -> None:
    rendezvous = Rendezvous(str(path))
    first, second = rendezvous.join(), rendezvous.join()
    close(first)
    rendezvous.leave(first.index)
    assert sorted(os.listdir(path)) == ["2", "memory"]
    close(second)
    rendezvous.leave(second.index)
    assert not path.exists()
    third = rendezvous.join(last_index=second.index)
    assert (third.index, third.siblings) == (3, {})
    close(third)


def test_who_was_killed_is_forgotten_with_its_index(path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", MEETING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline().split() == ["1"]
    second = Rendezvous(str(path)).join()
    assert list(second.siblings) == [1]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    third = Rendezvous(str(path)).join()
    assert (third.index, list(third.siblings)) == (3, [2])
    assert sorted(os.listdir(path)) == ["2", "3", "memory"]
    close(second, third)


def test_of_many_that_come_at_once_each_two_are_connected_once(path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", MEETING, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(MANY_COUNT)
    ]
    said = [list(map(int, child.stdout.readline().split())) for child in children if child.stdout]
    accepted = [list(map(int, child.communicate()[0].split())) for child in children]
    indexes = [index for index, *_ in said]
    pairs = [(other, index) for index, *others in said for other in others]
    assert sorted(indexes) == list(range(1, MANY_COUNT + 1))
    assert sorted(pairs) == list(combinations(range(1, MANY_COUNT + 1), 2))
    assert sorted(
        (index, other) for index, others in zip(indexes, accepted, strict=True) for other in others
    ) == (sorted(pairs))


def test_who_comes_later_knows_who_took_over_from_whom(path: Path) -> None:
    rendezvous = Rendezvous(str(path))
    first, second = rendezvous.join(), rendezvous.join()
    rendezvous.remember(Succession(1, 2))
    third = rendezvous.join()
    assert third.successors == {1: 2}
    close(first, second, third)


def test_who_looks_round_and_does_not_join_is_nobody(path: Path) -> None:
    rendezvous = Rendezvous(str(path))
    first, second = rendezvous.join(), rendezvous.join()
    rendezvous.leave(second.index)  # which looks whether somebody lives
    close(second)
    peers = [first.listening.accept() for _ in range(2)]
    assert [index_of(peer) for _, peer in peers] == [second.index, None]
    for sock, _ in peers:
        sock.close()
    close(first)


@pytest.mark.parametrize("peer", ["", None, b"\0abstract", "/somewhere/else", ("127.0.0.1", 80), "/x/7"])
def test_a_stranger_has_no_index(peer: object) -> None:
    assert index_of(peer) == (7 if peer == "/x/7" else None)


def test_a_worker_that_takes_nobody_any_more_is_left_out(path: Path) -> None:
    """Its queue is full: it has stood still for as many starts."""
    path.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as full, socket.socket(socket.AF_UNIX) as waiting:
        full.bind(str(path / "1"))
        full.listen(0)
        waiting.connect(str(path / "1"))
        meeting = Rendezvous(str(path)).join(last_index=1)
        assert (meeting.index, meeting.siblings) == (2, {})
        close(meeting)
    assert (path / "1").exists()


@pytest.mark.parametrize("permissions", [0o755, 0o710, 0o701, 0o770, 0o720])
def test_a_folder_with_loose_rights_is_refused(path: Path, permissions: int) -> None:
    path.mkdir()
    path.chmod(permissions)
    with pytest.raises(RendezvousError, match="not a folder of this user alone"):
        Rendezvous(str(path)).join()
    assert os.listdir(path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to somebody else")
def test_a_folder_of_somebody_else_is_refused(path: Path) -> None:
    path.mkdir(0o700)
    os.chown(path, 65534, 65534)
    with pytest.raises(RendezvousError, match="not a folder of this user alone"):
        Rendezvous(str(path)).join()


def test_a_link_is_not_followed_and_a_file_is_no_folder(path: Path, folder: Path) -> None:
    good = folder / "good"
    good.mkdir(0o700)
    path.symlink_to(good)
    with pytest.raises(RendezvousError, match="cannot meet"):
        Rendezvous(str(path)).join()
    path.unlink()
    path.write_text("a file")
    with pytest.raises(RendezvousError, match="cannot meet"):
        Rendezvous(str(path)).join()
    assert os.listdir(good) == []


@pytest.mark.parametrize("place", ["missing/met", "x" * 200])
def test_a_folder_that_cannot_be_made_is_told(folder: Path, place: str) -> None:
    with pytest.raises(RendezvousError, match="workers cannot meet in"):
        Rendezvous(str(folder / place)).join()


def test_a_memory_that_cannot_be_read_is_told(path: Path) -> None:
    close(Rendezvous(str(path)).join())
    (path / "memory").write_bytes(b"\xc1")
    with pytest.raises(RendezvousError, match="cannot meet"):
        Rendezvous(str(path)).join()
    Rendezvous(str(path)).remember(Succession(1, 2))  # in the midst of an end, which goes on
    Rendezvous(str(path)).leave(1)


def test_without_its_memory_no_index_is_given_again(path: Path) -> None:
    """A cleaner of old files takes files away, and leaves sockets alone that somebody listens on."""
    first, second = (Rendezvous(str(path)).join() for _ in range(2))
    (path / "memory").unlink()
    third = Rendezvous(str(path)).join()
    assert (third.index, sorted(third.siblings)) == (3, [1, 2])
    close(first, second, third)


def test_on_a_full_disk_workers_meet_all_the_same(path: Path) -> None:
    first = Rendezvous(str(path)).join()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        others = [Rendezvous(str(path)).join() for _ in range(2)]
        Rendezvous(str(path)).remember(Succession(1, 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [(each.index, sorted(each.siblings)) for each in others] == [(2, [1]), (3, [1, 2])]
    last = Rendezvous(str(path)).join()
    assert last.index == 4
    close(first, *others, last)


def test_a_folder_that_went_while_its_lock_was_waited_for_is_made_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, waits = fcntl.flock, [True]

    def flock(descriptor: int, operation: int) -> None:
        if waits:
            waits.clear()
            path.rmdir()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    meeting = Rendezvous(str(path)).join()
    assert sorted(os.listdir(path)) == ["1", "memory"]
    close(meeting)
