"""--reload: a parent that watches files and starts the server anew, on the same listening sockets.

Must not know: the application; it runs in the child only, so nothing of it ever runs twice.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

from python_server import observe
from python_server.net.sockets import Socket
from python_server.settings import Settings
from python_server.supervisor import INHERITED_VARIABLE, bind

CHILD_STOP_SECONDS: Final = 5.0


class ReloadError(Exception):
    """The reloader cannot work; one line."""


def run_reloading(folders: Sequence[str], settings: Settings) -> None:
    """Run this command in a child, and anew after every change below `folders`, until SIGTERM or SIGINT.

    The child knows by the inherited sockets that it is to serve.

    Raises:
        ReloadError: watchfiles is not installed. BindError: the address cannot be listened on.
    """
    try:
        import watchfiles
    except ImportError:
        raise ReloadError("--reload needs the package watchfiles: pip install 'wsframe[reload]'") from None
    observe.configure_logging(settings.log_level, None, settings.error_log)
    with bind(settings) as listening:
        _run(watchfiles, folders, listening.sockets)


def _run(watchfiles: Any, folders: Sequence[str], listening: Sequence[Socket]) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    child = _start(listening)
    try:
        for changes in watchfiles.watch(
            *folders, watch_filter=watchfiles.PythonFilter(), raise_interrupt=True
        ):
            changed = sorted(os.path.relpath(path) for _, path in changes)
            observe.say(f"{', '.join(changed[:3])} changed: starting anew")
            _stop(child)
            child = _start(listening)
    except KeyboardInterrupt:
        pass
    finally:
        _stop(child)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _start(listening: Sequence[Socket]) -> subprocess.Popen[bytes]:
    descriptors = [sock.fileno() for sock in listening]
    command = [sys.executable, "-m", "python_server", *_own_arguments()]
    environment = {**os.environ, INHERITED_VARIABLE: ",".join(map(str, descriptors))}
    return subprocess.Popen(command, pass_fds=descriptors, env=environment)


def _own_arguments() -> list[str]:
    arguments = sys.argv[1:]
    return arguments[1:] if arguments[:1] == ["serve"] else arguments


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(CHILD_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
