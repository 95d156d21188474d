"""The Flask context of one event: a fresh `g`, the handshake's request, the session when it is asked for.

Must not know: hubs, rooms, handlers; private parts of Flask are used behind one version gate, here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import flask
from flask.ctx import AppContext, RequestContext
from flask.globals import _cv_app, _cv_request
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from flask.signals import appcontext_popped, appcontext_pushed, appcontext_tearing_down, request_tearing_down

from python_server.wsgi.environ import Environ

FLASK_VERSION: Final = tuple(int(part) for part in metadata.version("flask").split(".")[:2])
# The versions whose contexts are built from the attributes set below; others take the public way.
FAST_VERSIONS: Final = ((3, 0), (3, 1))

# What an event's handler runs in.
FlaskContext = RequestContext

if TYPE_CHECKING:

    class EventRequest(flask.Request):
        """The request of an event's context; the attributes are set on Flask's own."""

        sid: str
        namespace: str
        event: dict[str, object]


class ManagedSession(dict[str, Any], SessionMixin):
    """A client's copy of the Flask session: its events share it, HTTP routes never see it change."""


class ClientState:
    """What the face keeps for one client, shared by its namespaces.

    Attributes:
        contexts: of its application.
        environ: of the handshake request. request: built once; each event takes a copy.
    """

    __slots__ = ("contexts", "environ", "request", "url_adapter")

    def __init__(self, contexts: EventContexts, environ: Environ) -> None:
        app = contexts.app
        self.contexts: EventContexts = contexts
        self.environ: Environ = environ
        environ["flask.app"] = app
        self.request: flask.Request = app.request_class(environ, populate_request=False)
        self.request.json_module = app.json
        self.url_adapter: Any = None

    def copy_request(self, **attributes: object) -> EventRequest:
        """The handshake's request, free to be written on by one event, with `attributes` besides."""
        fresh: Any = object.__new__(type(self.request))
        fresh.__dict__.update(self.request.__dict__, **attributes)
        request: EventRequest = fresh
        return request


class EventContexts:
    """Makes the context of an event, the cheap way or the public way.

    Args:
        manage_session: each client has its own copy of the session; else Flask's own is opened per event,
            and saved through the session interface by `save_session`.
    """

    def __init__(self, app: flask.Flask, manage_session: bool, fast: bool | None = None) -> None:
        self.app = app
        self._manage_session = manage_session
        overridden = (
            type(app).request_context is not flask.Flask.request_context
            or type(app).app_context is not flask.Flask.app_context
        )
        self.fast: bool = (FLASK_VERSION in FAST_VERSIONS and not overridden) if fast is None else fast
        # A teardown without functions and listeners does nothing, unless it is the application's own.
        self.tears_down: bool = (
            type(app).do_teardown_request is not flask.Flask.do_teardown_request
            or type(app).do_teardown_appcontext is not flask.Flask.do_teardown_appcontext
        )
        # A request without uploaded files has nothing to close, unless that is the application's own.
        self.closes: bool = app.request_class.close is not flask.Request.close

    def enter(
        self, state: ClientState, sid: str, namespace: str, event: dict[str, object]
    ) -> AbstractContextManager[RequestContext]:
        """A context whose `request` says who sent what."""
        request = state.copy_request(sid=sid, namespace=namespace, event=event)
        if self.fast:
            return _EventContext(self, self.app, state, request)
        return self._enter_publicly(state, request)

    def open_session(self, state: ClientState, request: flask.Request) -> SessionMixin:
        """The client's managed session, or a fresh one of Flask's; inside the context."""
        saved: ManagedSession | None = state.environ.get("saved_session") if self._manage_session else None
        if saved is not None:
            return saved
        interface = self.app.session_interface
        session = interface.open_session(self.app, request)
        if session is None:
            session = interface.make_null_session(self.app)
        if self._manage_session:
            session = state.environ["saved_session"] = ManagedSession(session)
        return session

    def eager(self, state: ClientState) -> bool:
        """Must the session be opened with the event?

        A client's copy is made with its first, where programs look for it; of Flask's own a cookie's cannot
        change under it, a store's can.
        """
        if self._manage_session:
            return "saved_session" not in state.environ
        interface = type(self.app.session_interface)
        return interface.open_session is not SecureCookieSessionInterface.open_session

    def save_session(self) -> None:
        """After a handler: write Flask's session back, if there is a need."""
        if self._manage_session:
            return
        context = _cv_request.get(None)
        if isinstance(context, _EventContext) and context._session is None:
            return  # nobody asked for it
        session: SessionMixin = flask.session._get_current_object()  # type: ignore[attr-defined]
        if getattr(session, "modified", True):
            self.app.session_interface.save_session(self.app, session, self.app.response_class())

    @contextmanager
    def _enter_publicly(self, state: ClientState, request: EventRequest) -> Iterator[RequestContext]:
        context = self.app.request_context(state.environ)
        for name in ("sid", "namespace", "event"):
            setattr(context.request, name, getattr(request, name))
        saved = state.environ.get("saved_session") if self._manage_session else None
        if saved is not None:
            _set_session(context, saved)
        with context:
            if self._manage_session and saved is None:
                opened = flask.session._get_current_object()  # type: ignore[attr-defined]
                saved = state.environ["saved_session"] = ManagedSession(opened)
                _set_session(context, saved)
            yield context


def _set_session(context: RequestContext, session: SessionMixin) -> None:
    # 3.1.3 and later keep it behind a property.
    setattr(context, "_session" if hasattr(context, "_session") else "session", session)


class _EventAppContext(AppContext):
    """An application context whose URL adapter is made when `url_for` asks for it."""

    def __init__(self, app: flask.Flask) -> None:
        self.app = app
        self.g = app.app_ctx_globals_class()
        self._cv_tokens = []

    @property
    def url_adapter(self) -> Any:  # type: ignore[override]
        return self.app.create_url_adapter(None)


class _EventContext(RequestContext):
    """A request context without URL matching, whose session is opened when it is asked for.

    It runs the same teardown functions and sends the same signals as its parent, in the same order.
    """

    def __init__(
        self, contexts: EventContexts, app: flask.Flask, state: ClientState, request: EventRequest
    ) -> None:
        self.app = app
        self.request = self._request = request
        self.flashes = None
        self._contexts = contexts
        self._state = state
        self._session: SessionMixin | None = None
        self._after_request_functions = []
        self._cv_tokens = []

    @property
    def session(self) -> SessionMixin:
        session = self._session
        if session is None:
            session = self._session = self._contexts.open_session(self._state, self.request)
        session.accessed = True
        return session

    @session.setter
    def session(self, value: SessionMixin) -> None:
        self._session = value

    def copy(self) -> _EventContext:
        """For `copy_current_request_context`: the same request and session, in another thread."""
        copied = _EventContext(self._contexts, self.app, self._state, self._request)
        copied._session = self.session
        return copied

    @property
    def url_adapter(self) -> Any:  # type: ignore[override]
        adapter = self._state.url_adapter
        if adapter is None:
            adapter = self._state.url_adapter = self.app.create_url_adapter(self.request)
        return adapter

    def push(self) -> None:
        app = self.app
        outer = _cv_app.get(None)
        app_context: AppContext | None = None
        if outer is None or outer.app is not app:
            app_context = _EventAppContext(app)
            app_context._cv_tokens.append(_cv_app.set(app_context))
            if appcontext_pushed.receivers:
                appcontext_pushed.send(app, _async_wrapper=app.ensure_sync)
        self._cv_tokens.append((_cv_request.set(self), app_context))
        if self._session is None and self._contexts.eager(self._state):
            self._session = self._contexts.open_session(self._state, self.request)

    def pop(self, exc: BaseException | None = None) -> None:
        app = self.app
        last = len(self._cv_tokens) == 1
        try:
            if last:
                always = self._contexts.tears_down
                if always or request_tearing_down.receivers or app.teardown_request_funcs:
                    app.do_teardown_request(exc)
                if self._contexts.closes or "files" in self.request.__dict__:
                    self.request.close()
        finally:
            token, app_context = self._cv_tokens.pop()
            _cv_request.reset(token)
            if app_context is not None:
                self._pop_app(app_context, exc)

    def _pop_app(self, context: AppContext, exc: BaseException | None) -> None:
        app = self.app
        try:
            always = self._contexts.tears_down
            if always or appcontext_tearing_down.receivers or app.teardown_appcontext_funcs:
                app.do_teardown_appcontext(exc)
        finally:
            _cv_app.reset(context._cv_tokens.pop())
            if appcontext_popped.receivers:
                appcontext_popped.send(app, _async_wrapper=app.ensure_sync)


def current_application() -> flask.Flask:
    """Raises RuntimeError: there is none."""
    context = _cv_app.get(None)  # not by the proxy, which looks it up with each attribute
    return flask.current_app if context is None else context.app


def in_event() -> bool:
    """Is there a current client?"""
    return flask.has_request_context() and hasattr(flask.request, "sid")


def current_request(what: str) -> EventRequest:
    """The request of the current event. Raises RuntimeError: there is none."""
    context = _cv_request.get(None)
    if context is not None and hasattr(context.request, "sid"):
        request: EventRequest = context.request  # type: ignore[assignment]
        return request
    raise RuntimeError(
        f"{what} needs a current client: call it inside a handler of a Socket.IO event, or call the "
        "method of the SocketIO object and name the client: socketio.emit(..., to=sid) [no-client]"
    )
