"""Says which process answers; holds a request, or a whole loop, until a FIFO is written to.

It must not know how many processes there are.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from python_server import WebSocket, WebSocketApplication

PLACE = Path(os.environ["WORKERS_PLACE"])

with (PLACE / "imports").open("a") as imports:
    imports.write(f"{os.getpid()}\n")
if (PLACE / "broken").exists():
    raise RuntimeError("broken on purpose")
if (PLACE / "stuck").exists():
    (PLACE / "hold").read_text()


class Still(WebSocketApplication):
    """A handler that breaks its promise: it blocks the loop."""

    inline = True
    allowed_origins = "*"

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        (PLACE / "hold").read_text()


class Application:
    wsframe_websockets = {"/still": Still()}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/hold":
            (PLACE / "hold").read_text()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"%d %r" % (os.getpid(), environ["wsgi.multiprocess"])]


app = Application()
