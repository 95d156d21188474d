"""A program that a test has started, and everything it has said.

It must not know which program: who starts it knows its arguments and what it should say.
"""

import os
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGTERM
from typing import Any

PATIENCE_SECONDS = 60.0  # of a machine with far more to do than this


def run_to_its_end(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str],
    seconds: float = PATIENCE_SECONDS,
) -> tuple[int, str]:
    """A program that ends by itself: its status, and what it said on both outputs."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    return done.returncode, done.stdout


class RunningProgram:
    """Both its outputs are read line by line by a thread, so that it never waits for its reader.

    Args:
        output: where its standard output goes instead.
    """

    def __init__(
        self,
        command: list[str],
        folder: Path,
        environment: dict[str, str] | None = None,
        output: Any = None,
        **options: Any,
    ) -> None:
        self._lines: list[str] = []
        self._has_ended = False
        self._spoke = threading.Condition()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            # What is compiled is known from its source by size and second; tests write twice in a second.
            env={
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if output is None else output,
            stderr=subprocess.STDOUT if output is None else subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            **options,
        )
        self._said = self._process.stdout if output is None else self._process.stderr
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._said is not None
        for line in self._said:
            with self._spoke:
                self._lines.append(line)
                self._spoke.notify_all()
        with self._spoke:
            self._has_ended = True
            self._spoke.notify_all()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return "".join(self._lines)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, text: str, count: int = 1) -> None:
        """Until `text` stands `count` times in the log; who has ended will not say it any more."""
        with self._spoke:
            self._spoke.wait_for(lambda: self._has_ended or self.log.count(text) >= count, PATIENCE_SECONDS)
        assert self.log.count(text) >= count, f"{text!r} was not said {count} times:\n{self.log}"

    def find(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """What in the log fits the pattern first, once it stands there."""
        with self._spoke:
            self._spoke.wait_for(lambda: self._has_ended or pattern.search(self.log), PATIENCE_SECONDS)
        found = pattern.search(self.log)
        assert found is not None, f"nothing like {pattern.pattern!r} was said:\n{self.log}"
        return found

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        status = self._process.wait(PATIENCE_SECONDS)
        self._close()
        return status

    def stop(self, number: int = SIGTERM) -> int | None:
        """A signal; the exit status, or None when the process had to be killed."""
        if self.is_alive:
            self.signal(number)
        return self.end()

    def end(self) -> int | None:
        """As `stop`, of one that was told to end."""
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        """What it said last has been read; a child that holds its output may still speak."""
        self._reader.join(PATIENCE_SECONDS)
        if self._said is not None and not self._reader.is_alive():
            self._said.close()
