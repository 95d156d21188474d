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
        """Answer a request that an application passes on itself, without a WSGIApp.

            body = server.handle_request(environ, start_response)

        Args:
            environ, start_response: those of the application.

        Returns: the body, which the application must return.
        """
        if arrived(self, environ, start_response):
            return [b""]
        ours = str(environ.get("SERVER_SOFTWARE", "")).startswith("python_server/")
        return not_implemented(CALLED_ELSEWHERE if ours else NEEDS_OWN_SERVER, start_response)

    def shutdown(self) -> None:
        """Do nothing: background tasks end with the server.

            server.shutdown()

        It exists for programs of python-socketio and python-engineio, which call it when they stop.
        """


class WSGIApp:
    """Mounts a server at a path of a WSGI application, as python-socketio's and python-engineio's WSGIApp.

        app = WSGIApp(Server(), wsgi_app, static_files={"/": "public/"})  # python -m python_server module:app

    Args:
        socketio_app, engineio_app: the server.
        wsgi_app: the application that answers all other requests; without it `not_found` answers.
        static_files: a mapping of URL paths to a file, to a folder with a slash at its end, or to
            {"filename": ..., "content_type": ...}; "" sets a folder's index file instead of index.html.
        socketio_path, engineio_path, path: default "socket.io" or "engine.io".

    Raises:
        TypeError: there is no server, or an unknown keyword.
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
        """Answer a request for which there is nothing; a subclass may override this.

            def not_found(self, start_response): return self.page_for_404(start_response)

        Args:
            start_response: as of PEP 3333.

        Returns: the body.
        """
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "9")])
        return [b"Not Found"]


# What both packages called it first.
Middleware = WSGIApp
