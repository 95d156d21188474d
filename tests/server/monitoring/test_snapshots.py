"""The folder of snapshots: who lives, whose figures stay, and that none counts twice (snapshots.py).

It must not know what is counted. Workers are real processes: a lock is theirs as long as they live.
"""

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from python_server.monitoring import snapshots as module
from python_server.monitoring.figures import Collected, Figures, Snapshot
from python_server.monitoring.health import GOOD, health, readiness
from python_server.monitoring.snapshots import Snapshots, snapshot_folder
from python_server.net.sockets import BindError

WORKER = """
import os, sys, time
from python_server.monitoring.figures import Figures, Snapshot
from python_server.monitoring.snapshots import Snapshots
folder, index = sys.argv[1], int(sys.argv[2])
place = Snapshots(folder, index)
figures = Figures()
for line in sys.stdin:
    if line == "close\\n":
        place.close()
    elif line == "fork\\n":
        if not os.fork():
            os.closerange(0, 3)
            time.sleep(60)
    else:
        figures.count("c", by=int(line))
        figures.gauges["g"] = {(): float(line)}
        place.write(Snapshot(index, os.getpid(), 1.0, "", figures))
    print("done", flush=True)
"""


class Writer:
    def __init__(self, folder: str, index: int) -> None:
        command = [sys.executable, "-c", WORKER, folder, str(index)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
        )

    def say(self, line: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(line, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "done\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder() -> Iterator[str]:
    with snapshot_folder(True) as snapshots:
        assert snapshots is not None
        yield snapshots.path
    assert not Path(snapshots.path).exists()


@pytest.fixture
def begin(folder: str) -> Iterator[Callable[[int], Writer]]:
    writers: list[Writer] = []

    def start(index: int) -> Writer:
        writers.append(Writer(folder, index))
        return writers[-1]

    yield start
    for each in writers:
        try:
            os.killpg(each.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        each.process.communicate()


def total(collected: Collected) -> float:
    figures = Figures()
    for each in (collected.ended, *(each.figures for each in collected.living)):
        figures.add_totals(each)
    return figures.totals.get("c", {}).get((), [0])[0]


def test_the_folder_is_its_users_alone_and_is_made_only_if_wanted(folder: str) -> None:
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    with snapshot_folder(False) as none:
        assert none is None


KILLED = """
import os
from python_server.monitoring.snapshots import snapshot_folder
with snapshot_folder(True) as snapshots:
    print(snapshots.path, flush=True)
    os.kill(os.getpid(), 9)
"""


OPTIMISED = """
import sys
from python_server.monitoring.figures import Figures, Snapshot
from python_server.monitoring.snapshots import Snapshots
Snapshots(sys.argv[1], 1).write(Snapshot(1, 1, 0.0, "", Figures()))
import os
print([name for name in os.listdir(sys.argv[1]) if name == "figures-1"])
"""


def test_a_folder_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**where: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/dev/shm/x")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    said = r"^--metrics: no place for the figures of the workers: .*No space left"
    with pytest.raises(BindError, match=said), snapshot_folder(True):
        pass


def test_what_a_killed_server_left_is_removed_by_the_next_one(folder: str) -> None:
    left = [
        subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True).stdout.strip()
        for _ in range(2)
    ]
    try:
        os.utime(left[0], (0, 0))
        os.utime(folder, (0, 0))  # old, and read by us: another process may not take it
        command = [sys.executable, "-c", KILLED.replace("os.kill", "0 and os.kill")]
        subprocess.run(command, check=True, capture_output=True)
        assert [Path(path).exists() for path in (*left, folder)] == [False, True, True]
    finally:
        shutil.rmtree(left[1])


def test_what_another_user_has_put_there_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FOLDERS", str(tmp_path))
    ours, link, theirs = (
        tmp_path / name for name in ("ours", f"{module.FOLDER_PREFIX}link", f"{module.FOLDER_PREFIX}theirs")
    )
    ours.mkdir(0o700)
    link.symlink_to(ours)
    theirs.mkdir(0o755)
    (theirs / "reader").symlink_to(ours / "device")
    if os.geteuid() == 0:
        os.chown(theirs, 65_534, 65_534)
        theirs.chmod(0o700)
    for each in (ours, theirs):
        os.utime(each, (0, 0))
    with snapshot_folder(True):
        assert list(ours.iterdir()) == []
        assert theirs.exists()


def test_it_works_without_assertions(folder: str) -> None:
    command = [sys.executable, "-O", "-c", OPTIMISED, folder]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "['figures-1']\n"


def test_workers_are_summed_and_who_was_killed_stays_counted(
    folder: str, begin: Callable[[int], Writer]
) -> None:
    reader = Snapshots(folder)
    assert reader.read() == Collected([], Figures(), 0)
    one, two = begin(1), begin(2)
    one.say(3)
    two.say(4)
    assert [each.worker for each in reader.read().living] == [1, 2]
    assert total(reader.read()) == 7
    one.say("fork")  # a child of the application's outlives it
    one.kill()
    collected = reader.read()
    assert [each.worker for each in collected.living] == [2]
    assert total(collected) == 7
    assert collected.ended.gauges == {}
    assert not [name for name in os.listdir(folder) if "-1" in name]
    assert total(Snapshots(folder).read()) == 7  # another reader, later
    begin(5).say(1)
    assert reader.read().started_count == 5
    assert total(reader.read()) == 8


def test_who_stands_still_lives(folder: str, begin: Callable[[int], Writer]) -> None:
    one = begin(1)
    one.say(3)
    one.process.send_signal(signal.SIGSTOP)
    collected = Snapshots(folder).read()
    assert [each.moment for each in collected.living] == [1.0]
    one.process.send_signal(signal.SIGCONT)


def test_who_has_closed_its_place_has_ended(folder: str, begin: Callable[[int], Writer]) -> None:
    one = begin(1)
    one.say(3)
    one.say("close")
    collected = Snapshots(folder).read()
    assert collected.living == []
    assert total(collected) == 3


@pytest.mark.parametrize("fails", ["replace", "unlink"])
def test_a_reader_that_dies_while_it_sums_loses_and_doubles_nothing(
    folder: str, begin: Callable[[int], Writer], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    one = begin(1)
    one.say(3)
    one.kill()

    def die(*_: Any) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, fails, die)
        with pytest.raises(OSError, match="killed"):
            Snapshots(folder).read()
    assert total(Snapshots(folder).read()) == 3
    assert total(Snapshots(folder).read()) == 3


def test_our_own_lock_outlives_our_reading(folder: str) -> None:
    """A worker under another supervisor reads for all: POSIX locks go with any descriptor of a file."""
    ours = Snapshots(folder, 7)
    ours.write(Snapshot(7, os.getpid(), 1.0, "", Figures()))
    reader = Snapshots(folder, 7)
    assert [each.worker for each in reader.read().living] == [7]
    looks = (
        "import sys; from python_server.monitoring.snapshots import Snapshots;"
        "print(len(Snapshots(sys.argv[1]).read().living))"
    )
    command = [sys.executable, "-c", looks, folder]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"
    ours.close()
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "0\n"


class Full:
    """Stands in for `open`: there is room for nothing that is written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused: list[str] = []
        self._patch = monkeypatch.context
        self._open = open

    def __call__(self, path: str, mode: str) -> Any:
        if mode == "wb":
            self._open(path, mode).close()  # a name costs nothing, bytes do
            self.refused.append(os.path.basename(path))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return self._open(path, mode)

    @contextmanager
    def filled(self) -> Iterator[None]:
        with self._patch() as patch:
            patch.setattr(module, "open", self, raising=False)
            yield


def test_a_worker_without_room_for_its_figures_does_not_stand_still(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, reader, figures = Full(monkeypatch), Snapshots(folder, 7), Figures()
    ours = Snapshots(folder, 7)
    figures.count("c", by=3)
    ours.write(Snapshot(7, os.getpid(), 1_000.0, "", figures))
    figures.count("c", by=1)
    with full.filled():
        for moment in (1_001.0, 1_009.5):
            with pytest.raises(OSError, match="No space left"):
                ours.write(Snapshot(7, os.getpid(), moment, "", figures))
        collected = reader.read()
        (seen,) = collected.living
        assert (seen.age_seconds(1_010.0), seen.still_seconds(1_010.0)) == (10.0, 0.5)
        assert health(collected.living, 1_010.0) == readiness(collected.living, 1_010.0) == (200, GOOD)
        assert health(collected.living, 1_020.0)[0] == 503  # it has not said so since
        assert total(collected) == 3
    assert full.refused == ["figures-7.new"] * 2
    ours.write(Snapshot(7, os.getpid(), 1_020.0, "", figures))
    assert total(reader.read()) == 4


def test_a_worker_that_never_had_room_is_there_without_figures(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, ours = Full(monkeypatch), Snapshots(folder, 7)
    with full.filled(), pytest.raises(OSError, match="No space left"):
        ours.write(Snapshot(7, os.getpid(), 1_000.0, "", Figures()))
    assert full.refused == ["figures-7.new"]
    collected = Snapshots(folder, 7).read()
    assert [each.worker for each in collected.living] == [7]
    assert health(collected.living, 1_001.0) == readiness(collected.living, 1_001.0) == (200, GOOD)
    assert health(collected.living, 1_004.0)[0] == 503


def test_who_ends_while_there_is_no_room_stays_counted(
    folder: str, begin: Callable[[int], Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    full, reader = Full(monkeypatch), Snapshots(folder)
    begin(1).say(3)
    begin(2).say(4)
    one = begin(3)
    one.say(5)
    one.kill()
    with full.filled():
        assert [total(reader.read()) for _ in range(3)] == [12] * 3
        assert [each.worker for each in reader.read().living] == [1, 2]
    assert full.refused == ["ended.new"] * 4
    Path(folder, "figures-3.new").write_bytes(b"half of it")  # it ended as it wrote
    assert total(reader.read()) == 12
    assert sorted(name for name in os.listdir(folder) if "-3" in name) == []


def test_one_process_reads(folder: str) -> None:
    takes = (
        "import sys; from python_server.monitoring.snapshots import Snapshots;"
        "print(Snapshots(sys.argv[1]).become_reader())"
    )
    command = [sys.executable, "-c", takes, folder]
    ours = Snapshots(folder)
    assert ours.become_reader()
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
    ours.close()
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"


def test_a_file_of_another_version_is_left_out(folder: str, begin: Callable[[int], Writer]) -> None:
    begin(1).say(3)
    Path(folder, "figures-1").write_bytes(b"\x93\x01")
    assert Snapshots(folder).read().living == []
