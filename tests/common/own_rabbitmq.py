"""A rabbitmq-server that belongs to a test: its node, its folders, its ports, and the epmd that it needs.

It must not know what is said through it.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from outside_tools import outside_tool
from own_ports import port_of_its_own

# The script itself, which a distribution wraps in one for its own user.
SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class OwnRabbitMQ:
    """On loopback; what it keeps is gone with it. `stop` and `start` restart it, its exchanges gone.

    Args:
        tls: has the files key.pem, cert.pem and ca.pem of a listener that speaks TLS.
    """

    def __init__(self, tls: Path | None = None) -> None:
        self.tls = tls
        program = outside_tool("rabbitmq-server")
        self._program = str(SCRIPT) if SCRIPT.exists() else program
        self._folder = Path(tempfile.mkdtemp(prefix="rabbitmq-"))
        self.port, self.tls_port, epmd_port, node_port = (port_of_its_own() for _ in range(4))
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self.tls_url = f"amqps://guest:guest@127.0.0.1:{self.tls_port}//"
        settings = [f"listeners.tcp.1 = 127.0.0.1:{self.port}"]
        if tls is not None:
            settings += [f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}", "ssl_options.verify = verify_none"]
            for name, file in {"cacertfile": "ca", "certfile": "cert", "keyfile": "key"}.items():
                settings.append(f"ssl_options.{name} = {tls}/{file}.pem")
        (self._folder / "rabbitmq.conf").write_text("\n".join(settings) + "\n")
        (self._folder / "plugins").write_text("[].\n")
        (self._folder / "environment").write_text("")
        self._environment = {
            **os.environ,
            "HOME": str(self._folder),  # where Erlang keeps its cookie
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{node_port}@localhost",
            "RABBITMQ_DIST_PORT": str(node_port),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "environment"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "kept"),
            "RABBITMQ_LOG_BASE": str(self._folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none"
            ),
        }
        self._process: subprocess.Popen[str] | None = None
        self._epmd = subprocess.Popen(["epmd", "-address", "127.0.0.1", "-port", str(epmd_port)])
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Returns once it accepts connections."""
        self._process = subprocess.Popen(
            [self._program],
            env=self._environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "Server startup complete" in line:
                return
        raise AssertionError(f"rabbitmq-server ended before it was ready:\n{''.join(said)}")

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """It answers nothing meanwhile, and everything afterwards."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def command(self, *words: str) -> None:
        """One of rabbitmqctl's."""
        program = str(SCRIPT.with_name("rabbitmqctl")) if SCRIPT.exists() else outside_tool("rabbitmqctl")
        subprocess.run([program, *words], env=self._environment, cwd=self._folder, check=True)

    def stop(self) -> None:
        """As if its machine had failed: it and all its connections are gone when this returns."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            process, self._process = self._process, None
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def close(self) -> None:
        self.stop()
        self._epmd.kill()
        self._epmd.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
