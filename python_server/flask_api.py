"""Flask-SocketIO's words on our own hub: SocketIO, emit, send, join_room, leave_room, rooms.

Must not know: selectors, frames, transports; it enters Flask's context and calls the user's functions.
"""

from __future__ import annotations

import inspect
from builtins import ConnectionRefusedError as BuiltinConnectionRefusedError
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any, Final, TypeVar

import flask
from werkzeug.debug import DebuggedApplication

from python_server.engineio.engine import EngineOptions
from python_server.observe import warn
from python_server.server import Mount, Site
from python_server.settings import Settings
from python_server.socketio.client import ConnectionRefused, Handler, NamespaceReason, Socket
from python_server.socketio.hub import Hub
from python_server.supervisor import serve
from python_server.wsgi import Environ, ServerFacts, build_environ

Function = TypeVar("Function", bound=Callable[..., Any])

# The hub speaks the official server's words, Flask-SocketIO's programs expect python-socketio's.
REASONS: Final = {
    NamespaceReason.CLIENT.value: "client disconnect",
    NamespaceReason.SERVER.value: "server disconnect",
}
NEEDS_OWN_SERVER: Final = (
    "its Socket.IO events need the server they came with: run `python -m python_server module:app`"
)
ENGINE_OPTIONS: Final = {
    "ping_interval": "ping_interval_seconds",
    "ping_timeout": "ping_timeout_seconds",
    "max_http_buffer_size": "max_payload_bytes",
    "allow_upgrades": "allow_upgrades",
    "transports": "transports",
    "cors_allowed_origins": "cors_allowed_origins",
    "cors_credentials": "cors_credentials",
}


class ConnectionRefusedError(ConnectionRefused):
    """Raise it in a connect handler: the first argument is the message, the others go along as data."""

    def __init__(self, *args: Any) -> None:
        message, data = (str(args[0]), args[1:]) if args else ("Connection rejected by server", ())
        super().__init__(message, (data[0] if len(data) == 1 else list(data)) if data else None)


class SocketIO:
    """Socket.IO for a Flask application.

    Args:
        app: the application; or call `init_app` later.
        options: path (default "socket.io"), ping_interval, ping_timeout (seconds), max_http_buffer_size
            (bytes), allow_upgrades, transports, cors_allowed_origins, cors_credentials; async_mode is taken
            and has no effect: handlers always run in ordinary threads.

    Raises:
        TypeError: an option this version does not have.
    """

    def __init__(self, app: flask.Flask | None = None, **options: Any) -> None:
        self._options = options
        self._hub = Hub()
        self._facts = ServerFacts()
        self._app: flask.Flask | None = None
        self._error_handlers: dict[str, Callable[[BaseException], Any]] = {}
        self._default_error_handler: Callable[[BaseException], Any] | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask, **options: Any) -> None:
        """Mount on `app`; options given here replace those of the constructor."""
        options = {**self._options, **options}
        self._app = app
        path = "/" + str(options.pop("path", options.pop("resource", "socket.io"))).strip("/") + "/"
        options.pop("async_mode", None)
        engine_options: dict[str, Any] = {}
        for name, value in options.items():
            if name not in ENGINE_OPTIONS:
                raise TypeError(
                    f"SocketIO has no option {name!r} (it has {', '.join(sorted(ENGINE_OPTIONS))}, path)"
                )
            engine_options[ENGINE_OPTIONS[name]] = tuple(value) if name == "transports" else value
        mount = Mount(path, self._hub, EngineOptions(**engine_options), self._serving)
        app.extensions["socketio"] = self
        app.wsgi_app = _Mounted(app.wsgi_app, path, [mount])  # type: ignore[method-assign]

    def _serving(self, facts: ServerFacts, application: Any) -> None:
        self._facts = facts

    # Registration

    def on(
        self, message: str, namespace: str | None = None, *, inline: bool = False
    ) -> Callable[[Function], Function]:
        """Decorator: the function handles the event `message`; `connect`, `disconnect` and `*` included.

        Args:
            inline: the function never blocks: run it on the server's own thread.
        """

        def register(function: Function) -> Function:
            self.on_event(message, function, namespace, inline=inline)
            return function

        return register

    def event(self, *args: Any, **kwargs: Any) -> Any:
        """Decorator: the event is named as the function is."""
        if len(args) == 1 and not kwargs and callable(args[0]):
            return self.on(args[0].__name__)(args[0])
        return lambda function: self.on(function.__name__, *args, **kwargs)(function)

    def on_event(
        self, message: str, handler: Callable[..., Any], namespace: str | None = None, *, inline: bool = False
    ) -> None:
        """Register `handler` for the event `message`."""
        call = handler
        if message in ("connect", "disconnect") and not _takes_argument(handler):
            call = lambda *args: handler()  # noqa: E731
        self._hub.handlers.on(
            namespace or "/", message, Handler(partial(self._handle, call, message == "*"), inline)
        )

    def on_error(self, namespace: str | None = None) -> Callable[[Function], Function]:
        """Decorator: the function gets the exceptions of the namespace's handlers; its result is the ack."""

        def register(function: Function) -> Function:
            self._error_handlers[namespace or "/"] = function
            return function

        return register

    def on_error_default(self, function: Function) -> Function:
        """Decorator: the function gets the exceptions that no `on_error` took."""
        self._default_error_handler = function
        return function

    # Events

    def _handle(
        self,
        function: Callable[..., Any],
        catch_all: bool,
        socket: Socket,
        name: str,
        arguments: tuple[Any, ...],
    ) -> Any:
        """A worker: run the user's function in a request context of the client."""
        event = {"message": "*" if catch_all else name, "args": arguments}
        with self._context(socket, event):
            if name == "disconnect":
                arguments = tuple(REASONS.get(reason, reason) for reason in arguments)
            if catch_all:
                arguments = (name, *arguments)
            try:
                return function(*arguments)
            except ConnectionRefused:
                raise
            except BuiltinConnectionRefusedError as error:
                raise ConnectionRefusedError(*error.args) from None
            except Exception as error:
                on_error = self._error_handlers.get(socket.namespace, self._default_error_handler)
                if on_error is None:
                    raise
                return on_error(error)

    def _handle_ack(self, callback: Callable[..., Any], socket: Socket, values: list[Any]) -> None:
        """A worker: the client has acknowledged; the callback runs in a context of that client."""
        with self._context(socket, {"message": None, "args": tuple(values)}):
            callback(*values)

    @contextmanager
    def _context(self, socket: Socket, event: dict[str, Any]) -> Iterator[None]:
        """A request context of the handshake request, with Flask-SocketIO's additions to `request`."""
        assert self._app is not None
        with self._app.request_context(self._environ(socket)):
            request: Any = flask.request
            request.sid = socket.sid
            request.namespace = socket.namespace
            request.event = event
            yield

    def _environ(self, socket: Socket) -> Environ:
        """The environ of the handshake request, built once per client, copied per event."""
        client = socket.client
        environ = client.context
        if environ is None:
            environ = client.context = build_environ(client.session.request, self._facts, None)
        return {**environ, "wsgi.input": BytesIO()}

    # Sending, from any thread

    def emit(self, event: str, *args: Any, **kwargs: Any) -> None:
        """Send an event to everybody, or to a room.

        Args:
            args: the event's data; a tuple as the only one is several arguments.
            namespace: default "/". to, room: a room, a sid, or a list of them. include_self: with False the
                sender of the current event is left out. skip_sid: a sid, or a list, to leave out.
            callback: called with the arguments of the ack; `to` is then one sid.

        Raises:
            TypeError, ValueError: the data cannot be written as JSON. ServerStopped: the server has stopped.
        """
        rooms = _as_rooms(kwargs.get("to", kwargs.get("room")))
        skip = _as_rooms(kwargs.get("skip_sid")) or ()
        if not kwargs.get("include_self", True):
            skip = (*skip, _current().sid)
        callback = kwargs.get("callback")
        self._hub.emit(
            event,
            args[0] if len(args) == 1 and isinstance(args[0], tuple) else args,
            namespace=kwargs.get("namespace") or "/",
            rooms=rooms,
            excepted=skip,
            callback=None if callback is None else partial(self._handle_ack, callback),
        )

    def send(self, data: Any, json: bool = False, **kwargs: Any) -> None:
        """Send the event `message`, or `json`."""
        self.emit("json" if json else "message", data, **kwargs)

    def close_room(self, room: Any, namespace: str | None = None) -> None:
        """Everyone leaves the room."""
        self._hub.close_room(namespace or "/", room)

    # Serving

    def run(
        self,
        app: flask.Flask | None = None,
        host: str | None = None,
        port: int | None = None,
        *,
        debug: bool | None = None,
        log_output: bool | None = None,
    ) -> None:
        """Serve the application until SIGINT or SIGTERM.

        Args:
            host: default 127.0.0.1. port: default from SERVER_NAME, else 5000.
            debug: Werkzeug's debugger, and the debug log. log_output: the access log, default `debug`.

        Raises:
            BindError: the address cannot be listened on.
        """
        app = app or self._app
        if app is None:
            raise RuntimeError(
                "SocketIO has no application: pass one to SocketIO(app), init_app(app) or run(app)"
            )
        if debug is not None:
            app.debug = debug
        mounted: Any = app.wsgi_app
        application: Any = app
        if app.debug:
            application = DebuggedApplication(app, evalex=True)
        settings = replace(
            Settings(),
            host=host or "127.0.0.1",
            port=_default_port(app) if port is None else port,
            access_log="-" if (app.debug if log_output is None else log_output) else None,
            log_level="debug" if app.debug else "info",
            debug=app.debug,
        )
        serve(Site(application, list(getattr(mounted, "wsframe_mounts", []))), settings)


class _Mounted:
    """`app.wsgi_app` with Socket.IO on it: our server takes its path before WSGI is asked.

    Under another server our loop does not run: HTTP passes, the path gets a 501, and one warning is logged.
    """

    def __init__(self, wsgi_app: Any, path: str, mounts: list[Mount]) -> None:
        self.wsgi_app = wsgi_app
        self._path = path
        self._warned = False
        self.wsframe_mounts = mounts

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        software = str(environ.get("SERVER_SOFTWARE", ""))  # a test client has none
        if software and not self._warned and not software.startswith("python_server/"):
            self._warned = True
            warn(f"this application is served by {software}: {NEEDS_OWN_SERVER}")
        if environ.get("PATH_INFO", "").startswith(self._path):
            body = f"{NEEDS_OWN_SERVER}\n".encode()
            start_response(
                "501 Not Implemented",
                [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))],
            )
            return [body]
        answer: Iterable[bytes] = self.wsgi_app(environ, start_response)
        return answer


# Functions for handlers: the current client, namespace and application come from the request context


def emit(event: str, *args: Any, **kwargs: Any) -> None:
    """Send an event to the current client; to rooms with `to`, to everybody with `broadcast=True`."""
    request = _current()
    kwargs.setdefault("namespace", request.namespace)
    if kwargs.get("to", kwargs.get("room")) is None and not kwargs.get("broadcast"):
        kwargs["to"] = request.sid
    _socketio().emit(event, *args, **kwargs)


def send(message: Any, **kwargs: Any) -> None:
    """`emit` of the event `message`, or `json` with json=True."""
    emit("json" if kwargs.pop("json", False) else "message", message, **kwargs)


def join_room(room: Any, sid: str | None = None, namespace: str | None = None) -> None:
    """Put the current client, or `sid`, into a room; takes effect before anything emitted after it."""
    request = _current()
    _socketio()._hub.join(namespace or request.namespace, sid or request.sid, room)


def leave_room(room: Any, sid: str | None = None, namespace: str | None = None) -> None:
    """Take the current client, or `sid`, out of a room."""
    request = _current()
    _socketio()._hub.leave(namespace or request.namespace, sid or request.sid, room)


def rooms(sid: str | None = None, namespace: str | None = None) -> list[Any]:
    """The rooms of the current client, or of `sid`; its own is among them."""
    request = _current()
    return _socketio()._hub.rooms_of(namespace or request.namespace, sid or request.sid)


def disconnect(sid: str | None = None, namespace: str | None = None) -> None:
    """Send the current client, or `sid`, out of the namespace."""
    request = _current()
    _socketio()._hub.disconnect(namespace or request.namespace, sid or request.sid)


def _current() -> Any:
    request: Any = flask.request
    if not request or not hasattr(request, "sid"):
        raise RuntimeError(
            "there is no current client here: this works inside a handler of a Socket.IO event"
        )
    return request


def _socketio() -> SocketIO:
    return flask.current_app.extensions["socketio"]  # type: ignore[no-any-return]


def _as_rooms(value: Any) -> tuple[Any, ...] | None:
    if value is None:
        return None
    return tuple(value) if isinstance(value, (list, tuple, set)) else (value,)


def _takes_argument(handler: Callable[..., Any]) -> bool:
    try:
        inspect.signature(handler).bind(None)
    except TypeError:
        return False
    return True


def _default_port(app: flask.Flask) -> int:
    server_name = app.config.get("SERVER_NAME")
    if server_name and ":" in server_name:
        return int(server_name.rsplit(":", 1)[1])
    return 5000
