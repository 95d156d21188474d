"""The servers that programs for eventlet and gevent start themselves, and their WebSockets, on ours.

Must not know: how a connection is served.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias, Unpack

from python_server.api.keywords import TLSKeywords
from python_server.api.wsgi_server import WSGIServer
from python_server.drop_in.events import Linked
from python_server.drop_in.greenlets import RUNNING
from python_server.drop_in.importing import caller, place_of
from python_server.net import sockets
from python_server.net.sockets import Socket, TCPAddress, UnixAddress
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


OWN_HANDLERS: Final = (object, WebSocketHandler, PyWSGIHandler)
# What programs overwrite to have other lines of requests, or none: `log=` says that here.
LOGGING_WORDS: Final = {"log_request", "format_request", "log_error"}


def words_of_its_own(handler_class: type) -> set[str]:
    """The methods of a program's handler class."""
    own = [each for each in handler_class.__mro__ if each not in OWN_HANDLERS]
    return {name for each in own for name, value in vars(each).items() if callable(value)}


class PyWSGIServer(WSGIServer):
    """gevent.pywsgi's WSGIServer, and gevent-websocket's: it says what it does in the log, as there.

    Raises:
        TypeError: a handler class of the program's own that does more than to log: nobody would ask it.
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
        if handler_class is not None and (asked := words_of_its_own(handler_class) - LOGGING_WORDS):
            raise TypeError(
                f"handler_class={handler_class.__name__} ({place_of(caller())}) is not asked here for "
                f"{', '.join(sorted(asked))}: leave it out, or give WebSocketHandler"
            )
        self._runs = Linked()  # what `gevent.wait()` waits for
        super().__init__(
            listener,
            application,
            backlog,
            spawn,
            log,
            error_log,
            handler_class,
            environ=environ,
            settings=Settings(access_log="-"),
            **ssl_args,
        )

    def start(self) -> None:
        if not stands_by("start()"):
            super().start()
            RUNNING.add(self._runs)

    def stop(self, timeout: float | None = None) -> None:
        super().stop(timeout)
        RUNNING.discard(self._runs)
        self._runs._become_ready()

    def serve_forever(self, stop_timeout: float | None = None) -> None:
        """Serve until the end. SIGTERM, if nobody handles it, lets what runs end, a second one does not."""
        if stands_by("serve_forever()"):
            return
        if on_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_term)
        super().serve_forever(stop_timeout)

    def _on_term(self, number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.stop()

    def _prepare(self) -> Worker:
        worker = super()._prepare()
        tell_of_start()
        log.say(f"listening on {self.url}")
        return worker


def stands_by(what: str) -> bool:
    """Does a command line serve the application already, so that this server has nothing to do?"""
    if os.environ.get("FLASK_RUN_FROM_CLI") != "true":
        return False
    log.say(
        f"{what} ({place_of(caller())}) does nothing here: a command line serves this application already"
    )
    return True


def listen(addr: str | tuple[str, int], family: int = 2, backlog: int = 50, **reuse: object) -> Socket:
    """`eventlet.listen`: at (host, port), or at a path."""
    address = UnixAddress(addr) if isinstance(addr, str) else TCPAddress(*addr[:2])
    bound = sockets.listen(
        [address], backlog, reuse_port=bool(reuse.get("reuse_port")), unix_permissions=0o666
    )
    sock = bound.sockets[0]
    sock.setblocking(True)
    return sock


class SecuredSocket(Socket):
    """A listener, with what its server is to know of TLS."""

    words: Any = None


def wrap_ssl(sock: Socket, **words: object) -> SecuredSocket:
    """`eventlet.wrap_ssl`, for a server."""
    secured = SecuredSocket(fileno=sock.detach())
    secured.words = {name: value for name, value in words.items() if name != "server_side"}
    return secured


def serve_eventlet(
    sock: Socket,
    site: Application,
    log: object = None,
    environ: Mapping[str, object] | None = None,
    *args: object,
    log_output: bool = True,
    **kwargs: object,
) -> None:
    """`eventlet.wsgi.server`; what its other arguments choose is no choice here."""
    chosen = log or "default" if log_output else None
    words = getattr(sock, "words", {})
    try:
        PyWSGIServer(sock, site, log=chosen, environ=environ, **words).serve_forever()
    except KeyboardInterrupt:
        pass  # as there; gevent's raises it
    finally:
        sock.close()  # as there, however it ends


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
