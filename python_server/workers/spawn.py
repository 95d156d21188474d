"""What a worker is started with: its index, its row, its links; how that travels into a new process.

Must not know: who starts workers when, or how one serves.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from python_server.net.scoreboard import Scoreboard
from python_server.net.sockets import Socket
from python_server.workers.link_messages import VERSION

# JSON; the descriptors it names are open in the worker, and in no program that the worker starts.
WORKER_VARIABLE: Final = "WSFRAME_WORKER"
# Numbers of listening sockets that whoever started this process keeps open over restarts, with commas.
INHERITED_VARIABLE: Final = "WSFRAME_INHERITED_FDS"


class SupervisorLink(Protocol):
    """Port: the way to whoever starts and replaces workers."""

    @property
    def queued_bytes(self) -> int:
        """What has not been taken yet."""

    def send(self, kind: int, payload: bytes = b"") -> bool:
        """A word of `peers.MessageKind`; False when nobody takes it any more."""

    def close(self) -> None:
        """Nothing more is said."""


@dataclass(slots=True)
class WorkerSlot:
    """One worker's place.

    Attributes:
        index: of the worker; grows, and is never given twice by one supervisor.
        row: on the board. host_id: of the supervisor's machine.
        control: the link to the supervisor. siblings: a link to each worker that lives, by index.
        serving: those of them that serve already.
        successors: who took over from whom, of the workers that drained before.
        named: further listening sockets that all workers share, by name.
        together: it is one of a start, and holds back until the supervisor says that all are there.
        version: of the supervisor's words.
        arbiter: takes the words for the supervisor where there is none of ours, `control` is None then.
        meeting: listens for siblings that come, where no supervisor announces them.
        own_sockets: nobody else accepts on its listening sockets.
        metrics_folder: where all workers write their figures down, if anybody asks for them.
    """

    index: int
    row: int
    host_id: str
    board: Scoreboard
    control: Socket | None = None
    siblings: dict[int, Socket] = field(default_factory=dict)
    serving: frozenset[int] = frozenset()
    successors: dict[int, int] = field(default_factory=dict)
    named: dict[str, Socket] = field(default_factory=dict)
    together: bool = False
    version: int = VERSION
    arbiter: SupervisorLink | None = None
    meeting: Socket | None = None
    own_sockets: bool = False
    metrics_folder: str | None = None

    def descriptors(self) -> list[int]:
        """Those that the worker's process needs open."""
        sockets = [*self.siblings.values(), *self.named.values(), *([self.control] if self.control else [])]
        return [self.board.descriptor, *(sock.fileno() for sock in sockets)]

    def to_text(self) -> str:
        """For WSFRAME_WORKER of the new process."""
        assert self.control is not None
        return json.dumps(
            {
                "index": self.index,
                "row": self.row,
                "host_id": self.host_id,
                "board": self.board.descriptor,
                "control": self.control.fileno(),
                "siblings": {index: sock.fileno() for index, sock in self.siblings.items()},
                "serving": sorted(self.serving),
                "successors": self.successors,
                "named": {name: sock.fileno() for name, sock in self.named.items()},
                "together": self.together,
                "version": self.version,
                "metrics_folder": self.metrics_folder,
            }
        )


def own_command() -> list[str]:
    """What started this process; `sys.argv` has lost `-m package`, `-X` and `-W` options."""
    return [sys.executable, *sys.orig_argv[1:]]


def start_again(
    environment: Mapping[str, str],
    listening: Sequence[Socket],
    descriptors: Iterable[int] = (),
    process_group: int | None = None,
) -> subprocess.Popen[bytes]:
    """This very program in a new process that accepts on `listening`; `descriptors` stay open in it too."""
    numbers = [sock.fileno() for sock in listening]
    return subprocess.Popen(
        own_command(),
        pass_fds=[*numbers, *descriptors],
        env={**environment, INHERITED_VARIABLE: ",".join(map(str, numbers))},
        process_group=process_group,
    )


def is_worker(environment: MutableMapping[str, str]) -> bool:
    """Has a supervisor started this process? A program that a worker starts has the variable only."""
    text = environment.get(WORKER_VARIABLE)
    if not text:
        return False
    try:
        return stat.S_ISSOCK(os.fstat(json.loads(text)["control"]).st_mode)
    except OSError:
        return False


def take_slot(environment: MutableMapping[str, str], monotonic: Callable[[], float]) -> WorkerSlot | None:
    """The slot of this process, taken out of the environment; None when it is no worker."""
    found = is_worker(environment)
    text = environment.pop(WORKER_VARIABLE, "")
    if not found:
        return None
    values = json.loads(text)
    return WorkerSlot(
        values["index"],
        values["row"],
        values["host_id"],
        Scoreboard(monotonic, _own(values["board"])),
        Socket(fileno=_own(values["control"])),
        {int(index): Socket(fileno=_own(number)) for index, number in values["siblings"].items()},
        frozenset(values["serving"]),
        {int(index): successor for index, successor in values["successors"].items()},
        {name: Socket(fileno=_own(number)) for name, number in values["named"].items()},
        values.get("together", False),  # neither stood here before there were versions
        values.get("version", 0),
        metrics_folder=values.get("metrics_folder"),
    )


def _own(descriptor: int) -> int:
    """Programs that this one starts are not to have it."""
    os.set_inheritable(descriptor, False)
    return descriptor
