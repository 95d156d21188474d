"""WSGIApp: a Socket.IO or Engine.IO server under a path of a WSGI application, static files beside it.

Must not know: which of the two it is, sessions, who serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from python_server.api.static_files import Rule, answer_static_file
from python_server.connection.arrival import arrived
from python_server.serve.called_servers import UNMOUNTED
from python_server.serve.mounts import Mount
from python_server.wsgi.environ import Application, Environ, StartResponse
from python_server.wsgi.foreign_server import NEEDS_OWN_SERVER, ForeignGuard, not_implemented

CALLED_ELSEWHERE: Final = (
    "handle_request() of a server is asked at its default path alone: for another one, or for several "
    "servers, mount it with WSGIApp(server, application, socketio_path=...)"
)


class Mounting:
    """A server that a WSGIApp mounts, or that an application calls itself where its path is the default."""

    default_path: str

    def mount(self, path: str) -> Mount:
        """What is to be served under `path`."""
        raise NotImplementedError

    def handle_request(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """For an application that hands requests on itself, without a WSGIApp.

            body = server.handle_request(environ, start_response)

        Args:
            environ, start_response: as the application got them.

        Returns: what the application returns then.
        """
        if arrived(self, environ, start_response):
            return [b""]
        ours = str(environ.get("SERVER_SOFTWARE", "")).startswith("python_server/")
        return not_implemented(CALLED_ELSEWHERE if ours else NEEDS_OWN_SERVER, start_response)

    def shutdown(self) -> None:
        """Nothing is to be stopped: what runs here ends with the server.

            server.shutdown()

        For programs of python-socketio and python-engineio, which call it at their end.
        """


class WSGIApp:
    """A server under a path of a WSGI application: python-socketio's and python-engineio's WSGIApp.

        app = WSGIApp(Server(), wsgi_app, static_files={"/": "public/"})  # python -m python_server module:app

    Args:
        socketio_app, engineio_app: the server.
        wsgi_app: answers what neither the server nor the files do; without it that is `not_found`.
        static_files: files by the path of their URL: a file, a folder with a slash at its end, or
            {"filename": ..., "content_type": ...}; "" names a folder's file in place of index.html.
        socketio_path, engineio_path, path: default "socket.io" or "engine.io".

    Raises:
        TypeError: no server; a keyword that does not exist.
    """

    wsframe_arrivals = True

    def __init__(
        self,
        socketio_app: Mounting | None = None,
        wsgi_app: Application | None = None,
        static_files: Mapping[str, Rule] | str | None = None,
        socketio_path: str | None = None,
        *,
        engineio_app: Mounting | None = None,
        engineio_path: str | None = None,
        path: str | None = None,
    ) -> None:
        server = socketio_app or engineio_app
        if server is None:
            raise TypeError("WSGIApp mounts a Server or an EngineServer")
        if isinstance(static_files, str):  # of Middleware, the older name, it is the path
            static_files, path = None, static_files
        self.wsgi_app = wsgi_app
        self.static_files: Mapping[str, Rule] = static_files or {}
        path = path or socketio_path or engineio_path or server.default_path
        self.path: str = "/" + path.strip("/") + "/"
        self._guard = ForeignGuard(self.path)
        UNMOUNTED.discard(server)
        self.wsframe_mounts: list[Mount] = [server.mount(self.path)]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if arrived(self, environ, start_response):
            return [b""]
        answer: Iterable[bytes] | None = self._guard.answer(environ, start_response)
        if answer is None and self.static_files:
            answer = answer_static_file(environ, start_response, self.static_files)
        if answer is not None:
            return answer
        if self.wsgi_app is not None:
            return self.wsgi_app(environ, start_response)
        return self.not_found(start_response)

    def not_found(self, start_response: StartResponse) -> Iterable[bytes]:
        """What is answered where there is nothing; a subclass may say it otherwise.

            def not_found(self, start_response): return self.page_for_404(start_response)

        Args:
            start_response: as of PEP 3333.

        Returns: the body.
        """
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "9")])
        return [b"Not Found"]


# What both packages called it first.
Middleware = WSGIApp
