"""SocketIO: Flask-SocketIO's class on our own hub.

Must not know: selectors, frames, transports; how an event's context is made.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, Unpack, cast

import flask

from python_server.api.emitter import Emitter
from python_server.api.flask_socketio.app_run import replace_run
from python_server.api.flask_socketio.context import ClientState, EventContexts, current_request, in_event
from python_server.api.flask_socketio.event_runner import SOCKET_KEY, EventRunner
from python_server.api.flask_socketio.membership import RoomMembership
from python_server.api.flask_socketio.namespace import Namespace
from python_server.api.flask_socketio.run import Mounted, run_application
from python_server.api.flask_socketio.server import Server
from python_server.api.flask_socketio.streaming import Streaming
from python_server.api.handler_registry import Reason
from python_server.api.keywords import (
    CallKeywords,
    EmitKeywords,
    Function,
    HandshakeHeaders,
    OtherSendKeywords,
    RunKeywords,
    Sids,
    SocketIOKeywords,
    drop_unknown,
    names_of,
)
from python_server.api.options import ServerOptions, read_server_options
from python_server.api.peer_views import QueueManager
from python_server.api.server_methods import ConnectionRefusedError
from python_server.engineio.options import EngineOptions
from python_server.net import tasks
from python_server.net.threads import Lock
from python_server.observe import log
from python_server.socketio.broadcast import arguments_of, broadcast_options
from python_server.socketio.client import Socket
from python_server.socketio.cluster.broker.url import FLASK_CHANNEL, url_of
from python_server.socketio.server import Hub
from python_server.socketio.values import JSONValue, Rooms
from python_server.wsgi.environ import Application, ServerFacts
from python_server.wsgi.handshake_middleware import admission

if TYPE_CHECKING:
    from flask.testing import FlaskClient

    from python_server.api.flask_socketio.test_client import SocketIOTestClient, TestServer
    from python_server.socketio.broadcaster import AckCallback

__all__ = ["ConnectionRefusedError", "Namespace", "SocketIO"]

EMIT_NAMES: Final = names_of(EmitKeywords)


class ServedBy(Enum):
    """Who serves the application of a SocketIO."""

    NOBODY = auto()
    WORKER = auto()
    TEST_CLIENTS = auto()


class SocketIO(RoomMembership, Streaming):
    """Socket.IO for a Flask application, with the API of Flask-SocketIO 5 (docs/migration.md).

        socketio = SocketIO(app, cors_allowed_origins="https://shop.example")

        @socketio.on("sum")
        def add(first, second):
            emit("told", first + second, broadcast=True)

        socketio.run(app)

    Args:
        app: the Flask application. Without it call `init_app` later.
        options: the options of Flask-SocketIO, python-socketio and python-engineio; see
            docs/reference/keywords.md. Times are in seconds, sizes in bytes. The log names unknown options.

    Raises:
        ValueError: the value of an option is invalid, or not supported.
        BrokerError: the URL of the broker is invalid, or its client library is not installed.
    """

    reason = Reason

    def __init__(self, app: flask.Flask | None = None, **options: Unpack[SocketIOKeywords]) -> None:
        self.server_options: dict[str, Any] = {}
        self.async_mode = "threading"
        self.manage_session: bool = True
        self.wsgi_server: object = None
        self._engine = EngineOptions()
        super().__init__(Hub(), EventRunner(self._state_of))
        self._state_lock = Lock()
        self._contexts: EventContexts | None = None
        self._early_tasks: list[tasks.BackgroundTask] = []
        self._test_server: TestServer | None = None
        self.server: Server = Server(self)
        self.init_app(app, **options)

    def init_app(self, app: flask.Flask | None, **options: Unpack[SocketIOKeywords]) -> None:
        """Connect to an application. The options are added to those of the constructor.

            socketio.init_app(app, message_queue="redis://localhost")

        Each application has separate clients. The handlers are the same for all.

        Args:
            app: the application; None and a `message_queue`: only emit to the clients of other processes.
            options: as of the constructor.

        Raises the same errors as the constructor.
        """
        chosen = self._choose(app, options)
        broker = chosen.broker
        self._outside = None
        if app is None:
            self._hub.configure(chosen.configuration)
            if broker is not None:
                self._outside = Emitter(url_of(broker), broker.channel, redis_options=broker.redis_options)
            return
        if self._contexts is not None:
            self._hub = Hub(handlers=self._hub.handlers)
            self._test_server = None
            self.server = Server(self)
            for instance in self.namespace_handlers:
                instance._set_socketio(self)
        self._app = app
        self._contexts = EventContexts(app, chosen.manage_session)
        self._hub.configure(chosen.configuration)
        self._hub.handlers.allow(chosen.namespaces or ())
        self._mounted = chosen.mount(chosen.path, self._hub, self._serving)
        self.sockio_mw: Mounted = Mounted(app, chosen.path, self._mounted)
        app.extensions["socketio"] = self
        app.wsgi_app = self.sockio_mw  # type: ignore[method-assign]
        replace_run(app)

    def _choose(self, app: flask.Flask | None, options: SocketIOKeywords) -> ServerOptions:
        """The options of now and before, checked; what programs read of them is written down."""
        if isinstance(self.server_options.get("client_manager"), QueueManager):
            del self.server_options[
                "client_manager"
            ]  # it says the same as message_queue, which may be another
        self.server_options.update(options)
        given = dict(self.server_options)
        if app is not None and given.get("json") is flask.json:
            given["json"] = app.json  # what the module does within an application context
        chosen = read_server_options("SocketIO", SocketIOKeywords, given, FLASK_CHANNEL)
        self.manage_session, self._engine = chosen.manage_session, chosen.engine
        if (broker := chosen.broker) is not None and not given.get("client_manager"):
            manager = QueueManager(
                url_of(broker), broker.channel, broker.redis_options, write_only=app is None
            )
            self.server_options["client_manager"] = manager
        return chosen

    def _serving(self, facts: ServerFacts, application: Application) -> None:
        super()._serving(facts, application)
        assert self._app is not None
        wrapped = application is not self._app or self._app.wsgi_app is not self.sockio_mw
        self._mounted.admit = admission(application, facts, self.sockio_mw) if wrapped else None
        self._start_tasks()

    @property
    def _served_by(self) -> ServedBy:
        services = self._hub.services
        if services is None:
            return ServedBy.NOBODY
        tests = self._test_server
        return ServedBy.TEST_CLIENTS if tests and services is tests.services else ServedBy.WORKER

    def _start_tasks(self) -> None:
        with self._state_lock:
            early, self._early_tasks = self._early_tasks, []
        for task in early:
            task.start()

    def _serve_tests(self, make: Callable[[Hub], TestServer]) -> TestServer:
        """What serves all test clients, made for the first of them.

        Raises RuntimeError: no application is there to be tested.
        """
        if self._contexts is None:
            raise RuntimeError("a test client needs an application: call init_app(app) first")
        if self._test_server is None or self._served_by is not ServedBy.TEST_CLIENTS:
            self._test_server = make(self._hub)
            self._runner.blocking = True
            self._start_tasks()
        return self._test_server

    def _state_of(self, socket: Socket) -> ClientState:
        """A worker: what the face keeps for the client, made at its first event."""
        state: ClientState | None = socket.client.context
        if state is not None:
            return state
        with self._state_lock:
            if socket.client.context is None:
                assert self._contexts is not None
                environ = self._handshake_environ(socket.client.session.request)
                socket.client.context = ClientState(self._contexts, environ)
            made: ClientState = socket.client.context
            return made

    # Sending, from any thread

    def emit(self, event: str, *args: object, data: object = None, **options: Unpack[EmitKeywords]) -> None:
        """Send an event to all clients, or to the clients in some rooms.

            socketio.emit("news", {"title": "hello"}, to="readers")

        Args:
            args: the event's data; a single tuple is sent as several arguments, None as none.
            data: the same, as a keyword argument.
            options: namespace: default "/". to, room: a room, a sid, or a list of them.
            skip_sid, except_rooms: sids or rooms to exclude.
            include_self: False also excludes the sender of the current event.
            volatile: True drops the event for clients that cannot receive it at once.
            ignore_queue: True sends only to the clients of this process.
            callback: called with the arguments of each acknowledgement, in the emitting client's context.

        Raises:
            TypeError: an option looks like a misspelt one of these (the log names other unknown ones), or the
                data cannot be written as JSON; ValueError is raised for the latter as well.
            ServerStopped: the server has stopped.
            EmitError: there is no application, and the broker cannot be reached.
            RuntimeError: `callback` without an application; `include_self=False` outside a handler.
        """
        if not EMIT_NAMES.issuperset(options):
            options = cast("EmitKeywords", drop_unknown("emit", options, EmitKeywords))
        include_self, callback = options.pop("include_self", True), options.pop("callback", None)
        options.pop("broadcast", None)  # everybody is who is meant anyway
        options["volatile"] = bool(options.get("volatile"))  # it travels, and others take nothing else
        to = broadcast_options(**options)  # type: ignore[misc]  # without those three
        if not include_self and (in_event() or not options.get("skip_sid")):
            to = to._replace(excepted=(*to.excepted, current_request("include_self=False").sid))
        arguments = arguments_of(args, data)
        if self._outside is not None:
            if callback is not None:
                raise RuntimeError("callback= works only in a process that serves: SocketIO(app) [no-server]")
            if not to.local:  # this process has no clients
                self._outside.emit_to(to, event, arguments)
            return
        self._hub.emit(event, arguments, to, None if callback is None else self._callback(callback))

    def _callback(self, callback: Function) -> AckCallback:
        emitter = flask.request.__dict__.get(SOCKET_KEY) if flask.has_request_context() else None

        def acknowledged(socket: Socket | None, values: list[JSONValue]) -> None:
            client = emitter or socket
            if client is None:  # nobody of this process
                assert self._app is not None
                self._runner.run_alone(callback, tuple(values), self._app.app_context())
            else:
                self._runner.run(callback, False, None, client, None, tuple(values))

        return acknowledged

    def send(
        self,
        data: object,
        json: bool = False,
        namespace: str | None = None,
        to: Rooms = None,
        callback: Function | None = None,
        include_self: bool = True,
        skip_sid: Sids = None,
        **options: Unpack[OtherSendKeywords],
    ) -> None:
        """Send the event `message`, or `json`, with one argument.

            socketio.send("hello", to="readers")

        Args:
            data: the argument of the event. json: True sends the event `json` instead of `message`.
            namespace, to, callback, include_self, skip_sid, options: as of `emit`, also the errors.
        """
        self.emit(
            "json" if json else "message",
            data,
            namespace=namespace,
            to=to,
            callback=callback,
            include_self=include_self,
            skip_sid=skip_sid,
            **options,
        )

    def call(
        self, event: str, *args: object, data: object = None, **options: Unpack[CallKeywords]
    ) -> JSONValue:
        """Send an event to one client and wait for its acknowledgement.

            answer = socketio.call("sure?", "tea", to=sid, timeout=10)

        Args:
            args, data: as of `emit`.
            options: namespace: default "/". to, room, sid: the client. ignore_queue: has no effect.
            timeout: seconds, default 60; None waits without a limit.

        Returns: the values of the acknowledgement: None, a single value, or a tuple.

        Raises:
            TypeError: as `emit`. ValueError: no client is given. RuntimeError: it could never return.
            TimeoutError: no acknowledgement within `timeout` seconds, or the client has left.
        """
        chosen = drop_unknown("call", options, CallKeywords)
        to, namespace, timeout = chosen.get("to"), chosen.get("namespace"), chosen.get("timeout", 60)
        sid = chosen.get("sid") if chosen.get("room") is None else chosen["room"]
        return self.server.call(event, arguments_of(args, data), to, sid, namespace, timeout)

    # Threads

    def start_background_task(
        self, target: Function, *args: object, **kwargs: object
    ) -> tasks.BackgroundTask:
        """Run `target(*args, **kwargs)` in a separate thread; before the server serves, the task waits.

            socketio.start_background_task(send_prices, interval_seconds=5)

        Returns: the task, which has `join()`.
        """
        task = tasks.BackgroundTask(target, args, kwargs, log.report)
        with self._state_lock:
            now = self._served_by is not ServedBy.NOBODY or self._contexts is None
            if not now:
                self._early_tasks.append(task)
        if now:
            task.start()
        return task

    def sleep(self, seconds: float = 0) -> None:
        """Wait for `seconds` seconds; meanwhile another handler may use this place in the thread pool.

            socketio.sleep(0.5)

        Raises RuntimeError: the handler is inline, so the loop would be blocked.
        """
        services = self._hub.services
        if services is not None and services.door.on_loop() and self._served_by is ServedBy.WORKER:
            raise RuntimeError(
                "sleep() would stop the server itself: register the handler without inline=True [would-block]"
            )
        tasks.check_waiting("sleep()")
        tasks.sleep(seconds)

    # Serving

    def run(
        self,
        app: flask.Flask,
        host: str | None = None,
        port: int | None = None,
        **options: Unpack[RunKeywords],
    ) -> None:
        """Serve the application until SIGINT, SIGTERM or `stop`.

            socketio.run(app, port=8000, debug=True)

        Args:
            app: the application. host: default 127.0.0.1. port: default from SERVER_NAME, else 5000.
            options: debug, log_output (the access log, default `debug`), use_debugger, use_evalex,
                use_reloader, reloader_options, extra_files, threaded, static_files, certfile, keyfile,
                ssl_context (a pair of files, an ssl.SSLContext, "adhoc"). Options of other servers have no
                effect; the log names them.

        Raises:
            TypeError: an unknown option. BindError: the server cannot listen on the address.
            RuntimeError: the process is monkey-patched.
        """
        run_application(app, host, port, options)

    def stop(self) -> None:
        """Stop the server of this application, as SIGTERM does. May be called from any thread.

            socketio.stop()

        Raises RuntimeError: no server is running.
        """
        services = self._hub.services
        if services is None:
            raise RuntimeError("Cannot stop: no server runs [no-server]")
        services.stop()

    def test_client(
        self,
        app: flask.Flask,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: HandshakeHeaders = None,
        auth: object = None,
        flask_test_client: FlaskClient | None = None,
    ) -> SocketIOTestClient:
        """Create a client for tests, which calls the handlers without a network.

            client = socketio.test_client(app, auth={"name": "ann"})

        Returns: a SocketIOTestClient that is connected to `namespace`. The arguments `app`, `query_string`,
        `headers`, `auth` and `flask_test_client` are those of its constructor.
        """
        from python_server.api.flask_socketio.test_client import SocketIOTestClient

        return SocketIOTestClient(app, self, namespace, query_string, headers, auth, flask_test_client)
