"""An nginx of the test's own, with the server blocks that a page documents.

It must not know what stands behind it.
"""

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from outside_tools import outside_tool
from running_program import RunningProgram


class Nginx(RunningProgram):
    """Listens at 127.0.0.1:`port`.

    Args:
        folder: where its files are; empty.
        blocks: what stands in its `http` block, told the port to listen at.
    """

    def __init__(self, folder: Path, blocks: Callable[[int], str]) -> None:
        command = [outside_tool("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        # The socket is inherited, as in an upgrade of its program: no port is free first and taken later.
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port: int = listening.getsockname()[1]
            folders = "".join(
                f"{kind}_temp_path {folder}/{kind};\n"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            user = "user root;\n" if os.geteuid() == 0 else ""  # the test's files are the test's alone
            (folder / "nginx.conf").write_text(
                f"{user}daemon off;\npid {folder}/nginx.pid;\nerror_log stderr notice;\nevents {{}}\n"
                f"http {{\naccess_log off;\n{folders}{blocks(self.port)}\n}}\n"
            )
            subprocess.run([*command, "-t"], check=True, capture_output=True)
            descriptor = listening.fileno()
            super().__init__(command, folder, {"NGINX": f"{descriptor};"}, pass_fds=[descriptor])
        self.wait_for("start worker process")
