"""The pytest plugin: a test has applications served, each on a port of its own, as long as it runs.

Must not know: the server, before a fixture of it is used: every run of pytest imports this file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self, Unpack

import pytest

from python_server import need_server

if TYPE_CHECKING:
    from python_server.api.keywords import TLSKeywords
    from python_server.api.wsgi_server import WSGIServer
    from python_server.settings import Settings
    from python_server.wsgi.environ import Application


class LiveServer(str):
    """The URL of an application that is served, without a slash at its end: `live + "/page"`.

    Attributes:
        url: the same, as a str and nothing more. host, port: where it listens.
    """

    url: str
    host: str
    port: int
    _server: WSGIServer

    def __new__(cls, server: WSGIServer) -> Self:
        live = super().__new__(cls, server.url)
        live.url = server.url
        live.host, live.port = server.address
        live._server = server
        return live

    @property
    def websocket_url(self) -> str:
        """The same for a WebSocket's client."""
        return self.url.replace("http", "ws", 1)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """A copy, one for another process too, is the URL alone."""
        return str, (self.url,)

    def stop(self, timeout: float | None = None) -> None:
        """Do now what is done when the test has ended; see WSGIServer.stop."""
        self._server.stop(timeout)


def _serve_live() -> Iterator[Callable[..., LiveServer]]:
    """Serves applications: `live = socketio_live(app)` is the URL, with `port`, `websocket_url`, `stop()`.

    socketio_live(app, host="127.0.0.1", port=0, settings=Settings(...), certfile=..., keyfile=...) serves any
    WSGI application with the Socket.IO and WebSockets it carries. All are ended after the test.
    """
    need_server("socketio_live")
    from python_server.api.wsgi_server import WSGIServer
    from python_server.observe import log
    from python_server.serve.mounts import find_site
    from python_server.settings import Settings

    # A test that has ended asks nothing more, and does not wait half a minute for a handler that hangs.
    own = Settings(access_log=None, log_level="warning", idle_grace_seconds=0.0, graceful_timeout_seconds=1.0)

    def serve(
        application: Application,
        host: str = "127.0.0.1",
        port: int = 0,
        settings: Settings | None = None,
        **tls: Unpack[TLSKeywords],
    ) -> LiveServer:
        server = WSGIServer((host, port), application, settings=settings or own, **tls)
        for mount in find_site(application).mounts:
            if mount.hub is not None:
                ends.enter_context(mount.hub.restoring())
        return LiveServer(ends.enter_context(server))

    with log.restoring(), ExitStack() as ends:
        ends.callback(sys.setswitchinterval, sys.getswitchinterval())
        yield serve


socketio_live = pytest.fixture(_serve_live)
module_socketio_live = pytest.fixture(_serve_live, scope="module")
session_socketio_live = pytest.fixture(_serve_live, scope="session")
