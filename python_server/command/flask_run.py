"""`flask run`: serves an application that carries events; any other is left to Flask's own command.

Must not know: how anything is served. Each `flask` command imports this, so `run` alone imports the server.
"""

from __future__ import annotations

import os
import sys
import traceback
from copy import copy
from typing import Any, Final

import click
import flask
from flask.cli import ScriptInfo, pass_script_info, run_command, show_server_banner
from flask.helpers import get_debug_flag
from werkzeug.serving import is_running_from_reloader

from python_server import need_server
from python_server.serve.reloaded import is_reloaded

# Where what an application can carry is defined.
CARRIED: Final = ("python_server.serve.mounts", "python_server.websocket.application")


@pass_script_info
def run_application(info: ScriptInfo, /, **options: Any) -> None:
    """Load the application, and serve it or leave it to Flask.

    Under a reloader that is settled: a reloader starts the kind of server that it has started first.
    """
    drop_in()
    ours = is_reloaded()
    werkzeugs = is_running_from_reloader() and not ours
    try:
        app = info.load_app()
    except Exception as error:
        if not (ours or werkzeugs):
            raise
        if ours:
            traceback.print_exc()
        app = failing(error)
    if ours or (not werkzeugs and carries_events(app)):
        serve(app, info.app_import_path, **options)
        return
    if werkzeugs and carries_events(app):
        click.secho(" * A change has brought events: start 'flask run' again to serve them.", fg="red")
    run_flasks(**options)


def drop_in() -> None:
    """What WSFRAME_DROP_IN asks for, before the application comes."""
    wanted, parallel = (
        click.BOOL.convert(os.environ.get(name) or "0", None, None)
        for name in ("WSFRAME_DROP_IN", "WSFRAME_DROP_IN_PARALLEL")
    )
    if wanted:
        try:
            need_server("WSFRAME_DROP_IN")
        except ModuleNotFoundError as missing:
            raise click.ClickException(str(missing)) from None
        from python_server.drop_in.installing import install
        from python_server.serve.loading import ApplicationError

        try:
            install(parallel=parallel)
        except ApplicationError as error:
            raise click.ClickException(str(error)) from None


def carries_events(app: flask.Flask) -> bool:
    """Does it have a Socket.IO server or raw WebSockets of ours? It has imported them then."""
    if sys.modules.keys().isdisjoint(CARRIED):
        return False
    from python_server.serve.mounts import find_site

    site = find_site(app)
    return bool(site.mounts or site.websockets)


def failing(error: Exception) -> flask.Flask:
    """In the place of an application that cannot be loaded: each page is its error."""
    raised_at = error.__traceback__  # each time it is raised adds to it

    def fail(environ: object, start_response: object) -> Any:
        raise error.with_traceback(raised_at) from None

    app = flask.Flask(__name__)
    app.debug = get_debug_flag()
    app.wsgi_app = fail  # type: ignore[method-assign]
    return app


def serve(
    app: flask.Flask,
    name: str | None,
    host: str,
    port: int,
    reload: bool | None,
    debugger: bool | None,
    with_threads: bool,
    cert: object,
    **watched: Any,
) -> None:
    """Serve by our server; the arguments are the options of Flask's command."""
    from python_server.api.flask_socketio.app_run import serve_as_flask
    from python_server.net.memory import spare_old_objects
    from python_server.serve.serve import ON_START

    ON_START.append(spare_old_objects)  # the application stays as long as this process
    debug = get_debug_flag()
    show_server_banner(debug, name)
    serve_as_flask(
        app,
        host,
        port,
        use_reloader=debug if reload is None else reload,
        use_debugger=debug if debugger is None else debugger,
        threaded=with_threads,
        ssl_context=cert,
        **watched,
    )


run_flasks: Any = run_command.callback
# Flask's command with its options and its help.
run = copy(run_command)
run.callback = run_application
