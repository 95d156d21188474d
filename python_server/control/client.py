"""Asks the workers of a server of this user, all at once: one that stands still keeps nobody waiting.

Must not know: what an answer means.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

import msgspec

from python_server.control.places import workers
from python_server.net.sockets import Socket, connect_unix


def ask_workers(
    control: str,
    method: str,
    timeout_seconds: float,
    monotonic: Callable[[], float],
    besides: Collection[int] = (),
) -> dict[int, dict[str, Any] | None]:
    """By process id, what each worker of the server at `control` says; None: nothing within that time.

    `besides`: those that are not asked.
    """
    answers: dict[int, dict[str, Any] | None] = {}
    asked: dict[int, Socket] = {}
    question = {"method": method, "timeout_seconds": timeout_seconds}
    until = monotonic() + timeout_seconds
    for process, path in workers(control).items():
        if process in besides:
            continue
        try:
            asked[process] = connect_unix(path, timeout_seconds)
            asked[process].sendall(msgspec.json.encode(question) + b"\n")
        except (ConnectionError, FileNotFoundError):  # it ends
            continue
        except OSError:  # so many have asked in vain that no more are let in
            pass
        answers[process] = None
    for process, connection in asked.items():
        connection.settimeout(max(until - monotonic(), 0.001))
        with suppress(OSError, msgspec.DecodeError), connection, connection.makefile("rb") as lines:
            answers[process] = msgspec.json.decode(lines.readline())
    return answers
