"""A request as gunicorn's own things know it: its logger and the hooks pre_request and post_request.

Must not know: workers, signals; what an answer holds beyond its status and size.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

from python_server.http1.head import Request
from python_server.http1.response import status_text
from python_server.observe.access_log import LoggedRequest, user_of
from python_server.observe.masking import masked, masked_header
from python_server.wsgi.environ import Application, Environ, StartResponse

Headers = list[tuple[str, str]]


@dataclass(slots=True)
class GunicornRequest:
    """What gunicorn's hooks and logger read of a request; `headers` have their names in capitals."""

    method: str
    uri: str
    path: str
    query: str
    version: tuple[int, int]
    headers: Headers


@dataclass(slots=True)
class GunicornResponse:
    """What they read of an answer; `sent`: bytes of its body."""

    status: str
    sent: int = 0
    headers: Headers = field(default_factory=list)

    @property
    def status_code(self) -> int:
        return int(self.status[:3])


@dataclass(frozen=True, slots=True)
class GunicornAccessLog:
    """Has gunicorn's logger write, or count, each answered request (the AccessWriter port)."""

    logger: Any  # a gunicorn.glogging.Logger

    def write(
        self,
        request: LoggedRequest,
        status: int,
        sent_bytes: int,
        seconds: float,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        assert isinstance(request, Request)
        peer = request.peer
        host, port = peer[:2] if isinstance(peer, tuple) else ("", "")
        major, minor = request.version
        fields = {name.upper(): masked_header(name, value) for name, value in request.fields.items()}
        target, query = masked(request.target), masked(request.query)
        environ = {f"HTTP_{name.replace('-', '_')}": value for name, value in fields.items()} | {
            "REMOTE_ADDR": host,
            "REMOTE_PORT": str(port),
            "REQUEST_METHOD": request.method,
            "RAW_URI": target,
            "PATH_INFO": request.path,
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": f"HTTP/{major}.{minor}",
            "wsgi.url_scheme": request.scheme,
        }
        if user := user_of(request):  # which gunicorn's logger reads there; the password is nobody's
            environ["HTTP_AUTHORIZATION"] = f"Basic {b64encode(f'{user}:'.encode()).decode()}"
        said = GunicornRequest(
            request.method, target, request.path, query, request.version, [*fields.items()]
        )
        shown = [(name, masked_header(name.lower(), value)) for name, value in headers]
        answer = GunicornResponse(status_text(status), sent_bytes, shown)
        self.logger.access(answer, said, environ, timedelta(seconds=seconds))


def access_log_of(logger: Logger) -> GunicornAccessLog | None:
    """None where nobody would read or count what is written."""
    own = type(logger).access is not Logger.access  # statsd, or a class of the operator's
    return GunicornAccessLog(logger) if own or getattr(logger, "access_log_enabled", True) else None


@dataclass(slots=True)
class Hooked:
    """A WSGI application between the hooks pre_request and post_request; each call on its thread.

    Events and WebSockets are no requests to it.
    """

    app: Application  # where a server looks for what an application carries
    worker: object
    pre_request: Callable[[object, GunicornRequest], object]
    post_request: Callable[..., object]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = _request_of(environ)
        answer = GunicornResponse("")

        def started(status: str, headers: Headers, *fault: Any) -> Callable[[bytes], object]:
            answer.status, answer.headers = status, list(headers)
            return start_response(status, headers, *fault)

        self.pre_request(self.worker, request)
        try:
            pieces = self.app(environ, started)
        except BaseException:
            self.post_request(self.worker, request, environ, answer)
            raise
        return self._ended(pieces, request, environ, answer)

    def _ended(
        self, pieces: Iterable[bytes], request: GunicornRequest, environ: Environ, answer: GunicornResponse
    ) -> Iterator[bytes]:
        """The answer's pieces; then the hook."""
        try:
            for piece in pieces:
                answer.sent += len(piece)
                yield piece
        finally:
            close = getattr(pieces, "close", None)
            try:
                if close is not None:
                    close()
            finally:
                self.post_request(self.worker, request, environ, answer)


def with_hooks(application: Application, cfg: Config, worker: object) -> Application:
    """The application itself where nobody has given hooks."""
    names = ("pre_request", "post_request")
    if all(cfg.settings[name].get() is type(cfg.settings[name]).default for name in names):
        return application
    return Hooked(application, worker, cfg.pre_request, cfg.post_request)


def _request_of(environ: Environ) -> GunicornRequest:
    headers = [
        (name.removeprefix("HTTP_").replace("_", "-"), value)
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
    ]
    path = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
    major, minor = environ["SERVER_PROTOCOL"].removeprefix("HTTP/").split(".")
    version = (int(major), int(minor))
    return GunicornRequest(
        environ["REQUEST_METHOD"], environ["RAW_URI"], path, environ["QUERY_STRING"], version, headers
    )
