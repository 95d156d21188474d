"""Whose child this process is: what a reloader of ours leaves in the environment.

Must not know: how anything is reloaded or served. `flask run` asks before it imports a server.
"""

from __future__ import annotations

import os
from typing import Final

# The process id of the reloader, for its child.
RELOADER_VARIABLE: Final = "WSFRAME_RELOADER"


def is_reloaded() -> bool:
    """Has a reloader of ours started this process? A worker of its child has the variable too."""
    return os.environ.get(RELOADER_VARIABLE) == str(os.getppid())
