"""A redis-server, or Valkey's, that belongs to a test.

It must not know what is said through it.
"""

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from own_ports import port_of_its_own


class RedisServer:
    """A redis-server of our own: loopback, nothing kept on disk, started and stopped when a test says so."""

    def __init__(self, program: str, *options: str, settings: Path | None = None, tls: bool = False) -> None:
        self.port = port_of_its_own()
        self.url = f"{'rediss' if tls else 'redis'}://127.0.0.1:{self.port}/0"
        self._folder = tempfile.mkdtemp(prefix="redis-")
        port = ["--port", "0", "--tls-port", str(self.port)] if tls else ["--port", str(self.port)]
        place = ["--bind", "127.0.0.1", *port]
        if settings is None:
            kept = ["--save", "", "--appendonly", "no", "--dir", self._folder]
            self._command = [program, *place, *kept, *options]
        else:
            self._command = [program, str(settings), *place, *options]
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Returns once it accepts connections."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "Ready to accept connections" in line or "Sentinel ID is" in line:
                return
        raise AssertionError("redis-server ended before it was ready")

    def stop(self) -> None:
        """It and all its connections are gone when this returns."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def pause(self) -> None:
        """It stands still, its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
