"""WSGIServer: a server inside a program, in gevent's words: start, serve_forever, stop, a context manager.

Must not know: signals and command lines; those are the supervisor's.
"""

from __future__ import annotations

from typing import Self

from python_server.net.monkey_patch import refuse_patched
from python_server.net.sockets import BindError, Socket, bind_tcp
from python_server.net.threads import BackgroundThread
from python_server.observe import log
from python_server.serve.mounts import find_site
from python_server.serve.serve import LINES
from python_server.serve.worker import Worker
from python_server.settings import Settings
from python_server.wsgi.environ import Application


class WSGIServer:
    """Serves an application, with the Socket.IO and raw WebSockets it carries, on a thread of its own.

        with WSGIServer(("127.0.0.1", 0), app) as server:
            print(server.address)

    Args:
        listener: (host, port), "host:port", a port, or a bound socket that this server then owns.
        application: any PEP 3333 callable.
        settings: limits and timeouts; its host and port are not used.

    Raises:
        TypeError, ValueError: `listener` is none of these.
    """

    def __init__(
        self,
        listener: tuple[str, int] | str | int | Socket,
        application: Application,
        settings: Settings | None = None,
    ) -> None:
        self._settings = settings or Settings(access_log=None)
        self._application = application
        self._listener = listener if isinstance(listener, Socket) else _parse_address(listener)
        self._socket: Socket | None = None
        self._worker: Worker | None = None
        self._thread: BackgroundThread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The host and the real port, once the server is bound. Raises RuntimeError: it is not."""
        if self._socket is None:
            raise RuntimeError("the server is not bound yet: call start()")
        host, port = self._socket.getsockname()[:2]
        return host, port

    def start(self) -> None:
        """Bind and serve in the background; returns when connections are accepted.

        Raises:
            BindError: the address cannot be listened on. RuntimeError: it runs already, or the process is
                monkey-patched.
        """
        self._thread = BackgroundThread(self._prepare().run, "python_server")

    def serve_forever(self) -> None:
        """Bind and serve in this thread until `stop` is called from another, or KeyboardInterrupt.

        Raises what `start` does.
        """
        worker = self._prepare()
        try:
            worker.run()
        finally:
            self._worker = None

    def stop(self, timeout_seconds: float | None = None) -> None:
        """Any thread: stop accepting, let what runs end, cut it after the timeout; wait for the end.

        Args:
            timeout_seconds: None takes `graceful_timeout_seconds` of the settings.
        """
        worker, thread = self._worker, self._thread
        if worker is None:
            return
        worker.stop(timeout_seconds)
        if thread is not None:
            thread.join()
            self._thread = self._worker = None

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
        log.configure_logging(self._settings.log_level, self._settings.access_log, writer=LINES)
        self._worker = Worker(find_site(self._application), self._settings, [sock])
        self._socket = sock  # whoever sees the address can stop the worker
        return self._worker


def _parse_address(listener: object) -> tuple[str, int]:
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
