"""WSGIServer: a server inside a program, in gevent's words: start, serve_forever, stop, a context manager.

Must not know: signals and command lines; those are the supervisor's.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Self, Unpack

from python_server.api.keywords import TLSKeywords, drop_unknown
from python_server.api.options import tls_settings
from python_server.net.monkey_patch import refuse_patched
from python_server.net.sockets import BindError, Socket, bind_tcp, shown_urls
from python_server.net.threads import BackgroundThread, on_main_thread
from python_server.observe import log as logs
from python_server.serve.mounts import find_site
from python_server.serve.serve import LINES, set_up_logs
from python_server.serve.signals import ApplicationSignals, Orders, given_as_orders
from python_server.serve.worker import Worker
from python_server.settings import Settings
from python_server.wsgi.environ import Application

# gevent's own, and gevent-websocket's: what they do is done here for every request.
OWN_HANDLERS: Final = ("WSGIHandler", "WebSocketHandler")


class WSGIServer:
    """Serves an application, with its Socket.IO events and raw WebSockets, in a thread of this process.

        with WSGIServer(("127.0.0.1", 0), app) as server:
            print(server.address)

    Args:
        listener: (host, port), "host:port", a port, or a bound socket, which this server then owns.
        application: any PEP 3333 callable. A subclass may set it as a class attribute instead.
        backlog: maximum connections that wait to be accepted.
        spawn: maximum number of connections, or a pool that has it as `size`.
        log: where to log requests: None, a file-like object or a logger; "default" uses `settings`.
        error_log: where to log errors and `wsgi.errors`: the same kinds of values.
        handler_class: has no effect, because the server parses requests itself.
        environ: keys and values to add to every environ.
        settings: limits and timeouts; host and port are not used. Without it requests are not logged.
        ssl_args: certfile, keyfile, ca_certs, cert_reqs, ciphers; or ssl_context. The log names others.

    Raises:
        TypeError, ValueError: `listener`, `application` or `spawn` is not one of these.
    """

    application: Application | None = None

    def __init__(
        self,
        listener: tuple[str, int] | str | int | Socket,
        application: Application | None = None,
        backlog: int | Settings | None = None,
        spawn: object = "default",
        log: object = "default",
        error_log: object = "default",
        handler_class: type | None = None,
        environ: Mapping[str, object] | None = None,
        *,
        settings: Settings | None = None,
        **ssl_args: Unpack[TLSKeywords],
    ) -> None:
        if isinstance(backlog, Settings):  # it was the third argument once
            settings, backlog = backlog, None
        if application is not None:
            self.application = application
        if not callable(self.application):
            given = "" if application is None else f", and no {type(application).__name__}"
            raise TypeError(f"WSGIServer serves an application{given}: WSGIServer(listener, application)")
        chosen: dict[str, Any] = {
            "backlog_count": backlog,
            "connections_max_count": _connections_max_count(spawn),
            "access_log": None if log == "default" or log is None else "-",
            "log_level": "critical" if error_log is None else None,
            "tls": tls_settings(drop_unknown("WSGIServer", ssl_args, TLSKeywords)),
        }
        chosen = {name: value for name, value in chosen.items() if value is not None}
        self._settings = replace(settings or Settings(access_log=None), **chosen)
        if log is None:
            self._settings = replace(self._settings, access_log=None)
        self._logs = {logs.ACCESS: log, logs.LOGGER: error_log}
        self.environ: dict[str, object] = dict(environ or {})
        if hasattr(error_log, "write"):
            self.environ.setdefault("wsgi.errors", error_log)
        handler_name = getattr(handler_class, "__name__", None)
        if handler_class is not None and handler_name not in OWN_HANDLERS:
            logs.warn(f"handler_class {handler_name} is not asked: the server reads requests itself")
        self._listener = _read_listener(listener)
        self._socket: Socket | None = None
        self._worker: Worker | None = None
        self._thread: BackgroundThread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port in use, or the path of a UNIX socket. Raises RuntimeError: there is no port yet."""
        sock = self._socket or (self._listener if isinstance(self._listener, Socket) else None)
        if sock is not None:
            bound: Any = sock.getsockname()
            return bound if isinstance(bound, str) else bound[:2]  # type: ignore[return-value]
        assert not isinstance(self._listener, Socket)
        if not self._listener[1]:
            raise RuntimeError("the server is not bound yet: call start()")
        return self._listener

    @property
    def server_host(self) -> str:
        """Of `address`."""
        return self.address[0]

    @property
    def server_port(self) -> int:
        """Of `address`."""
        return self.address[1]

    @property
    def url(self) -> str:
        """The URL of the server, without a slash at the end. Raises RuntimeError: it has not been started."""
        if self._socket is None:
            raise RuntimeError("the server is not bound yet: call start()")
        tls = self._settings.tls
        return shown_urls([self._socket], "https" if tls.certfile or tls.context else "http")[0]

    @property
    def started(self) -> bool:
        """Whether the server is running."""
        return self._worker is not None

    @property
    def closed(self) -> bool:
        """Whether the server has no open socket."""
        sock = self._socket or self._listener
        return not isinstance(sock, Socket) or sock.fileno() < 0

    def start(self) -> None:
        """Bind and serve in the background; returns when connections are accepted.

            server.start()

        Raises:
            BindError: the server cannot listen on the address. RuntimeError: it is already running, or the
                process is monkey-patched.
        """
        self._thread = BackgroundThread(self._prepare().run, "python_server")

    def serve_forever(self, stop_timeout: float | None = None) -> None:
        """Serve until another thread calls `stop`, or until KeyboardInterrupt; start the server if needed.

            WSGIServer(("0.0.0.0", 8000), app).serve_forever()

        Args:
            stop_timeout: seconds, as of `stop`, for KeyboardInterrupt when `start` was called before.

        Raises the same errors as `start`.
        """
        thread = self._thread
        if thread is not None:
            try:
                thread.join()
            except BaseException:
                self.stop(stop_timeout)
                raise
            return
        worker = self._prepare()
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            worker.force()

        # Raised by Python itself, it would cut the loop off between a descriptor and whoever closes it.
        python_raises = on_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        orders: Orders = {signal.SIGINT: interrupt} if python_raises else {}
        try:
            with given_as_orders(worker.loop.mailbox.post, orders, ApplicationSignals(logs.report)):
                worker.run()
        finally:
            self._worker = None
            logs.flush()  # whoever gave a log reads all of it now
        if interrupted:
            raise KeyboardInterrupt

    def stop(self, timeout: float | None = None) -> None:
        """Stop accepting, wait for running requests, and cancel them after the timeout. Any thread.

            server.stop(timeout=5)

        Args:
            timeout: seconds; None means `graceful_timeout_seconds` of the settings.
        """
        worker, thread = self._worker, self._thread
        if worker is None:
            return
        worker.stop(timeout)
        if thread is not None:
            thread.join()
            self._thread = self._worker = None
            logs.flush()

    def close(self) -> None:
        """Stop the server, as `stop` does.

            server.close()

        In gevent it closes only the listening socket.
        """
        self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self.stop()

    def _prepare(self) -> Worker:
        if self._worker is not None:
            raise RuntimeError("the server runs already")
        refuse_patched()
        if isinstance(self._listener, Socket):
            if self._listener.fileno() < 0:
                raise BindError("the socket is closed: a stopped server cannot be started again on it")
            sock = self._listener
            sock.setblocking(False)
        else:
            host, port = self._listener
            sock = bind_tcp(host, port, self._settings.backlog_count)
        for logger, place in self._logs.items():
            if place is not None and place != "default":
                logs.log_into(logger, place, writer=LINES)
        set_up_logs(self._settings, self._settings.access_log)
        assert self.application is not None
        site = find_site(self.application)
        site.environ = self.environ
        try:
            self._worker = Worker(site, self._settings, [sock])
        except BaseException:
            sock.close()
            raise
        self._socket = sock  # whoever sees the address can stop the worker
        return self._worker


def _connections_max_count(spawn: Any) -> int | None:
    """gevent's `spawn` as a bound. Raises ValueError: nobody would ever be served."""
    if spawn == "default":
        return None
    count: object = spawn if type(spawn) is int else getattr(spawn, "size", None)
    if not isinstance(count, int):
        if not hasattr(spawn, "size"):
            logs.warn(
                f"spawn={spawn!r:.100} chooses nothing: requests have threads (Settings.wsgi_threads_count)"
            )
        return None
    if count < 1:
        raise ValueError(f"spawn={spawn!r:.100}: it is a number of connections, 1 or more")
    return count


def _read_listener(listener: object) -> Socket | tuple[str, int]:
    if hasattr(listener, "do_handshake"):
        raise TypeError("listener must be a plain socket: TLS is spoken with certfile and keyfile")
    if isinstance(listener, Socket):
        return listener
    if isinstance(listener, int):
        return "", listener
    if isinstance(listener, str):
        host, colon, port = listener.rpartition(":")
        if not colon or not port.isdigit():
            raise ValueError(f"listener must look like host:port: {listener!r}")
        return host.strip("[]"), int(port)
    if isinstance(listener, tuple) and len(listener) == 2:
        return str(listener[0]), int(listener[1])
    raise TypeError(
        f"listener must be (host, port), 'host:port', a port or a socket, not {type(listener).__name__}"
    )
