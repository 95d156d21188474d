"""`app.run()` of an application that has a SocketIO, and what `flask run` serves: by our server.

Must not know: the command line, the reloader; events, handlers, rooms.
"""

from __future__ import annotations

import os
from types import MethodType
from typing import Any, cast

import flask
from flask.cli import load_dotenv as load_dotenv_files
from flask.cli import show_server_banner
from flask.helpers import get_debug_flag, get_load_dotenv

from python_server.api.flask_socketio.run import known_options, serve_application
from python_server.api.keywords import RunKeywords
from python_server.net.certificates import CertificateError
from python_server.net.monkey_patch import PatchedError
from python_server.net.sockets import BindError


def replace_run(app: flask.Flask) -> None:
    """From here on `app.run()` serves events too; a class with a `run` of its own keeps that."""
    if type(app).run is flask.Flask.run:
        app.run = MethodType(run, app)  # type: ignore[method-assign]


def run(
    self: flask.Flask,
    host: str | None = None,
    port: int | None = None,
    debug: bool | None = None,
    load_dotenv: bool = True,
    **options: Any,
) -> None:
    """Serve the application with its events, in the words of Flask's `run()` and of `socketio.run()`.

    Raises:
        TypeError: an option that neither has. SystemExit: what is in the way.
    """
    if os.environ.get("FLASK_RUN_FROM_CLI") == "true":
        flask.Flask.run(self)  # says that it does nothing
        return
    if get_load_dotenv(load_dotenv):
        load_dotenv_files()
        if "FLASK_DEBUG" in os.environ:
            self.debug = get_debug_flag()
    if debug is not None:
        self.debug = bool(debug)
    name, _, _ = (self.config.get("SERVER_NAME") or "").partition(":")
    show_server_banner(self.debug, self.name)
    try:
        serve_as_flask(self, host or name, port if port or port == 0 else None, **options)
    finally:
        self._got_first_request = False  # in a shell, routes may be added then: as Flask's


def serve_as_flask(app: flask.Flask, host: str, port: int | None, **options: Any) -> None:
    """Serve as Flask's development server does: each request is logged, what is in the way is one sentence.

    Raises:
        TypeError: an option that does not exist. SystemExit: the sentence.
    """
    try:
        known = known_options(cast("RunKeywords", {"log_output": True, **options}))
        serve_application(app, host, port, known)
    except (BindError, CertificateError, PatchedError) as error:
        raise SystemExit(f"Error: {error}") from None
