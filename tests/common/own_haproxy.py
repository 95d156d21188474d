"""A HAProxy of the test's own, with the sections that a page documents.

It must not know what stands behind it.
"""

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from outside_tools import outside_tool
from running_program import RunningProgram


class HAProxy(RunningProgram):
    """Listens at 127.0.0.1:`port`.

    Args:
        folder: where its file is; empty.
        sections: its configuration, told the address to bind to.
    """

    def __init__(self, folder: Path, sections: Callable[[str], str]) -> None:
        command = [outside_tool("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]
        # The socket is inherited: no port is free first and taken later, and who is early waits in its queue.
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port: int = listening.getsockname()[1]
            descriptor = listening.fileno()
            (folder / "haproxy.cfg").write_text(sections(f"fd@{descriptor}"))
            subprocess.run([*command, "-c"], check=True, capture_output=True, pass_fds=[descriptor])
            super().__init__(command, folder, pass_fds=[descriptor])
