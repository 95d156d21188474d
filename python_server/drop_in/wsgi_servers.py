"""The servers that programs for eventlet and gevent start themselves, and their WebSockets, on ours.

Must not know: greenlets; how a connection is served.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeAlias, Unpack

from python_server.api.keywords import TLSKeywords, names_of
from python_server.api.wsgi_server import WSGIServer
from python_server.drop_in.importing import caller, place_of
from python_server.drop_in.words import GreenSocket
from python_server.net import sockets
from python_server.net.sockets import Socket, TCPAddress, UnixAddress, shown_urls
from python_server.net.threads import on_main_thread
from python_server.observe import log
from python_server.serve.serve import tell_of_start
from python_server.serve.worker import Worker
from python_server.settings import Settings
from python_server.wsgi.environ import Application, Environ, StartResponse
from python_server.wsgi.websocket import BlockingWebSocket, WebSocketError

__all__ = ["BlockingWebSocket", "WebSocketError"]


class WebSocketHandler:
    """What programs for gevent-websocket give as `handler_class`; every request has its WebSocket here."""


class PyWSGIHandler:
    """What programs for gevent may give."""


class PyWSGIServer(WSGIServer):
    """gevent.pywsgi's WSGIServer, and gevent-websocket's: it says what it does in the log, as there.

    Raises:
        TypeError: a handler class of the program's own, which nobody would ask; an unknown argument.
    """

    def __init__(
        self,
        listener: tuple[str, int] | str | int | Socket,
        application: Application | None = None,
        backlog: int | None = None,
        spawn: object = "default",
        log: object = "default",
        error_log: object = "default",
        handler_class: type | None = None,
        environ: Mapping[str, object] | None = None,
        **ssl_args: Unpack[TLSKeywords],
    ) -> None:
        if handler_class not in (None, WebSocketHandler, PyWSGIHandler):
            raise TypeError(
                f"handler_class={handler_class.__name__} ({place_of(caller())}) is not asked here: "
                "leave it out, or give WebSocketHandler"
            )
        if unknown := ssl_args.keys() - names_of(TLSKeywords):
            raise TypeError(
                f"{min(unknown)} ({place_of(caller())}) is not known here: give certfile and keyfile"
            )
        super().__init__(
            listener,
            application,
            backlog,
            spawn,
            log,
            error_log,
            environ=environ,
            settings=Settings(access_log="-"),
            **ssl_args,
        )

    def start(self) -> None:
        if not stands_by("start()"):
            super().start()

    def serve_forever(self, stop_timeout: float | None = None) -> None:
        """Serve until the end. SIGTERM, if nobody handles it, lets what runs end, a second one does not."""
        if stands_by("serve_forever()"):
            return
        if on_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_term)
        try:
            super().serve_forever()
        except KeyboardInterrupt:
            pass  # Ctrl+C, as there

    def _on_term(self, number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.stop()

    def _prepare(self) -> Worker:
        worker = super()._prepare()
        tell_of_start()
        assert self._socket is not None
        tls = self._settings.tls
        urls = shown_urls([self._socket], "https" if tls.certfile or tls.context else "http")
        log.say(f"listening on {urls[0]}")
        return worker


def stands_by(what: str) -> bool:
    """Does a command line serve the application already, so that this server has nothing to do?"""
    if os.environ.get("FLASK_RUN_FROM_CLI") != "true":
        return False
    log.say(
        f"{what} ({place_of(caller())}) does nothing here: a command line serves this application already"
    )
    return True


def listen(addr: str | tuple[str, int], family: int = 2, backlog: int = 50, **reuse: object) -> GreenSocket:
    """`eventlet.listen`: at (host, port), or at a path."""
    address = UnixAddress(addr) if isinstance(addr, str) else TCPAddress(*addr[:2])
    bound = sockets.listen(
        [address], backlog, reuse_port=bool(reuse.get("reuse_port")), unix_permissions=0o666
    )
    green = GreenSocket(fileno=bound.sockets[0].detach())
    green.setblocking(True)
    return green


def serve_eventlet(sock: GreenSocket, site: Application, *args: object, **kwargs: object) -> None:
    """`eventlet.wsgi.server`; what its other arguments choose is no choice here."""
    PyWSGIServer(sock, site, log="-" if kwargs.get("log_output", True) else None).serve_forever()


Handler: TypeAlias = "Callable[[EventletWebSocket], object]"


class EventletWebSocket:
    """eventlet's words for a blocking WebSocket."""

    def __init__(self, websocket: BlockingWebSocket) -> None:
        self._websocket = websocket
        self.environ: Environ = websocket.environ
        self.path: str = websocket.environ.get("PATH_INFO", "")
        self.origin, self.version, self.protocol = websocket.origin, websocket.version, websocket.protocol
        self.send: Callable[[object], None] = websocket.send
        self.close: Callable[[], None] = websocket.close

    def wait(self) -> str | bytes | None:
        """The next message; None at the end."""
        return None if self._websocket.closed else self._websocket.receive()


class WebSocketWSGI:
    """eventlet's: a WSGI application of a function that gets a WebSocket."""

    def __init__(self, handler: Handler, protocols: Iterable[str] = ()) -> None:
        self.handler = handler
        self._protocols = tuple(protocols)

    @classmethod
    def configured(
        cls, handler: Handler | None = None, supported_protocols: Iterable[str] = (), **options: object
    ) -> object:
        """With subprotocols; a decorator where there is no handler."""
        if options.get("origin_checker"):
            raise TypeError(f"origin_checker ({place_of(caller())}): look at environ['HTTP_ORIGIN'] instead")
        made = partial(cls, protocols=supported_protocols or ())
        return made if handler is None else made(handler)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        websocket = environ.get("wsgi.websocket")
        if websocket is None:
            start_response("400 Bad Request", [("Content-Length", "0")])
            return []
        websocket.accept(self._protocols)
        self.handler(EventletWebSocket(websocket))
        websocket.close()
        return []
