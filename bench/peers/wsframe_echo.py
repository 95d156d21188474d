"""wsframe's echo server for asyncio: the protocol that its own page shows, taken from the page.

It must not have a second copy of that code.
"""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "codec.md"
# The helpers that the page's examples share, and the protocol.
PARTS = ("def read_head(", "class Echo(asyncio.")


def echo_of_the_page() -> Any:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    for part in PARTS:
        found = [block for block in blocks if part in block]
        if len(found) != 1:
            raise RuntimeError(f"{PAGE.name} has {len(found)} blocks with {part!r}, not one")
        exec(compile(found[0], str(PAGE), "exec"), names)
    return names["Echo"]


async def serve(listener: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(echo_of_the_page(), sock=listener)
    await server.serve_forever()
