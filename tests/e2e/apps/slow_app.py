"""Answers at once, or when it is told to; for the tests of stopping and logging.

It must not know the tests.
"""

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

gate = threading.Event()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/wait":
        gate.wait(60)
    elif path == "/open":
        gate.set()
    body = f"{path} {os.environ.get('SLOW_APP', '')}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def create_app() -> Any:
    return app


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("never called")


class Sio:
    """What a Socket.IO server in a foreign mode looks like."""

    async_mode = "gevent"
    engineio_app = None

    def __call__(self, environ: Any, start_response: Any) -> Any:
        raise AssertionError("never called")


foreign = Sio()
